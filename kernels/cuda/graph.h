// Graphs of the CUDA runtime: what streams would do, kept, and launched as one. As in runtime.h, nothing here throws.
#pragma once
#include "graft/kernels/cuda/runtime.h"

namespace graft::inline v1::cuda::runtime {

using Graph = void*;  // a cudaGraphExec_t

// What the calling thread does in the stream from now on, and in streams that wait for it, is kept and does not run.
// Streams of other threads are not concerned.
Status begin_capture(Stream);
Status end_capture(Stream, Graph* out);  // the stream can be used on, whatever the status
bool is_capturing(Stream);
Status launch_graph(Graph, Stream);
void destroy_graph(Graph);               // one that runs comes to its end

}  // namespace graft::cuda::runtime

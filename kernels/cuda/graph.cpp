#include "graft/kernels/cuda/graph.h"

#include <cuda_runtime_api.h>

namespace graft::inline v1::cuda::runtime {

static Status status(cudaError_t e) {
  if (e != cudaSuccess) (void)cudaGetLastError();  // reported here: not to be found again by last_error()
  return {int(e)};
}
static cudaStream_t stream_of(Stream s) { return static_cast<cudaStream_t>(s); }
static cudaGraphExec_t graph_of(Graph g) { return static_cast<cudaGraphExec_t>(g); }

Status begin_capture(Stream s) { return status(cudaStreamBeginCapture(stream_of(s), cudaStreamCaptureModeThreadLocal)); }
Status end_capture(Stream s, Graph* out) {
  *out = nullptr;
  cudaGraph_t recorded = nullptr;
  const Status ended = status(cudaStreamEndCapture(stream_of(s), &recorded));
  if (!ended.ok() || !recorded) return ended;
  cudaGraphExec_t made = nullptr;
  const Status instantiated = status(cudaGraphInstantiate(&made, recorded, 0));
  (void)status(cudaGraphDestroy(recorded));
  *out = instantiated.ok() ? made : nullptr;
  return instantiated;
}
bool is_capturing(Stream s) {
  cudaStreamCaptureStatus now = cudaStreamCaptureStatusNone;
  return status(cudaStreamIsCapturing(stream_of(s), &now)).ok() && now != cudaStreamCaptureStatusNone;
}
Status launch_graph(Graph g, Stream s) { return status(cudaGraphLaunch(graph_of(g), stream_of(s))); }
void destroy_graph(Graph g) { (void)status(cudaGraphExecDestroy(graph_of(g))); }

}  // namespace graft::cuda::runtime

// What a build without CUDA has in the place of kernels/cuda/runtime.cpp, graph.cpp and register.cpp.
#include <atomic>
#include "graft/kernels/cuda/graph.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/cuda/runtime.h"
#include "graft/kernels/cuda/vendor.h"

namespace graft::inline v1 {

void register_cuda_kernels() {}

namespace cuda::runtime {

constexpr Status kNone{100};  // cudaErrorNoDevice

std::string describe(Status) { return "this build of graft has no CUDA backend"; }
int count_devices(std::string& why_none) {
  why_none = describe({});
  return 0;
}
Status use_device(int) { return kNone; }
Status synchronize_device() { return kNone; }
int multiprocessors(int) { return 1; }
int capability(int) { return 0; }
int version() { return 0; }
Status last_error() { return kNone; }
Status allocate(size_t, void**) { return kNone; }
Status release(void*) { return kNone; }
Status memory_info(size_t&, size_t&) { return kNone; }
Status allocate_pinned(size_t, void**) { return kNone; }
Status release_pinned(void*) { return kNone; }
bool is_pinned(const void*) { return false; }
Status copy(void*, const void*, size_t, Stream) { return kNone; }
Status set_bytes(void*, int, size_t, Stream) { return kNone; }
Status make_stream(Stream*) { return kNone; }
void destroy_stream(Stream) {}
Status synchronize(Stream) { return kNone; }
Status make_event(bool, Event*) { return kNone; }
void destroy_event(Event) {}
Status record(Event, Stream) { return kNone; }
Status wait(Stream, Event) { return kNone; }
Status synchronize_event(Event) { return kNone; }
bool reached(Event) { return true; }
float milliseconds(Event, Event) { return 0; }
Status begin_capture(Stream) { return kNone; }
Status end_capture(Stream, Graph*) { return kNone; }
bool is_capturing(Stream) { return false; }
Status launch_graph(Graph, Stream) { return kNone; }
void destroy_graph(Graph) {}
void mark_allocated(Stream, void*, size_t) {}
void mark_released(Stream, void*, size_t) {}

}  // namespace cuda::runtime

namespace cuda::vendor {

void allow(bool) {}
Library find_cublas() { return {.name = "cuBLAS", .state = "not used: " + runtime::describe({})}; }
Library find_cudnn() { return {.name = "cuDNN", .state = "not used: " + runtime::describe({})}; }

}  // namespace cuda::vendor
}  // namespace graft

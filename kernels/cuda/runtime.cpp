#include "graft/kernels/cuda/runtime.h"

#include <cuda_runtime_api.h>
#ifdef GRAFT_CUDA_EMULATED
#include "graft/kernels/cuda/emulation/emulation.h"
#endif

namespace graft::inline v1::cuda::runtime {

static Status status(cudaError_t e) {
  if (e != cudaSuccess) (void)cudaGetLastError();  // reported here: not to be found again by last_error()
  return {int(e)};
}
static Status pending(cudaError_t e) { return {int(e)}; }  // left for last_error(), too
static cudaStream_t stream_of(Stream s) { return static_cast<cudaStream_t>(s); }
static cudaEvent_t event_of(Event e) { return static_cast<cudaEvent_t>(e); }

std::string describe(Status s) {
  const auto e = cudaError_t(s.code);
  return std::string(cudaGetErrorString(e)) + " (" + cudaGetErrorName(e) + ")";
}

int count_devices(std::string& why_none) {
  int n = 0;
  const cudaError_t e = cudaGetDeviceCount(&n);
  if (e == cudaSuccess && n > 0) return n;
  (void)cudaGetLastError();
  switch (e) {
    case cudaErrorInsufficientDriver: why_none = "there is no NVIDIA driver, or it is older than this build needs"; break;
    case cudaSuccess:
    case cudaErrorNoDevice: why_none = "the driver sees no device (is CUDA_VISIBLE_DEVICES empty?)"; break;
    default: why_none = describe({int(e)});
  }
  return 0;
}
Status use_device(int device) { return status(cudaSetDevice(device)); }
Status synchronize_device() { return status(cudaDeviceSynchronize()); }
int multiprocessors(int device) {
  int n = 1;
  (void)status(cudaDeviceGetAttribute(&n, cudaDevAttrMultiProcessorCount, device));
  return n;
}
int capability(int device) {
  int major = 0, minor = 0;
  (void)status(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  (void)status(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  return major * 10 + minor;
}
int version() { return CUDART_VERSION; }
Status last_error() { return {int(cudaGetLastError())}; }

namespace {

// Memory may come and go while this thread captures a graph: what is allocated is no part of it.
class Relaxed {
 public:
  Relaxed() { (void)cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~Relaxed() { (void)cudaThreadExchangeStreamCaptureMode(&mode_); }
  Relaxed(const Relaxed&) = delete;
  Relaxed& operator=(const Relaxed&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

cudaError_t allocate_on_device(size_t bytes, void** out) {
#ifdef GRAFT_CUDA_EMULATED
  return cudaError_t(emulation::allocate_unmarked(bytes, out));
#else
  return cudaMalloc(out, bytes);
#endif
}

}  // namespace

Status allocate(size_t bytes, void** out) {
  const Relaxed mode;
  return status(allocate_on_device(bytes, out));
}
#ifdef GRAFT_CUDA_EMULATED
void mark_allocated(Stream s, void* p, size_t bytes) { emulation::mark_allocated(s, p, bytes); }
void mark_released(Stream s, void* p, size_t bytes) { emulation::mark_released(s, p, bytes); }
#else
void mark_allocated(Stream, void*, size_t) {}
void mark_released(Stream, void*, size_t) {}
#endif
Status release(void* p) {
  const Relaxed mode;
  return status(cudaFree(p));
}
Status memory_info(size_t& free, size_t& total) { return status(cudaMemGetInfo(&free, &total)); }
Status allocate_pinned(size_t bytes, void** out) {
  const Relaxed mode;
  return status(cudaHostAlloc(out, bytes, cudaHostAllocPortable));
}
Status release_pinned(void* p) {
  const Relaxed mode;
  return status(cudaFreeHost(p));
}
bool is_pinned(const void* p) {
  cudaPointerAttributes a{};
  return status(cudaPointerGetAttributes(&a, p)).ok() && a.type == cudaMemoryTypeHost;
}

Status copy(void* to, const void* from, size_t bytes, Stream s) {
  return bytes ? pending(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_of(s))) : Status{};
}
Status set_bytes(void* p, int value, size_t bytes, Stream s) {
  return bytes ? pending(cudaMemsetAsync(p, value, bytes, stream_of(s))) : Status{};
}

Status make_stream(Stream* out) {
  cudaStream_t s = nullptr;
  const Status made = status(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
  *out = s;
  return made;
}
void destroy_stream(Stream s) { (void)status(cudaStreamDestroy(stream_of(s))); }
Status synchronize(Stream s) { return pending(cudaStreamSynchronize(stream_of(s))); }
Status make_event(bool timing, Event* out) {
  cudaEvent_t e = nullptr;
  const Status made = status(cudaEventCreateWithFlags(&e, timing ? cudaEventDefault : cudaEventDisableTiming));
  *out = e;
  return made;
}
void destroy_event(Event e) { (void)status(cudaEventDestroy(event_of(e))); }
Status record(Event e, Stream s) { return status(cudaEventRecord(event_of(e), stream_of(s))); }
Status wait(Stream s, Event e) { return status(cudaStreamWaitEvent(stream_of(s), event_of(e), 0)); }
Status synchronize_event(Event e) { return status(cudaEventSynchronize(event_of(e))); }
bool reached(Event e) { return status(cudaEventQuery(event_of(e))).ok(); }
float milliseconds(Event from, Event to) {
  float ms = 0;
  (void)status(cudaEventElapsedTime(&ms, event_of(from), event_of(to)));
  return ms;
}

}  // namespace graft::cuda::runtime

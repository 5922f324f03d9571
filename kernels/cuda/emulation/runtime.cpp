// The CUDA runtime's functions for the emulated device. Their prototypes come from NVIDIA's header.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include "graft/kernels/cuda/emulation/stream.h"

namespace emu = graft::cuda::emulation;

namespace graft::inline v1::cuda::emulation {
namespace {

std::map<const char*, size_t>& pinned() {
  static auto* p = new std::map<const char*, size_t>;
  return *p;
}
bool is_pinned(const void* p) {
  const auto* at = static_cast<const char*>(p);
  auto next = pinned().upper_bound(at);
  if (next == pinned().begin()) return false;
  --next;
  return at < next->first + next->second;
}

cudaError_t invalid_handle() { return remember(cudaErrorInvalidResourceHandle); }
cudaError_t wait_for(Stream* s) {
  if (const cudaError_t e = refuse_wait(s)) return e;
  drain(s);
  return remember(fault_code());
}

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
  cudaMemcpyKind kind;
  bool to_device() const { return kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice; }
  bool from_device() const { return kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice; }
  std::string why_not() const {
    std::string why = to_device() ? why_not_valid(to, bytes) : is_device_memory(to) ? "the kind does not match the pointers" : "";
    if (why.empty())
      why = from_device() ? why_not_valid(from, bytes) : is_device_memory(from) ? "the kind does not match the pointers" : "";
    return why;
  }
};
void copy_now(const Copy& c) {
  if (c.bytes == 0) return;
  const bool allocated = (!c.to_device() || is_marked(c.to, c.bytes)) && (!c.from_device() || is_marked(c.from, c.bytes));
  if (!allocated) return set_fault(cudaErrorIllegalAddress, "cudaMemcpy: touches memory that its owner has given back");
  const DeviceScope scope;
  std::memcpy(c.to, c.from, c.bytes);
  if (c.to_device()) mark_global(c.to, c.bytes, true);
}
cudaMemcpyKind kind_of(const void* to, const void* from) {
  if (is_device_memory(to)) return is_device_memory(from) ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice;
  return is_device_memory(from) ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost;
}
double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// The events that exist: a handle that is not among them was destroyed.
std::set<Event*>& events() {
  static auto* e = new std::set<Event*>;
  return *e;
}
Event* find_event(cudaEvent_t e) {
  auto* event = reinterpret_cast<Event*>(e);
  return events().contains(event) ? event : nullptr;
}

}  // namespace
}  // namespace graft::cuda::emulation

extern "C" {

using namespace graft::cuda::emulation;  // NOLINT(google-build-using-namespace)

// ---- memory ---------------------------------------------------------------------------------------------------

cudaError_t cudaMalloc(void** p, size_t bytes) {
  const Lock lock(emu::mutex());
  if (fault_code() != cudaSuccess) return remember(fault_code());
  *p = nullptr;
  if (const cudaError_t e = refuse_unsafe()) return e;
  const cudaError_t e = bytes ? remember(allocate_global(current_device(), bytes, p)) : cudaSuccess;
  if (e != cudaSuccess || !bytes) return e;
  const DeviceScope scope;
  std::memset(*p, 0xff, bytes);
  mark_global(*p, bytes, false);
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  const Lock lock(emu::mutex());
  if (!p) return cudaSuccess;
  if (const cudaError_t e = refuse_unsafe()) return e;
  drain_all();
  return remember(release_global(p));
}
cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned) {
  const Lock lock(emu::mutex());
  if (const cudaError_t e = refuse_unsafe()) return e;
  *p = std::malloc(std::max<size_t>(bytes, 1));
  if (!*p) return remember(cudaErrorMemoryAllocation);
  pinned()[static_cast<char*>(*p)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** p, size_t bytes) { return cudaHostAlloc(p, bytes, 0); }
cudaError_t cudaFreeHost(void* p) {
  const Lock lock(emu::mutex());
  if (const cudaError_t e = refuse_unsafe()) return e;
  drain_all();
  pinned().erase(static_cast<char*>(p));
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const Lock lock(emu::mutex());
  *total = settings().memory;
  *free = *total - std::min(*total, global_in_use(current_device()));
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* out, const void* p) {
  const Lock lock(emu::mutex());
  *out = {};
  out->type = is_device_memory(p) ? cudaMemoryTypeDevice : is_pinned(p) ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
  out->device = is_device_memory(p) ? emu::device_of(p) : -1;
  return cudaSuccess;
}

// Pinned memory is read and written late, like a DMA engine does; other memory before the call returns.
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const Lock lock(emu::mutex());
  if (fault_code() != cudaSuccess) return remember(fault_code());
  Stream* s = find_stream(stream);
  if (!s) return invalid_handle();
  const Copy c{to, from, bytes, kind == cudaMemcpyDefault ? kind_of(to, from) : kind};
  if (const std::string why = c.why_not(); !why.empty()) {
    host_error("cudaMemcpy: " + why);
    return remember(cudaErrorInvalidValue);
  }
  if (const cudaError_t e = refuse_work(s)) return e;
  if ((!c.from_device() && !is_pinned(from)) || (!c.to_device() && !is_pinned(to)))
    if (const cudaError_t e = refuse_pageable(s)) return e;
  if (!c.from_device() && !is_pinned(from)) {
    const auto* first = static_cast<const char*>(from);
    push(s, [to, kind = c.kind, staged = std::vector<char>(first, first + bytes)] {
      copy_now({to, staged.data(), staged.size(), kind});
    });
  } else {
    push(s, [c] { copy_now(c); });
  }
  return c.to_device() || is_pinned(to) ? cudaSuccess : wait_for(s);
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const Lock lock(emu::mutex());
  const cudaError_t e = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
  return e != cudaSuccess ? e : wait_for(find_stream(nullptr));
}
cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes, cudaStream_t stream) {
  return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream);
}
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream) {
  const Lock lock(emu::mutex());
  Stream* s = find_stream(stream);
  if (!s) return invalid_handle();
  if (const std::string why = why_not_valid(p, bytes); !why.empty()) {
    host_error("cudaMemset: " + why);
    return remember(cudaErrorInvalidValue);
  }
  if (const cudaError_t e = refuse_work(s)) return e;
  push(s, [=] {
    if (bytes && !is_marked(p, bytes)) return set_fault(cudaErrorIllegalAddress, "cudaMemset: touches memory that its owner has given back");
    const DeviceScope scope;
    std::memset(p, value, bytes);
    mark_global(p, bytes, true);
  });
  return cudaSuccess;
}
cudaError_t cudaMemset(void* p, int value, size_t bytes) { return cudaMemsetAsync(p, value, bytes, nullptr); }

// ---- streams and events ------------------------------------------------------------------------------------------

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* out, unsigned flags) {
  const Lock lock(emu::mutex());
  auto* s = new Stream;
  s->non_blocking = flags & cudaStreamNonBlocking;
  s->device = current_device();
  all_streams().live.insert(s);
  *out = reinterpret_cast<cudaStream_t>(s);
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* out) { return cudaStreamCreateWithFlags(out, 0); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock(emu::mutex());
  Stream* s = find_stream(stream);
  if (!s || is_legacy(s)) return invalid_handle();
  if (const cudaError_t e = refuse_wait(s)) return e;
  drain(s);
  all_streams().live.erase(s);  // not deleted: events may name it
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock(emu::mutex());
  Stream* s = find_stream(stream);
  return s ? wait_for(s) : invalid_handle();
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const Lock lock(emu::mutex());
  Stream* s = find_stream(stream);
  if (!s) return invalid_handle();
  if (const cudaError_t e = refuse_wait(s)) return e;
  if (s->done == s->queued) return fault_code();
  run_to(s, s->done + 1);  // time passes
  return cudaErrorNotReady;
}
cudaError_t cudaDeviceSynchronize() {
  const Lock lock(emu::mutex());
  if (const cudaError_t e = refuse_wait(current_device())) return e;
  drain_all();
  return remember(fault_code());
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* out, unsigned) {
  const Lock lock(emu::mutex());
  auto* e = new Event;
  events().insert(e);
  *out = reinterpret_cast<cudaEvent_t>(e);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* out) { return cudaEventCreateWithFlags(out, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const Lock lock(emu::mutex());
  return events().erase(reinterpret_cast<Event*>(event)) ? cudaSuccess : invalid_handle();
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock(emu::mutex());
  Stream* s = find_stream(stream);
  Event* e = find_event(event);
  if (!s || !e) return invalid_handle();
  if (const cudaError_t refused = refuse_work(s)) return refused;
  e->capture = s->capture;
  if (s->capture) {
    e->at = {};
    e->node = record(s, nullptr, {});
    return cudaSuccess;
  }
  e->at = {s, s->queued + 1};
  push(s, [event] {
    if (Event* reached = find_event(event)) reached->seconds = now();
  });
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Lock lock(emu::mutex());
  Stream* s = find_stream(stream);
  const Event* e = find_event(event);
  if (!s || !e) return invalid_handle();
  if (s->capture || e->capture) return wait_in_capture(s, e);
  if (e->at.stream) push_after(s, nullptr, {e->at});
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Lock lock(emu::mutex());
  const Event* e = find_event(event);
  if (!e) return invalid_handle();
  if (const cudaError_t refused = refuse_captured(e)) return refused;
  if (e->at.stream) run_to(e->at.stream, e->at.number);
  return remember(fault_code());
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const Lock lock(emu::mutex());
  const Event* e = find_event(event);
  if (!e) return invalid_handle();
  if (const cudaError_t refused = refuse_captured(e)) return refused;
  if (const cudaError_t refused = refuse_unsafe()) return refused;
  if (!e->at.stream || e->at.stream->done >= e->at.number) return fault_code();
  run_to(e->at.stream, e->at.stream->done + 1);
  return cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t from, cudaEvent_t to) {
  const Lock lock(emu::mutex());
  const Event *a = find_event(from), *b = find_event(to);
  if (!a || !b) return invalid_handle();
  *ms = float((b->seconds - a->seconds) * 1e3);
  return cudaSuccess;
}

// ---- errors, devices ---------------------------------------------------------------------------------------------

cudaError_t cudaGetLastError() {
  const Lock lock(emu::mutex());
  return last_error(true);
}
cudaError_t cudaPeekAtLastError() {
  const Lock lock(emu::mutex());
  return last_error(false);
}
const char* cudaGetErrorName(cudaError_t e) {
  switch (e) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidResourceHandle: return "cudaErrorInvalidResourceHandle";
    case cudaErrorNoDevice: return "cudaErrorNoDevice";
    case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
    case cudaErrorMisalignedAddress: return "cudaErrorMisalignedAddress";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
    case cudaErrorLaunchTimeout: return "cudaErrorLaunchTimeout";
    case cudaErrorNotSupported: return "cudaErrorNotSupported";
    case cudaErrorIllegalState: return "cudaErrorIllegalState";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorStreamCaptureMerge: return "cudaErrorStreamCaptureMerge";
    case cudaErrorStreamCaptureUnmatched: return "cudaErrorStreamCaptureUnmatched";
    case cudaErrorStreamCaptureUnjoined: return "cudaErrorStreamCaptureUnjoined";
    case cudaErrorStreamCaptureIsolation: return "cudaErrorStreamCaptureIsolation";
    case cudaErrorStreamCaptureImplicit: return "cudaErrorStreamCaptureImplicit";
    case cudaErrorCapturedEvent: return "cudaErrorCapturedEvent";
    case cudaErrorStreamCaptureWrongThread: return "cudaErrorStreamCaptureWrongThread";
    default: return "cuda error";
  }
}
// Of the error that a kernel has left behind: what it was, and where.
const char* cudaGetErrorString(cudaError_t e) {
  static thread_local std::string text;
  const Lock lock(emu::mutex());
  text = e != cudaSuccess && e == fault_code() ? fault() : cudaGetErrorName(e);
  return text.c_str();
}
cudaError_t cudaDeviceReset() {
  reset();
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* n) {
  *n = settings().devices;
  return *n ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device();
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= settings().devices) return remember(cudaErrorInvalidDevice);
  current_device() = device;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  const Lock lock(emu::mutex());
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (size_t(value) > kSharedMost) return remember(cudaErrorInvalidValue);
  allow_shared(kernel, size_t(value));
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {  // those of an H100
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = 132; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = int(kSharedMost); break;
    case cudaDevAttrWarpSize: *value = 32; break;
    case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
    case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
    case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
    default: return remember(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}
}  // extern "C"

#include "graft/core/cuda.h"

#include <pthread.h>

#include <array>
#include <atomic>
#include <mutex>
#include <vector>
#include "graft/core/cuda_graph.h"
#include "graft/core/error.h"
#include "graft/kernels/cuda/runtime.h"
#include "graft/kernels/cuda/vendor.h"

namespace graft::inline v1::cuda {

void check(runtime::Status, std::string_view what);  // for cuda_memory.cpp and cuda_graph.cpp, too
const Stream& default_stream(int device);            // for cuda_graph.cpp, too

namespace {

constexpr int kMost = runtime::kMostDevices;

std::atomic<bool> g_used{false}, g_forked{false};  // whether a device was used; whether this is a child of such a process

struct Found {
  int devices = 0;
  std::string why_none;
  Found() {
    devices = std::min(runtime::count_devices(why_none), kMost);
    pthread_atfork(nullptr, nullptr, [] { g_forked = g_forked || g_used; });
  }
};
const Found& found() {
  static const auto* f = new Found;
  return *f;
}

// The streams that are current in this thread.
thread_local std::array<std::unique_ptr<Stream>, kMost> t_current;

void use(int device) {
  need("cuda", Device(Device::cuda, device));
  g_used.store(true, std::memory_order_relaxed);
  check(runtime::use_device(device), "choosing the device");
}

}  // namespace

// What went wrong; the error is taken from the runtime, unless it is one that stays.
static std::string explain(runtime::Status s) {
  std::string why = runtime::describe(s);
  (void)runtime::last_error();
  if (!runtime::last_error().ok()) why += "; device cuda cannot be used until the program is started again";
  return why;
}
void check(runtime::Status s, std::string_view what) {
  if (!s.ok()) [[unlikely]]
    fail(ErrorCode::device_error, "cuda: ", what, ": ", explain(s));
}

bool available() { return found().devices > 0 && !g_forked; }
int device_count() { return available() ? found().devices : 0; }
std::string why_not_available() {
  if (g_forked) return "cuda was used before fork(): the child cannot use it. Fork earlier, or start a new process";
  return found().devices > 0 ? "" : found().why_none;
}
void need(std::string_view who, Device d) {
  if (d.type != Device::cuda || (available() && d.index < device_count())) [[likely]] return;
  GRAFT_CHECK(available(), ErrorCode::device_unavailable, who, ": no ", to_string(d), ": ", why_not_available());
  fail(ErrorCode::device_unavailable, who, ": no ", to_string(d), ": there are ", device_count(), " devices");
}
void use_vendor_libraries(bool on) { vendor::allow(on); }
std::vector<VendorLibrary> vendor_libraries() {
  std::vector<VendorLibrary> all;
  for (const vendor::Library& l : {vendor::find_cublas(), vendor::find_cudnn()}) all.push_back({l.name, l.state, l.loaded});
  return all;
}
void synchronize(int device) {
  detail::refuse_in_capture("synchronize");
  use(device);
  check(runtime::synchronize_device(), "synchronize");
}

// ---- streams and events ------------------------------------------------------------------------------------------

Stream::Stream(int device) {
  use(device);
  void* handle = nullptr;
  check(runtime::make_stream(&handle), "making a stream");
  state_ = std::make_shared<State>(device, handle);
}
Stream::State::~State() {
  if (!g_forked) runtime::destroy_stream(handle);
}
void Stream::synchronize() const {
  detail::refuse_in_capture("Stream::synchronize");
  use(device());
  check(runtime::synchronize(handle()), "synchronize");
}
void Stream::wait(const Event& e) const {
  use(device());
  check(runtime::wait(handle(), e.state_->handle), "waiting for an event");
}
const Stream& default_stream(int device) {  // current before any was chosen
  static std::mutex mutex;
  static auto* streams = new std::array<std::unique_ptr<Stream>, kMost>;
  const std::lock_guard lock(mutex);
  std::unique_ptr<Stream>& s = (*streams)[size_t(device)];
  if (!s) s = std::make_unique<Stream>(device);
  return *s;
}
const Stream& current_stream(int device) {
  need("current_stream", Device(Device::cuda, device));
  std::unique_ptr<Stream>& s = t_current[size_t(device)];
  if (!s) s = std::make_unique<Stream>(default_stream(device));
  return *s;
}
UseStream::UseStream(Stream s) : before_(current_stream(s.device())) { *t_current[size_t(s.device())] = std::move(s); }
UseStream::~UseStream() {
  const int device = before_.device();
  *t_current[size_t(device)] = std::move(before_);
}

Event::Event(bool timing, int device) {
  use(device);
  void* handle = nullptr;
  check(runtime::make_event(timing, &handle), "making an event");
  state_ = std::make_shared<State>(handle);
}
Event::State::~State() {
  if (!g_forked) runtime::destroy_event(handle);
}
void Event::record(const Stream& s) const {
  use(s.device());
  check(runtime::record(state_->handle, s.handle()), "recording an event");
}
bool Event::reached() const {
  detail::refuse_in_capture("Event::reached");
  return runtime::reached(state_->handle);
}
void Event::synchronize() const {
  detail::refuse_in_capture("Event::synchronize");
  check(runtime::synchronize_event(state_->handle), "waiting for an event");
}
double Event::milliseconds_until(const Event& later) const {
  return double(runtime::milliseconds(state_->handle, later.state_->handle));
}

// ---- for the choke point --------------------------------------------------------------------------------------

namespace detail {

void* begin_launch(int device) {
  use(device);
  return current_stream(device).handle();
}
bool launch_failed(std::string& why) {
  const runtime::Status s = runtime::last_error();
  if (s.ok()) return false;
  why = explain(s);
  return true;
}
void download(void* to, const void* from, size_t bytes, int device) {
  refuse_in_capture("copying to the host");
  void* stream = begin_launch(device);
  check(runtime::copy(to, from, bytes, stream), "copying to the host");
  check(runtime::synchronize(stream), "copying to the host");
}
void join(int device, int with) {
  const Event here(false, device), there(false, with);
  here.record(current_stream(device));
  there.record(current_stream(with));
  current_stream(device).wait(there);
  current_stream(with).wait(here);
}

}  // namespace detail
}  // namespace graft::cuda

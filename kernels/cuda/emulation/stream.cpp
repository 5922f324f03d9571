// Streams as queues of work with dependencies. What is queued runs when something waits for it (or earlier, as the
// settings say), so that a missing wait shows as a wrong result and not by luck on one machine.
#include "graft/kernels/cuda/emulation/stream.h"

#include <algorithm>

namespace graft::inline v1::cuda::emulation {
namespace {

struct Errors {
  cudaError_t fault_code = cudaSuccess;
  std::string fault_text;
  std::vector<std::string> host;
};
Errors& errors() {
  static auto* e = new Errors;
  return *e;
}
thread_local cudaError_t t_last = cudaSuccess;
thread_local int t_device = 0;

void run_until(Stream* s, uint64_t number) {
  while (s->done < number && !s->queue.empty()) {
    Work w = std::move(s->queue.front());
    s->queue.pop_front();
    for (const Point& p : w.after) run_until(p.stream, p.number);
    if (w.run && fault_code() == cudaSuccess) w.run();
    ++s->done;
  }
}

}  // namespace

std::recursive_mutex& mutex() {
  static auto* m = new std::recursive_mutex;
  return *m;
}
Settings& settings() {
  static auto* s = new Settings;
  return *s;
}
uint32_t random_bits() {  // xorshift; begins anew when the seed is changed
  static uint64_t seed = 0, state = 0;
  if (state == 0 || seed != settings().seed) {
    seed = settings().seed;
    state = seed * 0x9E3779B97F4A7C15U + 88172645463325252U;
  }
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return uint32_t(state >> 16);
}
int& current_device() { return t_device; }

// ---- errors ---------------------------------------------------------------------------------------------------

void host_error(const std::string& line) { errors().host.push_back(line); }
void set_fault(cudaError_t code, const std::string& text) {
  if (errors().fault_code != cudaSuccess) return;
  errors().fault_code = code;
  errors().fault_text = text;
}
cudaError_t fault_code() { return errors().fault_code; }
cudaError_t remember(cudaError_t e) {
  if (e != cudaSuccess) t_last = e;
  return e;
}
cudaError_t last_error(bool clear) {
  const cudaError_t e = fault_code() != cudaSuccess ? fault_code() : t_last;
  if (clear) t_last = cudaSuccess;
  return e;
}
std::string fault() {
  const Lock lock(mutex());
  return errors().fault_text;
}
std::vector<std::string> take_host_errors() {
  const Lock lock(mutex());
  return std::exchange(errors().host, {});
}
void reset() {
  const Lock lock(mutex());
  drain_all();
  errors().fault_code = t_last = cudaSuccess;
  errors().fault_text.clear();
}

// ---- queues ---------------------------------------------------------------------------------------------------

StreamTable& all_streams() {
  static auto* s = [] {
    auto* made = new StreamTable;
    for (int d = 0; d < kMaxDevices; ++d) {
      made->legacy[d].device = d;
      made->live.insert(&made->legacy[d]);
    }
    return made;
  }();
  return *s;
}
bool is_legacy(const Stream* s) { return s == &all_streams().legacy[s->device]; }

Stream* find_stream(void* handle) {
  if (!handle || handle == cudaStreamLegacy) return &all_streams().legacy[t_device];
  auto* s = static_cast<Stream*>(handle);
  return all_streams().live.contains(s) ? s : nullptr;
}
int device_of(const Stream* s) { return s->device; }

void push_after(Stream* s, std::function<void()> work, std::vector<Point> after) {
  if (s->capture) return void(record(s, std::move(work), {}));
  if (is_legacy(s)) {
    if (!settings().legacy_stream) host_error("work on the default stream");
    for (Stream* other : all_streams().live)
      if (other != s && !other->non_blocking && other->device == s->device) after.push_back({other, other->queued});
  } else if (!s->non_blocking) {
    Stream* legacy = &all_streams().legacy[s->device];
    after.push_back({legacy, legacy->queued});
  }
  s->queue.push_back({std::move(work), std::move(after)});
  ++s->queued;
  if (settings().streams == Streams::eager) return drain(s);
  if (settings().streams == Streams::lazy) return;
  const DeviceScope scope;
  const std::vector<Stream*> now(all_streams().live.begin(), all_streams().live.end());
  for (Stream* other : now)
    if (other->done < other->queued && random_bits() % 3 == 0) run_until(other, other->done + 1);
}
void push(Stream* s, std::function<void()> work) { push_after(s, std::move(work), {}); }
void run_to(Stream* s, uint64_t number) {
  if (s->done >= number) return;
  const DeviceScope scope;  // one opening of the memory per wait, not per kernel
  run_until(s, number);
}
void drain(Stream* s) { run_to(s, s->queued); }
void drain_all() {
  const std::vector<Stream*> now(all_streams().live.begin(), all_streams().live.end());
  for (Stream* s : now) drain(s);
}

void enqueue(void* stream, std::function<void()> work) {
  const Lock lock(mutex());
  Stream* s = find_stream(stream);
  if (!s) return host_error("work for a stream that was destroyed");
  if (refuse_work(s) != cudaSuccess) return;
  push(s, [run = std::move(work)] {
    const DeviceScope scope;
    run();
  });
}

// ---- launches and marks ------------------------------------------------------------------------------------------

void allow_shared(const void* kernel, size_t bytes) { all_streams().shared_allowed[kernel] = bytes; }

void launch(const LaunchConfig& c) {
  const Lock lock(mutex());
  if (fault_code() != cudaSuccess) return;
  const size_t n = size_t(c.block.x) * c.block.y * c.block.z;
  if (n == 0 || n > 1024 || c.block.z > 64 || !c.grid.x || !c.grid.y || !c.grid.z || c.grid.x > 0x7fffffffU ||
      c.grid.y > 65535 || c.grid.z > 65535)
    return void(remember(cudaErrorInvalidConfiguration));
  if (n * c.grid.x * c.grid.y * c.grid.z > kMostThreads) {  // a GPU would run it
    host_error("a launch of more than " + std::to_string(kMostThreads) + " threads is not played");
    return void(remember(cudaErrorNotSupported));
  }
  const auto allowed = all_streams().shared_allowed.find(c.kernel);
  if (c.shared_bytes > (allowed == all_streams().shared_allowed.end() ? kSharedDefault : allowed->second))
    return void(remember(cudaErrorInvalidValue));
  Stream* s = find_stream(c.stream);
  if (!s || s->device != t_device) return void(remember(cudaErrorInvalidResourceHandle));
  if (refuse_work(s) != cudaSuccess) return;
  push(s, [c, device = s->device] { run_kernel(c, device); });
}

static void enqueue_mark(void* stream, std::function<void()> mark) {
  Stream* s = find_stream(stream);
  if (!s || !s->capture) return enqueue(stream, std::move(mark));
  (void)record(s, [run = std::move(mark)] {
    const DeviceScope scope;
    run();
  }, {}, true);
}
void mark_allocated(void* stream, void* p, size_t bytes) {
  const Lock lock(mutex());
  enqueue_mark(stream, [=] {
    std::memset(p, 0xff, bytes);
    mark_global(p, bytes, false);
  });
}
void mark_released(void* stream, void* p, size_t bytes) {
  const Lock lock(mutex());
  if (!find_stream(stream)) return forget_global(p, bytes);  // all its work is done
  enqueue_mark(stream, [=] { forget_global(p, bytes); });
}
int allocate_unmarked(size_t bytes, void** out) {
  const Lock lock(mutex());
  if (fault_code() != cudaSuccess) return int(remember(fault_code()));
  if (const cudaError_t e = refuse_unsafe()) return int(e);
  return int(remember(allocate_global(t_device, bytes, out)));
}

}  // namespace graft::cuda::emulation

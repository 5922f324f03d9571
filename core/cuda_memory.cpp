// The caching allocator of device memory. A segment comes from the device and is cut into blocks; a released block waits
// for the next allocation on the stream it belongs to, so that reuse needs no synchronisation; neighbours are merged.
#include "graft/core/cuda.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>
#include <vector>
#include "graft/core/cuda_graph.h"
#include "graft/core/error.h"
#include "graft/kernels/cuda/runtime.h"
#include "graft/kernels/cuda/workspace.h"

namespace graft::inline v1::cuda {

void check(runtime::Status, std::string_view what);  // cuda.cpp: fails with "cuda: <what>: <what the runtime says>"

namespace {

constexpr size_t kGranule = 512;             // bytes of a block are a multiple
constexpr size_t kSmall = size_t{1} << 20;   // up to here blocks share segments of kSmallSegment
constexpr size_t kSmallSegment = size_t{2} << 20, kLargeSegment = size_t{20} << 20;
size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

struct Block {
  std::byte* data = nullptr;
  size_t bytes = 0;
  runtime::Stream stream = nullptr;  // whose order makes reuse safe
  const void* owner = nullptr;       // the graph whose own it is; null: everybody's
  Block *before = nullptr, *after = nullptr;  // neighbours in the segment
  bool free = true, small = false;
  std::vector<Stream> used_on;       // other streams, by record_use()
};
struct ByFit {  // best fit: the smallest that is large enough, the lowest of those
  bool operator()(const Block* a, const Block* b) const {
    return std::tie(a->owner, a->stream, a->bytes, a->data) < std::tie(b->owner, b->stream, b->bytes, b->data);
  }
};
struct Waiting {  // released, but another stream may still use it
  Block* block;
  size_t bytes;
  std::vector<std::pair<Stream, Event>> until;
};

class Pool final : public memory::Source {
 public:
  explicit Pool(int device) : device_(device) {}
  std::byte* allocate(size_t bytes) override;
  void release(std::byte*, size_t bytes) noexcept override;
  void record_use(std::byte*, const Stream&);
  MemoryStats stats();
  void reset_peak();
  void give_back();  // cached segments
  bool belongs_to(const void* owner, const std::byte*);
  void disown(const void* owner, const Stream& home);
  void count_captures(int more) { captures_ += more; }

 private:
  using Cache = std::set<Block*, ByFit>;
  static bool is_small(size_t bytes) { return bytes <= kSmall; }
  Cache& cache_of(const Block& b) { return b.small ? small_ : large_; }
  Block* find(size_t bytes, runtime::Stream, const void* owner);
  Block* from_device(size_t bytes, runtime::Stream, const void* owner);
  void split(Block&, size_t bytes);
  void merge(Block& into, Block& next);
  void put_back(Block*);
  void look_after_waiting(bool wait);
  void release_cached();
  [[noreturn]] void fail_out_of_memory(size_t bytes);

  int device_;
  std::mutex mutex_;
  Cache small_, large_;
  std::unordered_map<std::byte*, Block*> in_use_;
  std::vector<Waiting> waiting_;
  std::vector<std::pair<Block*, const void*>> held_;  // released with other users in a capture, until its graph ends
  std::atomic<int> captures_{0};  // going on: nothing may wait for the device
  MemoryStats stats_;
};

Block* Pool::find(size_t bytes, runtime::Stream stream, const void* owner) {
  Cache& cache = is_small(bytes) ? small_ : large_;
  Block wanted;
  wanted.bytes = bytes;
  wanted.stream = stream;
  wanted.owner = owner;
  const auto at = cache.lower_bound(&wanted);
  if (at == cache.end() || (*at)->stream != stream || (*at)->owner != owner) return nullptr;
  Block* b = *at;
  cache.erase(at);
  return b;
}

Block* Pool::from_device(size_t bytes, runtime::Stream stream, const void* owner) {
  const size_t segment = is_small(bytes) ? kSmallSegment : std::max(kLargeSegment, round_up(bytes, kSmallSegment));
  void* data = nullptr;
  runtime::Status s = runtime::allocate(segment, &data);
  if (s.out_of_memory() && captures_ == 0) {
    look_after_waiting(true);
    if (Block* b = find(bytes, stream, owner)) return b;
    release_cached();
    s = runtime::allocate(segment, &data);
  }
  if (s.out_of_memory()) fail_out_of_memory(bytes);
  check(s, "allocating memory");
  ++stats_.device_calls;
  stats_.from_device += int64_t(segment);
  auto* b = new Block;
  b->data = static_cast<std::byte*>(data);
  b->bytes = segment;
  b->small = is_small(bytes);
  b->stream = stream;
  b->owner = owner;
  return b;
}

void Pool::split(Block& b, size_t bytes) {
  const size_t rest = b.bytes - bytes;
  if (rest < (is_small(bytes) ? kGranule : kSmall + 1)) return;
  auto* second = new Block;
  second->small = b.small;
  second->data = b.data + bytes;
  second->bytes = rest;
  second->stream = b.stream;
  second->owner = b.owner;
  second->before = &b;
  second->after = b.after;
  if (b.after) b.after->before = second;
  b.after = second;
  b.bytes = bytes;
  cache_of(b).insert(second);
}
void Pool::merge(Block& into, Block& next) {
  into.bytes += next.bytes;
  into.after = next.after;
  if (next.after) next.after->before = &into;
  delete &next;
}
void Pool::put_back(Block* b) {
  Cache& cache = cache_of(*b);
  b->free = true;
  b->used_on.clear();
  if (b->after && b->after->free) {
    cache.erase(b->after);
    merge(*b, *b->after);
  }
  if (b->before && b->before->free) {
    Block* first = b->before;
    cache.erase(first);
    merge(*first, *b);
    b = first;
  }
  cache.insert(b);
}

// Blocks whose other users have finished. An event is reached at once or, with `wait`, waited for.
void Pool::look_after_waiting(bool wait) {
  std::erase_if(waiting_, [&](Waiting& w) {
    std::erase_if(w.until, [&](const auto& use) {
      if (wait) use.second.synchronize();
      return wait || use.second.reached();
    });
    if (w.until.empty()) {
      runtime::mark_released(w.block->stream, w.block->data, w.bytes);
      put_back(w.block);
    }
    return w.until.empty();
  });
}

void Pool::release_cached() {
  (void)runtime::synchronize_device();
  for (Cache* cache : {&small_, &large_})
    std::erase_if(*cache, [&](Block* b) {
      if (b->owner || b->before || b->after) return false;  // a graph's, or the segment is in use
      stats_.from_device -= int64_t(b->bytes);
      (void)runtime::release(b->data);
      delete b;
      return true;
    });
}

void Pool::fail_out_of_memory(size_t bytes) {
  size_t free = 0, total = 0;
  (void)runtime::memory_info(free, total);
  fail(ErrorCode::device_out_of_memory, "cuda:", device_, ": out of memory: wanted ", bytes, " bytes, free are ", free, " of ",
       total, "; tensors hold ", stats_.in_use, ", the cache ", stats_.from_device - stats_.in_use,
       captures_ ? ", which cannot be given back while a graph is captured" : "");
}

std::byte* Pool::allocate(size_t bytes) {
  runtime::Stream stream = detail::begin_launch(device_);
  const size_t rounded = std::max(kGranule, round_up(bytes, kGranule));
  const void* owner = detail::memory_owner(device_);
  const std::lock_guard lock(mutex_);
  if (!waiting_.empty() && detail::may_wait()) look_after_waiting(false);
  Block* b = find(rounded, stream, owner);
  if (!b) b = from_device(rounded, stream, owner);
  split(*b, rounded);
  b->free = false;
  in_use_.emplace(b->data, b);
  ++stats_.allocations;
  stats_.in_use += int64_t(b->bytes);
  stats_.peak_in_use = std::max(stats_.peak_in_use, stats_.in_use);
  runtime::mark_allocated(stream, b->data, bytes);
  return b->data;
}

void Pool::release(std::byte* data, size_t bytes) noexcept {
  if (!available()) return;  // after fork
  const std::lock_guard lock(mutex_);
  const auto found = in_use_.find(data);
  Block* b = found->second;
  in_use_.erase(found);
  stats_.in_use -= int64_t(b->bytes);
  if (b->used_on.empty()) {
    // What a graph made and its capture outlived is written at each replay: it stays the graph's for the checker.
    if (!b->owner || b->owner == detail::memory_owner(device_)) runtime::mark_released(b->stream, data, bytes);
    return put_back(b);
  }
  try {
    if (b->owner || !detail::may_wait()) return void(held_.emplace_back(b, b->owner ? b->owner : detail::memory_owner(device_)));
    Waiting w{b, bytes, {}};
    for (const Stream& s : b->used_on) {
      const Event e(false, device_);
      e.record(s);
      w.until.emplace_back(s, e);
    }
    waiting_.push_back(std::move(w));
  } catch (...) {  // the device is broken: the block is not used again
  }
}

void Pool::record_use(std::byte* data, const Stream& s) {
  const std::lock_guard lock(mutex_);
  const auto found = in_use_.find(data);
  if (found == in_use_.end() || found->second->stream == s.handle()) return;
  std::vector<Stream>& others = found->second->used_on;
  if (std::ranges::find(others, s) == others.end()) others.push_back(s);
}
MemoryStats Pool::stats() {
  const std::lock_guard lock(mutex_);
  return stats_;
}
void Pool::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak_in_use = stats_.in_use;
}
bool Pool::belongs_to(const void* owner, const std::byte* data) {
  const std::lock_guard lock(mutex_);
  const auto found = in_use_.find(const_cast<std::byte*>(data));
  return found != in_use_.end() && found->second->owner == owner;
}
void Pool::disown(const void* owner, const Stream& home) {
  const std::lock_guard lock(mutex_);
  std::erase_if(held_, [&](const auto& h) { return h.second == owner && (put_back(h.first), true); });
  std::vector<Block*> all;
  for (Cache* cache : {&small_, &large_})
    std::erase_if(*cache, [&](Block* b) { return b->owner == owner && (all.push_back(b), true); });
  for (Block* b : all) runtime::mark_released(home.handle(), b->data, b->bytes);
  for (const auto& [data, b] : in_use_)
    if (b->owner == owner) all.push_back(b);
  for (Block* b : all) {
    b->owner = nullptr;
    b->stream = home.handle();
    if (b->free) cache_of(*b).insert(b);
  }
}
void Pool::give_back() {
  GRAFT_CHECK(captures_ == 0, "empty_cache: not while a graph is captured");
  detail::begin_launch(device_);
  const std::lock_guard lock(mutex_);
  look_after_waiting(true);
  release_cached();
}

Pool& pool(int device) {
  need("memory", Device(Device::cuda, device));
  static std::mutex mutex;
  static auto* pools = new std::vector<std::unique_ptr<Pool>>(256);  // never destroyed: tensors may outlive statics
  const std::lock_guard lock(mutex);
  std::unique_ptr<Pool>& p = (*pools)[size_t(device)];
  if (!p) p = std::make_unique<Pool>(device);
  return *p;
}

struct Pinned final : memory::Source {
  std::byte* allocate(size_t bytes) override {
    detail::begin_launch(0);
    void* p = nullptr;
    check(runtime::allocate_pinned(std::max<size_t>(bytes, 1), &p), "allocating pinned memory");
    return static_cast<std::byte*>(p);
  }
  void release(std::byte* p, size_t) noexcept override { (void)runtime::release_pinned(p); }
};
Pinned& pinned() {
  static auto* p = new Pinned;
  return *p;
}

}  // namespace

memory::Source& detail::memory_of(int device) { return pool(device); }
void detail::capture_begins(int device) { pool(device).count_captures(1); }
void detail::capture_ends(int device) { pool(device).count_captures(-1); }
void detail::record_use(int device, std::byte* data, const Stream& s) { pool(device).record_use(data, s); }
bool detail::belongs_to(const void* owner, int device, const std::byte* data) { return pool(device).belongs_to(owner, data); }
void detail::disown(const void* owner, const Stream& home) noexcept { pool(home.device()).disown(owner, home); }
void* allocate_workspace(int device, size_t bytes) noexcept try {
  return pool(device).allocate(bytes);
} catch (...) {  // whoever asks has a way without
  return nullptr;
}
void release_workspace(int device, void* p, size_t bytes) noexcept { pool(device).release(static_cast<std::byte*>(p), bytes); }
MemoryStats memory_stats(int device) { return pool(device).stats(); }
void reset_peak(int device) { pool(device).reset_peak(); }
void empty_cache() {
  for (int d = 0; d < device_count(); ++d) pool(d).give_back();
}
void record_use(const Tensor& t, const Stream& s) {
  GRAFT_CHECK(t.defined() && t.device() == Device(Device::cuda, s.device()), ErrorCode::device_mismatch, "record_use: ", t,
              " is not on cuda:", s.device());
  pool(s.device()).record_use(t.impl()->storage->data, s);
}

Tensor pin(const Tensor& t) {
  GRAFT_CHECK(t.device() == Device::cpu, ErrorCode::device_mismatch, "pin: ", t, " is not on cpu");
  memory::Source* before = memory::set_source(&pinned());
  struct Restore {
    memory::Source* to;
    ~Restore() { memory::set_source(to); }
  } const restore{before};
  return t.clone();
}
bool is_pinned(const Tensor& t) { return t.impl()->storage->source == &pinned(); }

}  // namespace graft::cuda

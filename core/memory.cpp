#include "graft/core/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <new>
#include <utility>
#include <vector>
#include "graft/kernels/scratch.h"

#if defined(__SANITIZE_ADDRESS__) || defined(GRAFT_ASAN)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) (void)0
#define ASAN_UNPOISON_MEMORY_REGION(p, n) (void)0
#endif

namespace graft::inline v1::memory {
namespace {

// Up to 1 KiB in steps of 64 bytes; above, four classes per power of two (at most 20 % lost to rounding).
constexpr size_t kAlign = 64;
constexpr size_t kFine = 1024;
constexpr int kFineClasses = kFine / kAlign;
constexpr int kClasses = kFineClasses + 4 * 38;
constexpr size_t kThreadBytes = size_t{1} << 18;  // a thread keeps at most this much of one class
constexpr uint32_t kThreadBlocks = 1024;

int class_of(size_t bytes) {
  if (bytes <= kFine) return bytes == 0 ? 0 : int((bytes - 1) / kAlign);
  const int octave = std::bit_width(bytes - 1) - 1;  // 2^octave <= bytes - 1
  return kFineClasses + (octave - 10) * 4 + int((bytes - 1) >> (octave - 2) & 3);
}
size_t class_bytes(int c) {
  if (c < kFineClasses) return size_t(c + 1) * kAlign;
  const int octave = 10 + (c - kFineClasses) / 4;
  return (size_t{1} << octave) + size_t((c - kFineClasses) % 4 + 1) * (size_t{1} << (octave - 2));
}
uint32_t thread_limit(int c) {
  const size_t blocks = kThreadBytes / class_bytes(c);
  return blocks < kThreadBlocks ? uint32_t(blocks) : kThreadBlocks;
}

struct Block { Block* next; };
// A cached block may not be touched, but for its link: leak checkers follow the lists of threads that still run.
[[maybe_unused]] void poison([[maybe_unused]] Block* b, [[maybe_unused]] size_t bytes) {
  ASAN_POISON_MEMORY_REGION(b + 1, bytes - sizeof(Block));
}
// Only the owner writes a counter, so a relaxed load and store suffice: no locked instruction.
struct Counter {
  std::atomic<int64_t> value{0};
  void increment() { value.store(get() + 1, std::memory_order_relaxed); }
  int64_t get() const { return value.load(std::memory_order_relaxed); }
};
struct Bin {
  Block* head = nullptr;
  uint32_t room = 0;  // blocks it may still take; 0 before a thread's first slow call and after its end
  Counter allocated, released;
};
struct ThreadCache {
  std::array<Bin, kClasses> bins{};
  Hook hook = nullptr;
  void* hook_context = nullptr;
  Source* source = nullptr;
};
constinit thread_local ThreadCache t_cache;

struct Shared {
  std::mutex mutex;
  std::array<Block*, kClasses> lists{};
  std::vector<ThreadCache*> threads;
  Stats retired;  // of threads that have ended; and system totals
};
void add_counts(const ThreadCache& cache, Stats& to) {
  for (int c = 0; c < kClasses; ++c) {
    const Bin& bin = cache.bins[size_t(c)];
    to.in_use += (bin.allocated.get() - bin.released.get()) * int64_t(class_bytes(c));
    to.allocations += bin.allocated.get();
  }
}
Shared& shared() {
  static auto* s = new Shared;  // never destroyed: tensors may outlive static destruction
  return *s;
}

void flush(ThreadCache& cache, Shared& s) {
  for (int c = 0; c < kClasses; ++c)
    while (Block* b = cache.bins[c].head) {
      ASAN_UNPOISON_MEMORY_REGION(b, sizeof(Block));
      cache.bins[c].head = b->next;
      b->next = s.lists[c];
      s.lists[c] = b;
      ++cache.bins[c].room;
    }
}

struct ThreadGuard {  // its destructor hands a finished thread's blocks to the others
  ThreadGuard() {
    const std::lock_guard lock(shared().mutex);
    shared().threads.push_back(&t_cache);
    for (int c = 0; c < kClasses; ++c) t_cache.bins[c].room = thread_limit(c);
  }
  ~ThreadGuard() {
    Shared& s = shared();
    const std::lock_guard lock(s.mutex);
    flush(t_cache, s);
    std::erase(s.threads, &t_cache);
    add_counts(t_cache, s.retired);
    for (Bin& bin : t_cache.bins) bin.room = 0;
  }
  ThreadGuard(const ThreadGuard&) = delete;
  ThreadGuard& operator=(const ThreadGuard&) = delete;
};
void register_thread() { static thread_local ThreadGuard guard; }

constexpr size_t kHugePage = size_t{1} << 21;

// Large blocks are pages of their own: given back, their memory serves any other size.
void* from_system(size_t bytes) {
  if (bytes < 2 * kHugePage) return std::aligned_alloc(kAlign, bytes);
  void* pages = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return nullptr;
  auto* first = static_cast<std::byte*>(pages);
  const size_t skipped = (kHugePage - reinterpret_cast<uintptr_t>(first) % kHugePage) % kHugePage;
  if (skipped) munmap(first, skipped);
  if (skipped < kHugePage) munmap(first + skipped + bytes, kHugePage - skipped);
#ifdef MADV_HUGEPAGE
  madvise(first + skipped, bytes, MADV_HUGEPAGE);  // a wish; where it is not granted nothing changes
#endif
  return first + skipped;
}
void to_system(void* block, size_t bytes) {
  if (bytes < 2 * kHugePage) return std::free(block);
  ASAN_UNPOISON_MEMORY_REGION(block, bytes);
  munmap(block, bytes);
}

[[gnu::cold, gnu::noinline]] void* take_shared(int c) {  // a batch for this thread's bin, or a fresh block
  register_thread();
  Shared& s = shared();
  const size_t bytes = class_bytes(c);
  {
    const std::lock_guard lock(s.mutex);
    if (Block* b = s.lists[c]) {
      s.lists[c] = b->next;
      Bin& bin = t_cache.bins[c];
      for (int i = 0; i < 31 && s.lists[c] && bin.room > thread_limit(c) / 2; ++i, --bin.room) {
        Block* more = std::exchange(s.lists[c], s.lists[c]->next);
        more->next = bin.head;
        bin.head = more;
        poison(more, bytes);
      }
      return b;
    }
    s.retired.from_system += int64_t(bytes);
    ++s.retired.system_calls;
  }
  void* fresh = from_system(bytes);
  if (!fresh) {
    trim();
    fresh = from_system(bytes);
  }
  const std::lock_guard lock(s.mutex);
  if (!fresh) {
    s.retired.from_system -= int64_t(bytes);
    throw std::bad_alloc();
  }
  s.retired.peak = std::max(s.retired.peak, s.retired.from_system);
  return fresh;
}

[[gnu::cold, gnu::noinline]] void give_shared(Block* b, int c) noexcept {  // the bin is full: half of it moves on
  register_thread();
  Shared& s = shared();
  const std::lock_guard lock(s.mutex);
  Bin& bin = t_cache.bins[c];
  b->next = s.lists[c];
  s.lists[c] = b;
  for (uint32_t i = thread_limit(c) / 2; i > 0 && bin.head; --i, ++bin.room) {
    ASAN_UNPOISON_MEMORY_REGION(bin.head, sizeof(Block));
    Block* more = std::exchange(bin.head, bin.head->next);
    more->next = s.lists[c];
    s.lists[c] = more;
  }
}

void* hand_out(void* block, [[maybe_unused]] size_t bytes, int c) {
  ASAN_POISON_MEMORY_REGION(block, class_bytes(c));
  ASAN_UNPOISON_MEMORY_REGION(block, bytes);
  t_cache.bins[c].allocated.increment();
  return block;
}

}  // namespace

static void* take(Bin& bin, Block* block, size_t bytes, int c) {
  ASAN_UNPOISON_MEMORY_REGION(block, sizeof(Block));
  bin.head = block->next;
  ++bin.room;
  return hand_out(block, bytes, c);
}
[[gnu::noinline]] static void* allocate_any(size_t bytes) {
  ThreadCache& cache = t_cache;
  if (cache.hook) [[unlikely]] cache.hook(bytes, cache.hook_context);
  if (bytes > size_t{1} << 46) throw std::bad_alloc();
  const int c = class_of(bytes);
  Bin& bin = cache.bins[c];
  return bin.head ? take(bin, bin.head, bytes, c) : hand_out(take_shared(c), bytes, c);
}
void* allocate(size_t bytes) {
  ThreadCache& cache = t_cache;
  if (bytes - 1 < kFine && !cache.hook) [[likely]] {
    const int c = int((bytes - 1) / kAlign);
    if (Bin& bin = cache.bins[c]; bin.head) [[likely]] return take(bin, bin.head, bytes, c);
  }
  return allocate_any(bytes);
}

void release(void* block, size_t bytes) noexcept {
  const int c = bytes - 1 < kFine ? int((bytes - 1) / kAlign) : class_of(bytes);
  auto* b = static_cast<Block*>(block);
  ASAN_UNPOISON_MEMORY_REGION(block, sizeof(Block));
  Bin& bin = t_cache.bins[c];
  bin.released.increment();
  if (bin.room == 0) [[unlikely]] return give_shared(b, c);
  --bin.room;
  b->next = bin.head;
  bin.head = b;
  poison(b, class_bytes(c));
}

Stats stats() {
  Shared& s = shared();
  const std::lock_guard lock(s.mutex);
  Stats total = s.retired;
  for (const ThreadCache* t : s.threads) add_counts(*t, total);
  return total;
}

void reset_peak() {
  Shared& s = shared();
  const std::lock_guard lock(s.mutex);
  s.retired.peak = s.retired.from_system;
}

void trim() {
  Shared& s = shared();
  const std::lock_guard lock(s.mutex);
  flush(t_cache, s);
  for (int c = 0; c < kClasses; ++c)
    while (Block* b = s.lists[c]) {
      s.lists[c] = b->next;
      s.retired.from_system -= int64_t(class_bytes(c));
      to_system(b, class_bytes(c));
    }
}

void set_hook(Hook hook, void* context) {
  t_cache.hook = hook;
  t_cache.hook_context = context;
}
Source* set_source(Source* s) { return std::exchange(t_cache.source, s); }
Source* source() { return t_cache.source; }

}  // namespace graft::memory

namespace graft::inline v1 {

void* allocate_scratch(size_t bytes) { return memory::allocate(bytes); }
void release_scratch(void* block, size_t bytes) noexcept { memory::release(block, bytes); }

}  // namespace graft

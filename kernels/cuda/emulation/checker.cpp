// Looks at every access of a kernel to memory: g++ -fsanitize=thread calls the functions at the end of this file, which
// are ours; its own library is not linked. Found are accesses outside of allocations and of the host's memory, reads of
// what nobody wrote, and races: two threads at one place, one of them writing, with no barrier between.
#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <new>
#include "graft/kernels/cuda/emulation/fiber.h"
#include "graft/kernels/cuda/emulation/state.h"

namespace graft::inline v1::cuda::emulation {
namespace {

// Who was here, in 64 bits: a thread of the launch (27 bits), whether by an atomic, its times (see Thread), and which of the
// four bytes it touched. Cells are as many as everything that a kernel touches, so they are small.
class Visit {
 public:
  Visit() = default;
  Visit(uint32_t thread, uint32_t epoch, uint32_t warp_time)
      : bits_(uint64_t(thread) << 37 | uint64_t(uint16_t(epoch)) << 20 | uint64_t(uint16_t(warp_time)) << 4) {}
  uint32_t thread() const { return uint32_t(bits_ >> 37); }
  bool atomic() const { return bits_ >> 36 & 1; }
  uint16_t epoch() const { return uint16_t(bits_ >> 20); }
  uint16_t warp_time() const { return uint16_t(bits_ >> 4); }
  unsigned bytes() const { return bits_ & 15; }
  bool same_time(Visit v) const { return ((bits_ ^ v.bits_) & ~(uint64_t{1} << 36 | 15)) == 0; }
  void touch(unsigned bytes) { bits_ |= bytes; }
  void set_atomic(bool atomic) { bits_ |= uint64_t(atomic) << 36; }

 private:
  uint64_t bits_ = 0;
};
static_assert(kMostThreads == size_t{1} << (64 - 37));
// What is known of four bytes. Masks have a bit per byte. `*_serial` is that of the launch (global memory) or of the
// block (shared): visits of earlier ones do not matter. Of more threads than these the oldest are forgotten: a race may be
// missed where many threads share four bytes, none is invented.
struct Cell {
  Visit write, read, earlier_read;
  uint32_t write_serial : 28, allocated : 4;
  uint32_t read_serial : 28, initialised : 4;
};
static_assert(sizeof(Cell) == 32);
inline constexpr uint32_t kSerials = (1U << 28) - 1;

size_t offset_of(const void* p, const char* base) { return size_t(static_cast<const char*>(p) - base); }
Cell* map_cells(size_t bytes) {
  void* p = mmap(nullptr, bytes / 4 * sizeof(Cell), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  return static_cast<Cell*>(p);
}
Cell* global_cells() {
  static Cell* cells = map_cells(kDeviceBytes * kMaxDevices);
  return cells;
}
Cell* shared_cells() {
  static Cell* cells = map_cells(kSharedBytes);
  return cells;
}
size_t shared_used = 0;  // of the arena, since the cells were cleared

struct Range { uintptr_t first, last; };
Range arguments{};
std::vector<Range>& program() {  // code and data of the program and its libraries
  static auto* all = [] {
    auto* made = new std::vector<Range>;
    dl_iterate_phdr(
        [](dl_phdr_info* i, size_t, void* to) {
          for (int k = 0; k < i->dlpi_phnum; ++k)
            if (i->dlpi_phdr[k].p_type == PT_LOAD) {
              const uintptr_t first = i->dlpi_addr + i->dlpi_phdr[k].p_vaddr;
              static_cast<std::vector<Range>*>(to)->push_back({first, first + i->dlpi_phdr[k].p_memsz});
            }
          return 0;
        },
        made);
    return made;
  }();
  return *all;
}
bool host_memory_allowed(const void* p) {
  const auto at = reinterpret_cast<uintptr_t>(p);
  const auto inside = [at](const Range& r) { return at >= r.first && at < r.last; };
  return inside(arguments) || std::ranges::any_of(program(), inside);
}

struct Access {
  char* p;
  unsigned bytes;
  bool write, atomic;
  void* pc;
};

[[noreturn, gnu::noinline]] void report(const char* kind, const Access& a, const std::string& more) {
  char text[80];
  std::snprintf(text, sizeof text, ": %u-byte %s at %p (", a.bytes, a.write ? "write" : "read", static_cast<void*>(a.p));
  kernel_fault(cudaErrorIllegalAddress, kind + (text + source_line(static_cast<char*>(a.pc) - 1)) + ") " + more);
}
std::string name_thread(uint32_t t) {
  const auto n = uint32_t(running.block.size);
  return "thread " + std::to_string(t % n) + " of block " + std::to_string(t / n);
}

// Whether what `v` did is over for the running thread: a barrier of the block or of the warp lies between, or the other
// block has published it (fence, atomic) and this one has looked (atomic).
bool ordered(Visit v) {
  const Block& b = running.block;
  const auto n = uint32_t(b.size), first = uint32_t(b.index) * n, index = v.thread() - first;
  if (index >= n) return running.released[v.thread() / n] && b.acquired;
  const Thread& me = *running.thread;
  if (v.epoch() != uint16_t(me.epoch)) return true;
  if (index / 32 != uint32_t(me.index) / 32) return false;
  const unsigned both = 1U << (index % 32) | 1U << (me.index % 32);
  return std::ranges::any_of(b.warps[size_t(me.index) / 32].log,
                             [&](const Meeting& m) { return uint16_t(m.time) > v.warp_time() && (m.lanes & both) == both; });
}

void look_for_races(Cell& c, unsigned mask, const Access& a, bool shared, Visit me) {
  const uint32_t serial = (shared ? running.block_serial : running.serial) & kSerials;
  const char* kind = shared ? "race on shared memory" : "race on global memory";
  const auto collides = [&](Visit v) { return (v.bytes() & mask) && v.thread() != me.thread() && !ordered(v); };
  me.touch(mask);
  if (c.write_serial == serial && !(a.atomic && c.write.atomic()) && collides(c.write))
    report(kind, a, "with a write by " + name_thread(c.write.thread()));
  if (c.read_serial != serial) c.read = c.earlier_read = {};
  c.read_serial = serial;
  if (a.write) {
    for (const Visit v : {c.read, c.earlier_read})
      if (collides(v)) report(kind, a, "with a read by " + name_thread(v.thread()));
    if (c.write_serial == serial && c.write.same_time(me)) me.touch(c.write.bytes());
    me.set_atomic(a.atomic);
    c.write_serial = serial;
    c.write = me;
    return;
  }
  if (c.read.same_time(me)) me.touch(c.read.bytes());
  else if (c.read.thread() != me.thread()) c.earlier_read = c.read;
  c.read = me;
}

void check(const Access& a) {
  const size_t in_global = offset_of(a.p, global_memory), in_shared = offset_of(a.p, shared_arena);
  const bool shared = in_shared < kSharedBytes;
  if (!shared && in_global >= kDeviceBytes * kMaxDevices) {
    if (host_memory_allowed(a.p)) return;
    report("host memory touched by a kernel", a, "");
  }
  const bool power_of_two = (a.bytes & (a.bytes - 1)) == 0 && a.bytes <= 16;
  if (power_of_two && (reinterpret_cast<uintptr_t>(a.p) & (a.bytes - 1))) report("misaligned access", a, "");
  if (!shared && device_of(a.p) != running.device)
    report("memory of another device", a, "of device " + std::to_string(device_of(a.p)));

  const Settings& s = settings();
  if (s.traffic) note_access(a.p, a.bytes, a.write, shared, a.pc);
  const Thread& t = *running.thread;
  const Visit me(uint32_t(running.block.index) * uint32_t(running.block.size) + uint32_t(t.index), t.epoch, t.warp_time);
  Cell* c = shared ? shared_cells() + in_shared / 4 : global_cells() + in_global / 4;
  unsigned first = unsigned(shared ? in_shared : in_global) & 3;
  for (unsigned left = a.bytes; left; ++c, first = 0) {
    const unsigned n = std::min(4 - first, left), mask = ((1U << n) - 1) << first;
    left -= n;
    if ((c->allocated & mask) != mask) {
      if (shared) report("shared memory out of bounds", a, "outside every shared array");
      const std::string why = why_not_valid(a.p, a.bytes);
      report("global memory out of bounds", a, why.empty() ? "past the end of a tensor, or of one that was freed" : why);
    }
    if (s.races) look_for_races(*c, mask, a, shared, me);
    if (a.write) c->initialised |= mask;
    else if (s.uninitialised && (c->initialised & mask) != mask)
      report(shared ? "uninitialised shared memory" : "uninitialised global memory", a, "");
  }
}

void mark(Cell* cells, size_t offset, size_t bytes, bool initialised) {
  for (size_t i = offset; i < offset + bytes;) {
    Cell& c = cells[i / 4];
    unsigned mask = 0;
    do mask |= 1U << (i & 3);
    while (++i & 3 && i < offset + bytes);
    c.allocated |= mask;
    c.initialised = initialised ? c.initialised | mask : c.initialised & ~mask;
    c.write_serial = c.read_serial = 0;
  }
}

}  // namespace

void mark_global(const void* p, size_t bytes, bool initialised) {
  mark(global_cells(), offset_of(p, global_memory), bytes, initialised);
}
void forget_global(const void* p, size_t bytes) {
  const size_t first = offset_of(p, global_memory);
  Cell *begin = global_cells() + first / 4, *end = global_cells() + (first + bytes + 3) / 4;
  const auto page = [](Cell* c, size_t up) { return (reinterpret_cast<uintptr_t>(c) + up) & ~uintptr_t{4095}; };
  const uintptr_t inner = page(begin, 4095), inner_end = page(end, 0);
  if (inner >= inner_end) return void(std::memset(static_cast<void*>(begin), 0, size_t(end - begin) * sizeof(Cell)));
  // Whole pages go back to the system, and come again as zeros.
  std::memset(static_cast<void*>(begin), 0, inner - reinterpret_cast<uintptr_t>(begin));
  madvise(reinterpret_cast<void*>(inner), inner_end - inner, MADV_DONTNEED);
  std::memset(reinterpret_cast<void*>(inner_end), 0, reinterpret_cast<uintptr_t>(end) - inner_end);
}
bool is_marked(const void* p, size_t bytes) {
  const size_t first = offset_of(p, global_memory);
  for (size_t i = first; i < first + bytes; ++i)
    if (!(global_cells()[i / 4].allocated >> (i & 3) & 1)) return false;
  return true;
}
bool is_initialised(const void* p, size_t bytes) {
  const size_t first = offset_of(p, global_memory);
  for (size_t i = first; i < first + bytes; ++i)
    if (!(global_cells()[i / 4].initialised >> (i & 3) & 1)) return false;
  return true;
}
void forget_shared() {
  std::memset(static_cast<void*>(shared_cells()), 0, shared_used / 4 * sizeof(Cell));
  shared_used = 0;
}
void mark_shared(const void* p, size_t bytes) {
  const size_t first = offset_of(p, shared_arena);
  shared_used = std::max(shared_used, (first + bytes + 7) / 4 * 4);
  mark(shared_cells(), first, bytes, false);
}
void check_atomic(const void* p, unsigned bytes, void* pc) {
  check({static_cast<char*>(const_cast<void*>(p)), bytes, true, true, pc});
}
void allow_arguments(const void* p, size_t bytes) {
  const auto first = reinterpret_cast<uintptr_t>(p);
  arguments = {first, first + bytes};
}

}  // namespace graft::cuda::emulation

// ---- what -fsanitize=thread calls --------------------------------------------------------------------------------

static inline void on_access(void* p, size_t bytes, bool write, void* pc) {
  using namespace graft::cuda::emulation;  // NOLINT(google-build-using-namespace)
  if (!t_in_kernel || on_fiber_stack(p) || bytes == 0) return;
  const OutsideKernel scope;
  check({static_cast<char*>(p), unsigned(bytes), write, false, pc});
}
extern "C" {
#define GRAFT_ACCESS(n)                                                                                    \
  void __tsan_read##n(void* p) { on_access(p, n, false, __builtin_return_address(0)); }                       \
  void __tsan_write##n(void* p) { on_access(p, n, true, __builtin_return_address(0)); }                       \
  void __tsan_unaligned_read##n(void* p) { on_access(p, n, false, __builtin_return_address(0)); }             \
  void __tsan_unaligned_write##n(void* p) { on_access(p, n, true, __builtin_return_address(0)); }
GRAFT_ACCESS(1)
GRAFT_ACCESS(2)
GRAFT_ACCESS(4)
GRAFT_ACCESS(8)
GRAFT_ACCESS(16)
void __tsan_read_range(void* p, size_t n) { on_access(p, n, false, __builtin_return_address(0)); }
void __tsan_write_range(void* p, size_t n) { on_access(p, n, true, __builtin_return_address(0)); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
// std::atomic in the host's part of kernel files.
#define GRAFT_HOST_ATOMIC(bits, T)                                                                                       \
  T __tsan_atomic##bits##_load(const volatile T* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }                 \
  void __tsan_atomic##bits##_store(volatile T* p, T v, int) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }                 \
  T __tsan_atomic##bits##_exchange(volatile T* p, T v, int) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); }       \
  T __tsan_atomic##bits##_fetch_add(volatile T* p, T v, int) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); }       \
  T __tsan_atomic##bits##_fetch_sub(volatile T* p, T v, int) { return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST); }       \
  bool __tsan_atomic##bits##_compare_exchange_strong(volatile T* p, T* e, T v, int, int) {                               \
    return __atomic_compare_exchange_n(p, e, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                              \
  }
GRAFT_HOST_ATOMIC(8, char)
GRAFT_HOST_ATOMIC(32, int)
GRAFT_HOST_ATOMIC(64, long)
}

// Memory of the emulated devices: global memory in one range of addresses, closed to the host but inside a DeviceScope;
// shared memory of the running block with gaps between its arrays. Fresh memory holds NaNs.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <map>
#include <new>
#include "graft/kernels/cuda/emulation/state.h"

namespace graft::inline v1::cuda::emulation {
namespace {

constexpr size_t kPage = 4096, kGap = 256;
size_t page_up(size_t n) { return (n + kPage - 1) & ~(kPage - 1); }

char* reserve(size_t bytes, int protection) {
  void* p = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  return static_cast<char*>(p);
}

struct Allocation {
  size_t bytes = 0;
  bool live = false;
};
struct Global {
  std::map<const char*, Allocation> allocations;  // freed ones as well: their addresses are not used again
  size_t used[kMaxDevices] = {};                  // of the addresses
  size_t in_use[kMaxDevices] = {};
  int open = 0;                                   // nested DeviceScopes
};
Global& global() {
  static auto* g = new Global;  // never destroyed
  return *g;
}
void protect_all(int protection) {
  for (int d = 0; d < kMaxDevices; ++d)
    if (global().used[d]) mprotect(global_memory + size_t(d) * kDeviceBytes, page_up(global().used[d]), protection);
}

struct SharedArray {
  const void* key;  // null: the dynamic part
  char* data;
};
struct Shared {
  std::vector<SharedArray> arrays;
  char* top = nullptr;
  size_t static_bytes = 0, dynamic_bytes = 0;
};
Shared shared_state;

char* take_shared(size_t bytes) {
  constexpr size_t kRedZone = 64;
  char* p = shared_state.top;
  shared_state.top += (bytes + kRedZone - 1) / kRedZone * kRedZone + kRedZone;
  std::memset(p, 0xff, bytes);
  mark_shared(p, bytes);
  return p;
}

void explain(int /*signal*/, siginfo_t* info, void* /*context*/) {
  char line[160];
  const bool device = is_device_memory(info->si_addr) && global().open == 0;
  const int n = device ? std::snprintf(line, sizeof line, "[cuda] host code dereferenced device pointer %p\n", info->si_addr)
                       : std::snprintf(line, sizeof line, "[cuda] invalid address %p in %s\n", info->si_addr,
                                       running.thread ? "a kernel" : "host code");
  if (write(STDERR_FILENO, line, size_t(n)) < 0) _exit(98);
  _exit(99);
}

}  // namespace

char* const global_memory = reserve(kDeviceBytes * kMaxDevices, PROT_NONE);
char* const shared_arena = reserve(kSharedBytes, PROT_READ | PROT_WRITE);

DeviceScope::DeviceScope() {
  if (global().open++ == 0) protect_all(PROT_READ | PROT_WRITE);
}
DeviceScope::~DeviceScope() {
  if (--global().open == 0) protect_all(PROT_NONE);
}

cudaError_t allocate_global(int device, size_t bytes, void** out) {
  Settings& s = settings();
  Global& g = global();
  *out = nullptr;
  const bool refuse = s.fail_allocation > 0 && --s.fail_allocation == 0;
  if (refuse || g.in_use[device] + bytes > s.memory) return cudaErrorMemoryAllocation;
  const size_t start = page_up(g.used[device] + kGap), end = start + page_up(bytes);
  if (end + kGap > kDeviceBytes) return cudaErrorMemoryAllocation;
  g.used[device] = end;
  char* p = global_memory + size_t(device) * kDeviceBytes + start;
  const DeviceScope scope;
  mprotect(p, page_up(bytes), PROT_READ | PROT_WRITE);
  g.allocations[p] = {bytes, true};
  g.in_use[device] += bytes;
  *out = p;
  return cudaSuccess;
}

cudaError_t release_global(void* p) {
  Global& g = global();
  const auto found = g.allocations.find(static_cast<const char*>(p));
  if (found == g.allocations.end() || !found->second.live) {
    host_error(found == g.allocations.end() ? "cudaFree: not an allocation" : "cudaFree: freed twice");
    return cudaErrorInvalidValue;
  }
  Allocation& a = found->second;
  a.live = false;
  g.in_use[device_of(p)] -= a.bytes;
  forget_global(p, a.bytes);
  madvise(p, page_up(a.bytes), MADV_DONTNEED);
  return cudaSuccess;
}

size_t global_in_use(int device) { return global().in_use[device]; }

std::string why_not_valid(const void* p, size_t bytes) {
  if (bytes == 0) return {};
  if (!is_device_memory(p)) return "not a device pointer";
  const auto* at = static_cast<const char*>(p);
  auto next = global().allocations.upper_bound(at);
  if (next == global().allocations.begin()) return "outside any allocation";
  const auto& [base, a] = *--next;
  if (at >= base + a.bytes) return "outside any allocation";
  if (!a.live) return "use after free";
  if (at + bytes <= base + a.bytes) return {};
  return "range of " + std::to_string(bytes) + " bytes exceeds its allocation of " + std::to_string(a.bytes) + " at offset " +
         std::to_string(at - base);
}

void begin_block_shared(size_t dynamic_bytes) {
  forget_shared();
  shared_state = {{}, shared_arena + 64, 0, dynamic_bytes};
  if (dynamic_bytes) shared_state.arrays.push_back({nullptr, take_shared(dynamic_bytes)});
}
void* shared_memory(const void* key, size_t bytes) {
  const OutsideKernel scope;
  for (const SharedArray& a : shared_state.arrays)
    if (a.key == key) return a.data;
  shared_state.static_bytes += bytes;
  const size_t all = shared_state.static_bytes;
  if (all > kSharedDefault || all + shared_state.dynamic_bytes > kSharedMost)
    kernel_fault(cudaErrorInvalidConfiguration, std::to_string(all) + " bytes of static shared memory are over the limit");
  shared_state.arrays.push_back({key, take_shared(bytes)});
  return shared_state.arrays.back().data;
}
void* dynamic_shared() {
  static char none[1];
  return shared_state.dynamic_bytes ? shared_state.arrays[0].data : none;
}

void explain_segmentation_faults() {
  struct sigaction action {};
  action.sa_sigaction = explain;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, nullptr);
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace graft::cuda::emulation

#include "graft/kernels/isa.h"

#include <atomic>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace graft::inline v1::cpu {
namespace {

#if defined(__x86_64__)
Isa detect() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return Isa::baseline;
  const bool fma = c >> 12 & 1U, osxsave = c >> 27 & 1U, avx = c >> 28 & 1U, f16c = c >> 29 & 1U;
  if (!osxsave || !avx || !fma || !f16c) return Isa::baseline;
  unsigned saved = 0, high = 0;  // which registers the operating system saves
  __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
  if ((saved & 0x6U) != 0x6U) return Isa::baseline;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b >> 5 & 1U)) return Isa::baseline;
  const bool f = b >> 16 & 1U, dq = b >> 17 & 1U, bw = b >> 30 & 1U, vl = b >> 31 & 1U;
  return f && dq && bw && vl && (saved & 0xe6U) == 0xe6U ? Isa::avx512 : Isa::avx2;
}
#else
Isa detect() { return Isa::baseline; }
#endif

constexpr uint8_t kUnknown = 255;
constinit std::atomic<uint8_t> g_isa{kUnknown};

}  // namespace

Isa best_isa() {
  static const Isa best = detect();
  return best;
}
Isa isa() {
  const uint8_t now = g_isa.load(std::memory_order_relaxed);
  if (now != kUnknown) [[likely]] return Isa(now);
  g_isa.store(uint8_t(best_isa()), std::memory_order_relaxed);
  return best_isa();
}
Isa set_isa(Isa wanted) {
  const Isa before = isa();
  if (wanted <= best_isa()) g_isa.store(uint8_t(wanted), std::memory_order_relaxed);
  return before;
}
std::string_view name_of(Isa i) {
  constexpr std::string_view names[] = {"baseline", "avx2", "avx512"};
  return names[int(i)];
}

}  // namespace graft

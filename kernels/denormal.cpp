#include "graft/kernels/denormal.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#elif defined(__aarch64__)
#include <cstdint>
#endif

namespace graft::inline v1 {

#if defined(__x86_64__)
constexpr unsigned kFlush = 0x8040;  // results are flushed (bit 15), inputs count as zero (bit 6)
unsigned detail::float_mode() { return _mm_getcsr() & kFlush; }
void detail::set_float_mode(unsigned mode) { _mm_setcsr((_mm_getcsr() & ~kFlush) | mode); }
#elif defined(__aarch64__)
constexpr unsigned kFlush = 1U << 24;  // FPCR.FZ
static uint64_t fpcr() {
  uint64_t v = 0;
  __asm__ volatile("mrs %0, fpcr" : "=r"(v));
  return v;
}
unsigned detail::float_mode() { return unsigned(fpcr() & kFlush); }
void detail::set_float_mode(unsigned mode) {
  const uint64_t v = (fpcr() & ~uint64_t{kFlush}) | mode;
  __asm__ volatile("msr fpcr, %0" ::"r"(v));
}
#else
constexpr unsigned kFlush = 0;
unsigned detail::float_mode() { return 0; }
void detail::set_float_mode(unsigned) {}
#endif

bool set_flush_denormal(bool on) {
  detail::set_float_mode(on ? kFlush : 0);
  return kFlush != 0;
}
bool flush_denormal() { return detail::float_mode() != 0; }

}  // namespace graft

// How many f32 operations a second one core can do at most: independent multiply-adds in registers, per instruction set.
#pragma once
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <chrono>
#include "graft/kernels/isa.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace peak {

// Chains enough to cover the latency of the operation.
inline __attribute__((noinline)) float run_baseline(long n) {
  typedef float V __attribute__((vector_size(16)));
  V a[12], x = V{} + 0.9999F, y = V{} + 1e-6F;
  for (int i = 0; i < 12; ++i) a[i] = x * float(i);
  for (long k = 0; k < n; ++k) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) a[i] = a[i] * x + y;
  }
  float sum = 0;
  for (int i = 0; i < 12; ++i) sum += a[i][0];
  return sum;
}
#if defined(__x86_64__)
__attribute__((noinline, target("avx2,fma"))) inline float run_avx2(long n) {
  __m256 a[12], x = _mm256_set1_ps(0.9999F), y = _mm256_set1_ps(1e-6F);
  for (int i = 0; i < 12; ++i) a[i] = _mm256_set1_ps(float(i));
  for (long k = 0; k < n; ++k) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) a[i] = _mm256_fmadd_ps(a[i], x, y);
  }
  float sum = 0;
  for (int i = 0; i < 12; ++i) sum += _mm256_cvtss_f32(a[i]);
  return sum;
}
__attribute__((noinline, target("avx512f"))) inline float run_avx512(long n) {
  __m512 a[24], x = _mm512_set1_ps(0.9999F), y = _mm512_set1_ps(1e-6F);
  for (int i = 0; i < 24; ++i) a[i] = _mm512_set1_ps(float(i));
  for (long k = 0; k < n; ++k) {
#pragma GCC unroll 24
    for (int i = 0; i < 24; ++i) a[i] = _mm512_fmadd_ps(a[i], x, y);
  }
  float sum = 0;
  for (int i = 0; i < 24; ++i) sum += _mm512_cvtss_f32(a[i]);
  return sum;
}
#endif

struct Loop {
  float (*run)(long);
  double flops;  // of one iteration
};
inline Loop loop(graft::cpu::Isa isa) {
#if defined(__x86_64__)
  if (isa == graft::cpu::Isa::avx512) return {run_avx512, 24 * 16 * 2};
  if (isa == graft::cpu::Isa::avx2) return {run_avx2, 12 * 8 * 2};
#endif
  return {run_baseline, 12 * 4 * 2};
}
// Measured once, the best of several: other programs only take away.
inline double gflops(graft::cpu::Isa isa) {
  static std::array<double, 3> known{};
  double& best = known[size_t(isa)];
  if (best > 0) return best;
  for (int r = 0; r < 40; ++r) {
    const Loop l = loop(isa);
    const auto start = std::chrono::steady_clock::now();
    benchmark::DoNotOptimize(l.run(50000));
    const double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, l.flops * 50000 / s * 1e-9);
  }
  return best;
}

}  // namespace peak

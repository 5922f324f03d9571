// Vectors of f32 for AVX-512: sixteen lanes.
#pragma once
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // g++ 12 in its own intrinsics
#endif
#include <immintrin.h>

#include <cstdint>

namespace graft::inline v1 {
namespace {

constexpr int W = 16;
constexpr int kRows2 = 14, kRows1 = 14;
using V = __m512;
#define GRAFT_VEC static inline __attribute__((always_inline))

GRAFT_VEC __mmask16 first_lanes(int64_t n) { return __mmask16((1U << n) - 1); }
GRAFT_VEC V ld(const float* p) { return _mm512_loadu_ps(p); }
GRAFT_VEC void st(float* p, V v) { _mm512_storeu_ps(p, v); }
GRAFT_VEC V set(float x) { return _mm512_set1_ps(x); }
GRAFT_VEC V zero() { return _mm512_setzero_ps(); }
GRAFT_VEC V ldm(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(first_lanes(n), p); }
GRAFT_VEC void stm(float* p, V v, int64_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), v); }
GRAFT_VEC V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
GRAFT_VEC V add(V a, V b) { return _mm512_add_ps(a, b); }
GRAFT_VEC V sub(V a, V b) { return _mm512_sub_ps(a, b); }
GRAFT_VEC V mul(V a, V b) { return _mm512_mul_ps(a, b); }
GRAFT_VEC V max(V a, V b) { return _mm512_max_ps(a, b); }
GRAFT_VEC V min(V a, V b) { return _mm512_min_ps(a, b); }
GRAFT_VEC float sum(V v) {
  const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
// The sums of four, in one vector; each is added up in the order of sum().
GRAFT_VEC __m128 quad_sum(__m128 a, __m128 b, __m128 c, __m128 d) {
  const __m128 ab = _mm_add_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
  const __m128 cd = _mm_add_ps(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
  return _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab));
}
GRAFT_VEC __m128 quarters(V v) {
  const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  return _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
}
GRAFT_VEC void sum4(const V* v, float* to) {
  _mm_storeu_ps(to, quad_sum(quarters(v[0]), quarters(v[1]), quarters(v[2]), quarters(v[3])));
}
GRAFT_VEC void prefetch(const float* p) { __builtin_prefetch(p, 0, 2); }

}  // namespace
}  // namespace graft

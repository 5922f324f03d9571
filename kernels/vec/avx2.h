// Vectors of f32 for AVX2 with FMA: eight lanes.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace graft::inline v1 {
namespace {

constexpr int W = 8;
constexpr int kRows2 = 6, kRows1 = 12;
using V = __m256;
#define GRAFT_VEC static inline __attribute__((always_inline))

GRAFT_VEC __m256i first_lanes(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(int(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
GRAFT_VEC V ld(const float* p) { return _mm256_loadu_ps(p); }
GRAFT_VEC void st(float* p, V v) { _mm256_storeu_ps(p, v); }
GRAFT_VEC V set(float x) { return _mm256_set1_ps(x); }
GRAFT_VEC V zero() { return _mm256_setzero_ps(); }
GRAFT_VEC V ldm(const float* p, int64_t n) { return _mm256_maskload_ps(p, first_lanes(n)); }
GRAFT_VEC void stm(float* p, V v, int64_t n) { _mm256_maskstore_ps(p, first_lanes(n), v); }
GRAFT_VEC V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
GRAFT_VEC V add(V a, V b) { return _mm256_add_ps(a, b); }
GRAFT_VEC V sub(V a, V b) { return _mm256_sub_ps(a, b); }
GRAFT_VEC V mul(V a, V b) { return _mm256_mul_ps(a, b); }
GRAFT_VEC V max(V a, V b) { return _mm256_max_ps(a, b); }
GRAFT_VEC V min(V a, V b) { return _mm256_min_ps(a, b); }
GRAFT_VEC float sum(V v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
// The sums of four, in one vector; each is added up in the order of sum().
GRAFT_VEC __m128 quad_sum(__m128 a, __m128 b, __m128 c, __m128 d) {
  const __m128 ab = _mm_add_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
  const __m128 cd = _mm_add_ps(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
  return _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab));
}
GRAFT_VEC __m128 halves(V v) { return _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1)); }
GRAFT_VEC void sum4(const V* v, float* to) { _mm_storeu_ps(to, quad_sum(halves(v[0]), halves(v[1]), halves(v[2]), halves(v[3]))); }
GRAFT_VEC void prefetch(const float* p) { __builtin_prefetch(p, 0, 2); }

}  // namespace
}  // namespace graft

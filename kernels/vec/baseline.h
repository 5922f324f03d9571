// Vectors of f32 of the instruction set that the whole library is compiled for: four lanes. All in an unnamed namespace,
// as in avx2.h and avx512.h: kernels are written once over these names.
#pragma once
#include <cstdint>

namespace graft::inline v1 {
namespace {

constexpr int W = 4;               // lanes
constexpr int kRows2 = 6, kRows1 = 12;  // rows of a register tile that is two vectors or one wide
typedef float V __attribute__((vector_size(16)));
typedef float Unaligned __attribute__((vector_size(16), aligned(4), may_alias));
#define GRAFT_VEC static inline __attribute__((always_inline))

GRAFT_VEC V ld(const float* p) { return *reinterpret_cast<const Unaligned*>(p); }
GRAFT_VEC void st(float* p, V v) { *reinterpret_cast<Unaligned*>(p) = v; }
GRAFT_VEC V set(float x) { return V{x, x, x, x}; }
GRAFT_VEC V zero() { return set(0); }
GRAFT_VEC V ldm(const float* p, int64_t n) {  // the first n lanes; the others are zero
  V v = zero();
  for (int i = 0; i < W; ++i)
    if (i < n) v[i] = p[i];
  return v;
}
GRAFT_VEC void stm(float* p, V v, int64_t n) {
  for (int i = 0; i < W; ++i)
    if (i < n) p[i] = v[i];
}
GRAFT_VEC V fma(V a, V b, V c) { return a * b + c; }
GRAFT_VEC V add(V a, V b) { return a + b; }
GRAFT_VEC V sub(V a, V b) { return a - b; }
GRAFT_VEC V mul(V a, V b) { return a * b; }
GRAFT_VEC V max(V a, V b) { return a > b ? a : b; }  // b if either is NaN
GRAFT_VEC V min(V a, V b) { return a < b ? a : b; }
GRAFT_VEC float sum(V v) { return (v[0] + v[2]) + (v[1] + v[3]); }
GRAFT_VEC void sum4(const V* v, float* to) {  // of four vectors
  for (int i = 0; i < 4; ++i) to[i] = sum(v[i]);
}
GRAFT_VEC void prefetch(const float* p) { __builtin_prefetch(p, 0, 2); }

}  // namespace
}  // namespace graft

// Pointwise rows of f32 and f64 for AVX-512.
#include "graft/kernels/pointwise/rows.inc"

namespace graft::inline v1::pointwise {

void rows_avx512(Op* ops) {
  fill<float, math::kFloat>(ops, 2, in_f32);
  fill<double, math::kFloat>(ops, 2, in_f64);
}

}  // namespace graft::pointwise

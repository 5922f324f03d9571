// Pointwise rows of f32 and f64 for AVX2 with FMA.
#include "graft/kernels/pointwise/rows.inc"

namespace graft::inline v1::pointwise {

void rows_avx2(Op* ops) {
  fill<float, math::kFloat>(ops, 1, in_f32);
  fill<double, math::kFloat>(ops, 1, in_f64);
}

}  // namespace graft::pointwise

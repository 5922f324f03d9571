// Pointwise rows of complex numbers.
#include "graft/kernels/pointwise/rows.inc"

namespace graft::inline v1::pointwise {

void rows_complex(Op* ops) {
  fill<std::complex<float>, math::kComplex>(ops, 0, in_c64);
  fill<std::complex<double>, math::kComplex>(ops, 0, in_c128);
}

}  // namespace graft::pointwise

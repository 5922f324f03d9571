// Pointwise ops of complex numbers on cuda.
#include "graft/kernels/cuda/compat.h"
#include "graft/kernels/pointwise/cuda.inc"

namespace graft::inline v1 {

void register_pointwise_complex_cuda() {
  pointwise::add_all_complex<1, pointwise::Form::tensors>(math::Unary{});
  pointwise::add_all_complex<2, pointwise::Form::tensors>(math::Binary{});
  pointwise::add_all_complex<3, pointwise::Form::tensors>(math::Ternary{});
  pointwise::add_all_complex<2, pointwise::Form::scalar_second>(math::ScalarSecond{});
  pointwise::add_all_complex<2, pointwise::Form::scalar_first>(math::ScalarFirst{});
}

}  // namespace graft

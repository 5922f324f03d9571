// Pointwise ops on cuda: those of three inputs, and those with a number in the place of one.
#include "graft/kernels/cuda/compat.h"
#include "graft/kernels/pointwise/cuda.inc"

namespace graft::inline v1 {

void register_pointwise_cuda() {
  register_pointwise_unary_cuda();
  register_pointwise_binary_cuda();
  register_pointwise_complex_cuda();
  pointwise::add_all<3, pointwise::Form::tensors>(math::Ternary{});
  pointwise::add_all<2, pointwise::Form::scalar_second>(math::ScalarSecond{});
  pointwise::add_all<2, pointwise::Form::scalar_first>(math::ScalarFirst{});
}

}  // namespace graft

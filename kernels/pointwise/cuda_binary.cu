// Pointwise ops of two inputs on cuda.
#include "graft/kernels/cuda/compat.h"
#include "graft/kernels/pointwise/cuda.inc"

namespace graft::inline v1 {

void register_pointwise_binary_cuda() { pointwise::add_all<2, pointwise::Form::tensors>(math::Binary{}); }

}  // namespace graft

// Pointwise ops of one input on cuda.
#include "graft/kernels/cuda/compat.h"
#include "graft/kernels/pointwise/cuda.inc"

namespace graft::inline v1 {

void register_pointwise_unary_cuda() { pointwise::add_all<1, pointwise::Form::tensors>(math::Unary{}); }

}  // namespace graft

#include "graft/kernels/cuda/register.h"

namespace graft::inline v1 {

void register_cuda_kernels() {
  register_move_cuda();
  register_pointwise_cuda();
}

}  // namespace graft

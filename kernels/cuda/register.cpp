#include "graft/kernels/cuda/register.h"

namespace graft::inline v1 {

void register_cuda_kernels() {
}

}  // namespace graft

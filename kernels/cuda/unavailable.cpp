// What a build without CUDA has in the place of kernels/cuda/runtime.cpp and register.cpp.
#include "graft/kernels/cuda/register.h"

namespace graft::inline v1 {

void register_cuda_kernels() {}

}  // namespace graft

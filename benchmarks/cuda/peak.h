// Multiply-adds in registers, nothing else: what the units of a GPU can do at most. 16-bit types go by mma.sync, which the
// kernels use; Hopper's wgmma and Blackwell's tcgen05 are faster, so that cuBLAS may be above 100 %.
#pragma once
#include "graft/core/tensor.h"

namespace peak {

// Runs `steps` rounds on all of the device; returns how many operations they are. `out`: f32, kOutputs numbers at least.
inline constexpr int64_t kOutputs = 256;
double launch(graft::DType, const graft::Tensor& out, int blocks, int steps, void* stream);

}  // namespace peak

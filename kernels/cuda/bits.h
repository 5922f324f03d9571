// What is only moved is moved as bits: one kernel per size of elements instead of one per dtype.
#pragma once
#include "graft/kernels/cuda/compat.h"

namespace graft::inline v1::cuda {

struct alignas(16) Bits16 { uint64_t of[2]; };
template <size_t bytes>
using Bits = std::conditional_t<bytes == 1, uint8_t, std::conditional_t<bytes == 2, uint16_t, std::conditional_t<bytes == 4, uint32_t,
             std::conditional_t<bytes == 8, uint64_t, Bits16>>>>;

}  // namespace graft::cuda

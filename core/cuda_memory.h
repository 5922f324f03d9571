// For core/cuda*.cpp: errors of the CUDA runtime as exceptions.
#pragma once
#include <string_view>
#include "graft/kernels/cuda/runtime.h"

namespace graft::inline v1::cuda {

void check(runtime::Status, std::string_view what);  // "cuda: <what>: <what the runtime says>"

}  // namespace graft::cuda

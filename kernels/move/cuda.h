// Copying and converting between any two views on cuda, for kernels that begin with a copy.
#pragma once
#include "graft/kernels/table.h"

namespace graft::inline v1::cuda {

Decline copy_into(const View& to, const View& from, void* stream);  // `from` broadcasts to `to`

}  // namespace graft::cuda

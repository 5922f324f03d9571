// Copying and converting between any two views on cpu, for kernels that begin with a copy.
#pragma once
#include "graft/kernels/view.h"

namespace graft::inline v1 {

void copy_into(const View& to, const View& from);  // `from` broadcasts to `to`

}  // namespace graft

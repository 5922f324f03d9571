// Converting elements between any two dtypes, strided.
#pragma once
#include "graft/kernels/rows.h"

namespace graft::inline v1 {

// A row (see rows.h) that writes operand 1, of dtype `from`, to operand 0, of dtype `to`.
Row convert_row(DType to, DType from);

}  // namespace graft

// Pointwise rows of integers.
#include "graft/kernels/pointwise/rows.inc"

namespace graft::inline v1::pointwise {

void rows_integer(Op* ops) { fill<int64_t, math::kInt>(ops, 0, in_i64); }

}  // namespace graft::pointwise

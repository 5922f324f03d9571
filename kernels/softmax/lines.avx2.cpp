// Softmax lines for AVX2 with FMA.
#include "graft/kernels/softmax/lines.inc"

namespace graft::inline v1::softmax_lines {

LineSet lines_avx2() { return lines_here(); }

}  // namespace graft::softmax_lines

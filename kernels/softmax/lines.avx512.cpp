// Softmax lines for AVX-512.
#include "graft/kernels/softmax/lines.inc"

namespace graft::inline v1::softmax_lines {

LineSet lines_avx512() { return lines_here(); }

}  // namespace graft::softmax_lines

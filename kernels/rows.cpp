#include "graft/kernels/rows.h"

namespace graft::inline v1 {

bool same_dense_layout(const Launch& l) {
  const View& out = *l.out[0];
  for (const View* v : l.in) {
    if (!same_sizes(*v, out)) return false;
    for (int d = 0; d < out.rank; ++d)
      if (v->stride[d] != out.stride[d] && out.size[d] != 1) return false;
  }
  return is_dense(out);
}

// Stride of dimension d of the output in v, which may have fewer dimensions or size 1 there.
static int64_t aligned_stride(const View& v, const View& out, int d) {
  const int own = d - (out.rank - v.rank);
  return own < 0 || v.size[own] == 1 ? 0 : v.stride[own];
}

void for_each_row(const Launch& l, Row row) {
  const View& out = *l.out[0];
  if (out.numel == 0) return;
  const size_t n = l.in.size() + 1;
  const int last = out.rank - 1;
  std::array<Operand, kMaxOperands> operands{};
  std::array<std::array<int64_t, kMaxRank>, kMaxOperands> step{};  // in bytes, of the outer dimensions
  for (size_t k = 0; k < n; ++k) {
    const View& v = k == 0 ? out : *l.in[k - 1];
    for (int d = 0; d < last; ++d) step[k][size_t(d)] = aligned_stride(v, out, d) * size_of(v.dtype);
    operands[k] = {v.data, last < 0 ? 1 : aligned_stride(v, out, last)};
  }
  std::array<int64_t, kMaxRank> index{};
  const int64_t width = last < 0 ? 1 : out.size[last];
  for (int64_t rows = out.numel / width; rows > 0; --rows) {
    row(operands.data(), width, l.attrs);
    for (int d = last - 1; d >= 0; --d) {  // an odometer: the next outer index
      const auto i = size_t(d);
      const bool carry = ++index[i] == out.size[d];
      const int64_t by = carry ? 1 - out.size[d] : 1;
      for (size_t k = 0; k < n; ++k) operands[k].data += by * step[k][i];
      if (!carry) break;
      index[i] = 0;
    }
  }
}

}  // namespace graft

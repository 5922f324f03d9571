#include "graft/kernels/rows.h"

#include <algorithm>
#include "graft/kernels/parallel.h"

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

OperandWalk::OperandWalk(const Launch& l) : operands(l.in.size() + 1) {
  const View& out = *l.out[0];
  int order[kMaxRank];
  int n = 0;
  for (int d = 0; d < out.rank; ++d) {
    if (out.size[d] == 1) continue;
    int at = n++;
    for (; at > 0 && out.stride[order[at - 1]] < out.stride[d]; --at) order[at] = order[at - 1];
    order[at] = d;
  }
  for (size_t k = 0; k < operands; ++k) {
    const View& v = k == 0 ? out : *l.in[k - 1];
    data[k] = v.data;
    bytes[k] = size_of(v.dtype);
    for (int i = 0; i < n; ++i) step[i][k] = aligned_stride(v, out, order[i]);
  }
  for (int i = 0; i < n; ++i) {
    size[rank] = out.size[order[i]];
    if (i != rank) std::copy_n(step[i], operands, step[rank]);
    if (rank > 0 && merges(rank - 1, rank)) {
      size[rank - 1] *= size[rank];
      std::copy_n(step[rank], operands, step[rank - 1]);
    } else {
      ++rank;
    }
  }
  if (rank > 0) return;
  rank = 1;
  size[0] = 1;
  std::fill_n(step[0], operands, 1);
}

bool OperandWalk::merges(int outer, int inner) const {
  for (size_t k = 0; k < operands; ++k)
    if (step[outer][k] != step[inner][k] * size[inner]) return false;
  return true;
}

void OperandWalk::run(int64_t first, int64_t last, Row row, const void* attrs) const {
  std::array<Operand, kMaxOperands> o;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled below
  const int inner = rank - 1;
  for (size_t k = 0; k < operands; ++k) o[k] = {data[k] + first * step[0][k] * bytes[k], step[inner][k]};
  if (rank == 1) return row(o.data(), last - first, attrs);
  int64_t index[kMaxRank] = {};
  int64_t rows = last - first;
  for (int d = 1; d < inner; ++d) rows *= size[d];
  for (; rows > 0; --rows) {
    row(o.data(), size[inner], attrs);
    for (int d = inner - 1; d >= 0; --d) {  // an odometer: the next outer index
      const bool carry = d > 0 && ++index[d] == size[d];
      const int64_t by = carry ? 1 - size[d] : 1;
      for (size_t k = 0; k < operands; ++k) o[k].data += by * step[d][k] * bytes[k];
      if (!carry) break;
      index[d] = 0;
    }
  }
}

void for_each_row(const Launch& l, Row row) {
  if (l.out[0]->numel == 0) return;
  const OperandWalk walk(l);
  walk.run(0, walk.size[0], row, l.attrs);
}

void for_each_row_parallel(const Launch& l, Row row) {
  constexpr int64_t kGrain = 1 << 15;  // elements
  const int64_t n = l.out[0]->numel;
  if (n == 0) return;
  const OperandWalk walk(l);
  if (n < 2 * kGrain) return walk.run(0, walk.size[0], row, l.attrs);
  const int64_t grain = std::max<int64_t>(1, kGrain * walk.size[0] / n);
  parallel_for(0, walk.size[0], grain, [&](int64_t first, int64_t last) { walk.run(first, last, row, l.attrs); });
}

}  // namespace graft

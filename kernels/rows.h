// Walking strided, broadcast operands. Only the innermost row is a template; the outer dimensions are walked here.
#pragma once
#include <array>
#include "graft/kernels/view.h"

namespace graft::inline v1 {

inline constexpr size_t kMaxOperands = 8;

struct Operand {
  std::byte* data;
  int64_t step;  // in elements
};
// operands[0] is the output, then the inputs.
using Row = void (*)(const Operand* operands, int64_t n, const void* attrs);

bool same_dense_layout(const Launch&);  // all have the sizes and strides of the output, which has no gaps

// One output; every input has its shape or broadcasts to it. Dimensions are walked in the order of the output's memory
// and merged where they can be, so that rows are long. The second form may call row on several threads at a time.
void for_each_row(const Launch&, Row);
void for_each_row_parallel(const Launch&, Row);

// True if one row covers everything: all operands lie in memory alike, without gaps.
inline bool one_row_covers(const Launch& l) {
  const View& out = *l.out[0];
  if (!out.contiguous && !same_dense_layout(l)) return false;
  bool ok = true;
  for (const View* v : l.in) ok = ok && v->numel == out.numel && (v->contiguous || !out.contiguous);
  return ok;
}
inline void one_row(const Launch& l, Row row) {
  std::array<Operand, kMaxOperands> operands{};
  operands[0] = {l.out[0]->data, 1};
  for (size_t k = 0; k < l.in.size(); ++k) operands[k + 1] = {l.in[k]->data, 1};
  row(operands.data(), l.out[0]->numel, l.attrs);
}

}  // namespace graft

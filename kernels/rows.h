// Walking strided, broadcast operands. Only the innermost row is a template; the outer dimensions are walked here.
#pragma once
#include <array>
#include "graft/kernels/view.h"

namespace graft::inline v1 {

inline constexpr size_t kMaxOperands = 4;

struct Operand {
  std::byte* data;
  int64_t step;  // in elements
};
// operands[0] is the output, then the inputs.
using Row = void (*)(const Operand* operands, int64_t n, const void* attrs);

// One output; every input has its shape or broadcasts to it.
void for_each_row(const Launch&, Row);

// True if one row covers everything.
inline bool all_contiguous(const Launch& l) {
  const View& out = *l.out[0];
  bool ok = out.contiguous;
  for (const View* v : l.in) ok = ok && v->contiguous && v->numel == out.numel;
  return ok;
}
inline void one_row(const Launch& l, Row row) {
  std::array<Operand, kMaxOperands> operands{};
  operands[0] = {l.out[0]->data, 1};
  for (size_t k = 0; k < l.in.size(); ++k) operands[k + 1] = {l.in[k]->data, 1};
  row(operands.data(), l.out[0]->numel, l.attrs);
}

}  // namespace graft

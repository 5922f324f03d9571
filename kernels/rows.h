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

// The dimensions in the order in which the output lies in memory, neighbours merged where all operands allow it.
struct OperandWalk {
  size_t operands = 0;
  int rank = 0;                            // the innermost is last; at least 1
  int64_t size[kMaxRank];                  // NOLINT(modernize-avoid-c-arrays): set up to rank
  int64_t step[kMaxRank][kMaxOperands];    // in elements
  int64_t bytes[kMaxOperands];             // of an element
  std::byte* data[kMaxOperands];

  explicit OperandWalk(const Launch&);
  void run(int64_t first, int64_t last, Row, const void* attrs) const;  // of the outermost dimension

 private:
  bool merges(int outer, int inner) const;
};

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

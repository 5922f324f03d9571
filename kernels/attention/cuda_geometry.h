// What the attention kernels on cuda share: matrices of a batch whose leading dimensions broadcast, scores, and the first step of
// the derivative.
#pragma once
#include "graft/kernels/attention/attrs.h"
#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/group.h"
#include "graft/kernels/cuda/workspace.h"
#include "graft/kernels/table.h"

namespace graft::inline v1::cuda::attention {

struct Matrix {
  std::byte* data = nullptr;
  DType dtype = f32;
  unsigned bytes = 4, rows = 0, columns = 0;
  int64_t row = 0, column = 0;  // strides in elements

  template <class C> __device__ C at(unsigned r, unsigned c) const {  // zeros outside
    return r < rows && c < columns ? load_own<C>(data + (r * row + c * column) * bytes, dtype) : C(0);
  }
  template <class C> __device__ void put(unsigned r, unsigned c, C value) const {
    store_own(data + (r * row + c * column) * bytes, dtype, value);
  }
};
struct Operand : Matrix {
  int64_t batch[kMaxRank] = {};  // strides of the leading dimensions
};
struct Batch {
  int rank = 0;
  unsigned count = 1;
  Divider size[kMaxRank];
  __device__ Matrix place(const Operand& x, unsigned z) const {  // number z of the batch
    Matrix m = x;
    int64_t at = 0;
    for (int d = rank - 1; d >= 0; --d) {
      const unsigned next = size[d].divide(z);
      at += int64_t(z - next * size[d].divisor) * x.batch[d];
      z = next;
    }
    m.data += at * m.bytes;
    return m;
  }
};

struct Attention {
  Operand q, k, v, mask, y, g;
  Operand dq, dk, dv;
  Batch batch;
  void *lse = nullptr, *delta = nullptr;  // [batch][queries]; delta = sum(g y)
  double scale = 1;
  bool causal = false, masked = false;
};

// `rank`: of the leading dimensions.
inline Operand operand_of(const View& v, int rank) {
  Operand m;
  m.data = v.data, m.dtype = v.dtype, m.bytes = unsigned(size_of(v.dtype));
  const int r = v.rank;
  m.rows = unsigned(v.size[r - 2]), m.columns = unsigned(v.size[r - 1]);
  m.row = v.stride[r - 2], m.column = v.stride[r - 1];
  for (int d = 0; d < rank; ++d) {
    const int own = d - (rank + 2 - r);
    m.batch[d] = own >= 0 && v.size[own] != 1 ? v.stride[own] : 0;
  }
  return m;
}
inline Decline take(const Launch& l, const View& q, const View& k, const View& v, const View& y, const View* mask, Attention& a) {
  const auto& attrs = l.attrs_as<AttentionAttrs>();
  const int rank = y.rank - 2;
  int64_t count = 1;
  for (int d = 0; d < rank; ++d) {
    a.batch.size[d] = Divider(unsigned(std::max<int64_t>(y.size[d], 1)));
    count *= y.size[d];
  }
  const int64_t queries = q.size[q.rank - 2], keys = k.size[k.rank - 2];
  if (count > INT32_MAX || queries > (1 << 30) || keys > (1 << 30)) return "2^31 products or 2^30 queries or keys, or more";
  a.batch.rank = rank, a.batch.count = unsigned(count);
  a.q = operand_of(q, rank), a.k = operand_of(k, rank), a.v = operand_of(v, rank), a.y = operand_of(y, rank);
  a.scale = attrs.scale, a.causal = attrs.causal, a.masked = mask != nullptr;
  if (!mask) return kRan;
  a.mask = operand_of(*mask, rank);
  if (mask->rank >= 2) {
    if (a.mask.rows == 1) a.mask.row = 0;
    if (a.mask.columns == 1) a.mask.column = 0;
  }
  a.mask.rows = unsigned(queries), a.mask.columns = unsigned(keys);
  return kRan;
}

// The score of query i and key j from their product; -infinity: the key takes no part.
template <class C> __device__ inline C score(const Attention& a, const Matrix& mask, unsigned i, unsigned j, C product) {
  const C hidden = C(-INFINITY);
  if (i >= a.q.rows || j >= a.k.rows || (a.causal && j > i)) return hidden;
  const C s = product * C(a.scale);
  if (!a.masked) return s;
  if (mask.dtype == boolean) return *reinterpret_cast<const bool*>(mask.data + i * mask.row + j * mask.column) ? s : hidden;
  return s + mask.at<C>(i, j);
}

// ---- the derivative --------------------------------------------------------------------------------------------

inline Decline take_backward(const Launch& l, Attention& a) {
  const View& y = *l.in[4];
  if (l.in[5]->numel > INT32_MAX) return "2^31 queries or more";
  if (const Decline why = take(l, *l.in[1], *l.in[2], *l.in[3], y, l.in.size() > 6 ? l.in[6] : nullptr, a)) return why;
  const int rank = y.rank - 2;
  a.g = operand_of(*l.in[0], rank), a.lse = l.in[5]->data;
  a.dq = operand_of(*l.out[0], rank), a.dk = operand_of(*l.out[1], rank), a.dv = operand_of(*l.out[2], rank);
  return kRan;
}
inline constexpr Decline kNoMemory = "no memory left for a number of each query";

template <class C> __global__ __launch_bounds__(kThreads) void sum_products(const __grid_constant__ Attention a, Groups g) {
  GRAFT_SHARED(C, part, [kThreads]);
  const unsigned i = blockIdx.x * g.outputs + g.group(), z = i / a.q.rows, row = i - z * a.q.rows;
  C sum = C(0);
  if (z < a.batch.count) {
    const Matrix x = a.batch.place(a.g, z), y = a.batch.place(a.y, z);
    for (unsigned c = g.place(); c < y.columns; c += g.along) sum += x.at<C>(row, c) * y.at<C>(row, c);
  }
  sum = join_group(g, part, sum, [](const C& x, const C& y) { return x + y; });
  if (z < a.batch.count && g.place() == 0) static_cast<C*>(a.delta)[i] = sum;
}
template <class C> void find_delta(Attention& a, std::byte* memory, void* stream) {
  a.delta = memory;
  const int64_t queries = int64_t(a.batch.count) * a.q.rows;
  if (queries == 0) return;
  const Groups groups(a.y.columns, false);
  launch(sum_products<C>, blocks_for(queries, groups.outputs), kThreads, 0, stream, a, groups);
}

}  // namespace graft::cuda::attention

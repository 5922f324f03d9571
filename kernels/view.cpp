#include "graft/kernels/view.h"

#include <array>

namespace graft::inline v1 {

// The dimensions that matter, by stride; returns how many.
static size_t order_by_stride(const View& v, std::array<int, kMaxRank>& order) {
  size_t n = 0;
  for (int d = 0; d < v.rank; ++d) {
    if (v.size[d] == 1) continue;
    size_t at = n++;
    for (; at > 0 && v.stride[order[at - 1]] > v.stride[d]; --at) order[at] = order[at - 1];
    order[at] = d;
  }
  return n;
}

bool may_overlap(const View& v) {
  if (v.contiguous || v.numel == 0) return false;
  std::array<int, kMaxRank> order{};
  const size_t n = order_by_stride(v, order);
  int64_t reach = 0;  // of the last element along the dimensions so far
  for (size_t i = 0; i < n; ++i) {
    if (v.stride[order[i]] <= reach) return true;
    reach += (v.size[order[i]] - 1) * v.stride[order[i]];
  }
  return false;
}

bool is_dense(const View& v) {
  if (v.contiguous) return true;
  std::array<int, kMaxRank> order{};
  const size_t n = order_by_stride(v, order);
  int64_t step = 1;
  for (size_t i = 0; i < n; ++i) {
    if (v.stride[order[i]] != step) return false;
    step *= v.size[order[i]];
  }
  return true;
}

}  // namespace graft

#include "graft/kernels/view.h"

#include <array>

namespace graft::inline v1 {

bool is_dense(const View& v) {
  if (v.contiguous) return true;
  std::array<int, kMaxRank> order{};  // of the dimensions that matter, by stride
  size_t n = 0;
  for (int d = 0; d < v.rank; ++d) {
    if (v.size[d] == 1) continue;
    size_t at = n++;
    for (; at > 0 && v.stride[order[at - 1]] > v.stride[d]; --at) order[at] = order[at - 1];
    order[at] = d;
  }
  int64_t step = 1;
  for (size_t i = 0; i < n; ++i) {
    if (v.stride[order[i]] != step) return false;
    step *= v.size[order[i]];
  }
  return true;
}

}  // namespace graft

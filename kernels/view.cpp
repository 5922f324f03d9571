#include "graft/kernels/view.h"

#include <algorithm>
#include <array>

namespace graft::inline v1 {

bool is_dense(const View& v) {
  if (v.contiguous) return true;
  std::array<uint8_t, kMaxRank> order{};
  int n = 0;
  for (int i = 0; i < v.rank; ++i)
    if (v.size[i] != 1) order[size_t(n++)] = uint8_t(i);
  std::sort(order.begin(), order.begin() + n, [&v](uint8_t a, uint8_t b) { return v.stride[a] < v.stride[b]; });
  int64_t step = 1;
  for (int i = 0; i < n; ++i) {
    if (v.stride[order[size_t(i)]] != step) return false;
    step *= v.size[order[size_t(i)]];
  }
  return true;
}

}  // namespace graft

// Some dimensions of a view as kernels walk them, in logical order.
#pragma once
#include "graft/kernels/cuda/strided.h"

namespace graft::inline v1::cuda {

// The next dimension inwards: n elements, `step` apart.
inline void add_dimension(Dimensions& d, int64_t n, int64_t step) {
  d.size[d.rank] = Divider(unsigned(std::max<int64_t>(n, 1)));
  d.step[d.rank++] = step;
  d.count *= unsigned(n);
}
inline Dimensions dimensions_of(const View& v, int first, int end) {
  Dimensions d;
  for (int i = first; i < end; ++i) add_dimension(d, v.size[i], v.stride[i]);
  return d;
}

}  // namespace graft::cuda

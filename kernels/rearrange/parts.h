// Which parts of input and output flip, roll and pad copy. Shared by the kernels of all devices.
#pragma once
#include "graft/kernels/rearrange/attrs.h"

namespace graft::inline v1 {

// The part [start, start + length) of dimension `dim`.
inline View part(View v, int dim, int64_t start, int64_t length) {
  v.data += start * v.stride[dim] * size_of(v.dtype);
  v.numel = v.size[dim] ? v.numel / v.size[dim] * length : 0;
  v.size[dim] = length;
  v.contiguous = false;
  return v;
}

// From the last to the first along the dimensions whose bit is set.
inline View flipped(View x, uint32_t dims) {
  x.contiguous = false;
  for (int d = 0; d < x.rank && x.numel > 0; ++d) {
    if (!(dims >> d & 1U)) continue;
    x.data += (x.size[d] - 1) * x.stride[d] * size_of(x.dtype);
    x.stride[d] = -x.stride[d];
  }
  return x;
}

// Calls copy(part of the output, part of the input) for the two of "roll".
template <class Copy> void each_part_of_roll(const Launch& l, Copy copy) {
  const auto [dim, shift] = l.attrs_as<RollAttrs>();
  const View &x = *l.in[0], &y = *l.out[0];
  const int64_t rest = x.size[dim] - shift;
  copy(part(y, dim, shift, rest), part(x, dim, 0, rest));
  copy(part(y, dim, 0, shift), part(x, dim, rest, shift));
}

}  // namespace graft

// How ops that find elements by index see their operands: views whose strides along the index are 0, and what an index adds.
// Shared by the kernels of all devices.
#pragma once
#include <array>
#include "graft/kernels/index/attrs.h"

namespace graft::inline v1 {

// Each index adds a multiple of a stride of the side it refers to; a negative one counts from the end.
struct Picks {
  int n = 0;
  std::array<int64_t, kMaxIndices> size{}, stride{};
};

// The part of x that lies below an index: its sizes are the index's, and the index moves along `dim`.
inline View along_index(const View& x, const View& index, int dim, Picks& picks) {
  View v = x;
  copy_sizes(v, index);
  v.numel = index.numel;
  v.contiguous = false;
  picks.n = 1;
  picks.size[0] = x.rank ? x.size[dim] : 1;
  picks.stride[0] = x.rank ? x.stride[dim] : 0;
  if (index.rank) v.stride[x.rank ? dim : 0] = 0;
  return v;
}
// x as seen through the result's dimensions: those of the index tensors have stride 0, for the indices move it.
inline View through_index(const View& x, const View& result, const View& first, const IndexAttrs& a, Picks& picks) {
  View v = x;
  copy_sizes(v, result);
  v.numel = result.numel;
  v.contiguous = false;
  picks.n = a.n;
  for (size_t k = 0; k < a.n; ++k) {
    picks.size[k] = x.size[a.dims[k]];
    picks.stride[k] = x.stride[a.dims[k]];
  }
  const int at = a.adjacent() ? a.dims[0] : 0;
  int d = 0;
  auto skip_index = [&] { for (int i = 0; i < first.rank; ++i) v.stride[d++] = 0; };
  for (int i = 0; i < x.rank; ++i) {
    if (d == at) skip_index();
    if (!a.has(i)) v.stride[d++] = x.stride[i];
  }
  if (d == at && d < v.rank) skip_index();
  return v;
}
// An index tensor in the dimensions of the result.
inline View in_result(const View& index, const View& result, const IndexAttrs& a) {
  View v = index;
  copy_sizes(v, result);
  v.contiguous = false;
  const int at = a.adjacent() ? a.dims[0] : 0;
  for (int d = 0; d < v.rank; ++d)
    v.stride[d] = d >= at && d < at + index.rank ? index.stride[d - at] : 0;
  return v;
}

}  // namespace graft

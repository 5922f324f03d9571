// Copying and converting between any two views on cpu, for kernels that begin with a copy; and where the parts of a
// concatenation go, on every device.
#pragma once
#include "graft/kernels/move/attrs.h"
#include "graft/kernels/view.h"

namespace graft::inline v1 {

void copy_into(const View& to, const View& from);  // `from` broadcasts to `to`

// Calls copy(part of the output, input) for every input of "cat".
template <class Copy> void each_part_of_cat(const Launch& l, Copy copy) {
  const int dim = l.attrs_as<DimAttrs>().dim;
  View part = *l.out[0];
  for (const View* in : l.in) {
    if (in->numel == 0) continue;
    part.size[dim] = in->size[dim];
    part.numel = in->numel;
    part.contiguous = false;
    copy(part, *in);
    part.data += in->size[dim] * part.stride[dim] * size_of(part.dtype);
  }
}

}  // namespace graft

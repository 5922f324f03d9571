// Attributes shared by the ops in core/ops and the kernels of this folder.
#pragma once
#include "graft/kernels/view.h"

namespace graft::inline v1 {

struct FillAttrs { double value = 0; };
struct DimAttrs { int dim = 0; };                   // already counted from the front
// Where a tensor lies inside the memory of another, contiguous one.
struct Region {
  uint8_t rank = 0;
  int64_t size[kMaxRank] = {};
  int64_t stride[kMaxRank] = {};
  int64_t offset = 0;
};
struct EmbedAttrs {
  Region region;
  uint8_t rank = 0;
  int64_t into[kMaxRank] = {};
};

}  // namespace graft

// Attributes shared by the ops in core/ops and the kernels of this folder.
#pragma once
#include "graft/kernels/scalar.h"
#include "graft/kernels/view.h"

namespace graft::inline v1 {

struct FillAttrs { Scalar value; };
struct ToDeviceAttrs { Device device; bool non_blocking = false; };
struct DimAttrs { int dim = 0; };                   // already counted from the front
// Where a tensor lies inside the memory of another one, which has no gaps.
struct Region {
  uint8_t rank = 0;
  int64_t size[kMaxRank] = {};
  int64_t stride[kMaxRank] = {};
  int64_t offset = 0;
  uint8_t base_rank = 0;  // 0: that memory is contiguous; else its (dense) strides
  int64_t base_stride[kMaxRank] = {};
};
// The strides that the copy is to have; rank 0xff: as the input where that is dense, else contiguous.
struct LayoutAttrs {
  uint8_t rank = 0xff;
  int64_t stride[kMaxRank] = {};
};
struct EmbedAttrs {
  Region region;
  uint8_t rank = 0;
  int64_t into[kMaxRank] = {};
};

}  // namespace graft

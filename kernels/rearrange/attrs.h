// Attributes of flip, roll, triangle, pad, and of the sequences arange and linspace.
#pragma once
#include "graft/kernels/scalar.h"
#include "graft/kernels/view.h"

namespace graft::inline v1 {

struct FlipAttrs { uint32_t dims = 0; };  // bits
struct RollAttrs { int dim = 0; int64_t shift = 0; };  // 0 <= shift < size
struct TriangleAttrs { int64_t diagonal = 0; bool upper = false; };
struct PadAttrs {  // negative: cuts off
  int64_t before[kMaxRank] = {}, after[kMaxRank] = {};
  Scalar value;
};
struct SequenceAttrs {
  int64_t n = 0;
  Scalar start = 0, step = 1, end = 0;
  double base = 0;  // not 0: base to the power of each
  DType dtype = f32;
  Device device;
};

}  // namespace graft

// Attributes of the ops that find elements by index.
#pragma once
#include <cstdint>
#include "graft/kernels/view.h"

namespace graft::inline v1 {

inline constexpr int kMaxIndices = 6;  // index tensors of one op

// index(x, i...), index_put(x, values, i...): index tensor k, all of one shape B, selects in dimension dims[k]
// (ascending). In the result B stands where the first of adjacent dimensions was, or in front if others lie between
// them.
enum class Put : uint8_t { assign, add, multiply, least, greatest };
struct IndexAttrs {
  uint8_t n = 0;
  uint8_t dims[kMaxIndices] = {};
  Put put = Put::assign;

  bool adjacent() const { return n == 0 || dims[n - 1] - dims[0] == n - 1; }
  bool has(int dim) const {
    for (int k = 0; k < n; ++k)
      if (dims[k] == dim) return true;
    return false;
  }
};
// scatter(x, index, src): x with src put where gather would find it.
struct ScatterAttrs { int dim = 0; Put put = Put::assign; };
struct RangeAttrs {
  int64_t low = 0, high = 0;  // all in [low, high)
  bool may_ignore = false;    // or of this value
  int64_t ignore = 0;

  constexpr bool has(int64_t i) const { return (i >= low && i < high) || (may_ignore && i == ignore); }
};

}  // namespace graft

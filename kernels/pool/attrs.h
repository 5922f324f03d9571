// Attributes of the poolings, and the rule for their output size.
//
//   max_pool, adaptive_max_pool   in x            out y, indices (i64, flat over the spatial dimensions of x)
//   max_pool_backward             in g, indices   out dx      (for both: the attributes of the pooling)
//   avg_pool, adaptive_avg_pool   in x            out y
//   avg_pool_backward, adaptive_avg_pool_backward   in g   out dx
//
// x and y are [n, channels, spatial...] of any strides. Shapes are those of the views.
#pragma once
#include <cstdint>

namespace graft::inline v1 {

// The adaptive poolings read only `rank`, and max_pool_backward whether the pooling was `adaptive`.
struct PoolAttrs {
  int32_t kernel[3] = {1, 1, 1};
  int32_t stride[3] = {1, 1, 1};
  int32_t padding[3] = {0, 0, 0};
  int32_t dilation[3] = {1, 1, 1};   // max_pool only
  int32_t divisor_override = 0;      // avg_pool: 0 is none
  uint8_t rank = 2;                  // spatial dimensions
  bool ceil_mode = false;            // read by the shape rule only
  bool count_include_pad = true;
  bool adaptive = false;
};

// Output size along spatial dimension d. In ceil mode the last window must start inside the input or its low padding.
constexpr int64_t pool_size(const PoolAttrs& a, int d, int64_t in) {
  const int64_t room = in + 2 * int64_t(a.padding[d]) - int64_t(a.dilation[d]) * (a.kernel[d] - 1) - 1;
  const int64_t up = a.ceil_mode ? a.stride[d] - 1 : 0;
  if (room + up < 0) return 0;
  const int64_t out = (room + up) / a.stride[d] + 1;
  return a.ceil_mode && (out - 1) * a.stride[d] >= in + a.padding[d] ? out - 1 : out;
}

}  // namespace graft

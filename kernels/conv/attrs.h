// Attributes of the convolutions.
//
//   conv_forward          in x, weight[, bias][, residual]    out y
//   conv_backward_data    in g, weight                        out dx
//   conv_backward_weight  in g, x                             out dweight
//
// x and y are [n, channels, spatial...]. weight is [out, in / groups, kernel...], or [in, out / groups, kernel...] if
// transposed. The shapes are those of the views: the output's size decides how far a kernel is moved, so padding "same"
// with an odd total is `padding` at the low end and nothing else. All have one dtype and any strides.
#pragma once
#include <cstdint>

namespace graft::inline v1 {

enum class Activation : uint8_t { none, relu, relu6 };

// Of the spatial dimensions the first `rank` entries are used, in the order of the tensor's dimensions.
struct ConvAttrs {
  int32_t stride[3] = {1, 1, 1};
  int32_t padding[3] = {0, 0, 0};  // zeros before the first element
  int32_t dilation[3] = {1, 1, 1};
  int32_t output_padding[3] = {0, 0, 0};  // of the transposed convolution's shape rule; kernels do not read it
  int32_t groups = 1;
  uint8_t rank = 2;
  bool transposed = false;
  // conv_forward: y = activation(conv + bias + residual), residual being of y's shape.
  bool has_bias = false;
  bool has_residual = false;
  Activation activation = Activation::none;
};

}  // namespace graft

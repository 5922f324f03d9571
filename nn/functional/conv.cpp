// Convolutions of 1 to 3 dimensions: from options to attributes; padding other than zeros is done before.
#include "graft/nn/functional.h"

namespace graft::inline v1::nn::functional {
namespace {

int32_t narrowed(int64_t v, const char* what) {
  GRAFT_CHECK(v >= INT32_MIN && v <= INT32_MAX, what, " ", v, " is out of range");
  return int32_t(v);
}

template <int N> ConvAttrs attrs_of(const ConvOptions<N>& o, const Tensor& weight) {
  ConvAttrs a{.groups = narrowed(o.groups, "groups"), .rank = N};
  for (int i = 0; i < N; ++i) {
    a.stride[i] = narrowed(o.stride[i], "stride");
    a.dilation[i] = narrowed(o.dilation[i], "dilation");
    a.padding[i] = narrowed(o.padding.amount[i], "padding");
    if (o.padding.kind == Padding<N>::sizes) continue;
    a.padding[i] = 0;
    if (o.padding.kind == Padding<N>::valid || weight.dim() != N + 2) continue;
    GRAFT_CHECK(o.stride[i] == 1, "conv: padding='same' is not supported for strided convolutions");
    const int64_t total = o.dilation[i] * (weight.size(2 + i) - 1);
    a.padding[i] = narrowed(total / 2, "padding");
    a.output_padding[i] = int32_t(total % 2);  // the high end has one more
  }
  return a;
}

template <int N>
Tensor conv(const Tensor& input, const Tensor& weight, const Tensor& bias, const ConvOptions<N>& o,
            const Epilogue& epilogue = {.residual = {}, .relu = false}) {
  ConvAttrs a = attrs_of(o, weight);
  if (epilogue.relu) a.activation = Activation::relu;
  Tensor x = input;
  if (o.padding_mode != PaddingMode::zeros) {
    std::vector<int64_t> pads;  // from the last dimension
    for (int i = N - 1; i >= 0; --i) {
      pads.insert(pads.end(), {a.padding[i], a.padding[i] + a.output_padding[i]});
      a.padding[i] = a.output_padding[i] = 0;
    }
    x = pad(x, pads, o.padding_mode.name());
  }
  return convolution(x, weight, bias, a, epilogue.residual);
}

template <int N>
Tensor conv_transpose(const Tensor& input, const Tensor& weight, const Tensor& bias, const ConvTransposeOptions<N>& o) {
  ConvAttrs a{.groups = narrowed(o.groups, "groups"), .rank = N, .transposed = true};
  for (int i = 0; i < N; ++i) {
    a.stride[i] = narrowed(o.stride[i], "stride");
    a.padding[i] = narrowed(o.padding[i], "padding");
    a.output_padding[i] = narrowed(o.output_padding[i], "output_padding");
    a.dilation[i] = narrowed(o.dilation[i], "dilation");
  }
  return convolution(input, weight, bias, a);
}

}  // namespace

Tensor conv1d(const Tensor& x, const Tensor& w, const Tensor& b, const ConvOptions<1>& o) { return conv(x, w, b, o); }
Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b, const ConvOptions<2>& o) { return conv(x, w, b, o); }
Tensor conv3d(const Tensor& x, const Tensor& w, const Tensor& b, const ConvOptions<3>& o) { return conv(x, w, b, o); }
Tensor conv_transpose1d(const Tensor& x, const Tensor& w, const Tensor& b, const ConvTransposeOptions<1>& o) {
  return conv_transpose(x, w, b, o);
}
Tensor conv_transpose2d(const Tensor& x, const Tensor& w, const Tensor& b, const ConvTransposeOptions<2>& o) {
  return conv_transpose(x, w, b, o);
}
Tensor conv_transpose3d(const Tensor& x, const Tensor& w, const Tensor& b, const ConvTransposeOptions<3>& o) {
  return conv_transpose(x, w, b, o);
}
Tensor conv1d_bias_act(const Tensor& x, const Tensor& w, const Tensor& b, const ConvOptions<1>& o, const Epilogue& e) {
  return conv(x, w, b, o, e);
}
Tensor conv2d_bias_act(const Tensor& x, const Tensor& w, const Tensor& b, const ConvOptions<2>& o, const Epilogue& e) {
  return conv(x, w, b, o, e);
}
Tensor conv3d_bias_act(const Tensor& x, const Tensor& w, const Tensor& b, const ConvOptions<3>& o, const Epilogue& e) {
  return conv(x, w, b, o, e);
}

}  // namespace graft::nn::functional

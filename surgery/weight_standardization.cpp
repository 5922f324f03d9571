#include "graft/surgery/weight_standardization.h"

#include "graft/core/ops.h"

namespace graft::inline v1::surgery {

Tensor standardized(const Tensor& w) {
  const Tensor flat = w.reshape({w.size(0), -1});
  const Tensor centred = flat - mean(flat, 1, true);
  return (centred * rsqrt(mean(centred * centred, 1, true) + 1e-10)).reshape(w.shape());
}

template <int N>
static nn::ConvLayerOptions<N> options_of(const nn::ConvNd<N>& c) {
  return {.stride = c.stride,
          .padding = c.padding,
          .dilation = c.dilation,
          .groups = c.groups,
          .bias = bool(c.bias),
          .padding_mode = c.padding_mode,
          .options = c.weight->options()};
}

template <int N, class Conv>
StandardizedConvNd<N, Conv>::StandardizedConvNd(const nn::ConvNd<N>& c)
    : Conv(c.in_channels, c.out_channels, c.kernel_size, options_of(c)) {
  this->weight.entry().share(c.weight.entry());
  if (c.bias) this->bias.entry().share(c.bias.entry());
}
template <int N, class Conv>
Tensor StandardizedConvNd<N, Conv>::forward(const Tensor& x) {
  const Tensor w = standardized(this->weight);
  if constexpr (N == 1)
    return nn::functional::conv1d(x, w, this->bias, this->geometry());
  else if constexpr (N == 2)
    return nn::functional::conv2d(x, w, this->bias, this->geometry());
  else
    return nn::functional::conv3d(x, w, this->bias, this->geometry());
}
template class StandardizedConvNd<1, nn::Conv1d>;
template class StandardizedConvNd<2, nn::Conv2d>;
template class StandardizedConvNd<3, nn::Conv3d>;

// Exactly this type: a subclass may compute something else already, as the standardised one does.
template <class Conv, class Standardized>
static Policy put() {
  return on<Conv>(
      [](const Conv& c) -> nn::ModulePtr { return typeid(c) == typeid(Conv) ? nn::make<Standardized>(c) : nullptr; });
}
std::vector<Policy> weight_standardization() {
  return {put<nn::Conv1d, StandardizedConv1d>(), put<nn::Conv2d, StandardizedConv2d>(),
          put<nn::Conv3d, StandardizedConv3d>()};
}

}  // namespace graft::inline v1::surgery

// Anti-aliased pooling and strides: Zhang, "Making Convolutional Networks Shift-Invariant Again" (2019); composer's
// BlurPool. A short example of what a policy is.
#pragma once
#include "graft/nn/conv.h"
#include "graft/nn/pooling.h"
#include "graft/surgery/policy.h"

namespace graft::inline v1::surgery {

// Every channel with [[1,2,1],[2,4,2],[1,2,1]]/16 and zero padding of 1. filter [1,1,3,3] or [C,1,3,3].
Tensor blur2d(const Tensor& x, const Tensor& filter, const nn::Sizes<2>& stride);

// Max pooling without stride, then a blur with it.
class BlurMaxPool2d : public nn::Layer {
 public:
  explicit BlurMaxPool2d(const nn::MaxPool2d& pool);
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;

  nn::Window<2> kernel_size;
  nn::Window<2> stride;
  nn::Window<2> padding;
  nn::Window<2> dilation;
  bool ceil_mode;
  nn::Buffer filt2d;
};

// A convolution with stride, after a blur (blur_first), or without its stride and before one that has it. It shares the
// parameters of the convolution it wraps.
class BlurConv2d : public nn::Layer {
 public:
  BlurConv2d(const nn::ModulePtr& conv, bool blur_first);
  Tensor forward(const Tensor& x) override;

  bool blur_first;
  nn::Sizes<2> stride;  // of the whole
  nn::Child<nn::Layer> conv;
  nn::Buffer blur_filter;
};

struct BlurPoolOptions {
  bool replace_convs = true;
  bool replace_maxpools = true;
  bool blur_first = true;
  int64_t min_channels = 16;  // convolutions with fewer inputs stay
};
// surgery::plan(*net, surgery::blurpool(), ...)
std::vector<Policy> blurpool(const BlurPoolOptions& = {});

}  // namespace graft

// Convolution layers: Conv1d-3d, ConvTranspose1d-3d. Names, arguments, initialisation: torch.nn.
#pragma once
#include "graft/nn/child.h"
#include "graft/nn/functional.h"
#include "graft/nn/param.h"

namespace graft::inline v1::nn {

template <int N> struct ConvLayerOptions {
  Sizes<N> stride = 1;
  Padding<N> padding = 0;
  Sizes<N> dilation = 1;
  int64_t groups = 1;
  bool bias = true;
  PaddingMode padding_mode = PaddingMode::zeros;
  Options options = {};  // dtype and device of the parameters
};

// input [n, in_channels, spatial...] or without n. weight [out, in / groups, kernel...], bias [out], both uniform in
// +-1/sqrt(in / groups * kernel elements).
template <int N> class ConvNd : public Layer {
 public:
  ConvNd(int64_t in_channels, int64_t out_channels, const Sizes<N>& kernel_size, const ConvLayerOptions<N>& = {});
  ConvNd(int64_t in_channels, int64_t out_channels, const Sizes<N>& kernel_size, const Sizes<N>& stride,
         const Padding<N>& padding = 0)
      : ConvNd(in_channels, out_channels, kernel_size, ConvLayerOptions<N>{.stride = stride, .padding = padding}) {}
  void reset_parameters();
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;
  functional::ConvOptions<N> geometry() const { return {stride, padding, dilation, groups, padding_mode}; }
  ConvLayerOptions<N> layer_options(Device device) const {  // of another like this one, there
    return {stride, padding, dilation, groups, bool(bias), padding_mode, {weight->dtype(), device}};
  }

  int64_t in_channels;
  int64_t out_channels;
  Sizes<N> kernel_size;
  Sizes<N> stride;
  Padding<N> padding;
  Sizes<N> dilation;
  int64_t groups;
  PaddingMode padding_mode;
  Param weight;
  Param bias;
};
class Conv1d : public ConvNd<1> { public: using ConvNd::ConvNd; };
class Conv2d : public ConvNd<2> { public: using ConvNd::ConvNd; };
class Conv3d : public ConvNd<3> { public: using ConvNd::ConvNd; };
using Conv1dOptions = ConvLayerOptions<1>;
using Conv2dOptions = ConvLayerOptions<2>;
using Conv3dOptions = ConvLayerOptions<3>;

template <int N> struct ConvTransposeLayerOptions {
  Sizes<N> stride = 1;
  Sizes<N> padding = 0;
  Sizes<N> output_padding = 0;
  int64_t groups = 1;
  bool bias = true;
  Sizes<N> dilation = 1;
  Options options = {};
};

// weight [in, out / groups, kernel...]. A second argument names the spatial size of the output where the stride leaves
// several.
template <int N> class ConvTransposeNd : public ModuleOf<Tensor(const Tensor&), Tensor(const Tensor&, const Shape&)> {
 public:
  ConvTransposeNd(int64_t in_channels, int64_t out_channels, const Sizes<N>& kernel_size,
                  const ConvTransposeLayerOptions<N>& = {});
  ConvTransposeNd(int64_t in_channels, int64_t out_channels, const Sizes<N>& kernel_size, const Sizes<N>& stride,
                  const Sizes<N>& padding = 0)
      : ConvTransposeNd(in_channels, out_channels, kernel_size,
                        ConvTransposeLayerOptions<N>{.stride = stride, .padding = padding}) {}
  void reset_parameters();
  Tensor forward(const Tensor& x) override;
  Tensor forward(const Tensor& x, const Shape& output_size) override;
  std::string extra_repr() const override;
  functional::ConvTransposeOptions<N> geometry() const { return {stride, padding, output_padding, groups, dilation}; }

  int64_t in_channels;
  int64_t out_channels;
  Sizes<N> kernel_size;
  Sizes<N> stride;
  Sizes<N> padding;
  Sizes<N> output_padding;
  int64_t groups;
  Sizes<N> dilation;
  Param weight;
  Param bias;
};
class ConvTranspose1d : public ConvTransposeNd<1> { public: using ConvTransposeNd::ConvTransposeNd; };
class ConvTranspose2d : public ConvTransposeNd<2> { public: using ConvTransposeNd::ConvTransposeNd; };
class ConvTranspose3d : public ConvTransposeNd<3> { public: using ConvTransposeNd::ConvTransposeNd; };
using ConvTranspose1dOptions = ConvTransposeLayerOptions<1>;
using ConvTranspose2dOptions = ConvTransposeLayerOptions<2>;
using ConvTranspose3dOptions = ConvTransposeLayerOptions<3>;

extern template class ConvNd<1>;
extern template class ConvNd<2>;
extern template class ConvNd<3>;
extern template class ConvTransposeNd<1>;
extern template class ConvTransposeNd<2>;
extern template class ConvTransposeNd<3>;

}  // namespace graft

#include "graft/nn/conv.h"

#include <cmath>
#include "graft/nn/init.h"
#include "graft/nn/registry.h"

namespace graft::inline v1::nn {

template <int N> static Shape weight_shape(int64_t first, int64_t second, const Sizes<N>& kernel) {
  Shape shape{first, second};
  for (const int64_t k : kernel) shape.push_back(k);
  return shape;
}
static void check_channels(const char* type, int64_t in, int64_t out, int64_t groups) {
  GRAFT_CHECK(groups > 0, type, ": groups must be positive, not ", groups);
  GRAFT_CHECK(in % groups == 0, type, ": in_channels ", in, " must be divisible by groups ", groups);
  GRAFT_CHECK(out % groups == 0, type, ": out_channels ", out, " must be divisible by groups ", groups);
}
// As torch.nn.Linear and its kin: uniform in +-1/sqrt(fan in).
static void reset(const Tensor& weight, const Tensor& bias) {
  if (weight.numel() > 0) init::kaiming_uniform_(weight, std::sqrt(5.0));
  if (!bias.defined()) return;
  const int64_t fan_in = init::calculate_fan_in_and_fan_out(weight).in;
  const double bound = fan_in > 0 ? 1 / std::sqrt(double(fan_in)) : 0;
  init::uniform_(bias, -bound, bound);
}

// What every convolution prints; what is not default only where it differs.
template <class Conv, class Pad> static std::string describe(const Conv& c, const Pad& padding, const std::string& more) {
  std::string text = concat(c.in_channels, ", ", c.out_channels, ", kernel_size=", c.kernel_size, ", stride=", c.stride);
  if (!(padding == Pad(0))) text += concat(", padding=", padding);
  if (!(c.dilation == decltype(c.dilation)(1))) text += concat(", dilation=", c.dilation);
  text += more;
  if (c.groups != 1) text += concat(", groups=", c.groups);
  if (!c.bias) text += ", bias=False";
  return text;
}

// ---- Conv ----------------------------------------------------------------------------------------------------

template <int N>
ConvNd<N>::ConvNd(int64_t in, int64_t out, const Sizes<N>& kernel, const ConvLayerOptions<N>& o)
    : in_channels(in),
      out_channels(out),
      kernel_size(kernel),
      stride(o.stride),
      padding(o.padding),
      dilation(o.dilation),
      groups((check_channels("Conv", in, out, o.groups), o.groups)),
      padding_mode(o.padding_mode),
      weight(this, "weight", empty(weight_shape<N>(out, in / o.groups, kernel), o.options)),
      bias(this, "bias", o.bias ? empty({out}, o.options) : Tensor()) {
  reset_parameters();
}
template <int N> void ConvNd<N>::reset_parameters() { reset(weight, bias); }
template <int N> Tensor ConvNd<N>::forward(const Tensor& x) {
  if constexpr (N == 1) return functional::conv1d(x, weight, bias, geometry());
  else if constexpr (N == 2) return functional::conv2d(x, weight, bias, geometry());
  else return functional::conv3d(x, weight, bias, geometry());
}
template <int N> std::string ConvNd<N>::extra_repr() const {
  std::string text = describe(*this, padding, "");
  if (padding_mode != PaddingMode::zeros) text += concat(", padding_mode=", padding_mode.name());
  return text;
}

// ---- ConvTranspose -------------------------------------------------------------------------------------------

template <int N>
ConvTransposeNd<N>::ConvTransposeNd(int64_t in, int64_t out, const Sizes<N>& kernel, const ConvTransposeLayerOptions<N>& o)
    : in_channels(in),
      out_channels(out),
      kernel_size(kernel),
      stride(o.stride),
      padding(o.padding),
      output_padding(o.output_padding),
      groups((check_channels("ConvTranspose", in, out, o.groups), o.groups)),
      dilation(o.dilation),
      weight(this, "weight", empty(weight_shape<N>(in, out / o.groups, kernel), o.options)),
      bias(this, "bias", o.bias ? empty({out}, o.options) : Tensor()) {
  reset_parameters();
}
template <int N> void ConvTransposeNd<N>::reset_parameters() { reset(weight, bias); }

template <int N>
static Tensor transposed(const Tensor& x, const Tensor& w, const Tensor& b, const functional::ConvTransposeOptions<N>& o) {
  if constexpr (N == 1) return functional::conv_transpose1d(x, w, b, o);
  else if constexpr (N == 2) return functional::conv_transpose2d(x, w, b, o);
  else return functional::conv_transpose3d(x, w, b, o);
}
template <int N> Tensor ConvTransposeNd<N>::forward(const Tensor& x) { return transposed<N>(x, weight, bias, geometry()); }
template <int N> Tensor ConvTransposeNd<N>::forward(const Tensor& x, const Shape& output_size) {
  GRAFT_CHECK(output_size.rank() == N || output_size.rank() == x.dim(), ErrorCode::shape_mismatch, type_name(*this),
              ": output_size must have ", N, " or ", x.dim(), " sizes, not ", output_size.rank());
  functional::ConvTransposeOptions<N> o = geometry();
  for (int d = 0; d < N; ++d) {
    const int64_t least = (x.size(x.dim() - N + d) - 1) * stride[d] - 2 * padding[d] + dilation[d] * (kernel_size[d] - 1) + 1;
    const int64_t wanted = output_size[output_size.rank() - N + d];
    GRAFT_CHECK(wanted >= least && wanted < least + stride[d], ErrorCode::shape_mismatch, type_name(*this), ": an output size of ",
                wanted, " in dimension ", d, " is not possible; it must be in [", least, ", ", least + stride[d] - 1, "]");
    o.output_padding[d] = wanted - least;
  }
  return transposed<N>(x, weight, bias, o);
}
template <int N> std::string ConvTransposeNd<N>::extra_repr() const {
  return describe(*this, padding, output_padding == Sizes<N>(0) ? "" : concat(", output_padding=", output_padding));
}

template class ConvNd<1>;
template class ConvNd<2>;
template class ConvNd<3>;
template class ConvTransposeNd<1>;
template class ConvTransposeNd<2>;
template class ConvTransposeNd<3>;

// ---- by name -------------------------------------------------------------------------------------------------

template <class Conv, int N> static void add_conv(Registry& r, const char* name) {
  r.add<Conv>(name, [](ArgReader& a) {
    const auto in = a.get<int64_t>("in_channels"), out = a.get<int64_t>("out_channels");
    const auto kernel = a.get<Sizes<N>>("kernel_size");
    ConvLayerOptions<N> o;
    o.stride = a.get("stride", o.stride);
    o.padding = a.get("padding", o.padding);
    o.dilation = a.get("dilation", o.dilation);
    o.groups = a.get("groups", o.groups);
    o.bias = a.get("bias", o.bias);
    o.padding_mode = a.get("padding_mode", o.padding_mode);
    o.options = a.options();
    return make<Conv>(in, out, kernel, o);
  }, {attribute<&Conv::in_channels>("in_channels"), attribute<&Conv::out_channels>("out_channels"),
      attribute<&Conv::kernel_size>("kernel_size"), attribute<&Conv::stride>("stride"),
      attribute<&Conv::padding>("padding"), attribute<&Conv::dilation>("dilation"),
      attribute<&Conv::groups>("groups"), attribute<&Conv::bias>("bias"),
      attribute<&Conv::padding_mode>("padding_mode")});
}
template <class Conv, int N> static void add_conv_transpose(Registry& r, const char* name) {
  r.add<Conv>(name, [](ArgReader& a) {
    const auto in = a.get<int64_t>("in_channels"), out = a.get<int64_t>("out_channels");
    const auto kernel = a.get<Sizes<N>>("kernel_size");
    ConvTransposeLayerOptions<N> o;
    o.stride = a.get("stride", o.stride);
    o.padding = a.get("padding", o.padding);
    o.output_padding = a.get("output_padding", o.output_padding);
    o.groups = a.get("groups", o.groups);
    o.bias = a.get("bias", o.bias);
    o.dilation = a.get("dilation", o.dilation);
    const PaddingMode mode = a.get("padding_mode", PaddingMode());
    GRAFT_CHECK(mode == PaddingMode::zeros, a.type(), ": only padding_mode 'zeros' is supported, not '", mode.name(), "'");
    o.options = a.options();
    return make<Conv>(in, out, kernel, o);
  }, {attribute<&Conv::in_channels>("in_channels"), attribute<&Conv::out_channels>("out_channels"),
      attribute<&Conv::kernel_size>("kernel_size"), attribute<&Conv::stride>("stride"),
      attribute<&Conv::padding>("padding"), attribute<&Conv::output_padding>("output_padding"),
      attribute<&Conv::groups>("groups"), attribute<&Conv::bias>("bias"), attribute<&Conv::dilation>("dilation")});
}
void register_conv(Registry& r) {
  add_conv<Conv1d, 1>(r, "Conv1d");
  add_conv<Conv2d, 2>(r, "Conv2d");
  add_conv<Conv3d, 3>(r, "Conv3d");
  add_conv_transpose<ConvTranspose1d, 1>(r, "ConvTranspose1d");
  add_conv_transpose<ConvTranspose2d, 2>(r, "ConvTranspose2d");
  add_conv_transpose<ConvTranspose3d, 3>(r, "ConvTranspose3d");
}

}  // namespace graft

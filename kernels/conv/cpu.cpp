// The convolution ops on cpu: from a launch to geometry and memory, then one of the functions in conv.h.
#include "graft/kernels/conv/conv.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

using conv::Geometry;
using conv::Image;

template <class T> Image<T> image(const View& v) {
  Image<T> m{.data = v.as<T>(), .stride = {.n = v.stride[0], .c = v.stride[1]}};
  for (int i = 2; i < v.rank; ++i) m.stride.s[3 - v.rank + i] = v.stride[i];
  return m;
}
// `in` is the side that has padding, `out` the one whose positions are multiplied by the stride.
Geometry geometry(const ConvAttrs& a, const View& in, const View& out, const View& w) {
  Geometry g{.n = in.size[0], .ci = in.size[1], .co = out.size[1], .groups = a.groups};
  for (int i = 0; i < a.rank; ++i) {
    const int d = 3 - a.rank + i;
    g.in[d] = in.size[2 + i];
    g.out[d] = out.size[2 + i];
    g.k[d] = w.size[2 + i];
    g.stride[d] = a.stride[i];
    g.pad[d] = a.padding[i];
    g.dilation[d] = a.dilation[i];
  }
  return g;
}

template <class T> Decline forward(const Launch& l) {
  const auto& a = l.attrs_as<ConvAttrs>();
  const View &x = *l.in[0], &w = *l.in[1], &y = *l.out[0];
  conv::Epilogue<T> e{.activation = a.activation};
  if (a.has_bias) {
    e.bias = l.in[2]->as<const T>();
    e.bias_step = l.in[2]->stride[0];
  }
  if (a.has_residual) e.residual = image<const T>(*l.in[a.has_bias ? 3 : 2]);
  if (a.transposed)
    conv::backward_data_reference<T>(geometry(a, y, x, w), image<const T>(x), image<const T>(w), image<T>(y), e);
  else
    conv::forward_reference<T>(geometry(a, x, y, w), image<const T>(x), image<const T>(w), image<T>(y), e);
  return kRan;
}
template <class T> Decline backward_data(const Launch& l) {
  const auto& a = l.attrs_as<ConvAttrs>();
  const View &g = *l.in[0], &w = *l.in[1], &dx = *l.out[0];
  if (a.transposed)
    conv::forward_reference<T>(geometry(a, g, dx, w), image<const T>(g), image<const T>(w), image<T>(dx), {});
  else
    conv::backward_data_reference<T>(geometry(a, dx, g, w), image<const T>(g), image<const T>(w), image<T>(dx), {});
  return kRan;
}
template <class T> Decline backward_weight(const Launch& l) {
  const auto& a = l.attrs_as<ConvAttrs>();
  const View &g = *l.in[0], &x = *l.in[1], &dw = *l.out[0];
  if (a.transposed)
    conv::backward_weight_reference<T>(geometry(a, g, x, dw), image<const T>(g), image<const T>(x), image<T>(dw));
  else
    conv::backward_weight_reference<T>(geometry(a, x, g, dw), image<const T>(x), image<const T>(g), image<T>(dw));
  return kRan;
}

}  // namespace

void register_conv_cpu() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add_kernel("conv_forward", Device::cpu, dtype_v<T>, "reference", forward<T>);
    add_kernel("conv_backward_data", Device::cpu, dtype_v<T>, "reference", backward_data<T>);
    add_kernel("conv_backward_weight", Device::cpu, dtype_v<T>, "reference", backward_weight<T>);
  });
}

}  // namespace graft

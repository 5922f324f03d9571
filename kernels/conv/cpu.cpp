// The convolution ops on cpu: from a launch to geometry and memory, then one of the functions in conv.h.
#include "graft/kernels/conv/channels_last.h"
#include "graft/kernels/conv/conv.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

using conv::geometry_of;
using conv::Image;

template <class T> Image<T> image(const View& v) { return {v.as<T>(), conv::strides_of(v)}; }

// The two families of functions under one name, so that the ops are written once.
struct Reference {
  template <class T, class... A> static bool forward(const A&... a) { return conv::forward_reference<T>(a...), true; }
  template <class T, class... A> static bool data(const A&... a) { return conv::backward_data_reference<T>(a...), true; }
  template <class T, class... A> static bool weight(const A&... a) { return conv::backward_weight_reference<T>(a...), true; }
};
struct ChannelsLast {
  template <class T, class... A> static bool forward(const A&... a) { return conv::forward_channels_last(a...); }
  template <class T, class... A> static bool data(const A&... a) { return conv::backward_data_channels_last(a...); }
  template <class T, class... A> static bool weight(const A&... a) { return conv::backward_weight_channels_last(a...); }
};
Decline result(bool ran) { return ran ? kRan : "too few channels"; }

template <class T, class F> Decline forward(const Launch& l) {
  const auto& a = l.attrs_as<ConvAttrs>();
  const View &x = *l.in[0], &w = *l.in[1], &y = *l.out[0];
  conv::Epilogue<T> e;
  e.activation = a.activation;
  if (a.has_bias) {
    e.bias = l.in[2]->as<const T>();
    e.bias_step = l.in[2]->stride[0];
  }
  if (a.has_residual) e.residual = image<const T>(*l.in[a.has_bias ? 3 : 2]);
  const auto xs = image<const T>(x), ws = image<const T>(w);
  if (a.transposed) return result(F::template data<T>(geometry_of(a, y, x, w), xs, ws, image<T>(y), e));
  return result(F::template forward<T>(geometry_of(a, x, y, w), xs, ws, image<T>(y), e));
}
template <class T, class F> Decline backward_data(const Launch& l) {
  const auto& a = l.attrs_as<ConvAttrs>();
  const View &g = *l.in[0], &w = *l.in[1], &dx = *l.out[0];
  const auto gs = image<const T>(g), ws = image<const T>(w);
  const conv::Epilogue<T> none;
  if (a.transposed) return result(F::template forward<T>(geometry_of(a, g, dx, w), gs, ws, image<T>(dx), none));
  return result(F::template data<T>(geometry_of(a, dx, g, w), gs, ws, image<T>(dx), none));
}
template <class T, class F> Decline backward_weight(const Launch& l) {
  const auto& a = l.attrs_as<ConvAttrs>();
  const View &g = *l.in[0], &x = *l.in[1], &dw = *l.out[0];
  const auto gs = image<const T>(g), xs = image<const T>(x);
  if (a.transposed) return result(F::template weight<T>(geometry_of(a, g, x, dw), gs, xs, image<T>(dw)));
  return result(F::template weight<T>(geometry_of(a, x, g, dw), xs, gs, image<T>(dw)));
}

template <class T, class F> void add(const char* name) {
  add_kernel("conv_forward", Device::cpu, dtype_v<T>, name, forward<T, F>);
  add_kernel("conv_backward_data", Device::cpu, dtype_v<T>, name, backward_data<T, F>);
  add_kernel("conv_backward_weight", Device::cpu, dtype_v<T>, name, backward_weight<T, F>);
}

}  // namespace

void register_conv_cpu() {
  add<float, ChannelsLast>("channels_last");
  const auto reference = [](auto tag) { add<typename decltype(tag)::type, Reference>("reference"); };
  for_each_type(FloatTypes{}, reference);
  for_each_type(ComplexTypes{}, reference);
  for_each_type(TypeList<int64_t>{}, reference);
}

}  // namespace graft

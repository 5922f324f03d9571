// Convolutions on raw memory. One geometry serves all: a convolution maps its input (the side with padding) to its output
// with weights [co, ci / groups, k...]. The transposed convolution is backward_data of the geometry in which its result is
// the input; so every op is one of three functions.
#pragma once
#include <cstdint>
#include "graft/kernels/conv/attrs.h"
#include "graft/kernels/view.h"

namespace graft::inline v1::conv {

// Always three spatial dimensions; those that are missing come first and have size 1.
//   y[n, o, p] = sum over c, k of x[n, c, p * stride - pad + k * dilation] w[o, c, k]
struct Geometry {
  int64_t n = 1, ci = 1, co = 1, groups = 1;
  int64_t in[3] = {1, 1, 1}, out[3] = {1, 1, 1}, k[3] = {1, 1, 1};
  int64_t stride[3] = {1, 1, 1}, pad[3] = {0, 0, 0}, dilation[3] = {1, 1, 1};

  int64_t taps() const { return k[0] * k[1] * k[2]; }
  int64_t in_points() const { return in[0] * in[1] * in[2]; }
  int64_t out_points() const { return out[0] * out[1] * out[2]; }
};

// `in` is the side that has padding, `out` the one whose positions are multiplied by the stride.
inline Geometry geometry_of(const ConvAttrs& a, const View& in, const View& out, const View& w) {
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

// Strides in elements of x, y [n, channel, spatial] or of weights [out, in, kernel].
struct Strides {
  int64_t n = 0, c = 0, s[3] = {0, 0, 0};
};
inline Strides strides_of(const View& v) {
  Strides to{.n = v.stride[0], .c = v.stride[1]};
  for (int i = 2; i < v.rank; ++i) to.s[3 - v.rank + i] = v.stride[i];
  return to;
}

template <class T> struct Image {
  T* data = nullptr;
  Strides stride;
};

// What is added to a result, and the function it passes through.
template <class T> struct Epilogue {
  const T* bias = nullptr;  // [channels], step bias_step
  int64_t bias_step = 1;
  Image<const T> residual{};  // null, or of the result's shape
  Activation activation = Activation::none;
};

// Direct loops: any strides, groups, dilation; f32, f64, f16, bf16, accumulated in f32 at least; i64 and complex.
template <class T> void forward_reference(const Geometry&, Image<const T> x, Image<const T> w, Image<T> y, const Epilogue<T>&);
template <class T> void backward_data_reference(const Geometry&, Image<const T> y, Image<const T> w, Image<T> x, const Epilogue<T>&);
template <class T> void backward_weight_reference(const Geometry&, Image<const T> x, Image<const T> y, Image<T> w);

}  // namespace graft::conv

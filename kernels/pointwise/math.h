// The mathematics of every pointwise op, once. To add one: write the functor, name it in a list at the end.
// A functor with fields is also the op's attributes.
#pragma once
#include <cmath>
#include <numbers>
#include "graft/kernels/view.h"

namespace graft::inline v1::math {

struct Neg { static constexpr auto name = "neg"; template <class T> T operator()(T x) const { return -x; } };
struct Exp { static constexpr auto name = "exp"; template <class T> T operator()(T x) const { return std::exp(x); } };
struct Erf { static constexpr auto name = "erf"; template <class T> T operator()(T x) const { return std::erf(x); } };
struct Relu { static constexpr auto name = "relu"; template <class T> T operator()(T x) const { return x > T(0) ? x : T(0); } };

struct Affine {
  static constexpr auto name = "affine";
  double scale = 1, shift = 0;
  template <class T> T operator()(T x) const { return x * T(scale) + T(shift); }
};

// gelu(x) = x * Phi(x), Phi the normal distribution function.
struct Gelu {
  static constexpr auto name = "gelu";
  template <class T> T operator()(T x) const { return T(0.5) * x * (T(1) + std::erf(x * T(std::numbers::sqrt2 / 2))); }
};
// g * d gelu(x) / dx: the fused form of the rule in core/ops/gelu.cpp.
struct GeluGrad {
  static constexpr auto name = "gelu_grad";
  template <class T> T operator()(T x, T g) const {
    const T cdf = T(0.5) * (T(1) + std::erf(x * T(std::numbers::sqrt2 / 2)));
    const T pdf = std::exp(T(-0.5) * x * x) * T(0.3989422804014327);
    return g * (cdf + x * pdf);
  }
};
// g where y > 0: y is the output of relu.
struct ReluGrad { static constexpr auto name = "relu_grad"; template <class T> T operator()(T y, T g) const { return y > T(0) ? g : T(0); } };

struct Add { static constexpr auto name = "add"; template <class T> T operator()(T a, T b) const { return a + b; } };
struct Sub { static constexpr auto name = "sub"; template <class T> T operator()(T a, T b) const { return a - b; } };
struct Mul { static constexpr auto name = "mul"; template <class T> T operator()(T a, T b) const { return a * b; } };
struct Div { static constexpr auto name = "div"; template <class T> T operator()(T a, T b) const { return a / b; } };
struct Gt { static constexpr auto name = "gt"; template <class T> bool operator()(T a, T b) const { return a > b; } };
struct AddScaled {
  static constexpr auto name = "add_scaled";
  double alpha = 1;
  template <class T> T operator()(T a, T b) const { return a + T(alpha) * b; }
};

using Unary = TypeList<Neg, Exp, Erf, Relu, Affine, Gelu>;
using Binary = TypeList<Add, Sub, Mul, Div, Gt, AddScaled, GeluGrad, ReluGrad>;
using UnaryInteger = TypeList<Neg, Relu>;
using BinaryInteger = TypeList<Add, Sub, Mul, Gt, ReluGrad>;

}  // namespace graft::math

// Activations of neural networks, and fused derivatives of those that training runs most. See arithmetic.h for what a functor is.
#pragma once
#include "graft/kernels/pointwise/functions.h"

namespace graft::inline v1::math {
namespace {

struct Relu { static constexpr auto name = "relu"; static constexpr Types types = kReal; template <class T> GRAFT_HD T operator()(T x) const { return x < T(0) ? T(0) : x; } };
// g where y > 0: y is the output of relu.
struct ReluGrad { static constexpr auto name = "relu_grad"; static constexpr Types types = kReal; template <class T> GRAFT_HD T operator()(T y, T g) const { return y > T(0) ? g : T(0); } };
struct LeakyRelu {
  static constexpr auto name = "leaky_relu";
  static constexpr Types types = kFloat;
  using Attrs = SlopeAttrs;
  Attrs a;
  template <class T> GRAFT_HD T operator()(T x) const { return x > T(0) ? x : x * T(a.slope); }
};
struct Prelu { static constexpr auto name = "prelu"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x, T w) const { return x > T(0) ? x : x * w; } };
struct Elu {  // elu, selu and celu
  static constexpr auto name = "elu";
  static constexpr Types types = kFloat;
  using Attrs = EluAttrs;
  Attrs a;
  template <class T> GRAFT_HD T operator()(T x) const { return x > T(0) ? x * T(a.scale) : expm1(x * T(a.input_scale)) * T(a.alpha * a.scale); }
};
// Phi is the normal distribution function, phi its density.
template <class T> GRAFT_ALWAYS_INLINE T normal_cdf(T x) { return T(0.5) * (T(1) + erf(x * T(0.70710678118654752))); }
template <class T> GRAFT_ALWAYS_INLINE T normal_pdf(T x) { return exp(T(-0.5) * x * x) * T(0.3989422804014327); }
struct Gelu { static constexpr auto name = "gelu"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return x * normal_cdf(x); } };
struct GeluGrad { static constexpr auto name = "gelu_grad"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x, T g) const { return g * (normal_cdf(x) + x * normal_pdf(x)); } };
constexpr double kGeluBeta = 0.79788456080286536, kGeluCubic = 0.044715;  // sqrt(2 / pi)
struct GeluTanh {
  static constexpr auto name = "gelu_tanh";
  static constexpr Types types = kFloat;
  template <class T> GRAFT_HD T operator()(T x) const { return T(0.5) * x * (T(1) + tanh(T(kGeluBeta) * (x + T(kGeluCubic) * x * x * x))); }
};
struct GeluTanhGrad {
  static constexpr auto name = "gelu_tanh_grad";
  static constexpr Types types = kFloat;
  template <class T> GRAFT_HD T operator()(T x, T g) const {
    const T t = tanh(T(kGeluBeta) * (x + T(kGeluCubic) * x * x * x));
    const T inner = T(kGeluBeta) * (T(1) + T(3 * kGeluCubic) * x * x);
    return g * T(0.5) * ((T(1) + t) + x * (T(1) - t * t) * inner);
  }
};
struct Silu { static constexpr auto name = "silu"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return x * sigmoid(x); } };
struct SiluGrad {
  static constexpr auto name = "silu_grad";
  static constexpr Types types = kFloat;
  template <class T> GRAFT_HD T operator()(T x, T g) const {
    const T s = sigmoid(x);
    return g * (s * (T(1) + x * (T(1) - s)));
  }
};
struct LogSigmoid { static constexpr auto name = "log_sigmoid"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return (x < T(0) ? x : T(0)) - log1p(exp(-fabs(x))); } };
template <class T> GRAFT_ALWAYS_INLINE T soft_plus(T x) { return (x > T(0) ? x : T(0)) + log1p(exp(-fabs(x))); }
struct Softplus {
  static constexpr auto name = "softplus";
  static constexpr Types types = kFloat;
  using Attrs = SoftplusAttrs;
  Attrs a;
  template <class T> GRAFT_HD T operator()(T x) const {
    const T bx = x * T(a.beta);
    return bx > T(a.threshold) ? x : soft_plus(bx) / T(a.beta);
  }
};
struct Mish { static constexpr auto name = "mish"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return x * tanh(soft_plus(x)); } };
template <class T> GRAFT_ALWAYS_INLINE T hard_sigmoid(T x) {
  const T y = x < T(-3) ? T(0) : x + T(3);
  return (y > T(6) ? T(6) : y) / T(6);
}
struct Hardsigmoid { static constexpr auto name = "hardsigmoid"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return hard_sigmoid(x); } };
struct Hardswish { static constexpr auto name = "hardswish"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return x * hard_sigmoid(x); } };
struct Hardshrink {
  static constexpr auto name = "hardshrink";
  static constexpr Types types = kFloat;
  using Attrs = LambdaAttrs;
  Attrs a;
  template <class T> GRAFT_HD T operator()(T x) const { return fabs(x) <= T(a.lambda) ? T(0) : x; }
};
struct Softshrink {
  static constexpr auto name = "softshrink";
  static constexpr Types types = kFloat;
  using Attrs = LambdaAttrs;
  Attrs a;
  template <class T> GRAFT_HD T operator()(T x) const { return x > T(a.lambda) ? x - T(a.lambda) : x < T(-a.lambda) ? x + T(a.lambda) : x * T(0); }
};
struct Threshold {
  static constexpr auto name = "threshold";
  static constexpr Types types = kReal;
  using Attrs = ThresholdAttrs;
  Attrs a;
  template <class T> GRAFT_HD T operator()(T x) const { return x <= T(a.threshold) ? T(a.value) : x; }
};
struct Tanhshrink { static constexpr auto name = "tanhshrink"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return x - tanh(x); } };
struct Softsign { static constexpr auto name = "softsign"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return x / (T(1) + fabs(x)); } };

}  // namespace
}  // namespace graft::math

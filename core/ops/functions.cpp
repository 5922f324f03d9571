// Elementary and special functions and their derivatives. The mathematics is in kernels/pointwise/functions.h.
#include <limits>
#include "graft/core/ops/pointwise_defs.h"

namespace graft::inline v1 {

static const OpDef exp_op = unary("exp", output(), [](Backward& b) { b.to(0) = times(b.g(), b.output()); });
static const OpDef exp2_op = unary("exp2", output(), [](Backward& b) { b.to(0) = b.g() * b.output() * std::numbers::ln2; });
static const OpDef expm1_op = unary("expm1", output(), [](Backward& b) { b.to(0) = b.g() * (b.output() + 1); });
static const OpDef log_op = unary("log", input(0), [](Backward& b) { b.to(0) = times(b.g(), reciprocal(b.input(0))); });
static const OpDef log2_op = unary("log2", input(0), [](Backward& b) { b.to(0) = b.g() / (b.input(0) * std::numbers::ln2); });
static const OpDef log10_op = unary("log10", input(0), [](Backward& b) { b.to(0) = b.g() / (b.input(0) * std::numbers::ln10); });
static const OpDef log1p_op = unary("log1p", input(0), [](Backward& b) { b.to(0) = b.g() / (b.input(0) + 1); });
static const OpDef sqrt_op = unary("sqrt", output(), [](Backward& b) { b.to(0) = times(b.g(), 0.5 / b.output()); });
static const OpDef rsqrt_op = unary("rsqrt", output(), [](Backward& b) { b.to(0) = b.g() * pow(b.output(), 3) * -0.5; });
static const OpDef sin_op = unary("sin", input(0), [](Backward& b) { b.to(0) = b.g() * cos(b.input(0)); });
static const OpDef cos_op = unary("cos", input(0), [](Backward& b) { b.to(0) = -(b.g() * sin(b.input(0))); });
static const OpDef tan_op = unary("tan", output(), [](Backward& b) { b.to(0) = b.g() * (square(b.output()) + 1); });
static const OpDef asin_op = unary("asin", input(0), [](Backward& b) { b.to(0) = b.g() * rsqrt(1 - square(b.input(0))); });
static const OpDef acos_op = unary("acos", input(0), [](Backward& b) { b.to(0) = -(b.g() * rsqrt(1 - square(b.input(0)))); });
static const OpDef atan_op = unary("atan", input(0), [](Backward& b) { b.to(0) = b.g() / (square(b.input(0)) + 1); });
static const OpDef sinh_op = unary("sinh", input(0), [](Backward& b) { b.to(0) = b.g() * cosh(b.input(0)); });
static const OpDef cosh_op = unary("cosh", input(0), [](Backward& b) { b.to(0) = b.g() * sinh(b.input(0)); });
static const OpDef asinh_op = unary("asinh", input(0), [](Backward& b) { b.to(0) = b.g() * rsqrt(square(b.input(0)) + 1); });
static const OpDef acosh_op = unary("acosh", input(0), [](Backward& b) { b.to(0) = b.g() * rsqrt(square(b.input(0)) - 1); });
static const OpDef atanh_op = unary("atanh", input(0), [](Backward& b) { b.to(0) = b.g() / (1 - square(b.input(0))); });
static const OpDef erf_op = unary("erf", input(0), [](Backward& b) {
  b.to(0) = b.g() * exp(-square(b.input(0))) * (2 * std::numbers::inv_sqrtpi);
});
static const OpDef erfc_op = unary("erfc", input(0), [](Backward& b) {
  b.to(0) = b.g() * exp(-square(b.input(0))) * (-2 * std::numbers::inv_sqrtpi);
});

// Fused derivatives (y, g), first order only.
static const OpDef tanh_grad_op = binary("tanh_grad", {}, nullptr);
static const OpDef sigmoid_grad_op = binary("sigmoid_grad", {}, nullptr);
static const OpDef tanh_op = unary("tanh", output(), [](Backward& b) {
  const Tensor y = b.output();
  if (!b.create_graph() && is_floating(y.dtype())) b.to(0) = apply(tanh_grad_op, {}, y, b.g());
  else b.to(0) = times(b.g(), 1 - square(y));
});
static const OpDef sigmoid_op = unary("sigmoid", output(), [](Backward& b) {
  const Tensor y = b.output();
  if (!b.create_graph()) b.to(0) = apply(sigmoid_grad_op, {}, y, b.g());
  else b.to(0) = b.g() * (y * (1 - y));
});
static const OpDef nan_to_num_op =
    unary("nan_to_num", input(0), [](Backward& b) { b.to(0) = masked(b.g(), isfinite(b.input(0))); });

Tensor exp(const Tensor& x) { return apply(exp_op, {}, x); }
Tensor exp2(const Tensor& x) { return apply(exp2_op, {}, x); }
Tensor expm1(const Tensor& x) { return apply(expm1_op, {}, x); }
Tensor log(const Tensor& x) { return apply(log_op, {}, x); }
Tensor log2(const Tensor& x) { return apply(log2_op, {}, x); }
Tensor log10(const Tensor& x) { return apply(log10_op, {}, x); }
Tensor log1p(const Tensor& x) { return apply(log1p_op, {}, x); }
Tensor sqrt(const Tensor& x) { return apply(sqrt_op, {}, x); }
Tensor rsqrt(const Tensor& x) { return apply(rsqrt_op, {}, x); }
Tensor sin(const Tensor& x) { return apply(sin_op, {}, x); }
Tensor cos(const Tensor& x) { return apply(cos_op, {}, x); }
Tensor tan(const Tensor& x) { return apply(tan_op, {}, x); }
Tensor asin(const Tensor& x) { return apply(asin_op, {}, x); }
Tensor acos(const Tensor& x) { return apply(acos_op, {}, x); }
Tensor atan(const Tensor& x) { return apply(atan_op, {}, x); }
Tensor sinh(const Tensor& x) { return apply(sinh_op, {}, x); }
Tensor cosh(const Tensor& x) { return apply(cosh_op, {}, x); }
Tensor tanh(const Tensor& x) { return apply(tanh_op, {}, x); }
Tensor asinh(const Tensor& x) { return apply(asinh_op, {}, x); }
Tensor acosh(const Tensor& x) { return apply(acosh_op, {}, x); }
Tensor atanh(const Tensor& x) { return apply(atanh_op, {}, x); }
Tensor erf(const Tensor& x) { return apply(erf_op, {}, x); }
Tensor erfc(const Tensor& x) { return apply(erfc_op, {}, x); }
Tensor sigmoid(const Tensor& x) { return apply(sigmoid_op, {}, x); }

static double largest(DType t) {
  return t == f64 ? std::numeric_limits<double>::max() : t == f16 ? 65504. : t == bf16 ? 0x1.fep127 : std::numeric_limits<float>::max();
}
Tensor nan_to_num(const Tensor& x, std::optional<double> nan, std::optional<double> posinf, std::optional<double> neginf) {
  if (!is_differentiable(x.dtype())) return x.clone();
  const double top = largest(x.dtype());
  return apply(nan_to_num_op, math::NanToNumAttrs{nan.value_or(0), posinf.value_or(top), neginf.value_or(-top)}, x);
}

const Tensor& Tensor::exp_() const { return apply_inplace(exp_op, {}, *this); }
const Tensor& Tensor::log_() const { return apply_inplace(log_op, {}, *this); }
const Tensor& Tensor::sqrt_() const { return apply_inplace(sqrt_op, {}, *this); }
const Tensor& Tensor::rsqrt_() const { return apply_inplace(rsqrt_op, {}, *this); }
const Tensor& Tensor::sin_() const { return apply_inplace(sin_op, {}, *this); }
const Tensor& Tensor::cos_() const { return apply_inplace(cos_op, {}, *this); }
const Tensor& Tensor::tanh_() const { return apply_inplace(tanh_op, {}, *this); }
const Tensor& Tensor::sigmoid_() const { return apply_inplace(sigmoid_op, {}, *this); }

}  // namespace graft

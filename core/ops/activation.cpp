// Activations and their derivatives. The mathematics is in kernels/pointwise/activation.h.
#include <numbers>
#include "graft/core/ops/pointwise_defs.h"

namespace graft::inline v1 {

static const OpDef relu_grad_op = binary("relu_grad", {0, input(0)}, [](Backward& b) {  // (y, g): linear in g
  if (b.needs(1)) b.to(1) = apply(*b.node().op, {}, b.input(0), b.g());
}, Promote::none);
static const OpDef relu_op =
    unary("relu", output(), [](Backward& b) { b.to(0) = apply(relu_grad_op, {}, b.output(), b.g()); }, Promote::none);
Tensor relu(const Tensor& x) { return apply(relu_op, {}, x); }
const Tensor& Tensor::relu_() const { return apply_inplace(relu_op, {}, *this); }

static const OpDef leaky_relu_op = unary("leaky_relu", input(0), [](Backward& b) {
  b.to(0) = where(b.input(0) > 0, b.g(), b.g() * b.attrs<math::SlopeAttrs>().slope);
});
Tensor leaky_relu(const Tensor& x, double slope) { return apply(leaky_relu_op, math::SlopeAttrs{slope}, x); }

static const OpDef prelu_op = binary("prelu", {Reads(input(0) | input(1)), input(0)}, [](Backward& b) {
  const Tensor positive = b.input(0) > 0;
  if (b.needs(0)) b.to(0) = where(positive, b.g(), b.g() * b.input(1));
  if (b.needs(1)) b.to(1) = masked(b.g() * b.input(0), logical_not(positive));
});
Tensor prelu(const Tensor& x, const Tensor& weight) {
  const int64_t channels = x.dim() > 1 ? x.size(1) : 1;
  GRAFT_CHECK(weight.numel() == 1 || (weight.dim() == 1 && weight.numel() == channels), ErrorCode::shape_mismatch,
              "prelu: weight ", weight, " has neither one element nor one per channel of ", x);
  Shape shape;
  for (int i = 0; i < x.dim(); ++i) shape.push_back(i == 1 ? weight.numel() : 1);
  return apply(prelu_op, {}, x, weight.reshape(x.dim() > 1 ? shape : Shape{}));
}

static const OpDef elu_op = unary("elu", input(0), [](Backward& b) {
  const auto a = b.attrs<math::EluAttrs>();
  const Tensor& x = b.input(0);
  b.to(0) = where(x > 0, b.g() * a.scale, b.g() * exp(x * a.input_scale) * (a.alpha * a.scale * a.input_scale));
});
Tensor elu(const Tensor& x, double alpha) { return apply(elu_op, math::EluAttrs{alpha, 1, 1}, x); }
Tensor selu(const Tensor& x) { return apply(elu_op, math::EluAttrs{1.6732632423543772, 1.0507009873554805, 1}, x); }
Tensor celu(const Tensor& x, double alpha) {
  GRAFT_CHECK(alpha != 0, "celu: alpha must not be 0");
  return apply(elu_op, math::EluAttrs{alpha, 1, 1 / alpha}, x);
}

// ---- smooth ones with a fused derivative (x, g), used where no graph of it is wanted ---------------------------

static const OpDef gelu_grad_op = binary("gelu_grad", {}, nullptr);
static const OpDef gelu_op = unary("gelu", input(0), [](Backward& b) {
  const Tensor& x = b.input(0);
  if (!b.create_graph()) return void(b.to(0) = apply(gelu_grad_op, {}, x, b.g()));
  const Tensor cdf = affine(erf(x * (std::numbers::sqrt2 / 2)), 0.5, 0.5);  // Phi
  const Tensor pdf = exp(x * x * -0.5) * 0.3989422804014327;                // phi
  b.to(0) = b.g() * (cdf + x * pdf);
});
static const OpDef gelu_tanh_grad_op = binary("gelu_tanh_grad", {}, nullptr);
static const OpDef gelu_tanh_op = unary("gelu_tanh", input(0), [](Backward& b) {
  const Tensor& x = b.input(0);
  if (!b.create_graph()) return void(b.to(0) = apply(gelu_tanh_grad_op, {}, x, b.g()));
  constexpr double beta = 0.79788456080286536, cubic = 0.044715;
  const Tensor t = tanh((x + pow(x, 3) * cubic) * beta);
  const Tensor inner = affine(x * x, 3 * cubic * beta, beta);
  b.to(0) = b.g() * (affine(t, 0.5, 0.5) + x * (1 - t * t) * inner * 0.5);
});
Tensor gelu(const Tensor& x, std::string_view approximate) {
  GRAFT_CHECK(approximate == "none" || approximate == "tanh", "gelu: approximate \"", approximate,
              "\" is not one of \"none\", \"tanh\"");
  return apply(approximate == "tanh" ? gelu_tanh_op : gelu_op, {}, x);
}

static const OpDef silu_grad_op = binary("silu_grad", {}, nullptr);
static const OpDef silu_op = unary("silu", input(0), [](Backward& b) {
  const Tensor& x = b.input(0);
  if (!b.create_graph()) return void(b.to(0) = apply(silu_grad_op, {}, x, b.g()));
  const Tensor s = sigmoid(x);
  b.to(0) = b.g() * (s * (1 + x * (1 - s)));
});
Tensor silu(const Tensor& x) { return apply(silu_op, {}, x); }

// ---- other smooth ones ---------------------------------------------------------------------------------------

static const OpDef log_sigmoid_op =
    unary("log_sigmoid", input(0), [](Backward& b) { b.to(0) = b.g() * sigmoid(-b.input(0)); });
static const OpDef softplus_op = unary("softplus", input(0), [](Backward& b) {
  const auto a = b.attrs<math::SoftplusAttrs>();
  const Tensor bx = b.input(0) * a.beta;
  b.to(0) = where(bx > a.threshold, b.g(), b.g() * sigmoid(bx));
});
static const OpDef mish_op = unary("mish", input(0), [](Backward& b) {
  const Tensor& x = b.input(0);
  const Tensor t = tanh(softplus(x));
  b.to(0) = b.g() * (t + x * sigmoid(x) * (1 - t * t));
});
static const OpDef tanhshrink_op = unary("tanhshrink", input(0), [](Backward& b) { b.to(0) = b.g() * square(tanh(b.input(0))); });
static const OpDef softsign_op =
    unary("softsign", input(0), [](Backward& b) { b.to(0) = b.g() / square(abs(b.input(0)) + 1); });
Tensor log_sigmoid(const Tensor& x) { return apply(log_sigmoid_op, {}, x); }
Tensor softplus(const Tensor& x, double beta, double limit) { return apply(softplus_op, math::SoftplusAttrs{beta, limit}, x); }
Tensor mish(const Tensor& x) { return apply(mish_op, {}, x); }
Tensor tanhshrink(const Tensor& x) { return apply(tanhshrink_op, {}, x); }
Tensor softsign(const Tensor& x) { return apply(softsign_op, {}, x); }

// ---- piecewise linear ones -----------------------------------------------------------------------------------

static const OpDef hardsigmoid_op = unary("hardsigmoid", input(0), [](Backward& b) {
  b.to(0) = masked(b.g() / 6, logical_and(b.input(0) > -3, b.input(0) < 3));
});
static const OpDef hardswish_op = unary("hardswish", input(0), [](Backward& b) {
  const Tensor& x = b.input(0);
  b.to(0) = where(x < 3, masked(b.g() * affine(x, 1. / 3, 0.5), x > -3), b.g());
});
static const OpDef hardshrink_op = unary("hardshrink", input(0), [](Backward& b) {
  b.to(0) = masked(b.g(), logical_not(abs(b.input(0)) <= b.attrs<math::LambdaAttrs>().lambda));
});
static const OpDef softshrink_op = unary("softshrink", input(0), [](Backward& b) {
  b.to(0) = masked(b.g(), abs(b.input(0)) > b.attrs<math::LambdaAttrs>().lambda);
});
static const OpDef threshold_op = unary("threshold", input(0), [](Backward& b) {
  b.to(0) = masked(b.g(), b.input(0) > b.attrs<math::ThresholdAttrs>().threshold);
}, Promote::none);
Tensor hardsigmoid(const Tensor& x) { return apply(hardsigmoid_op, {}, x); }
Tensor hardswish(const Tensor& x) { return apply(hardswish_op, {}, x); }
Tensor hardshrink(const Tensor& x, double lambda) { return apply(hardshrink_op, math::LambdaAttrs{lambda}, x); }
Tensor softshrink(const Tensor& x, double lambda) {
  GRAFT_CHECK(lambda >= 0, "softshrink: lambda ", lambda, " is negative");
  return apply(softshrink_op, math::LambdaAttrs{lambda}, x);
}
Tensor threshold(const Tensor& x, double limit, double value) { return apply(threshold_op, math::ThresholdAttrs{limit, value}, x); }

}  // namespace graft

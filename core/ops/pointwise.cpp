// Pointwise ops: their kernels are the functors in kernels/pointwise/math.h.
#include "graft/kernels/pointwise/math.h"

#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {

static const OpDef add_op{
    .name = "add",
    .infer = infer_broadcast,
    .backward = [](Backward& b) { b.to(0) = b.g(), b.to(1) = b.g(); },
    .promote = Promote::common,
};
static const OpDef add_scaled_op{
    .name = "add_scaled",
    .infer = infer_broadcast,
    .backward =
        [](Backward& b) {
          b.to(0) = b.g();
          if (b.needs(1)) b.to(1) = b.g() * b.attrs<math::AddScaled>().alpha;
        },
    .promote = Promote::common,
};
static const OpDef sub_op{
    .name = "sub",
    .infer = infer_broadcast,
    .backward =
        [](Backward& b) {
          b.to(0) = b.g();
          if (b.needs(1)) b.to(1) = -b.g();
        },
    .promote = Promote::common,
};
static const OpDef mul_op{
    .name = "mul",
    .infer = infer_broadcast,
    .backward =
        [](Backward& b) {
          if (b.needs(0)) b.to(0) = b.g() * b.input(1);
          if (b.needs(1)) b.to(1) = b.g() * b.input(0);
        },
    .reads = {input(1), input(0)},
    .promote = Promote::common,
};
static const OpDef div_op{
    .name = "div",
    .infer = infer_broadcast,
    .backward =
        [](Backward& b) {
          const Tensor q = b.g() / b.input(1);
          b.to(0) = q;
          if (b.needs(1)) b.to(1) = -(q * (b.input(0) / b.input(1)));
        },
    .reads = {input(1), input(0) | input(1)},
    .promote = Promote::floating,
};
static const OpDef gt_op{
    .name = "gt",
    .infer = [](Infer& c) { infer_broadcast(c), c.out().dtype = DType::boolean; },
    .promote = Promote::common,
};
static const OpDef neg_op{.name = "neg", .infer = infer_same, .backward = [](Backward& b) { b.to(0) = -b.g(); }};
static const OpDef affine_op{
    .name = "affine",
    .infer = infer_same,
    .backward = [](Backward& b) { b.to(0) = b.g() * b.attrs<math::Affine>().scale; },
    .promote = Promote::floating,
};
static const OpDef exp_op{
    .name = "exp",
    .infer = infer_same,
    .backward = [](Backward& b) { b.to(0) = b.g() * b.output(); },
    .reads = {output()},
    .promote = Promote::floating,
};
static const OpDef erf_op{
    .name = "erf",
    .infer = infer_same,
    .backward =
        [](Backward& b) {
          const Tensor& x = b.input(0);
          b.to(0) = b.g() * exp(-(x * x)) * (2 * std::numbers::inv_sqrtpi);
        },
    .reads = {input(0)},
    .promote = Promote::floating,
};
static const OpDef relu_grad_op{  // (y, g): linear in g; constant in y almost everywhere
    .name = "relu_grad",
    .infer = infer_broadcast,
    .backward = [](Backward& b) { if (b.needs(1)) b.to(1) = apply(*b.node().op, {}, b.input(0), b.g()); },
    .reads = {0, input(0)},
};
static const OpDef relu_op{
    .name = "relu",
    .infer = infer_same,
    .backward = [](Backward& b) { b.to(0) = apply(relu_grad_op, {}, b.output(), b.g()); },
    .reads = {output()},
};

Tensor add(const Tensor& a, const Tensor& b) { return apply(add_op, {}, a, b); }
Tensor sub(const Tensor& a, const Tensor& b) { return apply(sub_op, {}, a, b); }
Tensor mul(const Tensor& a, const Tensor& b) { return apply(mul_op, {}, a, b); }
Tensor div(const Tensor& a, const Tensor& b) { return apply(div_op, {}, a, b); }
Tensor gt(const Tensor& a, const Tensor& b) { return apply(gt_op, {}, a, b); }
Tensor neg(const Tensor& x) { return apply(neg_op, {}, x); }
Tensor exp(const Tensor& x) { return apply(exp_op, {}, x); }
Tensor erf(const Tensor& x) { return apply(erf_op, {}, x); }
Tensor relu(const Tensor& x) { return apply(relu_op, {}, x); }
Tensor affine(const Tensor& x, double scale, double shift) { return apply(affine_op, math::Affine{scale, shift}, x); }

const Tensor& Tensor::add_(const Tensor& o) const { return apply_inplace(add_op, {}, *this, o); }
const Tensor& Tensor::add_(const Tensor& o, double alpha) const {
  return apply_inplace(add_scaled_op, math::AddScaled{alpha}, *this, o);
}
const Tensor& Tensor::mul_(const Tensor& o) const { return apply_inplace(mul_op, {}, *this, o); }
const Tensor& Tensor::relu_() const { return apply_inplace(relu_op, {}, *this); }

}  // namespace graft

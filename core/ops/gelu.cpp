// gelu(x) = x * Phi(x), and its derivative of any order.
#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {

static const OpDef gelu_grad_op{.name = "gelu_grad", .infer = infer_broadcast};  // (x, g): first order only

static const OpDef gelu_op{
    .name = "gelu",
    .infer = infer_same,
    .backward =
        [](Backward& b) {
          const Tensor& x = b.input(0);
          if (!b.create_graph()) return void(b.to(0) = apply(gelu_grad_op, {}, x, b.g()));
          const Tensor cdf = affine(erf(x * 0.7071067811865476), 0.5, 0.5);  // Phi
          const Tensor pdf = exp(x * x * -0.5) * 0.3989422804014327;         // phi
          b.to(0) = b.g() * (cdf + x * pdf);
        },
    .reads = {input(0)},
    .promote = Promote::floating,
};

Tensor gelu(const Tensor& x) { return apply(gelu_op, {}, x); }

}  // namespace graft

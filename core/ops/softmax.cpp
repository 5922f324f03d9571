// softmax(x)_i = exp(x_i) / sum_j exp(x_j) along one dimension, and its logarithm.
#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {

// (y, g): first order only
static const OpDef softmax_grad_op{.name = "softmax_grad", .infer = [](Infer& c) { copy_sizes(c.out(), c.in(0)); }};
static const OpDef log_softmax_grad_op{.name = "log_softmax_grad",
                                       .infer = [](Infer& c) { copy_sizes(c.out(), c.in(0)); }};

static const OpDef softmax_op{
    .name = "softmax",
    .infer = infer_same,
    .backward =
        [](Backward& b) {  // dx = y (g - sum_j g_j y_j)
          const auto dim = b.attrs<DimAttrs>();
          const Tensor y = b.output();
          if (!b.create_graph()) return void(b.to(0) = apply(softmax_grad_op, dim, y, b.g().contiguous()));
          const Tensor gy = b.g() * y;
          b.to(0) = gy - y * sum(gy, {dim.dim}, true);
        },
    .reads = {output()},
    .promote = Promote::floating,
};
static const OpDef log_softmax_op{
    .name = "log_softmax",
    .infer = infer_same,
    .backward =
        [](Backward& b) {  // dx = g - exp(y) sum_j g_j
          const auto dim = b.attrs<DimAttrs>();
          const Tensor y = b.output();
          if (!b.create_graph()) return void(b.to(0) = apply(log_softmax_grad_op, dim, y, b.g().contiguous()));
          b.to(0) = b.g() - exp(y) * sum(b.g(), {dim.dim}, true);
        },
    .reads = {output()},
    .promote = Promote::floating,
};

static Tensor along(const OpDef& op, const Tensor& x, int dim) {
  if (x.dim() == 0) return along(op, x.reshape({1}), dim).reshape({});
  return apply(op, DimAttrs{wrap_dim(op.name, dim, x.view())}, x.contiguous());
}
Tensor softmax(const Tensor& x, int dim) { return along(softmax_op, x, dim); }
Tensor log_softmax(const Tensor& x, int dim) { return along(log_softmax_op, x, dim); }

}  // namespace graft

// softmax(x)_i = exp(x_i) / sum_j exp(x_j) along one dimension.
#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {

static const OpDef softmax_op{
    .name = "softmax",
    .infer = infer_same,
    .backward =
        [](Backward& b) {  // dx = y (g - sum_j g_j y_j)
          const Tensor y = b.output();
          const Tensor gy = b.g() * y;
          b.to(0) = gy - y * sum(gy, {b.attrs<DimAttrs>().dim}, true);
        },
    .reads = {output()},
    .promote = Promote::floating,
};
Tensor softmax(const Tensor& x, int dim) {
  return apply(softmax_op, DimAttrs{wrap_dim("softmax", dim, x.view())}, x.contiguous());
}

}  // namespace graft

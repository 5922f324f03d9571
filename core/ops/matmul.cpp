// Matrix products: matmul and linear.
#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {

static void infer_matmul(Infer& c) {
  const View &a = c.in(0), &b = c.in(1);
  c.check(a.rank == 2 && b.rank == 2, "needs two matrices");
  c.check(a.size[1] == b.size[0], "inner sizes differ");
  c.check(a.dtype == b.dtype, "dtypes differ");
  c.out().rank = 2;
  c.out().size[0] = a.size[0];
  c.out().size[1] = b.size[1];
}
static const OpDef matmul_op{
    .name = "matmul",
    .infer = infer_matmul,
    .backward =
        [](Backward& b) {
          if (b.needs(0)) b.to(0) = matmul(b.g(), b.input(1).transpose(0, 1));
          if (b.needs(1)) b.to(1) = matmul(b.input(0).transpose(0, 1), b.g());
        },
    .reads = {input(1), input(0)},
};

static void infer_linear(Infer& c) {
  const View &x = c.in(0), &w = c.in(1), &bias = c.in(2);
  c.check(x.rank == 2 && w.rank == 2 && bias.rank == 1, "needs x[n,in], weight[out,in], bias[out]");
  c.check(x.size[1] == w.size[1], "in_features differ");
  c.check(w.size[0] == bias.size[0], "out_features differ");
  c.check(x.dtype == w.dtype && x.dtype == bias.dtype, "dtypes differ");
  c.out().rank = 2;
  c.out().size[0] = x.size[0];
  c.out().size[1] = w.size[0];
}
static const OpDef linear_op{
    .name = "linear",
    .infer = infer_linear,
    .backward =
        [](Backward& b) {
          if (b.needs(0)) b.to(0) = matmul(b.g(), b.input(1));
          if (b.needs(1)) b.to(1) = matmul(b.g().transpose(0, 1), b.input(0));
          b.to(2) = b.g();
        },
    .reads = {input(1), input(0), 0},
};

Tensor matmul(const Tensor& a, const Tensor& b) { return apply(matmul_op, {}, a, b); }
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) { return apply(linear_op, {}, x, weight, bias); }

}  // namespace graft

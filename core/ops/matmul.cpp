// Matrix products: matmul and linear are ops; the others are written with them.
#include "graft/kernels/gemm/attrs.h"

#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {

// ---- matmul: [..., m, k] x [..., k, n], the leading dimensions broadcast ------------------------------------------

static void infer_matmul(Infer& c) {
  const View &a = c.in(0), &b = c.in(1);
  c.check(a.dtype == b.dtype, "dtypes differ");
  c.check(a.size[a.rank - 1] == b.size[b.rank - 2], "inner sizes differ");
  View& y = c.out();
  if (a.rank == 2 && b.rank == 2) {
    y.rank = 2;
  } else {
    View a_batch = a, b_batch = b;
    a_batch.rank = uint8_t(a.rank - 2);
    b_batch.rank = uint8_t(b.rank - 2);
    set_shape(y, broadcast_shapes(c, a_batch, b_batch));
    c.check(y.rank + 2 <= kMaxRank, "the result has more than ", kMaxRank, " dimensions");
    y.rank = uint8_t(y.rank + 2);
  }
  y.size[y.rank - 2] = a.size[a.rank - 2];
  y.size[y.rank - 1] = b.size[b.rank - 1];
}

static Tensor adjoint(const Tensor& x) { return conj(x.transpose(-2, -1)); }  // what a gradient is multiplied by

static const OpDef matmul_op{
    .name = "matmul",
    .infer = infer_matmul,
    .backward =
        [](Backward& b) {  // the pass sums where a batch was broadcast
          if (b.needs(0)) b.to(0) = matmul(b.g(), adjoint(b.input(1)));
          if (b.needs(1)) b.to(1) = matmul(adjoint(b.input(0)), b.g());
        },
    .reads = {input(1), input(0)},
    .macs = [](const Call& c, std::span<const Tensor> out) { return out[0].numel() * c.in[0]->view.size[c.in[0]->view.rank - 1]; },
};

static Shape without(Shape s, int from_end) {
  Shape shorter;
  for (int i = 0; i < s.rank(); ++i)
    if (i != s.rank() - from_end) shorter.push_back(s[i]);
  return shorter;
}

// A batch of matrices times one matrix is one tall matrix times that matrix.
static Tensor matmul_folded(const Tensor& a, const Tensor& b) {
  Shape shape = a.shape();
  const int64_t k = shape[shape.rank() - 1];
  int64_t rows = 1;
  for (int i = 0; i + 1 < shape.rank(); ++i) rows *= shape[i];
  shape[shape.rank() - 1] = b.size(1);
  return apply(matmul_op, {}, a.reshape({rows, k}), b).reshape(shape);
}

Tensor matmul(const Tensor& a, const Tensor& b) {
  GRAFT_CHECK(a.defined() && b.defined(), "matmul: an input is undefined");
  if (a.dim() == 2 && b.dim() == 2) return apply(matmul_op, {}, a, b);
  GRAFT_CHECK(a.dim() > 0 && b.dim() > 0, ErrorCode::shape_mismatch,
              "matmul: both arguments need at least one dimension: ", a, ", ", b);
  if (a.dim() == 1) {
    const Tensor y = matmul(a.reshape({1, a.size(0)}), b.dim() == 1 ? b.reshape({b.size(0), 1}) : b);
    return y.reshape(b.dim() == 1 ? Shape() : without(y.shape(), 2));
  }
  if (b.dim() == 1) {
    const Tensor y = matmul(a, b.reshape({b.size(0), 1}));
    return y.reshape(without(y.shape(), 1));
  }
  if (b.dim() == 2 && a.size(-1) == b.size(0)) return matmul_folded(a, b);
  return apply(matmul_op, {}, a, b);
}

// ---- linear ------------------------------------------------------------------------------------------------------

static void infer_linear(Infer& c) {
  const View &x = c.in(0), &w = c.in(1);
  c.check(x.rank >= 1 && w.rank == 2, "needs x[...,in], weight[out,in]");
  c.check(x.size[x.rank - 1] == w.size[1], "in_features differ");
  c.check(x.dtype == w.dtype, "dtypes differ");
  if (c.inputs() > 2) {
    const View& bias = c.in(2);
    c.check(bias.rank == 1 && w.size[0] == bias.size[0], "out_features differ: bias must be [", w.size[0], "]");
    c.check(x.dtype == bias.dtype, "dtypes differ");
  }
  copy_sizes(c.out(), x);
  c.out().size[x.rank - 1] = w.size[0];
}
static Tensor as_rows(const Tensor& x) {
  if (x.dim() == 2) return x;
  const int64_t cols = x.size(-1);
  int64_t rows = 1;
  for (int i = 0; i + 1 < x.dim(); ++i) rows *= x.size(i);
  return x.reshape({rows, cols});
}
// (g[n, out], x[n, in]) -> the gradient of weight[out, in] and, with a second output, of bias[out]: g is read in one call.
static const OpDef linear_grad_op{
    .name = "linear_grad",
    .infer =
        [](Infer& c) {
          const View &g = c.in(0), &x = c.in(1);
          c.out().rank = 2;
          c.out().size[0] = g.size[1];
          c.out().size[1] = x.size[1];
          if (c.outputs() == 1) return;
          View& bias = c.out(1);
          bias.dtype = g.dtype;
          bias.rank = 1;
          bias.size[0] = g.size[1];
        },
    .backward =
        [](Backward& b) {  // linear in g and in x
          if (b.needs(0)) b.to(0) = b.outputs() > 1 ? linear(b.input(1), b.g(0), b.g(1)) : linear(b.input(1), b.g(0));
          if (b.needs(1)) b.to(1) = matmul(b.input(0), b.g(0));
        },
    .reads = {input(1), input(0)},
    .macs = [](const Call& c, std::span<const Tensor>) { return c.in[0]->view.numel * c.in[1]->view.size[1]; },
};
static const OpDef linear_op{
    .name = "linear",
    .infer = infer_linear,
    .backward =
        [](Backward& b) {
          if (b.needs(0)) b.to(0) = matmul(b.g(), conj(b.input(1)));
          const bool biased = b.inputs() > 2 && b.needs(2);
          if (b.needs(1) && !is_complex(b.g().dtype())) {
            const Tensor g = as_rows(b.g()), x = as_rows(b.input(0));
            TensorImpl* in[] = {g.impl(), x.impl()};
            Tensor out[2];
            apply_into({linear_grad_op, in, {}}, std::span(out, biased ? 2 : 1));
            b.to(1) = std::move(out[0]);
            if (biased) b.to(2) = std::move(out[1]);
            return;
          }
          if (b.needs(1)) b.to(1) = matmul(as_rows(b.g()).transpose(0, 1), conj(as_rows(b.input(0))));
          if (biased) b.to(2) = b.g();
        },
    .reads = {input(1), input(0), 0},
    .macs = [](const Call& c, std::span<const Tensor>) { return c.in[0]->view.numel * c.in[1]->view.size[0]; },
};

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  GRAFT_CHECK(x.defined() && weight.defined(), "linear: an input is undefined");
  if (x.dim() != 2 && !x.is_contiguous()) return linear(x.contiguous(), weight, bias);
  if (weight.dim() == 1) {  // one output, without its dimension
    const Tensor y = matmul(x, weight);
    return bias.defined() ? y + bias : y;
  }
  return bias.defined() ? apply(linear_op, {}, x, weight, bias) : apply(linear_op, {}, x, weight);
}

static const OpDef linear_act_op{.name = "linear_act", .infer = infer_linear, .macs = linear_op.macs};  // not recorded

Tensor linear_act(const Tensor& x, const Tensor& weight, const Tensor& bias, LinearActivation f) {
  const Modes& modes = thread_modes();
  const bool recorded = modes.grad && !modes.inference &&
                        (x.requires_grad() || weight.requires_grad() || (bias.defined() && bias.requires_grad()));
  if (recorded || weight.dim() != 2 || !is_floating(x.dtype())) {
    const Tensor y = linear(x, weight, bias);
    return f == LinearActivation::relu ? relu(y) : gelu(y, f == LinearActivation::gelu ? "none" : "tanh");
  }
  if (x.dim() != 2 && !x.is_contiguous()) return linear_act(x.contiguous(), weight, bias, f);
  return bias.defined() ? apply(linear_act_op, LinearActAttrs{f}, x, weight, bias) : apply(linear_act_op, LinearActAttrs{f}, x, weight);
}

// ---- written with them -------------------------------------------------------------------------------------------

static void check_ranks(const char* op, const Tensor& a, int ra, const Tensor& b, int rb) {
  GRAFT_CHECK(a.dim() == ra && b.dim() == rb, ErrorCode::shape_mismatch, op, ": needs ", ra, " and ", rb, " dimensions: ",
              a, ", ", b);
}
Tensor mm(const Tensor& a, const Tensor& b) { return check_ranks("mm", a, 2, b, 2), matmul(a, b); }
Tensor bmm(const Tensor& a, const Tensor& b) {
  check_ranks("bmm", a, 3, b, 3);
  GRAFT_CHECK(a.size(0) == b.size(0), ErrorCode::shape_mismatch, "bmm: batch sizes differ: ", a, ", ", b);
  return matmul(a, b);
}
Tensor mv(const Tensor& a, const Tensor& v) { return check_ranks("mv", a, 2, v, 1), matmul(a, v); }
Tensor dot(const Tensor& a, const Tensor& b) { return check_ranks("dot", a, 1, b, 1), matmul(a, b); }

// beta * input + alpha * product; what is in `input` does not matter where beta is 0.
static Tensor add_product(const Tensor& input, const Tensor& product, Scalar beta, Scalar alpha) {
  const auto scaled = [](const Tensor& t, Scalar by) {
    return by.value() == 1 ? t : mul(t, scalar_tensor(by, t.options()));
  };
  const Tensor y = scaled(product, alpha);
  return beta.value() == 0 ? y + zeros(input.shape(), input.options()) : scaled(input, beta) + y;
}
Tensor addmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta, Scalar alpha) {
  return add_product(input, mm(a, b), beta, alpha);
}
Tensor addmv(const Tensor& input, const Tensor& a, const Tensor& v, Scalar beta, Scalar alpha) {
  return add_product(input, mv(a, v), beta, alpha);
}
Tensor baddbmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta, Scalar alpha) {
  return add_product(input, bmm(a, b), beta, alpha);
}

}  // namespace graft

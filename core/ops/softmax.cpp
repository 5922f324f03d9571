// softmax(x)_i = exp(x_i) / sum_j exp(x_j) along one dimension, its logarithm, and the logarithm of the sum.
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

// ---- the sum's logarithm -------------------------------------------------------------------------------------

// Beside the result of each line the number that was shifted by and sum exp(x - number): the derivative makes softmax(x) again.
static const OpDef logsumexp_grad_op{  // (g, x, number, sum): first order only
    .name = "logsumexp_grad", .infer = [](Infer& c) { copy_sizes(c.out(), c.in(1)); }};
static const OpDef logsumexp_op{
    .name = "logsumexp",
    .infer =
        [](Infer& c) {
          const View& x = c.in(0);
          for (int i = 0; i < 3; ++i) {
            View& y = c.out(i);
            y.rank = 0;
            for (int d = 0; d < x.rank; ++d)
              if (d != c.attrs<DimAttrs>().dim) y.size[y.rank++] = x.size[d];
            if (i > 0) y.dtype = compute_dtype(x.dtype);
          }
        },
    .backward =
        [](Backward& b) {  // dx = g softmax(x)
          const auto dim = b.attrs<DimAttrs>();
          const Tensor& x = b.input(0);
          if (b.create_graph()) return void(b.to(0) = b.g().unsqueeze(dim.dim) * softmax(x, dim.dim));
          b.to(0) = apply(logsumexp_grad_op, dim, b.g().contiguous(), x, b.output(1), b.output(2));
        },
    .reads = {Reads(input(0) | output(1) | output(2))},
};
static Tensor logsumexp_along(const Tensor& x, int dim) {
  const Tensor in = x.contiguous();
  std::array<Tensor, 3> out;
  TensorImpl* inputs[] = {in.impl()};
  apply_into(Call{logsumexp_op, inputs, DimAttrs{dim}}, out);
  return out[0];
}
Tensor logsumexp(const Tensor& t, const Dims& dims, bool keepdim) {
  const Tensor x = is_differentiable(t.dtype()) ? t : t.to(f32);
  const unsigned mask = dims.mask("logsumexp", x.view());
  if (x.dim() == 0) return logsumexp_along(x.reshape({1}), 0);
  // Kept dimensions, then those that are reduced, as one.
  int64_t order[kMaxRank], flat[kMaxRank + 1], wide[kMaxRank];
  int64_t n = 1;
  int kept = 0, rank = 0, last = 0;
  for (int d = 0; d < x.dim(); ++d) {
    const bool reduced = mask >> d & 1U;
    if (!reduced) order[kept] = d, flat[kept++] = x.size(d);
    if (reduced) last = d, n *= x.size(d);
    if (!reduced || keepdim) wide[rank++] = reduced ? 1 : x.size(d);
  }
  if (n == 0) return log(sum(exp(x), dims, keepdim));
  if (x.dim() - kept == 1) return logsumexp_along(x, last).reshape(Shape(std::span(wide, size_t(rank))));
  for (int d = 0, at = kept; d < x.dim(); ++d)
    if (mask >> d & 1U) order[at++] = d;
  flat[kept] = n;
  const Tensor turned = x.permute(Shape(std::span(order, size_t(x.dim())))).reshape(Shape(std::span(flat, size_t(kept) + 1)));
  return logsumexp_along(turned, kept).reshape(Shape(std::span(wide, size_t(rank))));
}

}  // namespace graft

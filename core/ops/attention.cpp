// Attention: softmax(scale q k^T + mask) v, without the scores being kept.
#include "graft/kernels/attention/attrs.h"

#include <cmath>
#include <limits>
#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {
namespace {

void drop_matrix(View& v) { v.rank = uint8_t(v.rank - 2); }
void infer_attention(Infer& c) {
  const View &q = c.in(0), &k = c.in(1), &v = c.in(2);
  c.check(q.rank >= 2 && k.rank >= 2 && v.rank >= 2, "needs at least two dimensions");
  c.check(q.dtype == k.dtype && q.dtype == v.dtype, "dtypes differ");
  c.check(is_floating(q.dtype), "needs floating inputs");
  const int64_t queries = q.size[q.rank - 2], keys = k.size[k.rank - 2];
  c.check(q.size[q.rank - 1] == k.size[k.rank - 1], "query and key differ in their last size");
  c.check(v.size[v.rank - 2] == keys, "key and value differ in their number");
  View a = q, b = k, d = v;
  drop_matrix(a), drop_matrix(b), drop_matrix(d);
  set_shape(a, broadcast_shapes(c, a, b));
  set_shape(a, broadcast_shapes(c, a, d));
  if (c.inputs() > 3) {
    View m = c.in(3);
    c.check(m.dtype == boolean || m.dtype == q.dtype, "the mask must be of dtype bool or that of query");
    View scores = a;
    scores.rank = uint8_t(a.rank + 2);
    scores.size[a.rank] = queries, scores.size[a.rank + 1] = keys;
    const Shape all = broadcast_shapes(c, scores, m);
    c.check(all[all.rank() - 2] == queries && all[all.rank() - 1] == keys, "the mask must broadcast to ", queries, " queries and ", keys, " keys");
    set_shape(a, all);
    drop_matrix(a);
  }
  c.check(a.rank + 2 <= kMaxRank, "the result has more than ", kMaxRank, " dimensions");
  for (int i = 0; i < 2; ++i) {
    View& y = c.out(i);
    copy_sizes(y, a);
    y.size[a.rank] = queries, y.size[a.rank + 1] = v.size[v.rank - 1];
    y.rank = uint8_t(a.rank + (i == 0 ? 2 : 1));
  }
  if (q.dtype != f64) c.out(1).dtype = f32;
}
// The gradients have the leading dimensions of the result: the pass sums over those that were broadcast.
void infer_attention_backward(Infer& c) {
  const View& y = c.in(4);
  for (int i = 0; i < 3; ++i) {
    const View& x = c.in(1 + i);
    View& dx = c.out(i);
    copy_sizes(dx, y);
    for (int d = 1; d <= 2; ++d) dx.size[y.rank - d] = x.size[x.rank - d];
  }
}
const OpDef attention_backward_op{.name = "scaled_dot_product_attention_backward", .infer = infer_attention_backward};  // first order only

constexpr double kHidden = -std::numeric_limits<double>::infinity();
// softmax(scores) as ops, from what the derivative reads.
Tensor shares(const Tensor& q, const Tensor& k, const Tensor& mask, const AttentionAttrs& a) {
  Tensor scores = matmul(q * a.scale, k.transpose(-2, -1));
  if (a.causal) scores = where(tril(ones({scores.size(-2), scores.size(-1)}, Options(DType::boolean, scores.device()))), scores, kHidden);
  if (!mask.defined()) return softmax(scores, -1);
  scores = mask.dtype() == DType::boolean ? where(mask, scores, kHidden) : scores + mask;
  if (scores.size(-1) == 0) return scores;
  const Tensor blind = eq(max(scores.detach(), -1).values, kHidden).unsqueeze(-1).expand(scores.shape());
  return where(blind, 0.0, softmax(where(blind, 0.0, scores), -1));
}
void attention_derivative(Backward& b) {
  const auto a = b.attrs<AttentionAttrs>();
  const bool masked = b.inputs() > 3;
  if (!b.create_graph() && !(masked && b.needs(3))) {
    std::array<Tensor, 3> d;
    const Tensor g = b.g(), q = b.input(0), k = b.input(1), v = b.input(2), y = b.output(0), lse = b.output(1), mask = masked ? b.input(3) : Tensor();
    TensorImpl* in[] = {g.impl(), q.impl(), k.impl(), v.impl(), y.impl(), lse.impl(), mask.impl()};
    apply_into(Call{attention_backward_op, std::span(in).first(masked ? 7 : 6), a}, d);
    for (int i = 0; i < 3; ++i)
      if (b.needs(i)) b.to(i) = d[size_t(i)];
    return;
  }
  const Tensor p = shares(b.input(0), b.input(1), masked ? b.input(3) : Tensor(), a), dp = matmul(b.g(), b.input(2).transpose(-2, -1));
  const Tensor ds = p * (dp - sum(p * dp, {-1}, true));
  if (b.needs(0)) b.to(0) = matmul(ds, b.input(1)) * a.scale;
  if (b.needs(1)) b.to(1) = matmul(ds.transpose(-2, -1), b.input(0)) * a.scale;
  if (b.needs(2)) b.to(2) = matmul(p.transpose(-2, -1), b.g());
  if (masked && b.needs(3)) b.to(3) = ds;
}
constexpr Reads kAll = Reads(input(0) | input(1) | input(2) | input(3) | output(0) | output(1));
const OpDef attention_op{
    .name = "scaled_dot_product_attention",
    .infer = infer_attention,
    .backward = attention_derivative,
    .reads = {kAll},
    .macs =
        [](const Call& c, std::span<const Tensor> out) {  // two products
          const View &q = c.in[0]->view, &k = c.in[1]->view, &v = c.in[2]->view;
          return out[1].numel() * k.size[k.rank - 2] * (q.size[q.rank - 1] + v.size[v.rank - 1]);
        },
};

}  // namespace

Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& mask, bool is_causal,
                                    std::optional<double> scale) {
  GRAFT_CHECK(query.defined() && key.defined() && value.defined(), "scaled_dot_product_attention: an input is undefined");
  GRAFT_CHECK(query.dim() >= 2 && key.dim() >= 2 && value.dim() >= 2, ErrorCode::shape_mismatch,
              "scaled_dot_product_attention: needs at least two dimensions: ", query, ", ", key, ", ", value);
  GRAFT_CHECK(!is_causal || !mask.defined(),
              "scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True");
  if (mask.defined() && mask.dim() < 2)
    return scaled_dot_product_attention(query, key, value, mask.reshape({1, mask.numel()}), is_causal, scale);
  const AttentionAttrs a{scale.value_or(1 / std::sqrt(double(std::max<int64_t>(1, query.size(-1))))), is_causal, mask.defined()};
  TensorImpl* in[] = {query.impl(), key.impl(), value.impl(), mask.impl()};
  std::array<Tensor, 2> out;
  apply_into(Call{attention_op, std::span(in).first(mask.defined() ? 4 : 3), a}, out);
  return out[0];
}

}  // namespace graft

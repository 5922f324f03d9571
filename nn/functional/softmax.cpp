// Softmaxes, and attention, which is made of one.
#include <cmath>
#include <limits>
#include "graft/nn/functional.h"

namespace graft::inline v1::nn::functional {

static int implicit_dim(const Tensor& x, std::optional<int> dim) {
  return dim ? *dim : x.dim() == 0 || x.dim() == 1 || x.dim() == 3 ? 0 : 1;
}
Tensor softmax(const Tensor& input, std::optional<int> dim, std::optional<DType> dtype) {
  return graft::softmax(dtype ? input.to(*dtype) : input, implicit_dim(input, dim));
}
Tensor log_softmax(const Tensor& input, std::optional<int> dim, std::optional<DType> dtype) {
  return graft::log_softmax(dtype ? input.to(*dtype) : input, implicit_dim(input, dim));
}
Tensor softmin(const Tensor& input, std::optional<int> dim, std::optional<DType> dtype) {
  return softmax(-input, implicit_dim(input, dim), dtype);
}

// ---- attention -----------------------------------------------------------------------------------------------

// 0 where a key is seen, else -infinity: what is added to the scores.
static Tensor causal_mask(int64_t queries, int64_t keys, const Tensor& like) {
  const Options on(like.dtype(), like.device());
  if (like.device().type == Device::meta) return empty({queries, keys}, on);
  const Tensor mask = zeros({queries, keys}, f64);
  double* p = mask.mutable_data<double>();
  for (int64_t i = 0; i < queries; ++i)
    for (int64_t j = i + 1; j < keys; ++j) p[i * keys + j] = -std::numeric_limits<double>::infinity();
  return mask.to(on);
}
static Tensor repeat_heads(const Tensor& x, int64_t heads) {  // [n, h, l, d] -> [n, heads, l, d], each head in a row
  Shape wide = x.shape(), flat = x.shape();
  const int h = x.dim() - 3;
  GRAFT_CHECK(h >= 0 && x.size(h) > 0 && heads % x.size(h) == 0, ErrorCode::shape_mismatch,
              "scaled_dot_product_attention: ", heads, " query heads are no multiple of those of ", x);
  flat[h] = heads;
  wide.push_back(0);
  for (int i = wide.rank() - 1; i > h + 1; --i) wide[i] = wide[i - 1];
  wide[h + 1] = heads / x.size(h);
  return x.unsqueeze(h + 1).expand(wide).reshape(flat);
}
// [..., heads, l, d] -> [..., groups, heads / groups, l, d]
static Tensor split_heads(const Tensor& x, int64_t groups) {
  Shape shape;
  for (int i = 0; i < x.dim(); ++i) {
    if (i == x.dim() - 3) shape.push_back(groups);
    shape.push_back(i == x.dim() - 3 ? x.size(i) / groups : x.size(i));
  }
  return x.reshape(shape);
}
// The heads of a group share their key and value, which broadcast.
static Tensor attend_in_groups(const Tensor& query, const Tensor& key, const Tensor& value, const AttentionOptions& o) {
  const int64_t groups = key.size(-3);
  Tensor mask = o.attn_mask;
  if (mask.defined() && mask.dim() > 2) mask = mask.size(-3) == 1 ? mask.unsqueeze(-3) : split_heads(mask, groups);
  return graft::scaled_dot_product_attention(split_heads(query, groups), key.unsqueeze(-3), value.unsqueeze(-3), mask, o.is_causal, o.scale)
      .flatten(-4, -3);
}

Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value, const AttentionOptions& o) {
  GRAFT_CHECK(query.dim() >= 2 && key.dim() >= 2 && value.dim() >= 2, ErrorCode::shape_mismatch,
              "scaled_dot_product_attention: needs at least two dimensions: ", query, ", ", key, ", ", value);
  GRAFT_CHECK(!o.is_causal || !o.attn_mask.defined(),
              "scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True");
  if (o.enable_gqa && (key.size(-3) != query.size(-3) || value.size(-3) != query.size(-3))) {
    const int64_t groups = query.dim() > 2 ? key.size(-3) : 0;
    if (o.dropout_p == 0 && groups > 0 && value.size(-3) == groups && query.size(-3) % groups == 0 && query.dim() < kMaxRank)
      return attend_in_groups(query, key, value, o);
    AttentionOptions same = o;
    same.enable_gqa = false;
    const int64_t heads = query.size(-3);
    return scaled_dot_product_attention(query, repeat_heads(key, heads), repeat_heads(value, heads), same);
  }
  if (o.dropout_p == 0) return graft::scaled_dot_product_attention(query, key, value, o.attn_mask, o.is_causal, o.scale);
  const double scale = o.scale.value_or(1 / std::sqrt(double(query.size(-1))));
  Tensor scores = matmul(query * scale, key.transpose(-2, -1));
  if (o.is_causal) scores = scores + causal_mask(query.size(-2), key.size(-2), scores);
  if (!o.attn_mask.defined()) return matmul(dropout(graft::softmax(scores, -1), o.dropout_p, o.dropout_p > 0), value);
  constexpr double kHidden = -std::numeric_limits<double>::infinity();
  scores = o.attn_mask.dtype() == DType::boolean ? where(o.attn_mask, scores, kHidden) : scores + o.attn_mask;
  // A query that sees no key at all gets zeros.
  const Tensor blind = eq(graft::max(scores.detach(), -1).values, kHidden).unsqueeze(-1).expand(scores.shape());
  const Tensor p = masked(graft::softmax(where(blind, 0.0, scores), -1), logical_not(blind));
  return matmul(dropout(p, o.dropout_p, o.dropout_p > 0), value);
}

}  // namespace graft::nn::functional

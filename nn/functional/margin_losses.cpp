// Losses with a margin: pairs, triplets, one class or several against the others.
#include "graft/core/op.h"
#include "graft/nn/functional/reduce.h"

namespace graft::inline v1::nn::functional {

Tensor hinge_embedding_loss(const Tensor& input, const Tensor& target, double margin, Reduction reduction) {
  const Tensor unlike = masked(clamp_min(margin - input, 0.0), ne(target, 1.0));
  return reduced(unlike + masked(input, ne(target, -1.0)), reduction);
}
Tensor margin_ranking_loss(const Tensor& input1, const Tensor& input2, const Tensor& target, double margin,
                           Reduction reduction) {
  return reduced(clamp_min(margin - target * (input1 - input2), 0.0), reduction);
}
Tensor cosine_embedding_loss(const Tensor& input1, const Tensor& input2, const Tensor& target, double margin,
                             Reduction reduction) {
  GRAFT_CHECK(input1.shape() == input2.shape() && (input1.dim() == 1 || input1.dim() == 2) &&
                  target.dim() == input1.dim() - 1, ErrorCode::shape_mismatch,
              "cosine_embedding_loss: needs inputs [n, d] and target [n], or [d] and []: ", input1, ", ", input2, ", ", target);
  const int dim = input1.dim() - 1;
  constexpr double eps = 1e-12;
  const Tensor norms = (sum(input1 * input1, {dim}) + eps) * (sum(input2 * input2, {dim}) + eps);
  const Tensor cosine = sum(input1 * input2, {dim}) / sqrt(norms);
  const Tensor like = masked(1.0 - cosine, eq(target, 1.0));
  return reduced(like + masked(clamp_min(cosine - margin, 0.0), eq(target, -1.0)), reduction);
}
Tensor soft_margin_loss(const Tensor& input, const Tensor& target, Reduction reduction) {
  return reduced(-log_sigmoid(target * input), reduction);
}

Tensor multi_margin_loss(const Tensor& input, const Tensor& target, const MultiMarginOptions& o) {
  GRAFT_CHECK(o.p == 1 || o.p == 2, "multi_margin_loss: only p == 1 and p == 2 supported, but got ", o.p);
  if (input.dim() == 1) {
    const Tensor loss = multi_margin_loss(input.unsqueeze(0), target.reshape({1}), o);
    return o.reduction == Reduction::none ? loss.squeeze(0) : loss;
  }
  GRAFT_CHECK(input.dim() == 2 && target.dim() == 1 && target.size(0) == input.size(0), ErrorCode::shape_mismatch,
              "multi_margin_loss: needs input [n, classes] and target [n]: ", input, ", ", target);
  const int64_t classes = input.size(1);
  const Tensor others = (1 - graft::one_hot(target, classes)).to(input.dtype());
  Tensor each = clamp_min(o.margin + graft::nll(input, target, {}, INT64_MIN).loss.unsqueeze(1) + input, 0.0);  // nll: -x at the target
  if (o.p == 2) each = each * each;
  if (o.weight.defined()) each = each * gather(o.weight, 0, target).unsqueeze(1);
  return reduced(sum(each * others, {1}) * (1.0 / double(classes)), o.reduction);
}

// The targets of a sample end at the first -1: 1 where a class is one, and 1 where a place holds one.
struct TargetSets { Tensor is_target, valid; };
static TargetSets target_sets(const Tensor& target, DType dtype) {
  GRAFT_CHECK(target.device().type != Device::meta && !thread_modes().dry_run, ErrorCode::data_dependent,
              "multilabel_margin_loss: the number of targets depends on values");
  const int64_t n = target.size(0), classes = target.size(1);
  const Tensor is_target = zeros(target.shape(), f64), valid = zeros(target.shape(), f64);
  const auto* t = target.data<int64_t>();
  double *in_set = is_target.mutable_data<double>(), *place = valid.mutable_data<double>();
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < classes && t[i * classes + j] != -1; ++j) {
      const int64_t c = t[i * classes + j];
      GRAFT_CHECK(c >= 0 && c < classes, ErrorCode::index_out_of_range, "multilabel_margin_loss: label ", c,
                  " is out of range for ", classes, " classes");
      in_set[i * classes + c] = place[i * classes + j] = 1;
    }
  return {is_target.to(dtype), valid.to(dtype)};
}
Tensor multilabel_margin_loss(const Tensor& input, const Tensor& target, Reduction reduction) {
  if (input.dim() == 1) {
    const Tensor loss = multilabel_margin_loss(input.unsqueeze(0), target.unsqueeze(0), reduction);
    return reduction == Reduction::none ? loss.squeeze(0) : loss;
  }
  GRAFT_CHECK(input.dim() == 2 && input.shape() == target.shape(), ErrorCode::shape_mismatch,
              "multilabel_margin_loss: needs input and target [n, classes]: ", input, ", ", target);
  const Tensor label = target.to(i64).contiguous();
  const auto [is_target, valid] = target_sets(label, input.dtype());
  const Tensor at_target = gather(input, 1, clamp_min(label, 0)).unsqueeze(2);
  const Tensor each = clamp_min(1.0 - at_target + input.unsqueeze(1), 0.0) * valid.unsqueeze(2) * (1.0 - is_target).unsqueeze(1);
  return reduced(sum(each, {1, 2}) * (1.0 / double(input.size(1))), reduction);
}
Tensor multilabel_soft_margin_loss(const Tensor& input, const Tensor& target, const Tensor& weight, Reduction reduction) {
  Tensor loss = -(target * log_sigmoid(input) + (1.0 - target) * log_sigmoid(-input));
  if (weight.defined()) loss = loss * weight;
  const int dim = input.dim() - 1;
  return reduced(sum(loss, {dim}) * (1.0 / double(input.size(dim))), reduction);
}

Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative, const TripletOptions& o) {
  const auto distance = [&](const Tensor& a, const Tensor& b) { return pairwise_distance(a, b, o.p, o.eps); };
  Tensor away = distance(anchor, negative);
  if (o.swap) away = minimum(away, distance(positive, negative));
  return reduced(clamp_min(distance(anchor, positive) - away + o.margin, 0.0), o.reduction);
}

}  // namespace graft::nn::functional

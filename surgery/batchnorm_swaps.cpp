#include "graft/surgery/batchnorm_swaps.h"

#include "graft/core/op.h"
#include "graft/core/ops.h"

namespace graft::inline v1::surgery {

static int64_t largest_divisor(int64_t n, int64_t most) {
  for (int64_t d = std::min(n, most); d > 1; --d)
    if (n % d == 0) return d;
  return 1;
}
static nn::ModulePtr grouped_norm(const nn::BatchNormNd& norm, int64_t num_groups) {
  nn::GroupNormOptions o{.eps = norm.eps, .affine = bool(norm.weight), .bias = bool(norm.bias)};
  if (norm.weight) o.options = norm.weight->options();
  auto group = nn::make<nn::GroupNorm>(largest_divisor(norm.num_features, num_groups), norm.num_features, o);
  if (norm.weight) group->weight.entry().share(norm.weight.entry());
  if (norm.bias) group->bias.entry().share(norm.bias.entry());
  return group;
}
std::vector<Policy> batchnorm_to_groupnorm(int64_t num_groups) {
  GRAFT_CHECK(num_groups > 0, "batchnorm_to_groupnorm: num_groups must be positive, not ", num_groups);
  return {on<nn::BatchNormNd>([num_groups](const nn::BatchNormNd& n) { return grouped_norm(n, num_groups); })};
}

static Tensor copy_or(const Tensor& given, const Tensor& otherwise) {
  const NoGrad quiet;
  return given.defined() ? given.detach().clone() : otherwise;
}
FrozenBatchNorm::FrozenBatchNorm(const nn::BatchNormNd& n)
    : num_features(n.num_features), eps(n.eps), weight(this, "weight", copy_or(n.weight, ones_like(n.running_mean))),
      bias(this, "bias", copy_or(n.bias, zeros_like(n.running_mean))),
      running_mean(this, "running_mean", copy_or(n.running_mean, {})), running_var(this, "running_var", copy_or(n.running_var, {})) {}

Tensor FrozenBatchNorm::forward(const Tensor& x) {
  GRAFT_CHECK(x.dim() >= 2 && x.size(1) == num_features, ErrorCode::shape_mismatch, "FrozenBatchNorm: needs ", num_features,
              " channels in dimension 1, not ", x);
  Shape each = x.shape();
  for (int d = 0; d < each.rank(); ++d) each[d] = d == 1 ? num_features : 1;
  const Tensor scale = *weight * rsqrt(*running_var + eps), shift = *bias - *running_mean * scale;
  return x * scale.reshape(each) + shift.reshape(each);
}
std::string FrozenBatchNorm::extra_repr() const { return concat(num_features, ", eps=", nn::Value(eps)); }

std::vector<Policy> freeze_batchnorm() {
  Policy p = on<nn::BatchNormNd>([](const nn::BatchNormNd& n) -> Answer {
    if (!n.running_mean) return Answer::declined("no_statistics", "it keeps no running statistics");
    return nn::make<FrozenBatchNorm>(n);
  });
  p.named = NamedSurgery{"freeze_batchnorm", {}};
  return {p};
}

}  // namespace graft::inline v1::surgery

// Losses between probabilities: binary cross entropy, Kullback-Leibler divergence.
#include "graft/core/cuda_graph.h"
#include "graft/core/op.h"
#include "graft/nn/functional/reduce.h"

namespace graft::inline v1::nn::functional {
namespace {

void check_probabilities(const Tensor& x) {
  if (x.device().type == Device::meta || thread_modes().dry_run || cuda::detail::is_unreadable(x)) return;
  const NoGrad quiet;
  const Tensor inside = logical_and(ge(x.detach(), 0.0), le(x.detach(), 1.0));
  GRAFT_CHECK(sum(inside).item<int64_t>() == x.numel(),
              "binary_cross_entropy: all elements of input should be between 0 and 1");
}
Tensor times_weight(const Tensor& loss, const Tensor& weight) { return weight.defined() ? loss * weight : loss; }
// log(x), at least -100; where that bound holds there is no gradient, instead of an infinite one.
Tensor bounded_log(const Tensor& x) { return clamp_min(log(clamp_min(x, 3.8e-44)), -100.0); }

}  // namespace

Tensor binary_cross_entropy(const Tensor& input, const Tensor& target, const BceOptions& o) {
  GRAFT_CHECK(input.shape() == target.shape(), ErrorCode::shape_mismatch,
              "binary_cross_entropy: Using a target size ", target.shape(), " that is different to the input size ",
              input.shape(), " is not allowed");
  check_probabilities(input);
  const Tensor loss = -(target * bounded_log(input) + (1.0 - target) * bounded_log(1.0 - input));
  return reduced(times_weight(loss, o.weight), o.reduction);
}

// (1 - t) x - (1 + (pos_weight - 1) t) log sigmoid(x)
Tensor binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target, const BceOptions& o) {
  GRAFT_CHECK(input.shape() == target.shape(), ErrorCode::shape_mismatch,
              "binary_cross_entropy_with_logits: Target size ", target.shape(), " must be the same as input size ", input.shape());
  const Tensor log_p = log_sigmoid(input);
  const Tensor rest = (1.0 - target) * input;
  const Tensor loss = o.pos_weight.defined() ? rest - ((o.pos_weight - 1.0) * target + 1.0) * log_p : rest - log_p;
  return reduced(times_weight(loss, o.weight), o.reduction);
}

Tensor kl_div(const Tensor& input, const Tensor& target, Reduction reduction, bool log_target) {
  Tensor loss;
  if (log_target) {
    loss = exp(target) * (target - input);
  } else {
    const Tensor nonzero = ne(target, 0.0);  // t log(t) is 0 at 0, and NaN below
    loss = masked(target * log(where(nonzero, target, 1.0)), nonzero) - target * input;
  }
  if (reduction != Reduction::batchmean) return reduced(loss, reduction);
  return sum(loss) * (1.0 / double(input.dim() ? input.size(0) : 1));
}

}  // namespace graft::nn::functional

// Losses over classes: cross entropy with labels or probabilities, negative log likelihood.
#include "graft/nn/functional/reduce.h"

namespace graft::inline v1::nn::functional {
namespace {

int class_dim(const Tensor& x) { return x.dim() > 1 ? 1 : 0; }

Tensor per_class(const Tensor& weight, const Tensor& x) {  // [1, classes, 1, ...]
  Shape wide = x.shape();
  for (int i = 0; i < wide.rank(); ++i)
    if (i != class_dim(x)) wide[i] = 1;
  GRAFT_CHECK(weight.numel() == wide[class_dim(x)] && weight.dim() == 1, ErrorCode::shape_mismatch,
              "cross_entropy: weight tensor should be defined either for all ", wide[class_dim(x)],
              " classes or no classes but got weight tensor of shape ", weight.shape());
  return weight.detach().to(x.dtype()).reshape(wide);
}
// The labels' weights (0 where ignored) are constants.
Tensor summarised(const NllResult& r, Reduction reduction) {
  if (reduction == Reduction::none) return r.loss;
  return reduction == Reduction::sum ? sum(r.loss) : sum(r.loss) / sum(r.weight.detach());
}

Tensor with_probabilities(const Tensor& input, const Tensor& target, const CrossEntropyOptions& o) {
  GRAFT_CHECK(input.shape() == target.shape(), ErrorCode::shape_mismatch,
              "cross_entropy: probabilities must have the shape of the input: ", input, ", ", target);
  const int dim = class_dim(input);
  const int64_t classes = input.size(dim);
  Tensor p = target;
  if (o.label_smoothing > 0) p = affine(p, 1 - o.label_smoothing, o.label_smoothing / double(classes));
  Tensor each = graft::log_softmax(input, dim) * p;
  if (o.weight.defined()) each = each * per_class(o.weight, input);
  const Tensor loss = -sum(each, {dim});
  if (o.reduction != Reduction::mean) return reduced(loss, o.reduction);
  return sum(loss) * (double(classes) / double(input.numel()));
}

// The part of the loss that label smoothing spreads over all classes.
Tensor smooth_part(const Tensor& logp, const Tensor& target, const CrossEntropyOptions& o, const Tensor& label_weight) {
  const int dim = class_dim(logp);
  const Tensor each = sum(o.weight.defined() ? logp * per_class(o.weight, logp) : logp, {dim});
  const Tensor counts = graft::nll(logp.detach(), target, {}, o.ignore_index).weight;  // 1, or 0 where ignored
  const Tensor loss = -(each * counts);
  if (o.reduction != Reduction::mean) return reduced(loss, o.reduction);
  return sum(loss) / sum(label_weight.detach());
}

}  // namespace

Tensor nll_loss(const Tensor& input, const Tensor& target, const NllOptions& o) {
  return summarised(graft::nll(input, target, o.weight, o.ignore_index), o.reduction);
}

Tensor cross_entropy(const Tensor& input, const Tensor& target, const CrossEntropyOptions& o) {
  GRAFT_CHECK(o.label_smoothing >= 0 && o.label_smoothing <= 1,
              "cross_entropy: label_smoothing must be between 0.0 and 1.0. Got: ", o.label_smoothing);
  GRAFT_CHECK(input.dim() >= 1, ErrorCode::shape_mismatch, "cross_entropy: needs input [n, classes, d...]: ", input);
  if (is_floating(target.dtype())) return with_probabilities(input, target, o);
  const Tensor logp = graft::log_softmax(input, class_dim(input));
  const NllResult r = graft::nll(logp, target, o.weight, o.ignore_index);
  const Tensor loss = summarised(r, o.reduction);
  if (o.label_smoothing == 0) return loss;
  const double each = o.label_smoothing / double(input.size(class_dim(input)));
  return loss * (1 - o.label_smoothing) + smooth_part(logp, target, o, r.weight) * each;
}

}  // namespace graft::nn::functional

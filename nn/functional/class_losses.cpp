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

}  // namespace

Tensor nll_loss(const Tensor& input, const Tensor& target, const NllOptions& o) {
  return summarised(graft::nll(input, target, o.weight, o.ignore_index), o.reduction);
}

Tensor cross_entropy(const Tensor& input, const Tensor& target, const CrossEntropyOptions& o) {
  GRAFT_CHECK(o.label_smoothing >= 0 && o.label_smoothing <= 1,
              "cross_entropy: label_smoothing must be between 0.0 and 1.0. Got: ", o.label_smoothing);
  GRAFT_CHECK(input.dim() >= 1, ErrorCode::shape_mismatch, "cross_entropy: needs input [n, classes, d...]: ", input);
  if (is_floating(target.dtype())) return with_probabilities(input, target, o);
  return summarised(graft::cross_entropy(input, target, o.weight, o.ignore_index, o.label_smoothing), o.reduction);
}

}  // namespace graft::nn::functional

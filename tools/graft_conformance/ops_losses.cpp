// Adapters of the losses in torch.nn.functional.
#include "graft/nn/functional.h"
#include "ops.h"

namespace conformance {
namespace {

using namespace graft;
namespace F = graft::nn::functional;

// PyTorch's deprecated arguments size_average and reduce come before reduction.
nn::Reduction last_reduction(Arguments& a) { return nn::Reduction(std::string_view(a.text("reduction", "mean"))); }
nn::Reduction reduction(Arguments& a) {
  a.json("size_average");
  a.json("reduce");
  return last_reduction(a);
}

Outputs cross_entropy(Arguments& a) {
  const Tensor x = a.tensor("input"), y = a.tensor("target");
  F::CrossEntropyOptions o;
  o.weight = a.tensor_or_none("weight");
  a.json("size_average");
  o.ignore_index = a.integer("ignore_index", -100);
  a.json("reduce");
  o.reduction = last_reduction(a);
  o.label_smoothing = a.number("label_smoothing", 0);
  return {F::cross_entropy(x, y, o)};
}
Outputs nll_loss(Arguments& a) {
  const Tensor x = a.tensor("input"), y = a.tensor("target");
  F::NllOptions o;
  o.weight = a.tensor_or_none("weight");
  a.json("size_average");
  o.ignore_index = a.integer("ignore_index", -100);
  a.json("reduce");
  o.reduction = last_reduction(a);
  return {F::nll_loss(x, y, o)};
}
using Distance = Tensor (*)(const Tensor&, const Tensor&, nn::Reduction, const Tensor&);
template <Distance f>
Outputs distance(Arguments& a) {
  const Tensor x = a.tensor("input"), y = a.tensor("target");
  const nn::Reduction r = reduction(a);
  return {f(x, y, r, a.tensor_or_none("weight"))};
}
Outputs smooth_l1_loss(Arguments& a) {
  const Tensor x = a.tensor("input"), y = a.tensor("target");
  const nn::Reduction r = reduction(a);
  return {F::smooth_l1_loss(x, y, r, a.number("beta", 1))};
}
Outputs huber_loss(Arguments& a) {
  const Tensor x = a.tensor("input"), y = a.tensor("target");
  const nn::Reduction r = last_reduction(a);
  const double delta = a.number("delta", 1);
  return {F::huber_loss(x, y, r, delta, a.tensor_or_none("weight"))};
}
using Bce = Tensor (*)(const Tensor&, const Tensor&, const F::BceOptions&);
template <Bce f>
Outputs bce(Arguments& a) {
  const Tensor x = a.tensor("input"), y = a.tensor("target");
  F::BceOptions o;
  o.weight = a.tensor_or_none("weight");
  o.reduction = reduction(a);
  o.pos_weight = a.tensor_or_none("pos_weight");
  return {f(x, y, o)};
}
Outputs kl_div(Arguments& a) {
  const Tensor x = a.tensor("input"), y = a.tensor("target");
  const nn::Reduction r = reduction(a);
  return {F::kl_div(x, y, r, a.boolean("log_target", false))};
}
Outputs poisson_nll_loss(Arguments& a) {
  const Tensor x = a.tensor("input"), y = a.tensor("target");
  const bool log_input = a.boolean("log_input", true), full = a.boolean("full", false);
  a.json("size_average");
  const double eps = a.number("eps", 1e-8);
  a.json("reduce");
  return {F::poisson_nll_loss(x, y, log_input, full, eps, last_reduction(a))};
}
Outputs gaussian_nll_loss(Arguments& a) {
  const Tensor x = a.tensor("input"), y = a.tensor("target"), var = a.tensor("var");
  const bool full = a.boolean("full", false);
  const double eps = a.number("eps", 1e-6);
  return {F::gaussian_nll_loss(x, y, var, full, eps, last_reduction(a))};
}
Outputs hinge_embedding_loss(Arguments& a) {
  const Tensor x = a.tensor("input"), y = a.tensor("target");
  const double margin = a.number("margin", 1);
  return {F::hinge_embedding_loss(x, y, margin, reduction(a))};
}
using Pair = Tensor (*)(const Tensor&, const Tensor&, const Tensor&, double, nn::Reduction);
template <Pair f>
Outputs pair(Arguments& a) {
  const Tensor x = a.tensor("input1"), y = a.tensor("input2"), target = a.tensor("target");
  const double margin = a.number("margin", 0);
  return {f(x, y, target, margin, reduction(a))};
}
using Plain = Tensor (*)(const Tensor&, const Tensor&, nn::Reduction);
template <Plain f>
Outputs plain(Arguments& a) {
  const Tensor x = a.tensor("input"), y = a.tensor("target");
  return {f(x, y, reduction(a))};
}
Outputs multi_margin_loss(Arguments& a) {
  const Tensor x = a.tensor("input"), y = a.tensor("target");
  F::MultiMarginOptions o;
  o.p = a.number("p", 1);
  o.margin = a.number("margin", 1);
  o.weight = a.tensor_or_none("weight");
  o.reduction = reduction(a);
  return {F::multi_margin_loss(x, y, o)};
}
Outputs multilabel_soft_margin_loss(Arguments& a) {
  const Tensor x = a.tensor("input"), y = a.tensor("target"), w = a.tensor_or_none("weight");
  return {F::multilabel_soft_margin_loss(x, y, w, reduction(a))};
}
Outputs triplet_margin_loss(Arguments& a) {
  const Tensor x = a.tensor("anchor"), y = a.tensor("positive"), z = a.tensor("negative");
  F::TripletOptions o;
  o.margin = a.number("margin", 1);
  o.p = a.number("p", 2);
  o.eps = a.number("eps", 1e-6);
  o.swap = a.boolean("swap", false);
  o.reduction = reduction(a);
  return {F::triplet_margin_loss(x, y, z, o)};
}
Outputs ctc_loss(Arguments& a) {
  const Tensor x = a.tensor("log_probs"), y = a.tensor("targets");
  const auto lengths = [&](const char* name) {
    if (a.has_tensor(name)) return a.tensor(name);
    const Ints v = a.ints(name);
    return graft::tensor(std::span<const int64_t>(v), Shape{int64_t(v.size())});
  };
  const Tensor in = lengths("input_lengths"), out = lengths("target_lengths");
  F::CtcOptions o;
  o.blank = a.integer("blank", 0);
  o.reduction = last_reduction(a);
  o.zero_infinity = a.boolean("zero_infinity", false);
  return {F::ctc_loss(x, y, in, out, o)};
}

const OpAdapter kLossesOps[] = {
    {"nn.functional.cross_entropy", cross_entropy, true},
    {"nn.functional.nll_loss", nll_loss},
    {"nn.functional.mse_loss", distance<F::mse_loss>},
    {"nn.functional.l1_loss", distance<F::l1_loss>},
    {"nn.functional.smooth_l1_loss", smooth_l1_loss},
    {"nn.functional.huber_loss", huber_loss},
    {"nn.functional.binary_cross_entropy", bce<F::binary_cross_entropy>},
    {"nn.functional.binary_cross_entropy_with_logits", bce<F::binary_cross_entropy_with_logits>},
    {"nn.functional.kl_div", kl_div},
    {"nn.functional.poisson_nll_loss", poisson_nll_loss},
    {"nn.functional.gaussian_nll_loss", gaussian_nll_loss},
    {"nn.functional.hinge_embedding_loss", hinge_embedding_loss},
    {"nn.functional.margin_ranking_loss", pair<F::margin_ranking_loss>},
    {"nn.functional.cosine_embedding_loss", pair<F::cosine_embedding_loss>},
    {"nn.functional.soft_margin_loss", plain<F::soft_margin_loss>},
    {"nn.functional.multilabel_margin_loss", plain<F::multilabel_margin_loss>},
    {"nn.functional.multi_margin_loss", multi_margin_loss},
    {"nn.functional.multilabel_soft_margin_loss", multilabel_soft_margin_loss},
    {"nn.functional.triplet_margin_loss", triplet_margin_loss},
    {"nn.functional.ctc_loss", ctc_loss},
};

}  // namespace

std::span<const OpAdapter> loss_ops() { return kLossesOps; }

}  // namespace conformance

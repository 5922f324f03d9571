#include "graft/nn/loss.h"

#include "graft/nn/registry.h"

namespace graft::inline v1::nn {

Tensor CrossEntropyLoss::forward(const Tensor& input, const Tensor& target) {
  return functional::cross_entropy(input, target, {weight, ignore_index, reduction, label_smoothing});
}
Tensor NLLLoss::forward(const Tensor& input, const Tensor& target) {
  return functional::nll_loss(input, target, {weight, ignore_index, reduction});
}
Tensor BCELoss::forward(const Tensor& input, const Tensor& target) {
  return functional::binary_cross_entropy(input, target, {weight, reduction, {}});
}
Tensor BCEWithLogitsLoss::forward(const Tensor& input, const Tensor& target) {
  return functional::binary_cross_entropy_with_logits(input, target, {weight, reduction, pos_weight});
}
Tensor MSELoss::forward(const Tensor& input, const Tensor& target) { return functional::mse_loss(input, target, reduction); }
Tensor L1Loss::forward(const Tensor& input, const Tensor& target) { return functional::l1_loss(input, target, reduction); }
Tensor SmoothL1Loss::forward(const Tensor& input, const Tensor& target) {
  return functional::smooth_l1_loss(input, target, reduction, beta);
}
Tensor HuberLoss::forward(const Tensor& input, const Tensor& target) {
  return functional::huber_loss(input, target, reduction, delta);
}
Tensor KLDivLoss::forward(const Tensor& input, const Tensor& target) {
  return functional::kl_div(input, target, reduction, log_target);
}

// ---- by name -------------------------------------------------------------------------------------------------

// size_average and reduce are deprecated in PyTorch: accepted in their places, of no effect.
static void skip_deprecated(ArgReader& a) {
  a.skip("size_average");
  a.skip("reduce");
}
template <class L> static void add_simple(Registry& r, const char* name) {
  r.add<L>(name, [](ArgReader& a) {
    skip_deprecated(a);
    return make<L>(a.get("reduction", Reduction()));
  }, {attribute<&L::reduction>("reduction")});
}
void register_loss(Registry& r) {
  r.add<CrossEntropyLoss>("CrossEntropyLoss", [](ArgReader& a) {
    functional::CrossEntropyOptions o;
    o.weight = a.get("weight", Tensor());
    a.skip("size_average");
    o.ignore_index = a.get("ignore_index", o.ignore_index);
    a.skip("reduce");
    o.reduction = a.get("reduction", o.reduction);
    o.label_smoothing = a.get("label_smoothing", o.label_smoothing);
    return make<CrossEntropyLoss>(o);
  }, {attribute<&CrossEntropyLoss::ignore_index>("ignore_index"),
      attribute<&CrossEntropyLoss::reduction>("reduction"),
      attribute<&CrossEntropyLoss::label_smoothing>("label_smoothing")});
  r.add<NLLLoss>("NLLLoss", [](ArgReader& a) {
    functional::NllOptions o;
    o.weight = a.get("weight", Tensor());
    a.skip("size_average");
    o.ignore_index = a.get("ignore_index", o.ignore_index);
    a.skip("reduce");
    o.reduction = a.get("reduction", o.reduction);
    return make<NLLLoss>(o);
  }, {attribute<&NLLLoss::ignore_index>("ignore_index"), attribute<&NLLLoss::reduction>("reduction")});
  r.add<BCELoss>("BCELoss", [](ArgReader& a) {
    const Tensor weight = a.get("weight", Tensor());
    skip_deprecated(a);
    return make<BCELoss>(weight, a.get("reduction", Reduction()));
  }, {attribute<&BCELoss::reduction>("reduction")});
  r.add<BCEWithLogitsLoss>("BCEWithLogitsLoss", [](ArgReader& a) {
    functional::BceOptions o;
    o.weight = a.get("weight", Tensor());
    skip_deprecated(a);
    o.reduction = a.get("reduction", o.reduction);
    o.pos_weight = a.get("pos_weight", Tensor());
    return make<BCEWithLogitsLoss>(o);
  }, {attribute<&BCEWithLogitsLoss::reduction>("reduction")});
  add_simple<MSELoss>(r, "MSELoss");
  add_simple<L1Loss>(r, "L1Loss");
  r.add<SmoothL1Loss>("SmoothL1Loss", [](ArgReader& a) {
    skip_deprecated(a);
    const auto reduction = a.get("reduction", Reduction());
    return make<SmoothL1Loss>(reduction, a.get("beta", 1.0));
  }, {attribute<&SmoothL1Loss::reduction>("reduction"), attribute<&SmoothL1Loss::beta>("beta")});
  r.add<HuberLoss>("HuberLoss", [](ArgReader& a) {
    const auto reduction = a.get("reduction", Reduction());
    return make<HuberLoss>(reduction, a.get("delta", 1.0));
  }, {attribute<&HuberLoss::reduction>("reduction"), attribute<&HuberLoss::delta>("delta")});
  r.add<KLDivLoss>("KLDivLoss", [](ArgReader& a) {
    skip_deprecated(a);
    const auto reduction = a.get("reduction", Reduction());
    return make<KLDivLoss>(reduction, a.get("log_target", false));
  }, {attribute<&KLDivLoss::reduction>("reduction"), attribute<&KLDivLoss::log_target>("log_target")});
}

}  // namespace graft

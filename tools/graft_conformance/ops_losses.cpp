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
const OpAdapter kOps[] = {
    {"nn.functional.cross_entropy", cross_entropy, true},
    {"nn.functional.nll_loss", nll_loss},
    {"nn.functional.mse_loss", distance<F::mse_loss>},
};

}  // namespace

std::span<const OpAdapter> loss_ops() { return kOps; }

}  // namespace conformance

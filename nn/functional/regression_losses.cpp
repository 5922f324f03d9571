// Losses between numbers: squared, absolute and what lies between.
#include "graft/nn/functional/reduce.h"

namespace graft::inline v1::nn::functional {

static void check_weight(const char* op, const Tensor& weight, const Tensor& input) {
  GRAFT_CHECK(weight.shape() == input.shape(), ErrorCode::shape_mismatch, op,
              ": Weights and input must have the same size: ", weight, ", ", input);
}
// The mean of a weighted loss is over the sum of the weights.
static Tensor weighted(const char* op, const Tensor& each, const Tensor& weight, const Tensor& input, Reduction reduction) {
  if (!weight.defined()) return reduced(each, reduction);
  check_weight(op, weight, input);
  const Tensor loss = each * weight;
  return reduction == Reduction::mean ? sum(loss) / sum(weight) : reduced(loss, reduction);
}

Tensor mse_loss(const Tensor& input, const Tensor& target, Reduction reduction, const Tensor& weight) {
  const Tensor d = input - target;
  return weighted("mse_loss", d * d, weight, input, reduction);
}

}  // namespace graft::nn::functional

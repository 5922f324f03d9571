// Losses between numbers: squared, absolute and what lies between.
#include <cmath>
#include <numbers>
#include "graft/core/cuda_graph.h"
#include "graft/core/op.h"
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
Tensor l1_loss(const Tensor& input, const Tensor& target, Reduction reduction, const Tensor& weight) {
  return weighted("l1_loss", abs(input - target), weight, input, reduction);
}

// d^2 / 2 / beta where |d| < beta, else |d| - beta / 2
Tensor smooth_l1_loss(const Tensor& input, const Tensor& target, Reduction reduction, double beta) {
  GRAFT_CHECK(beta >= 0, "smooth_l1_loss: beta must not be negative, but got ", beta);
  const Tensor d = abs(input - target);
  if (beta == 0) return reduced(d, reduction);
  return reduced(where(lt(d, beta), d * d * (0.5 / beta), d - 0.5 * beta), reduction);
}
// d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2)
Tensor huber_loss(const Tensor& input, const Tensor& target, Reduction reduction, double delta, const Tensor& weight) {
  GRAFT_CHECK(delta > 0, "huber_loss: delta must be positive, but got ", delta);
  const Tensor d = abs(input - target);
  Tensor loss = where(le(d, delta), d * d * 0.5, (d - 0.5 * delta) * delta);
  if (weight.defined()) {
    check_weight("huber_loss", weight, input);
    loss = loss * weight;
  }
  return reduced(loss, reduction);
}

// -log N(target; input, var), var being kept above eps; a gradient passes that by.
Tensor gaussian_nll_loss(const Tensor& input, const Tensor& target, const Tensor& var, bool full, double eps,
                         Reduction reduction) {
  GRAFT_CHECK(eps > 0, "gaussian_nll_loss: eps must be positive, but got ", eps);
  const bool shorter = var.dim() + 1 == input.dim();
  Tensor v = shorter ? var.unsqueeze(-1) : var;
  int unlike = 0;
  for (int i = 0; i < input.dim() && v.dim() == input.dim(); ++i)
    unlike += v.size(i) != input.size(i) ? (v.size(i) == 1 ? 1 : 2) : 0;
  GRAFT_CHECK(v.dim() == input.dim() && unlike <= 1, ErrorCode::shape_mismatch,
              "gaussian_nll_loss: var is of incorrect size: ", var, " for ", input);
  {
    const NoGrad quiet;
    v = v.detach();
    if (v.device().type != Device::meta && !thread_modes().dry_run && !cuda::detail::is_unreadable(v))
      GRAFT_CHECK(sum(lt(v, 0.0)).item<int64_t>() == 0, "gaussian_nll_loss: var has negative entry/entries");
    v = clamp_min(v, eps) - v;
  }
  v = (shorter ? var.unsqueeze(-1) : var) + v;
  const Tensor d = input - target;
  Tensor loss = (log(v) + d * d / v) * 0.5;
  if (full) loss = loss + 0.5 * std::log(2 * std::numbers::pi);
  return reduced(loss, reduction);
}
// exp(x) - t x, or x - t log(x); with Stirling's term for the constant log(t!).
Tensor poisson_nll_loss(const Tensor& input, const Tensor& target, bool log_input, bool full, double eps,
                        Reduction reduction) {
  Tensor loss = log_input ? exp(input) - target * input : input - target * log(input + eps);
  if (full) {
    const Tensor large = gt(target, 1.0), t = where(large, target, 1.0);
    loss = loss + masked(t * log(t) - t + log(t * (2 * std::numbers::pi)) * 0.5, large);
  }
  return reduced(loss, reduction);
}

}  // namespace graft::nn::functional

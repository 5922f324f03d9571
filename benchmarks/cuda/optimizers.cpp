// A step over many parameters, with the gradients clipped: one launch for all of them, and ops for each.
#include <cmath>
#include <memory>
#include "contest.h"
#include "graft/core/ops.h"
#include "graft/optim/adam.h"
#include "graft/optim/sgd.h"

using namespace graft;

namespace contest {
namespace {

constexpr double kMost = 1.0;  // norm of the gradients

Tensors parameters(bool tiny) {
  Tensors all;
  for (int64_t i = 0; i < (tiny ? 3 : 256); ++i) {
    const Shape shape{tiny ? 37 + i : (i % 4 == 0 ? 1024 : 512 * 1024)};  // a quarter of them biases
    all.push_back(values(shape, f32, double(i)).requires_grad_());
    all.back().set_grad(values(shape, f32, double(i) + 0.5));
  }
  return all;
}
double count(const Tensors& all) {
  double n = 0;
  for (const Tensor& p : all) n += double(p.numel());
  return n;
}
// Without a wait for the host: the factor stays on the device.
void clip_one_by_one(const Tensors& all) {
  Tensor squares = sum(all[0].grad() * all[0].grad());
  for (size_t i = 1; i < all.size(); ++i) squares = squares + sum(all[i].grad() * all[i].grad());
  const Tensor factor = clamp_max(reciprocal(sqrt(squares) + 1e-6) * kMost, 1.0);
  for (const Tensor& p : all) p.grad().mul_(factor);
}

template <class Optimizer, class Options> std::function<Tensors()> fused(bool tiny, const Options& options) {
  const Tensors all = parameters(tiny);
  const auto optimizer = std::make_shared<Optimizer>(all, options);
  return [=] {
    optim::clip_grad_norm_(all, kMost);
    optimizer->step();
    return all;
  };
}
std::function<Tensors()> sgd_one_by_one(bool tiny) {
  const Tensors all = parameters(tiny);
  Tensors momentum;
  for (const Tensor& p : all) momentum.push_back(zeros_like(p.detach()));
  return [=] {
    clip_one_by_one(all);
    for (size_t i = 0; i < all.size(); ++i) {
      momentum[i].mul_(0.9).add_(all[i].grad());
      all[i].detach().add_(momentum[i], -1e-3);
    }
    return all;
  };
}
std::function<Tensors()> adam_one_by_one(bool tiny, double decay) {
  const Tensors all = parameters(tiny);
  Tensors m, v;
  for (const Tensor& p : all) m.push_back(zeros_like(p.detach())), v.push_back(zeros_like(p.detach()));
  const auto step = std::make_shared<int>(0);
  return [=] {
    clip_one_by_one(all);
    const int t = ++*step;
    const double correct_m = 1 - std::pow(0.9, t), correct_v = 1 - std::pow(0.999, t);
    for (size_t i = 0; i < all.size(); ++i) {
      const Tensor p = all[i].detach(), g = all[i].grad();
      if (decay > 0) p.mul_(1 - 1e-3 * decay);
      m[i].lerp_(g, 0.1);
      v[i].mul_(0.999).addcmul_(g, g, 0.001);
      p.addcdiv_(m[i], sqrt(v[i]).mul_(1 / std::sqrt(correct_v)).add_(1e-8), -1e-3 / correct_m);
    }
    return all;
  };
}

// `touched`: numbers read and written for each parameter; the clipping reads its gradient, and reads and writes it again.
Case step(const char* name, double touched, const std::function<std::function<Tensors()>(bool)>& one,
          const std::function<std::function<Tensors()>(bool)>& other) {
  return {concat(name, " with clipping, 256 parameters"), {"fused", "unfused"}, [=](bool tiny) {
            const double n = count(parameters(tiny));
            return Made{{f32, (touched + 3) * 4 * n, 10 * n}, {{"fused", one(tiny)}, {"unfused", other(tiny)}}, 1e-5};
          }};
}

}  // namespace

Cases optimizers() {
  return {step("sgd", 5, [](bool tiny) { return fused<optim::SGD>(tiny, optim::SGDOptions{.lr = 1e-3, .momentum = 0.9}); }, sgd_one_by_one),
          step("adam", 7, [](bool tiny) { return fused<optim::Adam>(tiny, optim::AdamOptions{.lr = 1e-3}); },
               [](bool tiny) { return adam_one_by_one(tiny, 0); }),
          step("adamw", 7, [](bool tiny) { return fused<optim::AdamW>(tiny, optim::AdamWOptions{.lr = 1e-3, .weight_decay = 0.1}); },
               [](bool tiny) { return adam_one_by_one(tiny, 0.1); })};
}

}  // namespace contest

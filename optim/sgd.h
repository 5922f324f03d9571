// Stochastic gradient descent with momentum: torch.optim.SGD.
#pragma once
#include "graft/optim/optimizer.h"

namespace graft::inline v1::optim {

// g += weight_decay p;  buf = momentum buf + (1 - dampening) g (first step: buf = g);
// p -= lr (nesterov ? g + momentum buf : buf). Sutskever et al. 2013, in PyTorch's form.
struct SGDOptions {
  double lr = 1e-3, momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false, maximize = false;

  template <class F> void each(F&& f) {
    f("lr", lr), f("momentum", momentum), f("dampening", dampening), f("weight_decay", weight_decay);
    f("nesterov", nesterov), f("maximize", maximize);
  }
  void check(std::string_view name) const;
};

class SGD final : public OptimizerOf<SGDOptions> {
 public:
  explicit SGD(const Tensors& params, const SGDOptions& o = {}) : OptimizerOf("SGD") { add_param_group(params, o); }

 private:
  std::vector<std::string_view> buffer_names() const override { return {"momentum_buffer"}; }
  State prepare(size_t group, const Slot&) const override;
  std::function<void()> update(const Batch&) const override;
  Numbers numbers(size_t group) const override;
};

}  // namespace graft

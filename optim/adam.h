// Adam (Kingma & Ba 2015) and AdamW (Loshchilov & Hutter 2019): torch.optim.Adam and AdamW.
#pragma once
#include "graft/optim/optimizer.h"

namespace graft::inline v1::optim {

// m += (1 - beta1)(g - m);  v = beta2 v + (1 - beta2) g^2;
// p -= lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps). Adam adds weight_decay p to g; AdamW first scales p by
// 1 - lr weight_decay. amsgrad (Reddi et al. 2018) divides by the largest v so far.
struct AdamOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool amsgrad = false, maximize = false;

  template <class F> void each(F&& f) {
    f("lr", lr), f("beta1", beta1), f("beta2", beta2), f("eps", eps), f("weight_decay", weight_decay);
    f("amsgrad", amsgrad), f("maximize", maximize);
  }
  void check(std::string_view name) const;
};
struct AdamWOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 1e-2;
  bool amsgrad = false, maximize = false;
  operator AdamOptions() const {  // NOLINT(google-explicit-constructor)
    return {lr, beta1, beta2, eps, weight_decay, amsgrad, maximize};
  }
};

// What both share; `decoupled` is where the weight decay acts.
class AdamBase : public OptimizerOf<AdamOptions> {
 protected:
  AdamBase(std::string_view name, const Tensors& params, const AdamOptions& o, bool decoupled)
      : OptimizerOf(name), decoupled_(decoupled) {
    add_param_group(params, o);
  }

 private:
  std::vector<std::string_view> buffer_names() const override { return {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}; }
  State prepare(size_t group, const Slot&) const override;
  std::function<void()> update(const Batch&) const override;
  Numbers numbers(size_t group) const override;
  bool decoupled_;
};

class Adam final : public AdamBase {
 public:
  explicit Adam(const Tensors& params, const AdamOptions& o = {}) : AdamBase("Adam", params, o, false) {}
};
class AdamW final : public AdamBase {
 public:
  explicit AdamW(const Tensors& params, const AdamWOptions& o = {}) : AdamBase("AdamW", params, o, true) {}
};

}  // namespace graft

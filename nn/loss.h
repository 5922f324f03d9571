// Losses as modules: called with input and target. Names, arguments, formulas: torch.nn; the functions: functional.h.
#pragma once
#include "graft/nn/child.h"
#include "graft/nn/functional.h"
#include "graft/nn/param.h"

namespace graft::inline v1::nn {

using Loss = ModuleOf<Tensor(const Tensor& input, const Tensor& target)>;

class WeightedLoss : public Loss {  // `weight` may be undefined
 public:
  Buffer weight;
  Reduction reduction;

 protected:
  WeightedLoss(const Tensor& w, Reduction r) : weight(this, "weight", w), reduction(r) {}
};
class CrossEntropyLoss : public WeightedLoss {
 public:
  explicit CrossEntropyLoss(const functional::CrossEntropyOptions& o = {})
      : WeightedLoss(o.weight, o.reduction), ignore_index(o.ignore_index), label_smoothing(o.label_smoothing) {}
  Tensor forward(const Tensor& input, const Tensor& target) override;
  int64_t ignore_index;
  double label_smoothing;
};
class NLLLoss : public WeightedLoss {
 public:
  explicit NLLLoss(const functional::NllOptions& o = {}) : WeightedLoss(o.weight, o.reduction), ignore_index(o.ignore_index) {}
  Tensor forward(const Tensor& input, const Tensor& target) override;
  int64_t ignore_index;
};
class BCELoss : public WeightedLoss {
 public:
  explicit BCELoss(const Tensor& weight = {}, Reduction r = {}) : WeightedLoss(weight, r) {}
  Tensor forward(const Tensor& input, const Tensor& target) override;
};
class BCEWithLogitsLoss : public WeightedLoss {
 public:
  explicit BCEWithLogitsLoss(const functional::BceOptions& o = {})
      : WeightedLoss(o.weight, o.reduction), pos_weight(this, "pos_weight", o.pos_weight) {}
  Tensor forward(const Tensor& input, const Tensor& target) override;
  Buffer pos_weight;
};

class MSELoss : public Loss {
 public:
  explicit MSELoss(Reduction r = {}) : reduction(r) {}
  Tensor forward(const Tensor& input, const Tensor& target) override;
  Reduction reduction;
};
class L1Loss : public Loss {
 public:
  explicit L1Loss(Reduction r = {}) : reduction(r) {}
  Tensor forward(const Tensor& input, const Tensor& target) override;
  Reduction reduction;
};
class SmoothL1Loss : public Loss {
 public:
  explicit SmoothL1Loss(Reduction r = {}, double beta = 1) : reduction(r), beta(beta) {}
  Tensor forward(const Tensor& input, const Tensor& target) override;
  Reduction reduction;
  double beta;
};
class HuberLoss : public Loss {
 public:
  explicit HuberLoss(Reduction r = {}, double delta = 1) : reduction(r), delta(delta) {}
  Tensor forward(const Tensor& input, const Tensor& target) override;
  Reduction reduction;
  double delta;
};
class KLDivLoss : public Loss {
 public:
  explicit KLDivLoss(Reduction r = {}, bool log_target = false) : reduction(r), log_target(log_target) {}
  Tensor forward(const Tensor& input, const Tensor& target) override;
  Reduction reduction;
  bool log_target;
};

}  // namespace graft

// Learning-rate schedules: torch.optim.lr_scheduler. A scheduler sets the rates of epoch 0 when it is made.
#pragma once
#include <functional>
#include <limits>
#include <memory>
#include "graft/optim/optimizer.h"

namespace graft::inline v1::optim {

// The rate is a function of the epoch (or batch) number alone, so a resumed run needs that number only.
class LRScheduler {
 public:
  LRScheduler(const LRScheduler&) = delete;
  LRScheduler& operator=(const LRScheduler&) = delete;
  virtual ~LRScheduler() = default;

  void step() { set_epoch(last_epoch_ + 1); }
  void set_epoch(int64_t epoch);
  int64_t last_epoch() const { return last_epoch_; }
  std::vector<double> get_last_lr() const;
  StateDict state_dict() const;
  void load_state_dict(const StateDict&);  // and sets the rates of its epoch

 protected:
  explicit LRScheduler(Optimizer&);
  virtual double rate(size_t group, double base, int64_t epoch) const = 0;
  virtual void apply_more(int64_t /*epoch*/) {}  // momentum and the like
  Optimizer& optimizer() const { return optimizer_; }

 private:
  friend class SequentialLR;
  Optimizer& optimizer_;
  std::vector<double> base_;  // per group, when the scheduler was made
  int64_t last_epoch_ = 0;
};

// base * lambda(epoch).
class LambdaLR final : public LRScheduler {
 public:
  LambdaLR(Optimizer&, std::function<double(int64_t)> lambda);
 private:
  double rate(size_t, double base, int64_t epoch) const override { return base * lambda_(epoch); }
  std::function<double(int64_t)> lambda_;
};
// base * gamma^(epoch / step_size).
class StepLR final : public LRScheduler {
 public:
  StepLR(Optimizer&, int64_t step_size, double gamma = 0.1);
 private:
  double rate(size_t, double base, int64_t epoch) const override;
  int64_t step_size_;
  double gamma_;
};
// base * gamma^(number of milestones passed).
class MultiStepLR final : public LRScheduler {
 public:
  MultiStepLR(Optimizer&, std::vector<int64_t> milestones, double gamma = 0.1);
 private:
  double rate(size_t, double base, int64_t epoch) const override;
  std::vector<int64_t> milestones_;
  double gamma_;
};
class ExponentialLR final : public LRScheduler {
 public:
  ExponentialLR(Optimizer&, double gamma);
 private:
  double rate(size_t, double base, int64_t epoch) const override;
  double gamma_;
};
// Warm-up: from start_factor to end_factor of base, in a straight line over total_iters.
class LinearLR final : public LRScheduler {
 public:
  LinearLR(Optimizer&, double start_factor = 1.0 / 3, double end_factor = 1.0, int64_t total_iters = 5);
 private:
  double rate(size_t, double base, int64_t epoch) const override;
  double start_, end_;
  int64_t iters_;
};
// eta_min + (base - eta_min)(1 + cos(pi epoch / T_max)) / 2. Loshchilov & Hutter 2017, without restarts.
class CosineAnnealingLR final : public LRScheduler {
 public:
  CosineAnnealingLR(Optimizer&, int64_t T_max, double eta_min = 0);
 private:
  double rate(size_t, double base, int64_t epoch) const override;
  int64_t T_max_;
  double eta_min_;
};

struct OneCycleOptions {
  double max_lr = 0;
  int64_t total_steps = 0;
  double pct_start = 0.3;
  bool cosine = true;  // else in straight lines
  bool cycle_momentum = true;
  double base_momentum = 0.85, max_momentum = 0.95;
  double div_factor = 25, final_div_factor = 1e4;
};
// Smith & Topin 2018: up to max_lr over pct_start of the steps, then down to max_lr / div_factor / final_div_factor;
// momentum (beta1 of Adam) the other way round.
class OneCycleLR final : public LRScheduler {
 public:
  OneCycleLR(Optimizer&, const OneCycleOptions&);
 private:
  double rate(size_t, double base, int64_t epoch) const override;
  void apply_more(int64_t epoch) override;
  double at(int64_t epoch, double start, double top, double end) const;
  OneCycleOptions o_;
  std::string momentum_;  // the optimizer's name for it, empty where there is none
};

// One scheduler after the other; milestones are the epochs at which the next takes over, counted from its own 0.
class SequentialLR final : public LRScheduler {
 public:
  SequentialLR(Optimizer&, std::vector<std::unique_ptr<LRScheduler>> parts, std::vector<int64_t> milestones);
 private:
  double rate(size_t group, double base, int64_t epoch) const override;
  std::vector<std::unique_ptr<LRScheduler>> parts_;
  std::vector<int64_t> milestones_;
};

struct PlateauOptions {
  bool minimize = true;
  double factor = 0.1;
  int64_t patience = 10;
  double threshold = 1e-4;
  bool relative = true;
  int64_t cooldown = 0;
  double min_lr = 0, eps = 1e-8;
};
// Lowers the rates by `factor` when a metric has not improved for `patience` epochs.
class ReduceLROnPlateau {
 public:
  explicit ReduceLROnPlateau(Optimizer&, const PlateauOptions& = {});
  void step(double metric);
  int64_t num_bad_epochs() const { return bad_; }
  StateDict state_dict() const;
  void load_state_dict(const StateDict&);
 private:
  Optimizer& optimizer_;
  PlateauOptions o_;
  double best_;
  int64_t bad_ = 0, cooling_ = 0, last_epoch_ = 0;
};

}  // namespace graft

#include "graft/optim/scheduler.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include "graft/core/ops.h"

namespace graft::inline v1::optim {

// ---- what all share ------------------------------------------------------------------------------------------

LRScheduler::LRScheduler(Optimizer& o) : optimizer_(o) {
  for (size_t g = 0; g < o.groups(); ++g) base_.push_back(o.lr(g));
}

void LRScheduler::set_epoch(int64_t epoch) {
  GRAFT_CHECK(epoch >= 0, "lr_scheduler: epoch ", epoch, " is negative");
  std::vector<double> rates;
  for (size_t g = 0; g < base_.size(); ++g) rates.push_back(rate(g, base_[g], epoch));
  for (size_t g = 0; g < rates.size(); ++g) optimizer_.set_lr(g, rates[g]);
  apply_more(epoch);
  last_epoch_ = epoch;
}
std::vector<double> LRScheduler::get_last_lr() const {
  std::vector<double> rates;
  for (size_t g = 0; g < optimizer_.groups(); ++g) rates.push_back(optimizer_.lr(g));
  return rates;
}

static const Tensor& entry(const StateDict& dict, std::string_view name) {
  const auto it = std::ranges::find_if(dict, [&](const auto& e) { return e.first == name; });
  GRAFT_CHECK(it != dict.end(), ErrorCode::state_dict, "lr_scheduler: load_state_dict: no entry '", name, "'");
  return it->second;
}
StateDict LRScheduler::state_dict() const {
  StateDict dict{{"last_epoch", scalar_tensor(last_epoch_)}};
  for (size_t g = 0; g < base_.size(); ++g) dict.emplace_back(concat("base_lrs.", g), scalar_tensor(base_[g], f64));
  return dict;
}
void LRScheduler::load_state_dict(const StateDict& dict) {
  std::vector<double> base;
  for (size_t g = 0; g < base_.size(); ++g) base.push_back(entry(dict, concat("base_lrs.", g)).item<double>());
  const auto epoch = entry(dict, "last_epoch").item<int64_t>();
  base_.swap(base);
  set_epoch(epoch);
}

// ---- schedules -----------------------------------------------------------------------------------------------

LambdaLR::LambdaLR(Optimizer& o, std::function<double(int64_t)> lambda) : LRScheduler(o), lambda_(std::move(lambda)) {
  set_epoch(0);
}

StepLR::StepLR(Optimizer& o, int64_t step_size, double gamma) : LRScheduler(o), step_size_(step_size), gamma_(gamma) {
  GRAFT_CHECK(step_size > 0, "StepLR: step_size ", step_size, " is not positive");
}
double StepLR::rate(size_t, double base, int64_t epoch) const { return base * std::pow(gamma_, double(epoch / step_size_)); }

MultiStepLR::MultiStepLR(Optimizer& o, std::vector<int64_t> milestones, double gamma)
    : LRScheduler(o), milestones_(std::move(milestones)), gamma_(gamma) {}
double MultiStepLR::rate(size_t, double base, int64_t epoch) const {
  return base * std::pow(gamma_, double(std::ranges::count_if(milestones_, [epoch](int64_t m) { return m <= epoch; })));
}

ExponentialLR::ExponentialLR(Optimizer& o, double gamma) : LRScheduler(o), gamma_(gamma) {}
double ExponentialLR::rate(size_t, double base, int64_t epoch) const { return base * std::pow(gamma_, double(epoch)); }

LinearLR::LinearLR(Optimizer& o, double start_factor, double end_factor, int64_t total_iters)
    : LRScheduler(o), start_(start_factor), end_(end_factor), iters_(total_iters) {
  GRAFT_CHECK(start_factor > 0 && start_factor <= 1, "LinearLR: start_factor ", start_factor, " is not in (0, 1]");
  GRAFT_CHECK(end_factor >= 0 && end_factor <= 1, "LinearLR: end_factor ", end_factor, " is not in [0, 1]");
  GRAFT_CHECK(total_iters > 0, "LinearLR: total_iters ", total_iters, " is not positive");
  set_epoch(0);
}
double LinearLR::rate(size_t, double base, int64_t epoch) const {
  return base * (start_ + (end_ - start_) * double(std::min(epoch, iters_)) / double(iters_));
}

CosineAnnealingLR::CosineAnnealingLR(Optimizer& o, int64_t T_max, double eta_min)
    : LRScheduler(o), T_max_(T_max), eta_min_(eta_min) {
  GRAFT_CHECK(T_max > 0, "CosineAnnealingLR: T_max ", T_max, " is not positive");
}
double CosineAnnealingLR::rate(size_t, double base, int64_t epoch) const {
  return eta_min_ + (base - eta_min_) * (1 + std::cos(std::numbers::pi * double(epoch) / double(T_max_))) / 2;
}

OneCycleLR::OneCycleLR(Optimizer& o, const OneCycleOptions& options) : LRScheduler(o), o_(options) {
  GRAFT_CHECK(o_.max_lr > 0, "OneCycleLR: max_lr ", o_.max_lr, " is not positive");
  GRAFT_CHECK(o_.total_steps > 0, "OneCycleLR: total_steps ", o_.total_steps, " is not positive");
  GRAFT_CHECK(o_.pct_start >= 0 && o_.pct_start <= 1, "OneCycleLR: pct_start ", o_.pct_start, " is not in [0, 1]");
  for (const std::string_view name : o.option_names())
    if (o_.cycle_momentum && (name == "momentum" || name == "beta1")) momentum_ = name;
  GRAFT_CHECK(!o_.cycle_momentum || !momentum_.empty(), "OneCycleLR: ", o.name(), " has no momentum to cycle");
  set_epoch(0);
}
double OneCycleLR::at(int64_t epoch, double start, double top, double end) const {
  GRAFT_CHECK(epoch < o_.total_steps, "OneCycleLR: step ", epoch, " of ", o_.total_steps);
  const double up = o_.pct_start * double(o_.total_steps) - 1, last = double(o_.total_steps - 1);
  const bool rising = double(epoch) <= up;
  const double from = rising ? start : top, to = rising ? top : end;
  const double part = rising ? (up > 0 ? double(epoch) / up : 1) : (double(epoch) - up) / (last - up);
  return o_.cosine ? to + (from - to) / 2 * (1 + std::cos(std::numbers::pi * part)) : from + (to - from) * part;
}
double OneCycleLR::rate(size_t, double, int64_t epoch) const {
  const double first = o_.max_lr / o_.div_factor;
  return at(epoch, first, o_.max_lr, first / o_.final_div_factor);
}
void OneCycleLR::apply_more(int64_t epoch) {
  if (momentum_.empty()) return;
  const double m = at(epoch, o_.max_momentum, o_.base_momentum, o_.max_momentum);
  for (size_t g = 0; g < optimizer().groups(); ++g) optimizer().set_option(g, momentum_, m);
}

SequentialLR::SequentialLR(Optimizer& o, std::vector<std::unique_ptr<LRScheduler>> parts, std::vector<int64_t> milestones)
    : LRScheduler(o), parts_(std::move(parts)), milestones_(std::move(milestones)) {
  GRAFT_CHECK(!parts_.empty() && milestones_.size() + 1 == parts_.size(), "SequentialLR: ", parts_.size(),
              " schedulers need one milestone less, not ", milestones_.size());
  for (const auto& p : parts_) GRAFT_CHECK(&p->optimizer_ == &o, "SequentialLR: a scheduler of another optimizer");
  base_ = parts_[0]->base_;
  set_epoch(0);
}
double SequentialLR::rate(size_t group, double, int64_t epoch) const {
  size_t k = 0;
  while (k < milestones_.size() && epoch >= milestones_[k]) ++k;
  return parts_[k]->rate(group, base_[group], epoch - (k ? milestones_[k - 1] : 0));
}

// ---- plateau -------------------------------------------------------------------------------------------------

ReduceLROnPlateau::ReduceLROnPlateau(Optimizer& o, const PlateauOptions& options)
    : optimizer_(o), o_(options), best_((options.minimize ? 1 : -1) * std::numeric_limits<double>::infinity()) {
  GRAFT_CHECK(o_.factor < 1, "ReduceLROnPlateau: factor ", o_.factor, " is not below 1");
}
void ReduceLROnPlateau::step(double metric) {
  const double sign = o_.minimize ? 1 : -1;
  const double bar = o_.relative ? best_ * (1 - sign * o_.threshold) : best_ - sign * o_.threshold;
  const bool better = o_.minimize ? metric < bar : metric > bar;
  if (better) best_ = metric;
  bad_ = better || cooling_ > 0 ? (better ? 0 : bad_) : bad_ + 1;
  if (cooling_ > 0) --cooling_, bad_ = 0;
  ++last_epoch_;
  if (bad_ <= o_.patience) return;
  for (size_t g = 0; g < optimizer_.groups(); ++g) {
    const double lower = std::max(optimizer_.lr(g) * o_.factor, o_.min_lr);
    if (optimizer_.lr(g) - lower > o_.eps) optimizer_.set_lr(g, lower);
  }
  cooling_ = o_.cooldown;
  bad_ = 0;
}
StateDict ReduceLROnPlateau::state_dict() const {
  return {{"best", scalar_tensor(best_, f64)}, {"num_bad_epochs", scalar_tensor(bad_)},
          {"cooldown_counter", scalar_tensor(cooling_)}, {"last_epoch", scalar_tensor(last_epoch_)}};
}
void ReduceLROnPlateau::load_state_dict(const StateDict& dict) {
  const auto best = entry(dict, "best").item<double>();
  const auto bad = entry(dict, "num_bad_epochs").item<int64_t>(), cooling = entry(dict, "cooldown_counter").item<int64_t>();
  last_epoch_ = entry(dict, "last_epoch").item<int64_t>();
  best_ = best, bad_ = bad, cooling_ = cooling;
}

}  // namespace graft

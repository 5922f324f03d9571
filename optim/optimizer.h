// Optimizers: groups of parameters with their state, updated by one fused pass. Names and numerics are torch.optim's.
#pragma once
#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>
#include "graft/core/op.h"
#include "graft/core/tensor.h"

namespace graft::inline v1::optim {

// What an optimizer remembers of one parameter. Undefined tensors: nothing yet.
struct State {
  int64_t step = 0;    // updates so far
  bool fresh = false;  // its buffers are new: the next update starts them
  std::array<Tensor, 3> buffers;

  bool empty() const { return step == 0 && !buffers[0].defined(); }
};

// A parameter and its state, side by side. `keep`: updated although surgery took it out of its model.
struct Slot {
  Tensor param;
  State state;
  bool keep = false;
};
using Slots = std::vector<Slot>;

// Ordered name -> tensor, as in nn. "state.<k>.<buffer>", "state.<k>.step", "group.<g>.<option>", "group.<g>.params";
// k counts the parameters over all groups, as in PyTorch.
using StateDict = std::vector<std::pair<std::string, Tensor>>;

class Optimizer {
 public:
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;
  virtual ~Optimizer() = default;

  // Updates every parameter that has a gradient; one without is left alone, its state too (no decay).
  // Its state follows it to another device or dtype. Errors before anything is changed: a parameter that its model has lost
  // (stale_parameter), a gradient whose shape, dtype or device is not the parameter's, a state of another shape.
  void step();
  Tensor step(const std::function<Tensor()>& closure);  // runs it with gradients enabled and returns the loss
  void zero_grad(bool set_to_none = true);

  size_t groups() const { return groups_.size(); }
  const Slots& slots(size_t group) const { return groups_.at(group); }
  Tensors params(size_t group) const;
  Tensors params() const;  // of all groups
  const State* state(const Tensor& param) const;  // null where it is not one of ours

  double lr(size_t group = 0) const { return option(group, "lr"); }
  void set_lr(double lr);                          // of all groups
  void set_lr(size_t group, double lr) { set_option(group, "lr", lr); }
  double option(size_t group, std::string_view name) const;
  void set_option(size_t group, std::string_view name, double value);  // checked as at construction
  virtual std::vector<std::string_view> option_names() const = 0;

  // A parameter stays in the optimizer, and may be stepped, although it is no longer part of a model.
  void keep(const Tensor& param);

  StateDict state_dict() const;
  void load_state_dict(const StateDict&);  // groups and sizes must agree; atomic; floating state in the parameter's dtype

  // For surgery, which prepares complete slots and then exchanges them without a failure in between.
  void swap_slots(size_t group, Slots& other) noexcept { groups_.at(group).swap(other); }
  std::weak_ptr<Optimizer* const> alive() const { return self_; }  // expired once the optimizer is gone
  virtual std::string_view name() const = 0;

 protected:
  Optimizer() = default;
  size_t append_group(const Tensors& params);  // checked: leaves, floating point, in no group yet
  virtual std::optional<double> read_option(size_t group, std::string_view name) const = 0;
  virtual void write_option(size_t group, std::string_view name, double value) = 0;  // checked; name is known
  virtual std::vector<std::string_view> buffer_names() const = 0;
  // The state with every buffer that the next update needs, new ones zero.
  virtual State prepare(size_t group, const Slot&) const = 0;
  // The launch that updates `batch`, which has one dtype and device. All that can fail happens here.
  struct Batch {
    size_t group;
    std::vector<Slot*> slots;
    Tensors grads;
    std::vector<State> states;  // as prepared; steps already counted
    void* later = nullptr;      // on the device: what numbers() writes, one after the other; null where no graph is captured
  };
  virtual std::function<void()> update(const Batch&) const = 0;
  // The numbers of an update that change from step to step, which kernels of a captured graph read on the device: how many
  // bytes they are for a parameter, and who writes them (or fails, where an option has changed that the graph cannot follow).
  // Of the state, write() sees `step` and `fresh`.
  struct Numbers {
    size_t bytes = 0;
    std::function<void(const State& counted, std::byte* to)> write;
  };
  virtual Numbers numbers(size_t /*group*/) const { return {}; }

 private:
  struct Replayed;
  std::vector<Batch> batches();
  void follow(Batch&);
  std::vector<Slots> groups_;
  std::shared_ptr<Optimizer* const> self_ = std::make_shared<Optimizer* const>(this);
};

// The options of each group, beside it. O is an aggregate of doubles and bools whose `each(fn)` names its fields.
template <class O> class OptimizerOf : public Optimizer {
 public:
  const O& options(size_t group = 0) const { return options_.at(group); }
  // Adds a group with options of its own. Errors: a parameter that is in a group already, options out of range.
  void add_param_group(const Tensors& params, const O& options) {
    options.check(name_);
    options_.push_back(options);
    try {
      append_group(params);
    } catch (...) {
      options_.pop_back();
      throw;
    }
  }
  std::vector<std::string_view> option_names() const override {
    std::vector<std::string_view> names;
    O().each([&](std::string_view name, auto&) { names.push_back(name); });
    return names;
  }
  std::string_view name() const override { return name_; }

 protected:
  explicit OptimizerOf(std::string_view name) : name_(name) {}
  std::optional<double> read_option(size_t group, std::string_view name) const override {
    std::optional<double> found;
    O o = options_.at(group);
    o.each([&](std::string_view n, auto& v) { found = n == name ? std::optional(double(v)) : found; });
    return found;
  }
  void write_option(size_t group, std::string_view name, double value) override {
    O changed = options_.at(group);
    changed.each([&](std::string_view n, auto& v) {
      if (n == name) v = static_cast<std::remove_reference_t<decltype(v)>>(value);
    });
    changed.check(name_);
    options_[group] = changed;
  }

 private:
  std::string_view name_;
  std::vector<O> options_;
};

// ---- following a model (what surgery calls) --------------------------------------------------------------------

// A parameter that its model has lost makes step() of an optimizer that still holds it fail.
void mark_stale(const Tensor& param, bool stale = true) noexcept;
bool is_stale(const Tensor& param) noexcept;

// ---- gradients ---------------------------------------------------------------------------------------------------

// Scales all gradients so that their total norm is at most max_norm; returns the norm before, a 0-dim tensor. norm_type may be infinity.
// error_if_nonfinite: an infinite or NaN total is an Error, and nothing is scaled.
Tensor clip_grad_norm_(const Tensors& params, double max_norm, double norm_type = 2.0, bool error_if_nonfinite = false);
// Brings every element of every gradient into [-clip_value, clip_value]. NaN stays NaN.
void clip_grad_value_(const Tensors& params, double clip_value);

}  // namespace graft

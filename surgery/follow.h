// How optimizers follow an edit: by liveness. Exactly the dead parameters leave, and the new live ones enter, once, in
// the places of those they replace (weight for weight, bias for bias).
#pragma once
#include <map>
#include <memory>
#include <memory_resource>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>
#include "graft/nn/module.h"
#include "graft/optim/optimizer.h"

namespace graft::inline v1::surgery {

// What takes the place of what.
struct Succession {
  std::string path;
  const nn::Module* before;
  const nn::Module* after;
};

// The parameters that an edit takes out of the model and puts into it.
class Liveness {
 public:
  std::vector<Tensor> dead, fresh;  // each once, in the order of the model

  Liveness(const std::vector<Tensor>& before, const std::vector<Tensor>& after);
  bool is_dead(const Tensor& t) const { return has(t, kBefore); }
  bool is_fresh(const Tensor& t) const { return has(t, kAfter); }

 private:
  enum : uint8_t { kBefore = 1, kAfter = 2 };  // both: it stays
  bool has(const Tensor& t, uint8_t where) const {
    const auto it = where_.find(t.impl());
    return it != where_.end() && it->second == where;
  }
  std::pmr::monotonic_buffer_resource arena_;
  std::pmr::unordered_map<const TensorImpl*, uint8_t> where_{&arena_};
};

// A group as it is to be; exchanged with the optimizer's by commit.
struct GroupEdit {
  optim::Optimizer* optimizer;
  std::weak_ptr<optim::Optimizer* const> alive;
  size_t group;
  optim::Slots slots;
  std::vector<std::pair<size_t, const TensorImpl*>> stand_ins;  // what enters instead of the i-th
};

struct FollowOptions {
  std::optional<size_t> group;
  bool carry_state = false;
};

// Where every new parameter enters. Found once, when an edit is planned; changes nothing.
class Following {
 public:
  using Optimizers = std::vector<optim::Optimizer*>;
  // Error plan_refused where the group of a new parameter is unclear.
  Following(const Optimizers&, const std::vector<Succession>&, std::shared_ptr<const Liveness>, const nn::Module& model,
            const FollowOptions&);
  ~Following();

  // New parameters that enter no optimizer because what they replace was in none: path of the module, name in it.
  const std::vector<std::pair<std::string, std::string>>& left_out() const { return left_out_; }
  struct Resized {  // a group that differs, and its number of parameters
    std::string name;
    size_t optimizer, group, before, after;
  };
  std::vector<Resized> resized() const;
  bool still_holds() const;              // are the optimizers' groups made up as they were? Error if one is gone
  std::vector<GroupEdit> edits() const;  // the groups that differ, with the state of this moment

 private:
  struct Place;
  struct Arrival;
  class Placing;
  bool leaves(const optim::Slot& s) const { return !s.keep && live_->is_dead(s.param); }
  const std::vector<Arrival>& arrivals(size_t optimizer, size_t group) const;

  const Optimizers optimizers_;
  std::vector<std::weak_ptr<optim::Optimizer* const>> alive_;  // of each
  std::shared_ptr<const Liveness> live_;
  bool carry_state_;
  std::vector<Place> places_;  // of the parameters in the optimizers' groups, in their order
  std::map<std::pair<size_t, size_t>, std::vector<Arrival>> arrivals_;  // by optimizer and group, sorted
  std::vector<std::pair<std::string, std::string>> left_out_;
};

// The way back: removed parameters return with the state they had, fresh ones leave, all else stays as it is now.
// `before` is what follow's groups held when they were exchanged. A parameter returns to the place of the one that came
// instead of it; else beside the neighbour that it had; else, where later edits are undone already and neither is
// known, behind the one that precedes it in the model, whose parameters are `model`.
std::vector<GroupEdit> unfollow(const std::vector<GroupEdit>& before, const Liveness&, const std::vector<Tensor>& model);

}  // namespace graft

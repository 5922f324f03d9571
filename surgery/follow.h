// How optimizers follow an edit: by liveness. Exactly the dead parameters leave, and the new live ones enter, once, in
// the places of those they replace (weight for weight, bias for bias).
#pragma once
#include <string>
#include <unordered_set>
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
struct Liveness {
  std::vector<Tensor> dead, fresh;
  std::unordered_set<const TensorImpl*> dead_set, fresh_set;

  void add_dead(const Tensor& t) { if (dead_set.insert(t.impl()).second) dead.push_back(t); }
  void add_fresh(const Tensor& t) { if (fresh_set.insert(t.impl()).second) fresh.push_back(t); }
};

// A group as it is to be; exchanged with the optimizer's by commit.
struct GroupEdit {
  optim::Optimizer* optimizer;
  std::weak_ptr<optim::Optimizer* const> alive;
  size_t group;
  optim::Slots slots;
};

struct FollowOptions {
  std::optional<size_t> group;
  bool carry_state = false;
};
// Would follow() succeed? `left_out` receives new parameters that enter no optimizer because what they replace was in none.
void check_follow(const std::vector<optim::Optimizer*>&, const std::vector<Succession>&, const Liveness&,
                  const nn::Module& model, const FollowOptions&,
                  std::vector<std::pair<std::string, std::string>>& left_out);
// Changes nothing; returns the groups that differ. Error plan_refused where the group of a new parameter is unclear.
std::vector<GroupEdit> follow(const std::vector<optim::Optimizer*>&, const std::vector<Succession>&, const Liveness&,
                              const nn::Module& model, const FollowOptions&,
                              std::vector<std::pair<std::string, std::string>>* left_out = nullptr);

// The way back: removed parameters return to their places with the state they had, fresh ones leave, all else stays as
// it is now. `before` is what follow's groups held when they were exchanged.
std::vector<GroupEdit> unfollow(const std::vector<GroupEdit>& before, const Liveness&);

}  // namespace graft

#include "graft/surgery/follow.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include "graft/core/ops.h"

namespace graft::inline v1::surgery {
namespace {

struct Named {
  std::string name;
  Tensor leaf;
  bool used = false;
};
struct Place {
  size_t optimizer, group, index;
};
std::string_view role(std::string_view name) { return name.substr(name.rfind('.') + 1); }

std::vector<Named> named(const nn::Module& m) {
  std::vector<Named> list;
  for (auto& [name, leaf] : m.named_parameters()) list.push_back({name, leaf, false});
  return list;
}

// What happens at one place of a group: what enters instead of it, and what enters behind it.
struct Arrivals { std::vector<optim::Slot> instead, behind; };

class Follower {
 public:
  Follower(const std::vector<optim::Optimizer*>& optimizers, const Liveness& live, const FollowOptions& options,
           const nn::NamedList<Tensor>& parameters)
      : optimizers_(optimizers), live_(live), options_(options) {
    for (size_t o = 0; o < optimizers.size(); ++o) {
      GRAFT_CHECK(optimizers[o], "optimizers: entry ", o, " is null");
      for (size_t g = 0; g < optimizers[o]->groups(); ++g)
        for (size_t i = 0; i < optimizers[o]->slots(g).size(); ++i)
          places_[optimizers[o]->slots(g)[i].param.impl()].push_back({o, g, i});
    }
    for (const auto& [name, leaf] : parameters)
      for (const Place& p : where(leaf)) ++roles_[std::string(role(name))][{p.optimizer, p.group}];
  }

  void place(const Succession&, std::vector<std::pair<std::string, std::string>>* left_out);
  std::vector<GroupEdit> edits() const;

 private:
  const std::vector<Place>& where(const Tensor& t) const {
    static const std::vector<Place> nowhere;
    const auto it = places_.find(t.impl());
    return it == places_.end() ? nowhere : it->second;
  }
  Named* replaced_by(const Named& q, std::vector<Named>& olds) const;
  void enter_instead(const Named& p, const Named& q);
  bool enter_beside(const Named& q, const std::vector<Named>& olds);
  bool enter_by_role(const Named& q);
  [[noreturn]] void fail_unclear(const Succession&, const Named& q, const char* why) const;

  const std::vector<optim::Optimizer*>& optimizers_;
  const Liveness& live_;
  const FollowOptions& options_;
  std::unordered_map<const TensorImpl*, std::vector<Place>> places_;
  std::map<std::string, std::map<std::pair<size_t, size_t>, size_t>> roles_;  // role -> groups that hold it
  std::unordered_set<const TensorImpl*> placed_;
  std::map<std::pair<size_t, size_t>, std::map<size_t, Arrivals>> arrivals_;
  std::map<std::pair<size_t, size_t>, std::vector<optim::Slot>> tails_;
};

// The dead parameter of the same name; else of the same role and shape; else of the same role.
Named* Follower::replaced_by(const Named& q, std::vector<Named>& olds) const {
  const auto first = [&](auto&& fits) -> Named* {
    for (Named& p : olds)
      if (!p.used && live_.dead_set.contains(p.leaf.impl()) && fits(p)) return &p;
    return nullptr;
  };
  if (Named* p = first([&](const Named& p) { return p.name == q.name; })) return p;
  const auto same_role = [&](const Named& p) { return role(p.name) == role(q.name); };
  if (Named* p = first([&](const Named& p) { return same_role(p) && p.leaf.shape() == q.leaf.shape(); })) return p;
  return first(same_role);
}

// A copy of `state` for a parameter of another size: the leading block that both have, zeros beyond it.
optim::State carried(const optim::State& state, const Tensor& param) {
  const NoGrad quiet;
  optim::State next = state;
  for (Tensor& b : next.buffers) {
    if (!b.defined()) continue;
    Tensor part = b;
    for (int d = 0; d < param.dim(); ++d) part = part.narrow(d, 0, std::min(b.size(d), param.size(d)));
    const Tensor whole = zeros_like(param);
    Tensor place = whole;
    for (int d = 0; d < param.dim(); ++d) place = place.narrow(d, 0, part.size(d));
    place.copy_(part);
    b = whole;
  }
  return next;
}

void Follower::enter_instead(const Named& p, const Named& q) {
  for (const Place& at : where(p.leaf)) {
    optim::Slot slot{q.leaf, {}, false};
    const optim::Slot& old = optimizers_[at.optimizer]->slots(at.group)[at.index];
    if (options_.carry_state && p.leaf.dim() == q.leaf.dim() && p.leaf.dtype() == q.leaf.dtype())
      slot.state = carried(old.state, q.leaf);
    arrivals_[{at.optimizer, at.group}][at.index].instead.push_back(std::move(slot));
  }
}

// Behind the last parameter of the same layer: of the same role if there is one.
bool Follower::enter_beside(const Named& q, const std::vector<Named>& olds) {
  const Place* best = nullptr;
  bool best_role = false;
  for (const Named& p : olds)
    for (const Place& at : where(p.leaf)) {
      const bool same = role(p.name) == role(q.name);
      if (best && best_role && !same) continue;
      best = &at;
      best_role = same;
    }
  if (!best) return false;
  arrivals_[{best->optimizer, best->group}][best->index].behind.push_back({q.leaf, {}, false});
  return true;
}

// Where nothing was replaced: the only group there is, or the only one that holds parameters of this role.
bool Follower::enter_by_role(const Named& q) {
  if (optimizers_.size() == 1 && optimizers_[0]->groups() == 1) {
    tails_[{0, 0}].push_back({q.leaf, {}, false});
    return true;
  }
  const auto it = roles_.find(std::string(role(q.name)));
  if (it == roles_.end() || it->second.size() != 1) return false;
  tails_[it->second.begin()->first].push_back({q.leaf, {}, false});
  return true;
}

void Follower::fail_unclear(const Succession& s, const Named& q, const char* why) const {
  fail(ErrorCode::plan_refused, s.path, ": it is unclear in which parameter group the new '", q.name, "' (", q.leaf.view(),
       ") belongs: ", why, "; name one by Options::group");
}

void Follower::place(const Succession& s, std::vector<std::pair<std::string, std::string>>* left_out) {
  std::vector<Named> olds = named(*s.before);
  const bool optimized = std::ranges::any_of(olds, [&](const Named& p) { return !where(p.leaf).empty(); });
  for (const Named& q : named(*s.after)) {
    if (!live_.fresh_set.contains(q.leaf.impl()) || !where(q.leaf).empty() || !placed_.insert(q.leaf.impl()).second) continue;
    if (Named* p = replaced_by(q, olds)) {
      p->used = true;
      if (!where(p->leaf).empty()) {
        enter_instead(*p, q);
        continue;
      }
    }
    if (options_.group) {
      GRAFT_CHECK(optimizers_.size() == 1 && *options_.group < optimizers_[0]->groups(), "surgery: there is no group ",
                  *options_.group, "; with several optimizers none can be named");
      tails_[{0, *options_.group}].push_back({q.leaf, {}, false});
      continue;
    }
    if (optimized && enter_beside(q, olds)) continue;
    if (!olds.empty()) {  // its layer was not being optimized: it stays so
      if (optimizers_.size() == 1 && optimizers_[0]->groups() > 1)
        fail_unclear(s, q, "no parameter of what it replaces is in the optimizer");
      if (left_out) left_out->emplace_back(s.path, q.name);
      continue;
    }
    if (!enter_by_role(q)) fail_unclear(s, q, "what it replaces has no parameters");
  }
}

std::vector<GroupEdit> Follower::edits() const {
  std::vector<GroupEdit> result;
  for (size_t o = 0; o < optimizers_.size(); ++o)
    for (size_t g = 0; g < optimizers_[o]->groups(); ++g) {
      const optim::Slots& now = optimizers_[o]->slots(g);
      const auto at = arrivals_.find({o, g});
      const auto tail = tails_.find({o, g});
      const bool leaves = std::ranges::any_of(
          now, [&](const optim::Slot& s) { return !s.keep && live_.dead_set.contains(s.param.impl()); });
      if (!leaves && at == arrivals_.end() && tail == tails_.end()) continue;
      GroupEdit edit{optimizers_[o], optimizers_[o]->alive(), g, {}};
      for (size_t i = 0; i < now.size(); ++i) {
        if (now[i].keep || !live_.dead_set.contains(now[i].param.impl())) edit.slots.push_back(now[i]);
        if (at == arrivals_.end()) continue;
        const auto here = at->second.find(i);
        if (here == at->second.end()) continue;
        for (const auto* list : {&here->second.instead, &here->second.behind})
          edit.slots.insert(edit.slots.end(), list->begin(), list->end());
      }
      if (tail != tails_.end()) edit.slots.insert(edit.slots.end(), tail->second.begin(), tail->second.end());
      result.push_back(std::move(edit));
    }
  return result;
}

}  // namespace

std::vector<GroupEdit> follow(const std::vector<optim::Optimizer*>& optimizers, const std::vector<Succession>& pairs,
                              const Liveness& live, const nn::NamedList<Tensor>& parameters, const FollowOptions& options,
                              std::vector<std::pair<std::string, std::string>>* left_out) {
  if (optimizers.empty()) return {};
  Follower f(optimizers, live, options, parameters);
  for (const Succession& s : pairs) f.place(s, left_out);
  return f.edits();
}

std::vector<GroupEdit> unfollow(const std::vector<GroupEdit>& before, const Liveness& live) {
  std::vector<GroupEdit> result;
  for (const GroupEdit& b : before) {
    if (b.alive.expired()) continue;
    std::unordered_map<const TensorImpl*, const optim::Slot*> now;
    for (const optim::Slot& s : b.optimizer->slots(b.group)) now[s.param.impl()] = &s;
    GroupEdit edit{b.optimizer, b.alive, b.group, {}};
    for (const optim::Slot& s : b.slots) {
      const auto it = now.find(s.param.impl());
      if (it != now.end()) edit.slots.push_back(*it->second);
      else if (live.dead_set.contains(s.param.impl())) edit.slots.push_back(s);
      if (it != now.end()) now.erase(it);
    }
    for (const optim::Slot& s : b.optimizer->slots(b.group))  // added since
      if (now.contains(s.param.impl()) && !live.fresh_set.contains(s.param.impl())) edit.slots.push_back(s);
    result.push_back(std::move(edit));
  }
  return result;
}

}  // namespace graft

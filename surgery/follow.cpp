#include "graft/surgery/follow.h"

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>
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
  int next = -1;  // another place of the same parameter
};
std::string_view role(std::string_view name) { return name.substr(name.rfind('.') + 1); }

std::vector<Named> named(const nn::Module& m) {
  std::vector<Named> list;
  for (auto& [name, leaf] : m.named_parameters()) list.push_back({std::move(name), std::move(leaf), false});
  return list;
}

// The parameters of what is replaced, to be found by what replaces them; each is given away once.
class Predecessors {
 public:
  Predecessors(const nn::Module& m, const Liveness& live) : all_(named(m)), live_(live) {
    for (Named& p : all_) by_name_.emplace(p.name, &p);
  }
  const std::vector<Named>& all() const { return all_; }

  // The dead parameter of the same name; else of the same role and shape; else of the same role. Null: none is left.
  const Named* take(const Named& q) {
    const auto it = by_name_.find(q.name);
    Named* p = it != by_name_.end() && is_free(*it->second) ? it->second : nullptr;
    if (!p) p = next_in(by_role_and_shape(), concat(role(q.name), q.leaf.shape()));
    if (!p) p = next_in(by_role_, std::string(role(q.name)));
    if (p) p->used = true;
    return p;
  }

 private:
  using Queues = std::unordered_map<std::string, std::deque<Named*>>;
  bool is_free(const Named& p) const { return !p.used && live_.dead_set.contains(p.leaf.impl()); }
  Queues& by_role_and_shape() {  // made when a name is not found
    if (by_role_.empty())
      for (Named& p : all_) {
        by_role_[std::string(role(p.name))].push_back(&p);
        by_role_and_shape_[concat(role(p.name), p.leaf.shape())].push_back(&p);
      }
    return by_role_and_shape_;
  }
  Named* next_in(Queues& queues, const std::string& key) {
    const auto it = queues.find(key);
    if (it == queues.end()) return nullptr;
    while (!it->second.empty() && !is_free(*it->second.front())) it->second.pop_front();
    return it->second.empty() ? nullptr : it->second.front();
  }
  std::vector<Named> all_;
  const Liveness& live_;
  std::unordered_map<std::string_view, Named*> by_name_;
  Queues by_role_, by_role_and_shape_;
};

// What enters at one place of a group: instead of what is there, or behind it.
struct Arrival {
  size_t index;
  bool behind;
  optim::Slot slot;
};

class Follower {
 public:
  Follower(const std::vector<optim::Optimizer*>& optimizers, const Liveness& live, const FollowOptions& options,
           const nn::Module& model)
      : optimizers_(optimizers), live_(live), options_(options), model_(model) {
    for (size_t o = 0; o < optimizers.size(); ++o) {
      GRAFT_CHECK(optimizers[o], "optimizers: entry ", o, " is null");
      for (size_t g = 0; g < optimizers[o]->groups(); ++g) {
        place_of_.reserve(place_of_.size() + optimizers[o]->slots(g).size());
        for (size_t i = 0; i < optimizers[o]->slots(g).size(); ++i) {
          const auto [it, first] = place_of_.emplace(optimizers[o]->slots(g)[i].param.impl(), int(places_.size()));
          places_.push_back({o, g, i, first ? -1 : std::exchange(it->second, int(places_.size()))});
        }
      }
    }
  }

  void place(const Succession&, std::vector<std::pair<std::string, std::string>>* left_out);
  std::vector<GroupEdit> edits();

 private:
  const Place* where(const Tensor& t) const {  // null: in no optimizer
    const auto it = place_of_.find(t.impl());
    return it == place_of_.end() ? nullptr : &places_[size_t(it->second)];
  }
  const Place* next(const Place* p) const { return p->next < 0 ? nullptr : &places_[size_t(p->next)]; }
  std::vector<Arrival>& arrivals(const Place& p) { return arrivals_[{p.optimizer, p.group}]; }
  void enter_instead(const Named& p, const Named& q);
  bool enter_beside(const Named& q, const std::vector<Named>& olds);
  bool enter_by_role(const Named& q);
  [[noreturn]] void fail_unclear(const Succession&, const Named& q, const char* why) const;

  const std::vector<optim::Optimizer*>& optimizers_;
  const Liveness& live_;
  const FollowOptions& options_;
  const nn::Module& model_;
  std::map<std::string, std::set<std::pair<size_t, size_t>>> groups_of_role_;  // made when first asked
  std::vector<Place> places_;
  std::unordered_map<const TensorImpl*, int> place_of_;
  std::unordered_set<const TensorImpl*> placed_;
  std::map<std::pair<size_t, size_t>, std::vector<Arrival>> arrivals_;
  std::map<std::pair<size_t, size_t>, std::vector<optim::Slot>> tails_;
};

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
  for (const Place* at = where(p.leaf); at; at = next(at)) {
    optim::Slot slot{q.leaf, {}, false};
    const optim::Slot& old = optimizers_[at->optimizer]->slots(at->group)[at->index];
    if (options_.carry_state && p.leaf.dim() == q.leaf.dim() && p.leaf.dtype() == q.leaf.dtype())
      slot.state = carried(old.state, q.leaf);
    arrivals(*at).push_back({at->index, false, std::move(slot)});
  }
}

// Behind the last parameter of the same layer: of the same role if there is one.
bool Follower::enter_beside(const Named& q, const std::vector<Named>& olds) {
  const Place* best = nullptr;
  bool best_role = false;
  for (const Named& p : olds)
    for (const Place* at = where(p.leaf); at; at = next(at)) {
      const bool same = role(p.name) == role(q.name);
      if (best && best_role && !same) continue;
      best = at;
      best_role = same;
    }
  if (!best) return false;
  arrivals(*best).push_back({best->index, true, {q.leaf, {}, false}});
  return true;
}

// Where nothing was replaced: the only group there is, or the only one that holds parameters of this role.
bool Follower::enter_by_role(const Named& q) {
  if (optimizers_.size() == 1 && optimizers_[0]->groups() == 1) {
    tails_[{0, 0}].push_back({q.leaf, {}, false});
    return true;
  }
  if (groups_of_role_.empty())
    for (const auto& [name, leaf] : model_.named_parameters())
      for (const Place* at = where(leaf); at; at = next(at))
        groups_of_role_[std::string(role(name))].emplace(at->optimizer, at->group);
  const auto it = groups_of_role_.find(std::string(role(q.name)));
  if (it == groups_of_role_.end() || it->second.size() != 1) return false;
  tails_[*it->second.begin()].push_back({q.leaf, {}, false});
  return true;
}

void Follower::fail_unclear(const Succession& s, const Named& q, const char* why) const {
  fail(ErrorCode::plan_refused, s.path, ": it is unclear in which parameter group the new '", q.name, "' (", q.leaf.view(),
       ") belongs: ", why, "; name one by Options::group");
}

void Follower::place(const Succession& s, std::vector<std::pair<std::string, std::string>>* left_out) {
  Predecessors predecessors(*s.before, live_);
  const std::vector<Named>& olds = predecessors.all();
  const bool optimized = std::ranges::any_of(olds, [&](const Named& p) { return where(p.leaf) != nullptr; });
  for (const Named& q : named(*s.after)) {
    if (!live_.fresh_set.contains(q.leaf.impl()) || where(q.leaf) || !placed_.insert(q.leaf.impl()).second) continue;
    const Named* p = predecessors.take(q);
    if (p && where(p->leaf)) {
      enter_instead(*p, q);
      continue;
    }
    if (options_.group) {
      GRAFT_CHECK(optimizers_.size() == 1 && *options_.group < optimizers_[0]->groups(), "surgery: there is no group ",
                  *options_.group, "; with several optimizers none can be named");
      tails_[{0, *options_.group}].push_back({q.leaf, {}, false});
      continue;
    }
    if (!p && optimized && enter_beside(q, olds)) continue;
    if (!olds.empty()) {  // what it replaces was not being optimized: it stays so
      if (optimizers_.size() == 1 && optimizers_[0]->groups() > 1)
        fail_unclear(s, q, optimized ? "the parameter that it replaces is in no group"
                                     : "no parameter of what it replaces is in the optimizer");
      if (left_out) left_out->emplace_back(s.path, q.name);
      continue;
    }
    if (!enter_by_role(q)) fail_unclear(s, q, "what it replaces has no parameters");
  }
}

std::vector<GroupEdit> Follower::edits() {
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
      edit.slots.reserve(now.size());
      std::vector<Arrival> none;
      std::vector<Arrival>& list = at == arrivals_.end() ? none : at->second;
      std::ranges::stable_sort(list, {}, [](const Arrival& a) { return std::pair(a.index, a.behind); });
      auto next = list.begin();
      for (size_t i = 0; i < now.size(); ++i) {
        if (now[i].keep || !live_.dead_set.contains(now[i].param.impl())) edit.slots.push_back(now[i]);
        for (; next != list.end() && next->index == i; ++next) edit.slots.push_back(std::move(next->slot));
      }
      if (tail != tails_.end()) edit.slots.insert(edit.slots.end(), tail->second.begin(), tail->second.end());
      result.push_back(std::move(edit));
    }
  return result;
}

}  // namespace

std::vector<GroupEdit> follow(const std::vector<optim::Optimizer*>& optimizers, const std::vector<Succession>& pairs,
                              const Liveness& live, const nn::Module& model, const FollowOptions& options,
                              std::vector<std::pair<std::string, std::string>>* left_out) {
  if (optimizers.empty()) return {};
  Follower f(optimizers, live, options, model);
  for (const Succession& s : pairs) f.place(s, left_out);
  return f.edits();
}
void check_follow(const std::vector<optim::Optimizer*>& optimizers, const std::vector<Succession>& pairs, const Liveness& live,
                  const nn::Module& model, const FollowOptions& options,
                  std::vector<std::pair<std::string, std::string>>& left_out) {
  if (optimizers.empty()) return;
  Follower f(optimizers, live, options, model);
  for (const Succession& s : pairs) f.place(s, &left_out);
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

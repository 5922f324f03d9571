#include "graft/surgery/follow.h"

#include <algorithm>
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
  if (m.child_entries().empty()) {  // the usual case, without a walk
    for (const auto& e : m.param_entries())
      if (e->leaf.defined()) list.push_back({e->name, e->leaf, false});
  } else {
    for (auto& [name, leaf] : m.named_parameters()) list.push_back({name, leaf, false});
  }
  return list;
}

// What enters at one place of a group: instead of what is there, or behind it.
struct Arrival {
  size_t index;
  bool behind;
  optim::Slot slot;
};

class Follower {
 public:
  Follower(const std::vector<optim::Optimizer*>& optimizers, const Liveness& live, const FollowOptions& options,
           const nn::NamedList<Tensor>& parameters)
      : optimizers_(optimizers), live_(live), options_(options), parameters_(parameters) {
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
  Named* replaced_by(const Named& q, std::vector<Named>& olds) const;
  void enter_instead(const Named& p, const Named& q);
  bool enter_beside(const Named& q, const std::vector<Named>& olds);
  bool enter_by_role(const Named& q);
  [[noreturn]] void fail_unclear(const Succession&, const Named& q, const char* why) const;

  const std::vector<optim::Optimizer*>& optimizers_;
  const Liveness& live_;
  const FollowOptions& options_;
  const nn::NamedList<Tensor>& parameters_;
  std::vector<Place> places_;
  std::unordered_map<const TensorImpl*, int> place_of_;
  std::unordered_set<const TensorImpl*> placed_;
  std::map<std::pair<size_t, size_t>, std::vector<Arrival>> arrivals_;
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
  std::set<std::pair<size_t, size_t>> groups;
  for (const auto& [name, leaf] : parameters_)
    if (role(name) == role(q.name))
      for (const Place* at = where(leaf); at; at = next(at)) groups.emplace(at->optimizer, at->group);
  if (groups.size() != 1) return false;
  tails_[*groups.begin()].push_back({q.leaf, {}, false});
  return true;
}

void Follower::fail_unclear(const Succession& s, const Named& q, const char* why) const {
  fail(ErrorCode::plan_refused, s.path, ": it is unclear in which parameter group the new '", q.name, "' (", q.leaf.view(),
       ") belongs: ", why, "; name one by Options::group");
}

void Follower::place(const Succession& s, std::vector<std::pair<std::string, std::string>>* left_out) {
  std::vector<Named> olds = named(*s.before);
  const bool optimized = std::ranges::any_of(olds, [&](const Named& p) { return where(p.leaf) != nullptr; });
  for (const Named& q : named(*s.after)) {
    if (!live_.fresh_set.contains(q.leaf.impl()) || where(q.leaf) || !placed_.insert(q.leaf.impl()).second) continue;
    if (Named* p = replaced_by(q, olds)) {
      p->used = true;
      if (where(p->leaf)) {
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
                              const Liveness& live, const nn::NamedList<Tensor>& parameters, const FollowOptions& options,
                              std::vector<std::pair<std::string, std::string>>* left_out) {
  if (optimizers.empty()) return {};
  Follower f(optimizers, live, options, parameters);
  for (const Succession& s : pairs) f.place(s, left_out);
  return f.edits();
}
void check_follow(const std::vector<optim::Optimizer*>& optimizers, const std::vector<Succession>& pairs, const Liveness& live,
                  const nn::NamedList<Tensor>& parameters, const FollowOptions& options,
                  std::vector<std::pair<std::string, std::string>>& left_out) {
  if (optimizers.empty()) return;
  Follower f(optimizers, live, options, parameters);
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

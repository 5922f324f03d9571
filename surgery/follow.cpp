#include "graft/surgery/follow.h"

#include <algorithm>
#include <deque>
#include <set>
#include <unordered_set>
#include <utility>
#include "graft/core/ops.h"

namespace graft::inline v1::surgery {

Liveness::Liveness(const std::vector<Tensor>& before, const std::vector<Tensor>& after) {
  where_.reserve(before.size() + after.size());
  for (const Tensor& t : before) where_[t.impl()] |= kBefore;
  for (const Tensor& t : after)
    if (uint8_t& bits = where_[t.impl()]; !(bits & kAfter)) {
      if (!bits) fresh.push_back(t);
      bits |= kAfter;
    }
  for (const Tensor& t : before)
    if (is_dead(t)) dead.push_back(t);
}

// Of one parameter: a slot in a group of an optimizer.
struct Following::Place {
  size_t optimizer, group, index;
  const TensorImpl* param;
  int next = -1;  // another place of the same parameter
};
// What enters at one place of a group: instead of what is there, behind it, or at the group's end.
struct Following::Arrival {
  enum Where : uint8_t { instead, behind, at_end } where;
  size_t index;
  Tensor leaf;
};

namespace {

using Named = std::pair<std::string, Tensor>;
std::string_view role(std::string_view name) { return name.substr(name.rfind('.') + 1); }

// The parameters of what is replaced, to be found by what replaces them; each is given away once.
class Predecessors {
 public:
  Predecessors(const nn::Module& m, const Liveness& live) : all_(m.named_parameters()), free_(all_.size()) {
    for (size_t i = 0; i < all_.size(); ++i) free_[i] = live.is_dead(all_[i].second);
  }
  const std::vector<Named>& all() const { return all_; }

  // The dead parameter of the same name; else of the same role and shape; else of the same role. Null: none is left.
  const Named* take(const Named& q) {
    int i = of_name(q.first);
    if (i < 0 || !free_[size_t(i)]) {
      list_roles();
      i = next_in(by_role_and_shape_, concat(role(q.first), q.second.shape()));
      if (i < 0) i = next_in(by_role_, std::string(role(q.first)));
    }
    if (i < 0) return nullptr;
    free_[size_t(i)] = false;
    return &all_[size_t(i)];
  }

 private:
  static constexpr size_t kFew = 8;  // of a single layer: looked through without an index
  using Queues = std::unordered_map<std::string, std::deque<int>>;

  int of_name(const std::string& name) {
    if (all_.size() <= kFew) {
      const auto it = std::ranges::find(all_, name, &Named::first);
      return it == all_.end() ? -1 : int(it - all_.begin());
    }
    if (by_name_.empty())
      for (size_t i = 0; i < all_.size(); ++i) by_name_.emplace(all_[i].first, int(i));
    const auto it = by_name_.find(name);
    return it == by_name_.end() ? -1 : it->second;
  }
  void list_roles() {  // when a name is not found
    if (!by_role_.empty()) return;
    for (size_t i = 0; i < all_.size(); ++i) {
      by_role_[std::string(role(all_[i].first))].push_back(int(i));
      by_role_and_shape_[concat(role(all_[i].first), all_[i].second.shape())].push_back(int(i));
    }
  }
  int next_in(Queues& queues, const std::string& key) {
    const auto it = queues.find(key);
    if (it == queues.end()) return -1;
    while (!it->second.empty() && !free_[size_t(it->second.front())]) it->second.pop_front();
    return it->second.empty() ? -1 : it->second.front();
  }

  const std::vector<Named> all_;
  std::vector<char> free_;  // dead, and not given away
  std::unordered_map<std::string_view, int> by_name_;
  Queues by_role_, by_role_and_shape_;
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

}  // namespace

// ---- finding the places ----------------------------------------------------------------------------------------

class Following::Placing {
 public:
  Placing(Following& f, const nn::Module& model, const FollowOptions& options) : f_(f), model_(model), options_(options) {
    size_t count = 0;
    for (const optim::Optimizer* o : f.optimizers_)
      for (size_t g = 0; g < o->groups(); ++g) count += o->slots(g).size();
    f.places_.reserve(count);
    place_of_.reserve(count);
    for (size_t o = 0; o < f.optimizers_.size(); ++o)
      for (size_t g = 0; g < f.optimizers_[o]->groups(); ++g)
        for (const optim::Slot& s : f.optimizers_[o]->slots(g)) {
          const int here = int(f.places_.size());
          const auto [it, first] = place_of_.emplace(s.param.impl(), here);
          const size_t index = size_t(&s - f.optimizers_[o]->slots(g).data());
          f.places_.push_back({o, g, index, s.param.impl(), first ? -1 : std::exchange(it->second, here)});
        }
  }
  void place(const Succession&);

 private:
  const Place* where(const Tensor& t) const {  // null: in no optimizer
    const auto it = place_of_.find(t.impl());
    return it == place_of_.end() ? nullptr : &f_.places_[size_t(it->second)];
  }
  const Place* next(const Place* p) const { return p->next < 0 ? nullptr : &f_.places_[size_t(p->next)]; }
  void enter(const Place& p, Arrival::Where where, const Tensor& leaf) {
    f_.arrivals_[{p.optimizer, p.group}].push_back({where, p.index, leaf});
  }
  void enter_at_end(std::pair<size_t, size_t> group, const Tensor& leaf) {
    f_.arrivals_[group].push_back({Arrival::at_end, size_t(-1), leaf});
  }
  bool enter_beside(const Named& q, const std::vector<Named>& olds);
  bool enter_by_role(const Named& q);
  [[noreturn]] static void fail_unclear(const Succession&, const Named& q, const char* why);

  Following& f_;
  const nn::Module& model_;
  const FollowOptions& options_;
  std::pmr::monotonic_buffer_resource arena_;
  std::pmr::unordered_map<const TensorImpl*, int> place_of_{&arena_};
  std::pmr::unordered_set<const TensorImpl*> placed_{&arena_};
  std::map<std::string, std::set<std::pair<size_t, size_t>>> groups_of_role_;  // made when first asked
};

// Behind the last parameter of the same layer: of the same role if there is one.
bool Following::Placing::enter_beside(const Named& q, const std::vector<Named>& olds) {
  const Place* best = nullptr;
  bool best_role = false;
  for (const auto& [name, leaf] : olds)
    for (const Place* at = where(leaf); at; at = next(at)) {
      const bool same = role(name) == role(q.first);
      if (best && best_role && !same) continue;
      best = at;
      best_role = same;
    }
  if (!best) return false;
  enter(*best, Arrival::behind, q.second);
  return true;
}

// Where nothing was replaced: the only group there is, or the only one that holds parameters of this role.
bool Following::Placing::enter_by_role(const Named& q) {
  if (f_.optimizers_.size() == 1 && f_.optimizers_[0]->groups() == 1) {
    enter_at_end({0, 0}, q.second);
    return true;
  }
  if (groups_of_role_.empty())
    for (const auto& [name, leaf] : model_.named_parameters())
      for (const Place* at = where(leaf); at; at = next(at))
        groups_of_role_[std::string(role(name))].emplace(at->optimizer, at->group);
  const auto it = groups_of_role_.find(std::string(role(q.first)));
  if (it == groups_of_role_.end() || it->second.size() != 1) return false;
  enter_at_end(*it->second.begin(), q.second);
  return true;
}

void Following::Placing::fail_unclear(const Succession& s, const Named& q, const char* why) {
  fail(ErrorCode::plan_refused, s.path, ": it is unclear in which parameter group the new '", q.first, "' (", q.second.view(),
       ") belongs: ", why, "; name one by Options::group");
}

void Following::Placing::place(const Succession& s) {
  Predecessors predecessors(*s.before, *f_.live_);
  const std::vector<Named>& olds = predecessors.all();
  const auto& optimizers = f_.optimizers_;
  for (const Named& q : s.after->named_parameters()) {
    const Tensor& leaf = q.second;
    if (!f_.live_->is_fresh(leaf) || where(leaf) || !placed_.insert(leaf.impl()).second) continue;
    const Named* p = predecessors.take(q);
    if (const Place* at = p ? where(p->second) : nullptr) {
      for (; at; at = next(at)) enter(*at, Arrival::instead, leaf);
    } else if (options_.group) {
      GRAFT_CHECK(optimizers.size() == 1 && *options_.group < optimizers[0]->groups(), "surgery: there is no group ",
                  *options_.group, "; with several optimizers none can be named");
      enter_at_end({0, *options_.group}, leaf);
    } else if (!p && enter_beside(q, olds)) {
    } else if (!olds.empty()) {  // what it replaces was not being optimized: it stays so
      if (optimizers.size() == 1 && optimizers[0]->groups() > 1)
        fail_unclear(s, q, std::ranges::any_of(olds, [&](const Named& n) { return where(n.second) != nullptr; })
                               ? "the parameter that it replaces is in no group"
                               : "no parameter of what it replaces is in the optimizer");
      f_.left_out_.emplace_back(s.path, q.first);
    } else if (!enter_by_role(q)) {
      fail_unclear(s, q, "what it replaces has no parameters");
    }
  }
}

Following::Following(const Optimizers& optimizers, const std::vector<Succession>& pairs,
                     std::shared_ptr<const Liveness> live, const nn::Module& model, const FollowOptions& options)
    : optimizers_(optimizers), live_(std::move(live)), carry_state_(options.carry_state) {
  for (size_t o = 0; o < optimizers.size(); ++o) {
    GRAFT_CHECK(optimizers[o], "optimizers: entry ", o, " is null");
    alive_.push_back(optimizers[o]->alive());
  }
  if (optimizers.empty()) return;
  Placing placing(*this, model, options);
  for (const Succession& s : pairs) placing.place(s);
  for (auto& [group, list] : arrivals_)
    std::ranges::stable_sort(list, {}, [](const Arrival& a) { return std::pair(a.index, a.where); });
}
Following::~Following() = default;

// ---- the groups as they are to be -------------------------------------------------------------------------------

bool Following::still_holds() const {
  for (size_t o = 0; o < alive_.size(); ++o)
    GRAFT_CHECK(!alive_[o].expired(), ErrorCode::plan_refused, "surgery: optimizer ", o,
                " of the plan is gone; plan again with the optimizers that there are");
  auto place = places_.begin();
  for (size_t o = 0; o < optimizers_.size(); ++o)
    for (size_t g = 0; g < optimizers_[o]->groups(); ++g) {
      const optim::Slots& slots = optimizers_[o]->slots(g);
      for (size_t i = 0; i < slots.size(); ++i, ++place)
        if (place == places_.end() || place->optimizer != o || place->group != g || place->index != i ||
            place->param != slots[i].param.impl())
          return false;
    }
  return place == places_.end();
}

const std::vector<Following::Arrival>& Following::arrivals(size_t optimizer, size_t group) const {
  static const std::vector<Arrival> none;
  const auto it = arrivals_.find({optimizer, group});
  return it == arrivals_.end() ? none : it->second;
}

std::vector<Following::Resized> Following::resized() const {
  std::vector<Resized> result;
  for (size_t o = 0; o < optimizers_.size(); ++o)
    for (size_t g = 0; g < optimizers_[o]->groups(); ++g) {
      const optim::Slots& now = optimizers_[o]->slots(g);
      const size_t gone = size_t(std::ranges::count_if(now, [&](const optim::Slot& s) { return leaves(s); }));
      const size_t come = arrivals(o, g).size();
      if (gone + come > 0) result.push_back({std::string(optimizers_[o]->name()), o, g, now.size(), now.size() - gone + come});
    }
  return result;
}

std::vector<GroupEdit> Following::edits() const {
  std::vector<GroupEdit> result;
  for (const Resized& r : resized()) {
    optim::Optimizer& optimizer = *optimizers_[r.optimizer];
    GroupEdit edit{&optimizer, optimizer.alive(), r.group, {}, {}};
    edit.slots.reserve(r.after);
    const std::vector<Arrival>& list = arrivals(r.optimizer, r.group);
    auto next = list.begin();
    const auto enter = [&](const optim::Slot* old) {
      const Tensor& leaf = next->leaf;
      if (next->where == Arrival::instead) edit.stand_ins.emplace_back(next->index, leaf.impl());
      const bool carry = carry_state_ && next->where == Arrival::instead && old->param.dim() == leaf.dim() &&
                         old->param.dtype() == leaf.dtype();
      edit.slots.push_back({leaf, carry ? carried(old->state, leaf) : optim::State{}, false});
      ++next;
    };
    const optim::Slots& now = optimizer.slots(r.group);
    for (size_t i = 0; i < now.size(); ++i) {
      if (!leaves(now[i])) edit.slots.push_back(now[i]);
      while (next != list.end() && next->index == i) enter(&now[i]);
    }
    while (next != list.end()) enter(nullptr);
    result.push_back(std::move(edit));
  }
  return result;
}

}  // namespace graft

// Optimizers on the way back: who returns where. See follow.h.
#include "graft/surgery/follow.h"

namespace graft::inline v1::surgery {
namespace {

class Returning {
 public:
  Returning(const GroupEdit& before, const Liveness& live, const std::vector<Tensor>& model)
      : before_(before), live_(live), model_(model) {
    const optim::Slots& now = before.optimizer->slots(before.group);
    beside_.reserve(now.size());
    for (const optim::Slot& s : now) beside_.try_emplace(s.param.impl());
    for (const auto& [i, fresh] : before.stand_ins)
      if (beside_.contains(fresh)) stand_in_.emplace(i, fresh);
  }
  optim::Slots slots() {
    const optim::Slots& old = before_.slots;
    for (size_t i = 0; i < old.size(); ++i)
      if (!beside_.contains(old[i].param.impl()) && live_.is_dead(old[i].param)) place(i);
    optim::Slots result;
    result.reserve(old.size());
    const auto put = [&](const List& list) {
      for (const size_t i : list) result.push_back(old[i]);
    };
    put(front_);
    for (const optim::Slot& s : before_.optimizer->slots(before_.group)) {
      const Beside& b = beside_[s.param.impl()];
      put(b.before);
      if (!live_.is_fresh(s.param)) result.push_back(s);
      put(b.behind);
    }
    put(end_);
    return result;
  }

 private:
  using List = std::vector<size_t>;  // of old slots
  struct Beside { List before, behind; };

  void place(size_t i) {
    List& list = list_for(i);
    list.push_back(i);
    placed_[before_.slots[i].param.impl()] = &list;
  }
  List* behind(const TensorImpl* t) {  // null: it is not there
    if (const auto at = placed_.find(t); at != placed_.end()) return at->second;  // returns itself, last in its list
    const auto it = beside_.find(t);
    return it == beside_.end() ? nullptr : &it->second.behind;
  }
  List& list_for(size_t i) {
    const optim::Slots& old = before_.slots;
    if (const auto it = stand_in_.find(i); it != stand_in_.end()) return beside_[it->second].before;
    if (i == 0) return front_;
    if (List* list = behind(old[i - 1].param.impl())) return *list;
    if (i + 1 == old.size()) return end_;
    if (const auto next = beside_.find(old[i + 1].param.impl()); next != beside_.end()) return next->second.before;
    if (index_.empty())
      for (size_t k = 0; k < model_.size(); ++k) index_.emplace(model_[k].impl(), k);
    if (const auto at = index_.find(old[i].param.impl()); at != index_.end())
      for (size_t k = at->second; k-- > 0;)
        if (List* list = behind(model_[k].impl())) return *list;
    return end_;
  }

  const GroupEdit& before_;
  const Liveness& live_;
  const std::vector<Tensor>& model_;
  std::unordered_map<const TensorImpl*, Beside> beside_;  // of all that is there now
  std::unordered_map<size_t, const TensorImpl*> stand_in_;
  std::unordered_map<const TensorImpl*, List*> placed_;
  std::unordered_map<const TensorImpl*, size_t> index_;  // in the model; made when asked
  List front_, end_;
};

}  // namespace

std::vector<GroupEdit> unfollow(const std::vector<GroupEdit>& before, const Liveness& live, const std::vector<Tensor>& model) {
  std::vector<GroupEdit> result;
  for (const GroupEdit& b : before) {
    if (b.alive.expired()) continue;
    result.push_back({b.optimizer, b.alive, b.group, Returning(b, live, model).slots(), {}});
  }
  return result;
}

}  // namespace graft

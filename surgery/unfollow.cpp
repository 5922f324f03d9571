// Optimizers on the way back: who returns where. See follow.h.
#include <algorithm>
#include "graft/surgery/follow.h"

namespace graft::inline v1::surgery {
namespace {

// Places between the parameters that are there now: 0 is the front, 2k + 1 before the k-th, 2k + 2 behind it.
class Returning {
 public:
  Returning(const GroupEdit& before, const Liveness& live, const std::vector<Tensor>& model)
      : now_(before.optimizer->slots(before.group)), old_(before.slots), live_(live), model_(model) {
    index_.reserve(now_.size());
    for (size_t k = 0; k < now_.size(); ++k) index_.emplace(now_[k].param.impl(), k);
    stand_in_.assign(old_.size(), kNone);
    for (const auto& [i, fresh] : before.stand_ins)
      if (const auto at = index_.find(fresh); at != index_.end()) stand_in_[i] = at->second;
    place_.assign(old_.size(), kNone);
  }
  optim::Slots slots() {
    std::vector<std::pair<size_t, size_t>> returning;  // place, which
    for (size_t i = 0; i < old_.size(); ++i)
      if (!index_.contains(old_[i].param.impl()) && live_.is_dead(old_[i].param)) returning.emplace_back(place_[i] = place_of(i), i);
    std::ranges::sort(returning);
    optim::Slots result;
    result.reserve(now_.size() + returning.size());
    auto next = returning.begin();
    const auto put_until = [&](size_t place) {
      for (; next != returning.end() && next->first <= place; ++next) result.push_back(old_[next->second]);
    };
    for (size_t k = 0; k < now_.size(); ++k) {
      put_until(2 * k + 1);
      if (!live_.is_fresh(now_[k].param)) result.push_back(now_[k]);
    }
    put_until(kNone - 1);
    return result;
  }

 private:
  static constexpr size_t kNone = size_t(-1);

  size_t behind(size_t i) const {  // the i-th of old; kNone: it is not there
    if (place_[i] != kNone) return place_[i];
    const auto at = index_.find(old_[i].param.impl());
    return at == index_.end() ? kNone : 2 * at->second + 2;
  }
  size_t place_of(size_t i) {
    if (stand_in_[i] != kNone) return 2 * stand_in_[i] + 1;
    if (i == 0) return 0;
    if (const size_t place = behind(i - 1); place != kNone) return place;
    if (i + 1 == old_.size()) return 2 * now_.size();
    if (const auto at = index_.find(old_[i + 1].param.impl()); at != index_.end()) return 2 * at->second + 1;
    if (const size_t place = behind_in_model(old_[i].param); place != kNone) return place;
    return 2 * now_.size();
  }
  size_t behind_in_model(const Tensor& t) {
    if (model_index_.empty()) {
      for (size_t k = 0; k < model_.size(); ++k) model_index_.emplace(model_[k].impl(), k);
      for (size_t i = 0; i < old_.size(); ++i) old_index_.emplace(old_[i].param.impl(), i);
    }
    const auto at = model_index_.find(t.impl());
    for (size_t k = at == model_index_.end() ? 0 : at->second; k-- > 0;) {
      if (const auto now = index_.find(model_[k].impl()); now != index_.end()) return 2 * now->second + 2;
      const auto old = old_index_.find(model_[k].impl());
      if (old != old_index_.end() && place_[old->second] != kNone) return place_[old->second];
    }
    return kNone;
  }

  const optim::Slots& now_;
  const optim::Slots& old_;
  const Liveness& live_;
  const std::vector<Tensor>& model_;
  std::pmr::monotonic_buffer_resource arena_;
  std::pmr::unordered_map<const TensorImpl*, size_t> index_{&arena_};  // in now_
  std::vector<size_t> stand_in_, place_;                               // of old_
  std::unordered_map<const TensorImpl*, size_t> model_index_, old_index_;  // made when asked
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

#include "graft/surgery/replace.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace graft::inline v1::surgery {
namespace {

struct Place { size_t group, index; };
using Places = std::unordered_map<const TensorImpl*, Place>;

optim::Optimizer& only(const std::vector<optim::Optimizer*>& optimizers, const char* what) {
  GRAFT_CHECK(optimizers.size() <= 1, ErrorCode::not_implemented, what,
              ": surgery with multiple optimizers is not supported by this function; "
              "surgery::replace(..., {.optimizers}) takes several");
  GRAFT_CHECK(!optimizers.empty() && optimizers[0], what, ": there is no optimizer");
  return *optimizers[0];
}
Places places_of(const optim::Optimizer& o) {
  Places places;
  for (size_t g = 0; g < o.groups(); ++g)
    for (size_t i = 0; i < o.slots(g).size(); ++i) places[o.slots(g)[i].param.impl()] = {g, i};
  return places;
}
Place find(const Places& places, const Tensor& p, const char* what) {
  const auto it = p.defined() ? places.find(p.impl()) : places.end();
  GRAFT_CHECK(it != places.end(), ErrorCode::key_error, what, ": parameter ", p, " is missing from the optimizer");
  return it->second;
}
void check_new(const Tensor& p, const char* what) {
  GRAFT_CHECK(p.defined() && p.is_leaf() && is_differentiable(p.dtype()), ErrorCode::type_error, what,
              ": a new parameter must be a leaf of floating point, not ", p);
}
void swap_all(optim::Optimizer& o, std::vector<optim::Slots>& groups) noexcept {
  for (size_t g = 0; g < groups.size(); ++g) o.swap_slots(g, groups[g]);
}
std::vector<optim::Slots> copy_of(const optim::Optimizer& o) {
  std::vector<optim::Slots> groups;
  for (size_t g = 0; g < o.groups(); ++g) groups.push_back(o.slots(g));
  return groups;
}

}  // namespace

Replacements replace_module_classes(nn::Module& module, const std::vector<Policy>& policies, const ReplaceOptions& o) {
  const Edit edit =
      plan(module, policies, {.optimizers = o.optimizers, .recurse = o.recurse_on_replacements, .indices = o.indices})
          .apply();
  Replacements pairs;
  for (const Change& c : edit.changes()) pairs.emplace_back(c.before, c.after);
  return pairs;
}

void replace_params_in_optimizer(const Tensors& old_params, const Tensors& new_params,
                                 const std::vector<optim::Optimizer*>& optimizers) {
  constexpr auto kName = "replace_params_in_optimizer";
  optim::Optimizer& o = only(optimizers, kName);
  GRAFT_CHECK(old_params.size() == new_params.size(), kName,
              ": old_params and new_params must have the same length, not ", old_params.size(), " and ",
              new_params.size());
  const Places places = places_of(o);
  std::vector<optim::Slots> groups = copy_of(o);
  std::unordered_set<const TensorImpl*> present;
  for (size_t i = 0; i < old_params.size(); ++i) {
    const Place at = find(places, old_params[i], kName);
    check_new(new_params[i], kName);
    if (!old_params[i].is_same(new_params[i])) groups[at.group][at.index] = {new_params[i], {}, false};
  }
  for (const optim::Slots& g : groups)
    for (const optim::Slot& s : g)
      GRAFT_CHECK(present.insert(s.param.impl()).second, kName, ": parameter ", s.param,
                  " would be in the optimizer twice");
  swap_all(o, groups);
  for (const Tensor& p : new_params) optim::mark_stale(p, false);
}

void update_params_in_optimizer(const Tensors& old_params, const Tensors& new_params,
                                const std::vector<optim::Optimizer*>& optimizers) {
  constexpr auto kName = "update_params_in_optimizer";
  optim::Optimizer& o = only(optimizers, kName);
  const auto without = [](const Tensors& from, const Tensors& others) {
    Tensors list;
    std::unordered_set<const TensorImpl*> seen;
    for (const Tensor& t : others) seen.insert(t.impl());
    for (const Tensor& t : from)
      if (seen.insert(t.impl()).second) list.push_back(t);
    return list;
  };
  const Places places = places_of(o);
  const Tensors removed = without(old_params, new_params);
  Tensors added;
  for (const Tensor& p : without(new_params, old_params)) {
    check_new(p, kName);
    if (!places.contains(p.impl())) added.push_back(p);
  }
  std::unordered_set<const TensorImpl*> leaving;
  std::optional<size_t> group;
  if (o.groups() == 1) group = 0;
  for (const Tensor& p : removed) {
    const size_t g = find(places, p, kName).group;
    GRAFT_CHECK(
        added.empty() || !group || *group == g, ErrorCode::plan_refused, kName,
        ": not all removed parameters are in the same parameter group, "
        "which makes it unclear where to add the new ones; replace_params_in_optimizer keeps the group of each");
    group = g;
    leaving.insert(p.impl());
  }
  GRAFT_CHECK(added.empty() || group, ErrorCode::plan_refused, kName,
              ": no parameters were removed, so the group of the new ones cannot be inferred");
  std::vector<optim::Slots> groups = copy_of(o);
  for (optim::Slots& g : groups)
    std::erase_if(g, [&](const optim::Slot& s) { return leaving.contains(s.param.impl()); });
  for (const Tensor& p : added) groups[*group].push_back({p, {}, false});
  swap_all(o, groups);
  for (const Tensor& p : added) optim::mark_stale(p, false);
}

}  // namespace graft

// The way back: undoing an edit, and rolling back one that does not verify.
#include <algorithm>
#include "graft/nn/call.h"
#include "graft/surgery/draft.h"

namespace graft::inline v1::surgery {
namespace {

using detail::Journal;

// While it lives, the model is as it is on the other side of the edit.
class OtherSide {
 public:
  explicit OtherSide(Journal& j) : journal_(j) { j.exchange_slots(); }
  ~OtherSide() { journal_.exchange_slots(); }
  OtherSide(const OtherSide&) = delete;
  OtherSide& operator=(const OtherSide&) = delete;

 private:
  Journal& journal_;
};

void add(std::string& list, const std::string& item) { list += (list.empty() ? "" : ", ") + item; }

// What later edits have changed inside of what this one has brought in.
void add_changed_inside(std::string& list, const detail::Made& made) {
  const auto& now = made.module->child_entries();
  if (now.size() != made.children.size()) add(list, "the list of '" + made.module->path() + "'");
  for (size_t i = 0; i < std::min(now.size(), made.children.size()); ++i) {
    const auto& [entry, module] = made.children[i];
    if ((entry && now[i].get() != entry) || now[i]->module.get() != module) add(list, "'" + now[i]->path() + "'");
  }
}

std::string slot_conflicts(const Journal& j) {
  std::string list;
  if (j.other_root && j.root.held(j.root.handle) != j.new_root) add(list, "the model itself");
  PointerSet model;  // undoing what a later edit has taken out as a whole would leave that one with other parameters
  model.insert(j.new_root);
  for_each_descendant(*j.new_root, [&](const nn::Module& m) { model.insert(&m); });
  for (const detail::SlotSwap& s : j.slots) {
    const bool out = s.slot->removed || (s.within && !model.contains(s.slot->owner));
    if (out || s.slot->module.get() != s.placed) add(list, "'" + s.slot->path() + "'" + (out ? " (removed)" : ""));
  }
  for (size_t i = 0; i < j.lists.size(); ++i)
    if (const nn::ChildList& l = j.lists[i]; !l.in_place() || (j.lists_within[i] && !model.contains(&l.owner()))) add(list, "the list of " + (l.owner().path().empty() ? "the model" : "'" + l.owner().path() + "'"));
  for (const detail::Made& m : j.made) add_changed_inside(list, m);
  return list;
}

// The name of a parameter in the model as it is now.
std::string name_in(const nn::Module& root, const Tensor& t) {
  for (const auto& [name, p] : root.named_parameters())
    if (p.is_same(t)) return "'" + name + "'";
  return concat(t.view());
}

// What would live again, as dead ones of the way there, and what would die: as they are now, since later edits may share,
// tie or replace.
struct Back {
  std::vector<Tensor> model;  // its parameters as they would be
  std::shared_ptr<const Liveness> live;
};
Back way_back(Journal& j) {
  const std::vector<Tensor> now = j.new_root->parameters();
  const OtherSide scope(j);
  Back back{j.root.module->parameters(), nullptr};
  back.live = std::make_shared<const Liveness>(back.model, now);
  return back;
}

// Parameters that a later edit has put into what this one takes away, or taken from what this one brings back.
std::string parameter_conflicts(Journal& j, const Liveness& back) {
  std::string list;
  for (const Tensor& t : back.fresh)
    if (!j.live->is_fresh(t)) add(list, name_in(*j.new_root, t) + " (put there since)");
  for (const Tensor& t : back.dead) {
    if (j.live->is_dead(t)) continue;
    const OtherSide scope(j);
    add(list, name_in(*j.root.module, t) + " (taken out since)");
  }
  return list;
}

}  // namespace

void Edit::undo() {
  nn::refuse_during_call("undo");
  Journal& j = *journal_;
  GRAFT_CHECK(j.applied, ErrorCode::plan_refused, "undo: the edit has been undone already");
  std::string conflicts = slot_conflicts(j);
  Back way;
  if (conflicts.empty()) {
    for (nn::ChildList& l : j.lists) l.prepare();
    way = way_back(j);
    conflicts = parameter_conflicts(j, *way.live);
  }
  GRAFT_CHECK(conflicts.empty(), ErrorCode::plan_refused, "undo: later edits have changed ", conflicts, "; undo those first");
  std::vector<GroupEdit> back = unfollow(j.groups, *way.live, way.model);
  HookMoves hooks = j.hooks.back();
  j.groups.swap(back);
  std::swap(j.hooks, hooks);
  j.live = std::move(way.live);
  j.commit();
}

// ---- verification ------------------------------------------------------------------------------------------------

namespace detail {

static Predecessors predecessors_of(const std::vector<Change>& changes) {
  Predecessors of;
  for (const Change& c : changes) {
    if (!c.before || !c.after || c.before == c.after || c.swapped) continue;
    const auto it = of.find(c.before.get());
    of[c.after.get()] = it == of.end() ? c.before.get() : it->second;
  }
  return of;
}

// The journal is rolled back. Runs both models again, with every module's answers written down.
static std::string find_divergence(Journal& j, const Verify& v, std::string* path) {
  const Answers before = answers_of(*j.root.module, v.inputs);
  const OtherSide scope(j);
  return first_divergence(before, answers_of(*j.new_root, v.inputs), predecessors_of(*j.changes), v.ulps, path);
}

void verify(Journal& j, const nn::Value& before, const Verify& v) {
  try {
    j.verified = difference(before, run_quietly(*j.new_root, v.inputs), v.ulps);
  } catch (Error& e) {
    j.commit();
    throw Error(e.text(), e.code(), "the edited model does not run on the inputs" +
                                        (e.path().empty() ? std::string() : ", see '" + e.path() + "'") + "; it was rolled back");
  } catch (...) {
    j.commit();
    throw;
  }
  if (j.verified->ulps <= v.ulps) return;
  j.commit();
  std::string path;
  const std::string first = find_divergence(j, v, &path);
  fail(ErrorCode::plan_refused, "verify: the edited model answers otherwise, and the edit was rolled back: ", j.verified->text,
       first.empty() ? "; no module that both models have diverges" : "; the first module that diverges is " + first);
}

}  // namespace detail
}  // namespace graft

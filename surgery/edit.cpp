// Committing and undoing: everything that may fail is built aside; then pointers are exchanged.
#include "graft/nn/call.h"
#include "graft/surgery/draft.h"

namespace graft::inline v1::surgery {

namespace detail {

void Journal::exchange_slots() noexcept {
  if (exchanged)
    for (auto l = lists.rbegin(); l != lists.rend(); ++l) l->exchange();
  for (SlotSwap& s : slots) {
    void* typed = s.slot->typed;
    s.slot->commit(s.module, s.typed);
    s.typed = typed;
  }
  if (!exchanged)
    for (nn::ChildList& l : lists) l.exchange();
  exchanged = !exchanged;
}

void Journal::commit() noexcept {
  exchange_slots();
  if (other_root) root.put(root.handle, other_root);
  for (GroupEdit& g : groups)
    if (!g.alive.expired()) g.optimizer->swap_slots(g.group, g.slots);
  hooks.exchange();
  applied = !applied;
  for (const Tensor& t : live->dead) optim::mark_stale(t, applied);
  for (const Tensor& t : live->fresh) optim::mark_stale(t, !applied);
  if (indices) std::swap(*indices, other_indices);
}

std::unique_ptr<Journal> build_journal(const Draft& d) {
  auto j = std::make_unique<Journal>();
  j->root = d.root;
  j->changes = d.changes;
  for (const Graph::SlotChange& c : d.graph.slot_changes())
    if (!d.graph.is_aside(c.slot))
      j->slots.push_back({c.slot, c.slot->owner->weak_from_this().lock(), c.module, c.slot->check(c.module), c.module.get()});
  for (const Graph::ListChange& c : d.graph.list_changes()) j->lists.emplace_back(*c.owner, c.items);
  j->other_root = d.graph.new_root();
  j->live = d.live;
  return j;
}

}  // namespace detail

Edit Plan::apply() {
  nn::refuse_during_call("surgery");
  std::string where;
  GRAFT_CHECK(draft_->graph.unchanged(&where), ErrorCode::concurrent_modification,
              "surgery: the plan was made for another state of the model, which has changed at '", where, "'; plan again");
  for (detail::Draft::Copying& c : draft_->copied) draft_->copy_weights(c, (*draft_->changes)[c.change]);
  std::unique_ptr<detail::Journal> journal = detail::build_journal(*draft_);
  if (!draft_->following->still_holds()) draft_->following = draft_->follow();
  journal->groups = draft_->following->edits();
  journal->hooks = HookMoves(draft_->options.hook_moves);
  journal->indices = draft_->options.indices;
  journal->other_indices = draft_->indices;
  return detail::commit(std::move(journal));
}
Edit detail::commit(std::unique_ptr<Journal> journal) noexcept {
  journal->commit();
  return Edit(std::move(journal));
}

Edit::Edit(std::unique_ptr<detail::Journal> j) : journal_(std::move(j)) {}
Edit::Edit(Edit&&) noexcept = default;
Edit& Edit::operator=(Edit&&) noexcept = default;
Edit::~Edit() = default;
const std::vector<Change>& Edit::changes() const { return *journal_->changes; }
bool Edit::applied() const { return journal_->applied; }

void Edit::undo() {
  nn::refuse_during_call("undo");
  detail::Journal& j = *journal_;
  GRAFT_CHECK(j.applied, ErrorCode::plan_refused, "undo: the edit has been undone already");
  std::string conflicts;
  for (const detail::SlotSwap& s : j.slots) {
    if (!s.slot->removed && s.slot->module.get() == s.placed) continue;
    conflicts += (conflicts.empty() ? "'" : ", '") + s.slot->path() + "'" + (s.slot->removed ? " (removed)" : "");
  }
  for (nn::ChildList& l : j.lists) {
    if (!l.in_place()) conflicts += (conflicts.empty() ? "the list of '" : ", the list of '") + l.owner().path() + "'";
    l.prepare();
  }
  GRAFT_CHECK(conflicts.empty(), ErrorCode::plan_refused, "undo: later edits have changed ", conflicts,
              "; undo those first");
  std::vector<GroupEdit> back = unfollow(j.groups, *j.live);
  HookMoves hooks = j.hooks.back();
  j.groups.swap(back);
  std::swap(j.hooks, hooks);
  j.commit();
}

}  // namespace graft

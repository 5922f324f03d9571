// Committing: everything that may fail is built aside; then pointers are exchanged. The way back is in undo.cpp.
#include "graft/nn/call.h"
#include "graft/surgery/draft.h"
#include "graft/surgery/recipe_step.h"

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
  j->slots.reserve(d.graph.slot_changes().size());
  for (const Graph::SlotChange& c : d.graph.slot_changes())
    if (!d.graph.is_aside(c.slot))
      j->slots.push_back({c.slot, c.slot->owner->weak_from_this().lock(), c.module, c.slot->check(c.module), c.module.get(),
                          d.graph.is_live(*c.slot->owner)});
  for (const Graph::ListChange& c : d.graph.list_changes()) {
    j->lists.emplace_back(*c.owner, c.items);
    j->lists_within.push_back(d.graph.is_live(*c.owner));
  }
  for (const Graph::Node& n : d.graph.nodes()) {
    if (n.original || n.live == 0 || n.module->child_entries().empty()) continue;
    Made& m = j->made.emplace_back(Made{n.keep, {}});
    for (size_t i = 0; i < d.graph.children_of(*n.module); ++i) {
      nn::ChildEntry* e = d.graph.child_of(*n.module, i);
      m.children.emplace_back(d.graph.is_aside(e) ? nullptr : e, d.graph.content(e).get());
    }
  }
  j->other_root = d.graph.new_root();
  j->live = d.live;
  return j;
}

}  // namespace detail

Edit Plan::apply(const ApplyOptions& options) {
  nn::refuse_during_call("surgery");
  detail::Root& root = draft_->root;
  const bool verifies = !options.verify.inputs.empty();
  const nn::Value answer = verifies ? detail::run_quietly(*root.module, options.verify.inputs) : nn::Value();
  std::string where;
  GRAFT_CHECK(draft_->graph.unchanged(&where) && (!draft_->graph.new_root() || root.held(root.handle) == root.module),
              ErrorCode::concurrent_modification, "surgery: the plan was made for another state of the model, which has changed at '",
              where, "'; plan again");
  for (detail::Draft::Copying& c : draft_->copied) draft_->copy_weights(c, (*draft_->changes)[c.change]);
  std::unique_ptr<detail::Journal> journal = detail::build_journal(*draft_);
  if (!draft_->following->still_holds()) draft_->following = draft_->follow();
  journal->groups = draft_->following->edits();
  journal->hooks = HookMoves(draft_->options.hook_moves);
  journal->indices = draft_->options.indices;
  journal->other_indices = draft_->indices;
  if (options.record) journal->recording = std::make_shared<detail::Recording>(*root.module, draft_.get(), detail::Step());
  Edit edit = detail::commit(std::move(journal));
  detail::finish_recording(*edit.journal_, draft_.get());
  if (verifies) detail::verify(*edit.journal_, answer, options.verify);
  return edit;
}
Edit detail::commit(std::unique_ptr<Journal> journal) noexcept {
  if (!journal->new_root) journal->new_root = journal->other_root ? journal->other_root.get() : journal->root.module;
  journal->commit();
  return Edit(std::move(journal));
}

void detail::finish_recording(Journal& j, const Draft* d) {
  if (!j.recording) return;
  try {
    j.recording->finish(j, d);
  } catch (...) {
    j.commit();  // back
    throw;
  }
}

Edit::Edit(std::unique_ptr<detail::Journal> j) : journal_(std::move(j)) {}
Edit::Edit(Edit&&) noexcept = default;
Edit& Edit::operator=(Edit&&) noexcept = default;
Edit::~Edit() = default;
const std::vector<Change>& Edit::changes() const { return *journal_->changes; }
bool Edit::applied() const { return journal_->applied; }
const std::optional<Difference>& Edit::verified() const { return journal_->verified; }
Recipe Edit::recipe() const {
  GRAFT_CHECK(journal_->recording, "recipe: the edit was applied without being recorded; ApplyOptions::record is off");
  return detail::recipe_of(journal_->recording->step());
}

}  // namespace graft

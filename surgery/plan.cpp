// Planning: asks the policies and collects what would change. What an edit does is in edit.cpp.
#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include "graft/nn/call.h"
#include "graft/surgery/draft.h"

namespace graft::inline v1::surgery {

using Node = Graph::Node;

std::string short_type_name(std::type_index type) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> full(abi::__cxa_demangle(type.name(), nullptr, nullptr, &status), std::free);
  const std::string name = full ? full.get() : type.name();
  const size_t colons = name.substr(0, name.find('<')).rfind("::");
  return colons == std::string::npos ? name : name.substr(colons + 2);
}

nn::ModulePtr copy_sharing_parameters(const nn::Module& m) {
  nn::ModulePtr copy = m.clone();
  const auto from = m.named_modules(nullptr, {}, true);
  const auto to = std::as_const(*copy).named_modules(nullptr, {}, true);
  for (size_t i = 0; i < from.size(); ++i)
    for (size_t k = 0; k < from[i].second->param_entries().size(); ++k)
      to[i].second->param_entries()[k]->share(*from[i].second->param_entries()[k]);
  return copy;
}

// ---- what a replacement inherits -----------------------------------------------------------------------------

namespace {

// The first floating-point parameter or buffer: its dtype and device are those of the module.
const Tensor* own_representative(const nn::Module& m) {
  for (const auto& e : m.param_entries())
    if (e->value().defined() && is_differentiable(e->value().dtype())) return &e->value();
  for (const auto& e : m.buffer_entries())
    if (e->value.defined() && is_differentiable(e->value.dtype())) return &e->value;
  return nullptr;
}
const Tensor* representative(const nn::Module& m) {
  if (const Tensor* own = own_representative(m); own || m.child_entries().empty()) return own;
  for (const nn::Module* part : m.modules())
    if (const Tensor* t = own_representative(*part)) return t;
  return nullptr;
}

class Inheritance {
 public:
  Inheritance(detail::Draft& draft, const nn::Module& before) : draft_(draft), before_(before) {
    like_ = representative(before);
    if (!like_) like_ = representative(*draft.root.module);
  }
  // `part` is new: a module of the replacement that was not part of the model.
  void apply_to(nn::Module& part) const {
    const Options& o = draft_.options;
    for (const auto& e : part.param_entries())
      if (e->leaf.defined() && !fits(e->leaf)) e->leaf.set_data(converted(e->leaf.detach()));
    for (const auto& e : part.buffer_entries())
      if (e->value.defined() && !fits(e->value)) e->value = converted(e->value);
    if (o.inherit_training) part.set_training(before_.training());
  }
  void apply_to_whole(nn::Module& after, const std::string& path) const {
    inherit_requires_grad(after, path);
    const Options& o = draft_.options;
    const nn::HookTable* hooks = before_.hooks();
    if (!hooks) return;
    size_t n = 0;
    for (size_t k = 0; k < nn::kHookKinds; ++k) n += hooks->count(nn::HookKind(k));
    if (n == 0) return;
    if (!o.inherit_hooks) return note(Note::Kind::hooks_left, path, concat(n, " hook", n == 1 ? " stays" : "s stay", " with the old module"));
    const auto copy = hooks->clone();
    for (size_t k = 0; k < nn::kHookKinds; ++k) after.hook_table().take(*copy, nn::HookKind(k));
  }

 private:
  void inherit_requires_grad(nn::Module& after, const std::string& path) const {
    const auto olds = before_.named_parameters();
    auto old = olds.begin();
    std::unordered_map<std::string_view, const Tensor*> by_name;  // when the two do not have the same names in order
    for (auto& [name, leaf] : after.named_parameters()) {
      const Tensor* t = nullptr;
      if (old != olds.end() && old->first == name) {
        t = &old++->second;
      } else {
        if (by_name.empty())
          for (const auto& [n, l] : olds) by_name.emplace(n, &l);
        const auto it = by_name.find(name);
        if (it != by_name.end()) t = it->second;
      }
      if (!t || t->is_same(leaf) || t->requires_grad() == leaf.requires_grad()) continue;
      if (draft_.options.inherit_requires_grad) leaf.requires_grad_(t->requires_grad());
      else note(Note::Kind::requires_grad_differs, path, name + (leaf.requires_grad() ? " will require grad" : " will not require grad"));
    }
  }
  bool fits(const Tensor& t) const { return !like_ || (t.dtype() == like_->dtype() && t.device() == like_->device()); }
  Tensor converted(const Tensor& t) const {
    if (!like_) return t;
    const NoGrad quiet;
    const Options& o = draft_.options;
    const bool cast = o.inherit_dtype && is_differentiable(t.dtype()) && is_complex(t.dtype()) == is_complex(like_->dtype());
    return t.to(graft::Options(cast ? like_->dtype() : t.dtype(), o.inherit_device ? like_->device() : t.device()));
  }
  void note(Note::Kind kind, const std::string& path, std::string text) const {
    draft_.notes.push_back({kind, path, std::move(text)});
  }
  detail::Draft& draft_;
  const nn::Module& before_;
  const Tensor* like_;
};

// ---- asking ----------------------------------------------------------------------------------------------------

class Planner {
 public:
  explicit Planner(detail::Draft& d) : d_(d) {
    if (d.options.indices) d.indices = *d.options.indices;
    queue_ = d.graph.originals();
  }
  void run() {
    for (size_t i = d_.options.include_root ? 0 : 1; i < queue_.size(); ++i)  // the root comes first; grows while it runs
      if (queue_[i]->live > 0 && !queue_[i]->answered) offer(*queue_[i]);
  }

 private:
  void offer(Node& n);
  void accept(Node& n, const Policy&, const Site&, nn::ModulePtr after);
  std::string path_of(const Node& n) const { return n.slots.empty() ? std::string() : n.slots[0]->path(); }

  detail::Draft& d_;
  std::vector<Node*> queue_;
};

void Planner::offer(Node& n) {
  for (const Policy& p : d_.policies) {
    if (!p.matches(*n.module)) continue;
    const Site site{d_.indices[p.type]++, n.keep, n.depth, n.slots.empty() ? nullptr : n.slots[0]};
    nn::ModulePtr after;
    try {
      after = p.answer(*n.module, site);
    } catch (Error& e) {
      e.within(site.path(), nn::type_name(*n.module));
      throw;
    }
    if (!after) continue;
    return accept(n, p, site, std::move(after));  // later policies are not asked about this module
  }
}

void Planner::accept(Node& n, const Policy& p, const Site& site, nn::ModulePtr after) {
  n.answered = true;
  Change change{path_of(n), {}, n.keep, after, p.name, site.index};
  for (size_t i = 1; i < n.slots.size(); ++i) change.aliases.push_back(n.slots[i]->path());
  if (after.get() != n.module) {
    GRAFT_CHECK(n.depth < d_.options.max_depth, ErrorCode::plan_refused, "surgery: '", change.path, "' (",
                nn::type_name(*n.module), ") is the answer to an answer, ", n.depth, " deep, and the policy for ", p.name,
                " replaces it again; raise Options::max_depth if that ends");
    std::vector<Node*> entered;
    try {
      d_.graph.replace(n, after, entered);
    } catch (Error& e) {
      e.within(change.path, nn::type_name(*n.module));
      throw;
    }
    const Inheritance inherit(d_, *n.module);
    for (Node* part : entered)
      if (!part->original) inherit.apply_to(*part->module);
    inherit.apply_to_whole(*after, change.path);
    if (n.original) d_.replaced.emplace_back(change.path, &n);
    if (d_.options.recurse)
      for (Node* part : entered)
        if (!part->original) queue_.push_back(part);
  }
  d_.changes->push_back(std::move(change));
}

// Which parameters die and which are new; linear in the model.
void find_liveness(detail::Draft& d) {
  const std::vector<Tensor> old = d.root.module->parameters();
  std::vector<Tensor> now;
  now.reserve(old.size());
  for (const Node& n : d.graph.nodes())
    if (n.live > 0)
      for (const auto& e : n.module->param_entries())
        if (e->leaf.defined()) now.push_back(e->leaf);
  d.live = std::make_shared<const Liveness>(old, now);
  for (const Tensor& t : old) d.before += t.numel();
  d.after = d.before;
  for (const Tensor& t : d.live->dead) d.after -= t.numel();
  for (const Tensor& t : d.live->fresh) d.after += t.numel();
}

// Runs the edited model on shapes alone.
void dry_run(detail::Draft& d) {
  const std::unique_ptr<detail::Journal> journal = detail::build_journal(d);
  nn::Module& root = journal->other_root ? *journal->other_root : *d.root.module;
  journal->exchange_slots();
  try {
    const DryRun shapes_only;
    root.invoke(d.options.example);
  } catch (Error& e) {
    journal->exchange_slots();
    throw Error(e.text(), e.code(), "the plan was refused: the edited model does not take the example" +
                                        (e.path().empty() ? std::string() : ", see '" + e.path() + "'"));
  } catch (...) {
    journal->exchange_slots();
    throw;
  }
  journal->exchange_slots();
}

void check_root(const detail::Draft& d) {
  if (!d.graph.new_root()) return;
  GRAFT_CHECK(d.root.put, ErrorCode::plan_refused, "include_root: pass the shared_ptr that holds the model, not the model");
  GRAFT_CHECK(d.root.fits(*d.graph.new_root()), ErrorCode::plan_refused, "include_root: the handle cannot hold ",
              nn::type_name(*d.graph.new_root()));
}

}  // namespace

// ---- the plan ------------------------------------------------------------------------------------------------

std::vector<Succession> detail::Draft::successions() const {
  std::vector<Succession> list;
  for (const auto& [path, node] : replaced) {
    const nn::Module* last = node->successor.get();
    for (const Node* n = node; n && n->successor; n = const_cast<Graph&>(graph).find(n->successor.get()))
      last = n->successor.get();
    list.push_back({path, node->module, last});
  }
  return list;
}
std::shared_ptr<const Following> detail::Draft::follow() const {
  const FollowOptions how{options.group, options.carry_state};
  return std::make_shared<const Following>(options.optimizers, successions(), live, *root.module, how);
}

Plan make_plan(detail::Root root, std::vector<Policy> policies, Options options) {
  GRAFT_CHECK(root.module, "surgery: there is no model");
  nn::refuse_during_call("surgery");
  GRAFT_CHECK(!options.include_root || root.put, ErrorCode::plan_refused,
              "include_root: pass the shared_ptr that holds the model, not the model");
  auto draft = std::make_unique<detail::Draft>(std::move(root), std::move(policies), std::move(options));
  std::string where;
  try {
    Planner(*draft).run();
  } catch (...) {
    draft->graph.restore_slots();
    throw;
  }
  if (!draft->graph.unchanged(&where)) {
    draft->graph.restore_slots();
    fail(ErrorCode::concurrent_modification, "surgery: a policy has changed the model while it was walked, at '", where,
         "'; policies answer with new modules");
  }
  GRAFT_CHECK(!draft->changes->empty() || draft->options.allow_empty, ErrorCode::plan_refused,
              "surgery: no policy replaced anything");
  check_root(*draft);
  find_liveness(*draft);
  draft->following = draft->follow();
  draft->resized = draft->following->resized();
  for (const auto& [path, name] : draft->following->left_out())
    draft->notes.push_back({Note::Kind::not_optimized, path, name + " enters no optimizer: what it replaces is in none"});
  if (draft->options.optimizers.empty() && !draft->live->fresh.empty())
    draft->notes.push_back({Note::Kind::no_optimizer, "", concat(draft->live->fresh.size(), " new parameters: make the optimizer "
                            "after this, or pass it to the surgery")});
  if (!draft->options.example.empty()) dry_run(*draft);
  return Plan(std::move(draft));
}

Plan::Plan(std::unique_ptr<detail::Draft> d) : draft_(std::move(d)) {}
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(Plan&&) noexcept = default;
Plan::~Plan() = default;
const std::vector<Change>& Plan::changes() const { return *draft_->changes; }
const std::vector<Note>& Plan::notes() const { return draft_->notes; }
int64_t Plan::parameters_before() const { return draft_->before; }
int64_t Plan::parameters_after() const { return draft_->after; }

}  // namespace graft

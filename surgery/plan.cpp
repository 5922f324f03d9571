// Planning: asks the policies and collects what would change. What an edit does is in edit.cpp.
#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include "graft/nn/call.h"
#include "graft/nn/containers.h"
#include "graft/nn/parallel.h"
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
    d_.graph.settle();
    for (const auto& [change, node] : placed_) (*d_.changes)[change].path = d_.graph.path_after(*node);
    note_unasked();
  }

 private:
  void offer(Node& n);
  bool accept(Node& n, const Policy&, const Site&, Answer&);
  void replace(Node& n, const Policy&, const Site&, const nn::ModulePtr& after);
  void remove(Node& n, const Policy&, const Site&, Removal);
  void insert(Node& n, const Policy&, const Site&, const nn::ModulePtr&, bool behind);
  void exchange(Node& n, const Policy&, const Site&, const nn::ModulePtr& with);
  void enter(const std::vector<Node*>& entered, const Inheritance&);
  void take_weights(const Policy&, Change&);
  void note_unasked();
  std::string path_of(const Node& n) const { return n.slots.empty() ? std::string() : n.slots[0]->path(); }
  Change change_of(const Node& n, const Policy& p, const Site& site, nn::ModulePtr after) const {
    Change c{path_of(n), {}, n.keep, std::move(after), p.name, site.index};
    for (size_t i = 1; i < n.slots.size(); ++i) c.aliases.push_back(n.slots[i]->path());
    return c;
  }

  detail::Draft& d_;
  std::vector<Node*> queue_;
  std::vector<std::pair<size_t, Node*>> placed_;  // changes whose path is known in the end
};

void Planner::offer(Node& n) {
  for (const Policy& p : d_.policies) {
    if (n.answered || n.live == 0) return;
    if (!p.matches(*n.module)) continue;
    const Site site{d_.indices[p.type]++, n.keep, n.depth, n.slots.empty() ? nullptr : n.slots[0]};
    Answer answer;
    try {
      answer = p.answer(*n.module, site);
    } catch (Error& e) {
      e.within(site.path(), nn::type_name(*n.module));
      throw;
    }
    if (answer.kind == Answer::Kind::none) continue;
    if (answer.kind == Answer::Kind::decline) {
      d_.declined.push_back({path_of(n), p.name, std::move(answer.code), std::move(answer.text)});
      continue;
    }
    // Later policies are not asked about this module, but where something was only put beside it.
    if (accept(n, p, site, answer) && answer.kind != Answer::Kind::insert) return;
  }
}

bool Planner::accept(Node& n, const Policy& p, const Site& site, Answer& a) {
  try {
    switch (a.kind) {
      case Answer::Kind::replace: replace(n, p, site, a.module); break;
      case Answer::Kind::remove: remove(n, p, site, a.removal); break;
      case Answer::Kind::insert: insert(n, p, site, a.module, a.behind); break;
      default: exchange(n, p, site, a.module);
    }
  } catch (Error& e) {
    if (d_.options.skip_refused) {
      d_.declined.push_back({path_of(n), p.name, std::string(name_of(e.code())), e.text()});
      return false;
    }
    e.within(path_of(n), nn::type_name(*n.module));
    throw;
  }
  return true;
}

void Planner::enter(const std::vector<Node*>& entered, const Inheritance& inherit) {
  for (Node* part : entered)
    if (!part->original) inherit.apply_to(*part->module);
  if (!d_.options.recurse) return;
  for (Node* part : entered)
    if (!part->original) queue_.push_back(part);
}

void Planner::replace(Node& n, const Policy& p, const Site& site, const nn::ModulePtr& after) {
  Change change = change_of(n, p, site, after);
  if (after.get() != n.module) {
    GRAFT_CHECK(n.depth < d_.options.max_depth, ErrorCode::plan_refused, "surgery: '", change.path, "' (",
                nn::type_name(*n.module), ") is the answer to an answer, ", n.depth, " deep, and the policy for ", p.name,
                " replaces it again; raise Options::max_depth if that ends");
    std::vector<Node*> entered;
    d_.graph.replace(n, after, entered);
    const Inheritance inherit(d_, *n.module);
    enter(entered, inherit);
    inherit.apply_to_whole(*after, change.path);
    take_weights(p, change);
    if (n.original) {
      d_.replaced.emplace_back(change.path, &n);
      d_.asked.push_back({Answer::Kind::replace, &n, &p, change.path, {}, after});
    }
  }
  n.answered = true;
  d_.changes->push_back(std::move(change));
}

void Planner::take_weights(const Policy& p, Change& change) {
  if (p.options.carry == Carry::none) return;
  d_.copied.push_back({d_.changes->size(), p.options.carry, ~uint64_t{0}});
  d_.copy_weights(d_.copied.back(), change);
}

void Planner::remove(Node& n, const Policy& p, const Site& site, Removal how) {
  const nn::ModulePtr stand_in = nn::make<nn::Identity>();
  Change change = change_of(n, p, site, nullptr);
  std::vector<Node*> entered;
  d_.graph.remove(n, stand_in, how == Removal::identity, entered);
  enter(entered, Inheritance(d_, *n.module));
  if (!entered.empty()) change.after = stand_in;
  if (n.original) d_.asked.push_back({Answer::Kind::remove, &n, &p, change.path, {}, nullptr, false, how});
  n.answered = true;
  d_.changes->push_back(std::move(change));
}

void Planner::insert(Node& n, const Policy& p, const Site& site, const nn::ModulePtr& m, bool behind) {
  std::vector<Node*> entered;
  std::vector<nn::ModulePtr> row{n.keep, m};
  if (!behind) std::swap(row[0], row[1]);
  if (d_.graph.in_ordered(n)) {
    d_.graph.insert(n, m, behind, entered);
  } else {
    d_.graph.replace(n, nn::make<nn::Sequential>(row), entered);
    n.successor = nullptr;  // it stays, within
  }
  enter(entered, Inheritance(d_, *n.module));
  if (n.original) d_.asked.push_back({Answer::Kind::insert, &n, &p, path_of(n), {}, m, behind});
  Node* const made = d_.graph.find(m.get());
  d_.inserted.push_back({path_of(n), {&n, made}});
  placed_.emplace_back(d_.changes->size(), made);
  d_.changes->push_back({{}, {}, nullptr, m, p.name, site.index});
}

void Planner::exchange(Node& n, const Policy& p, const Site& site, const nn::ModulePtr& with) {
  Node* const other = d_.graph.find(with.get());
  GRAFT_CHECK(other && other->original, ErrorCode::plan_refused, "swap: the other module, a ", nn::type_name(*with),
              ", is not in the model");
  Change one = change_of(n, p, site, with), two = change_of(*other, p, site, n.keep);
  one.swapped = two.swapped = true;
  if (other != &n) d_.graph.exchange(n, *other);
  n.answered = other->answered = true;
  if (n.original) d_.asked.push_back({Answer::Kind::exchange, &n, &p, one.path, two.path, nullptr});
  else d_.not_recorded = "'" + two.path + "' has changed places with a module that came in by the same edit";
  d_.changes->push_back(std::move(one));
  if (other != &n) d_.changes->push_back(std::move(two));
}

// Selected modules that no policy was asked about, because what they lie in is replaced or removed.
void Planner::note_unasked() {
  for (const Policy& p : d_.policies) {
    if (!p.selection) continue;
    for (const nn::ModulePtr& m : p.selection->modules()) {
      const Node* n = m ? d_.graph.find(m.get()) : nullptr;
      if (n && n->live == 0 && !n->answered)
        d_.notes.push_back({Note::Kind::inside_replaced, path_of(*n), "selected for '" + p.name + "', but what it lies in goes"});
    }
  }
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

// Runs the model as it is and as it will be on shapes alone.
void dry_run(detail::Draft& d) {
  try {
    d.cost_before = cost(*d.root.module, d.options.example);
  } catch (const Error&) {
    d.cost_before.reset();  // what does not run now may run then
  }
  const std::unique_ptr<detail::Journal> journal = detail::build_journal(d);
  nn::Module& root = journal->other_root ? *journal->other_root : *d.root.module;
  journal->exchange_slots();
  try {
    d.cost_after = cost(root, d.options.example);
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

std::vector<std::string> detail::Draft::leaving() const {
  std::vector<std::string> names;
  for (const auto& [name, t] : root.module->named_parameters())
    if (live->is_dead(t)) names.push_back(name);
  return names;
}
std::vector<std::string> detail::Draft::entering() const {
  std::vector<std::string> names;
  std::unordered_set<const TensorImpl*> listed;
  for (const Node& n : graph.nodes()) {
    if (n.live == 0) continue;
    for (const auto& e : n.module->param_entries()) {
      if (!e->leaf.defined() || !live->is_fresh(e->leaf) || !listed.insert(e->leaf.impl()).second) continue;
      const std::string path = graph.path_after(n);
      names.push_back(path.empty() ? e->name : path + "." + e->name);
    }
  }
  return names;
}
std::vector<Carried> detail::weights_of(const Change& c) {
  if (!c.weights.empty() || !c.before || !c.after || c.before == c.after || c.swapped) return c.weights;
  return carry_over(*c.before, *c.after, c.path, Carry::none, false, [](const Tensor&) { return false; });
}

std::vector<Succession> detail::Draft::successions() const {
  const auto last = [&](const Node* node) {
    const nn::Module* m = node->module;
    for (const Node* n = node; n && n->successor; n = const_cast<Graph&>(graph).find(n->successor.get())) m = n->successor.get();
    return m;
  };
  std::vector<Succession> list;
  for (const auto& [path, node] : replaced) list.push_back({path, node->module, last(node)});
  for (const auto& [path, nodes] : inserted) list.push_back({path, nodes.first->module, last(nodes.second)});
  return list;
}
std::shared_ptr<const Following> detail::Draft::follow() const {
  const FollowOptions how{options.group, options.carry_state};
  return std::make_shared<const Following>(options.optimizers, successions(), live, *root.module, how);
}

static uint64_t versions_of(const nn::Module& m) {
  uint64_t sum = 0;
  for (const nn::Module* part : m.modules()) {
    for (const auto& e : part->param_entries()) sum += e->value().defined() ? e->value().version() : 0;
    for (const auto& e : part->buffer_entries()) sum += e->value.defined() ? e->value.version() : 0;
  }
  return sum;
}
void detail::Draft::copy_weights(Copying& c, Change& change) const {
  const uint64_t versions = versions_of(*change.before);
  if (versions == c.versions) return;
  const auto is_new = [&](const Tensor& t) { return !graph.has_leaf(t.impl()); };
  change.weights = carry_over(*change.before, *change.after, change.path, c.how, true, is_new);
  c.versions = versions;
}

// Copies of what it wraps run elsewhere: they would not follow (R17).
static void refuse_parallel(const Graph& graph) {
  for (const Node* n : graph.originals()) {
    if (n->module->child_entries().empty() || !dynamic_cast<const nn::ParallelWrapper*>(n->module)) continue;
    fail(ErrorCode::type_error, "surgery is not supported after a model is wrapped with ", nn::type_name(*n->module),
         n->slots.empty() ? "" : ", as at '" + n->slots[0]->path() + "'", "; do it before, and wrap the result");
  }
}

Plan make_plan(detail::Root root, std::vector<Policy> policies, Options options) {
  GRAFT_CHECK(root.module, "surgery: there is no model");
  nn::refuse_during_call("surgery");
  GRAFT_CHECK(!options.include_root || root.put, ErrorCode::plan_refused,
              "include_root: pass the shared_ptr that holds the model, not the model");
  auto draft = std::make_unique<detail::Draft>(std::move(root), std::move(policies), std::move(options));
  refuse_parallel(draft->graph);
  for (const Policy& p : draft->policies)
    if (p.selection) p.selection->check(*draft->root.module);
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
  if (draft->cost_after && !draft->cost_after->unknown.empty())
    draft->notes.push_back({Note::Kind::shapes_unknown, "", "below what depends on values: " + draft->cost_after->unknown});
  return Plan(std::move(draft));
}

Plan::Plan(std::unique_ptr<detail::Draft> d) : draft_(std::move(d)) {}
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(Plan&&) noexcept = default;
Plan::~Plan() = default;
const std::vector<Change>& Plan::changes() const { return *draft_->changes; }
const std::vector<Declined>& Plan::declined() const { return draft_->declined; }
const std::vector<Note>& Plan::notes() const { return draft_->notes; }
const std::optional<Cost>& Plan::cost_before() const { return draft_->cost_before; }
const std::optional<Cost>& Plan::cost_after() const { return draft_->cost_after; }
int64_t Plan::parameters_before() const { return draft_->before; }
int64_t Plan::parameters_after() const { return draft_->after; }

}  // namespace graft

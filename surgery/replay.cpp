// Doing what a recipe says to another model: step by step, each as a plan or a fusion of its own, all of them or none.
#include <algorithm>
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/nn/activation.h"
#include "graft/nn/add.h"
#include "graft/nn/architecture.h"
#include "graft/nn/call.h"
#include "graft/surgery/catalog.h"
#include "graft/surgery/draft.h"
#include "graft/surgery/fuse_chain.h"
#include "graft/surgery/fuse_modules.h"
#include "graft/surgery/lora.h"
#include "graft/surgery/recipe_step.h"
#include "graft/surgery/register_modules.h"

namespace graft::inline v1::surgery {

using detail::ChainPaths;
using detail::Operation;
using detail::Step;

namespace detail {

struct Replaying {
  Root root;
  const ReplayOptions& options;
  Replayed done = {};

  void reserve(size_t steps) { done.edits_.reserve(steps), done.merges_.reserve(steps), done.steps_.reserve(steps); }
  void run(const Step&);
  void roll_back() noexcept;
  static void undo(Replayed&);

 private:
  nn::ModulePtr at(const std::string& path) const;
  Tensor tensor_at(const std::string& key) const;
  void check_paths(const Step&) const;
  Edit edit(const Step&) const;
  Answer answer(const Operation&, const nn::Module&, const Site&) const;
  nn::ModulePtr build(const Operation&, const nn::Module&) const;
  Edit fuse(const Step&) const;
  Chain chain(const ChainPaths&, bool move_hooks) const;
  void merge(bool);
  void record(const Recipe& r) { done.steps_.push_back(r.steps_.front()); }
  void changed_root();
};

// ---- where things are --------------------------------------------------------------------------------------------

nn::ModulePtr Replaying::at(const std::string& path) const {
  nn::ModulePtr m = root.owner;
  const nn::Module* now = root.module;
  for (size_t from = 0; now && from < path.size();) {
    const size_t dot = std::min(path.find('.', from), path.size());
    const nn::ChildEntry* e = now->find_child(std::string_view(path).substr(from, dot - from));
    m = e ? e->module : nullptr;
    now = m.get();
    from = dot + 1;
  }
  if (now) {
    GRAFT_CHECK(m, ErrorCode::type_error, "the model itself is not held by a shared pointer");
    return m;
  }
  std::vector<std::string> paths;
  for (const auto& [p, x] : root.module->named_modules())
    if (!p.empty()) paths.push_back(p);
  std::string near;
  for (const std::string& n : nn::nearest_names(path, paths)) near += (near.empty() ? "; did you mean " : ", ") + ("'" + n + "'");
  fail(ErrorCode::key_error, "the model has no module at '", path, "'", near);
}
Tensor Replaying::tensor_at(const std::string& key) const {
  const size_t dot = key.rfind('.');
  const nn::ModulePtr m = dot == key.npos ? nullptr : at(key.substr(0, dot));
  const nn::Module& owner = m ? *m : *root.module;
  const std::string name = dot == key.npos ? key : key.substr(dot + 1);
  if (const nn::ParamEntry* p = owner.find_param(name)) return p->leaf;
  const nn::BufferEntry* b = owner.find_buffer(name);
  GRAFT_CHECK(b, ErrorCode::key_error, "the model has no tensor '", key, "'");
  return b->value;
}
void Replaying::check_paths(const Step& s) const {
  for (const Operation& o : s.operations)
    for (const std::string* p : {&o.path, &o.with})
      if (!p->empty()) at(*p);
  for (const ChainPaths& c : s.chains)
    for (const std::string* p : {&c.layer, &c.before, &c.behind, &c.relu})
      if (!p->empty()) at(*p);
  for (const auto& group : s.groups)
    for (const std::string& p : group) at(p);
}

// ---- edits -------------------------------------------------------------------------------------------------------

// What one policy answers: operations of one kind, one per module.
struct Batch {
  const Operation* like;
  std::unordered_map<const nn::Module*, const Operation*> of;

  bool takes(const Operation& o) const {
    const auto name = [](const Operation& x) { return x.named ? x.named->name : std::string(); };
    return !o.named && name(*like).empty() && like->carry == o.carry && like->copies == o.copies;
  }
};

nn::ModulePtr Replaying::build(const Operation& o, const nn::Module& before) const {
  nn::BuildOptions how;
  how.module = [this](const std::string& path) { return at(path); };
  how.tensor = [this](const std::string& key) { return tensor_at(key); };
  const nn::ModulePtr made = nn::from_architecture(o.module, how);
  if (!o.copies) return made;
  const NoGrad quiet;
  const auto old = before.named_buffers();
  for (const auto& [name, t] : std::as_const(*made).named_buffers())
    for (const auto& [was, value] : old)
      if (was == name && value.shape() == t.shape() && !value.is_same(t)) t.copy_(value);
  return made;
}
Answer Replaying::answer(const Operation& o, const nn::Module& m, const Site& site) const {
  using Kind = Operation::Kind;
  if (o.kind == Kind::remove) return Answer::removed(o.removal);
  if (o.kind == Kind::swap) return Answer::exchanged(at(o.with));
  GRAFT_CHECK(o.missing.empty(), ErrorCode::plan_refused, "it cannot be repeated: ", o.missing);
  if (o.named) {
    for (const Policy& p : make_surgery(o.named->name, o.named->args, *root.module)) {
      if (!p.matches(m)) continue;
      if (Answer a = p.answer(m, site); a.kind != Answer::Kind::none) return a;
    }
    fail(ErrorCode::plan_refused, o.named->name, " leaves the module as it is");
  }
  const nn::ModulePtr made = build(o, m);
  if (o.kind == Kind::replace) return made;
  return Answer::inserted(made, o.kind == Kind::insert_after);
}

Edit Replaying::edit(const Step& s) const {
  std::vector<Batch> batches;
  std::unordered_map<const nn::Module*, size_t> next;  // the first batch that may take a module's next operation
  Options o{.optimizers = options.optimizers, .group = options.group, .carry_state = options.carry_state};
  for (const Operation& op : s.operations) {
    const nn::Module* m = op.path.empty() ? root.module : at(op.path).get();
    if (op.path.empty()) o.include_root = true;
    size_t i = next[m];
    while (i < batches.size() && !batches[i].takes(op)) ++i;
    if (i == batches.size()) batches.push_back({&op, {}});
    batches[i].of.emplace(m, &op);
    next[m] = i + 1;
  }
  const auto inherits = [&](const char* name) { return std::ranges::find(s.inherit, name) != s.inherit.end(); };
  o.inherit_device = inherits("device");
  o.inherit_dtype = inherits("dtype");
  o.inherit_training = inherits("training");
  o.inherit_requires_grad = inherits("requires_grad");
  o.inherit_hooks = inherits("hooks");
  std::vector<Policy> policies;
  for (const Batch& b : batches) {
    Policy p{typeid(nn::Module), "recipe", [&b](const nn::Module& m) { return b.of.contains(&m); },
             [this, &b](const nn::Module& m, const Site& site) { return answer(*b.of.at(&m), m, site); }};
    p.options.carry = b.like->carry;
    p.named = b.like->named;
    p.copies = b.like->copies;
    policies.push_back(std::move(p));
  }
  return make_plan(root, std::move(policies), std::move(o)).apply();
}

// ---- fusions -----------------------------------------------------------------------------------------------------

static const nn::BatchNormNd* norm_at(const std::string& path, const nn::ModulePtr& m, const Foldable& layer, int64_t features) {
  GRAFT_CHECK(norm_dims(*m) && fits(layer, norm_dims(*m)), ErrorCode::plan_refused, "'", path, "' is a ", nn::type_name(*m),
              ", which ", nn::type_name(*layer.module), " cannot take up");
  const auto& norm = dynamic_cast<const nn::BatchNormNd&>(*m);
  GRAFT_CHECK(!norm.training(), ErrorCode::plan_refused, "'", path, "' is in training mode; call eval() first");
  GRAFT_CHECK(norm.running_mean && norm.running_var, ErrorCode::plan_refused, "'", path, "' uses the statistics of each batch");
  GRAFT_CHECK(norm.num_features == features, ErrorCode::shape_mismatch, "'", path, "' normalises ", norm.num_features, " channels, not ", features);
  return &norm;
}
Chain Replaying::chain(const ChainPaths& c, bool move_hooks) const {
  const nn::ModulePtr m = at(c.layer);
  const auto layer = foldable(*m);
  GRAFT_CHECK(layer, ErrorCode::plan_refused, "'", c.layer, "' is a ", nn::type_name(*m), ", not a convolution or Linear");
  GRAFT_CHECK(!m->training(), ErrorCode::plan_refused, "'", c.layer, "' is in training mode; call eval() first");
  Chain chain{*layer};
  if (!c.before.empty()) {
    GRAFT_CHECK(!layer->zero_padded && !layer->transposed, ErrorCode::plan_refused, "'", c.layer, "' pads with zeros, which would not be normalised");
    chain.before = norm_at(c.before, at(c.before), *layer, layer->in);
  }
  if (!c.behind.empty()) chain.behind = norm_at(c.behind, at(c.behind), *layer, layer->out);
  const auto exactly = [&]<class M>(const std::string& path) -> const nn::Module* {
    if (path.empty()) return nullptr;
    const nn::Module& found = *at(path);
    GRAFT_CHECK(typeid(found) == typeid(M), ErrorCode::plan_refused, "'", path, "' is a ", nn::type_name(found), ", not a ", short_type_name(typeid(M)));
    return &found;
  };
  chain.add = exactly.operator()<nn::Add>(c.add);
  GRAFT_CHECK(!chain.add || can_add(*layer), ErrorCode::plan_refused, "'", c.add, "' cannot be part of ", nn::type_name(*m));
  chain.residual_first = c.residual_first;
  chain.relu = exactly.operator()<nn::ReLU>(c.relu);
  for (const nn::Module* part : chain.modules())
    GRAFT_CHECK((move_hooks && !chain.add) || !part->hooked(), ErrorCode::plan_refused, "'", part->path(), "' has hooks");
  return chain;
}
Edit Replaying::fuse(const Step& s) const {
  std::vector<Chain> chains;
  std::unordered_map<const nn::Module*, std::string> paths;
  for (const ChainPaths& c : s.chains) {
    chains.push_back(chain(c, s.move_hooks));
    for (const std::string* p : {&c.layer, &c.before, &c.behind, &c.add, &c.relu})
      if (!p->empty()) paths.emplace(at(*p).get(), *p);
  }
  std::vector<Fused> report;
  return fuse_chains(root, chains, [&](const nn::Module* m) { return paths.at(m); },
                     {.optimizers = options.optimizers, .for_inference = true, .move_hooks = s.move_hooks}, report);
}

// ---- all steps ---------------------------------------------------------------------------------------------------

void Replaying::merge(bool merges) {
  done.merges_.push_back({done.edits_.size(), {root.module, root.owner, merges}});
  try {
    record(merges ? merge_lora(*root.module) : unmerge_lora(*root.module));
  } catch (...) {
    done.merges_.pop_back();
    throw;
  }
}
void Replaying::changed_root() {
  if (!root.handle) return;
  root.module = root.held(root.handle);
  root.owner = root.module->weak_from_this().lock();
}
void Replaying::run(const Step& s) {
  check_paths(s);
  GRAFT_CHECK(s.missing.empty(), ErrorCode::plan_refused, "it cannot be repeated: ", s.missing);
  if (const uint64_t now = structure_hash(*root.module); now != s.before && !options.force)
    fail(ErrorCode::plan_refused, "it was made for a model of structure ", hex(s.before), ", and this one has ", hex(now),
         "; ReplayOptions::force tries it all the same");
  switch (s.kind) {
    case Step::Kind::edit: done.edits_.push_back(edit(s)); break;
    case Step::Kind::fuse: done.edits_.push_back(fuse(s)); break;
    case Step::Kind::fuse_modules:
      done.edits_.push_back(fuse_in_place(*root.module, ModuleNames(s.groups), s.qat, {.optimizers = options.optimizers}).edit);
      break;
    case Step::Kind::merge_lora: merge(true); break;
    case Step::Kind::unmerge_lora: merge(false); break;
  }
  if (done.steps_.size() < done.edits_.size() + done.merges_.size()) record(done.edits_.back().recipe());
  changed_root();
  if (const uint64_t now = structure_hash(*root.module); now != s.after && !options.force)
    fail(ErrorCode::plan_refused, "it made a model of structure ", hex(now), ", where it had made ", hex(s.after), " when it was recorded");
}

// Takes the last thing back that was done; false: there is none.
template <class UndoEdit> static bool take_back(std::vector<Edit>& edits, auto& merges, UndoEdit undo_edit) {
  if (!merges.empty() && merges.back().first == edits.size()) {
    const auto m = merges.back().second;
    m.merged ? unmerge_lora(*m.model) : merge_lora(*m.model);
    merges.pop_back();
    return true;
  }
  if (edits.empty()) return false;
  undo_edit(edits.back());
  edits.pop_back();
  return true;
}
// Nothing has come between: edits are exchanged back as they were committed, without a way to fail.
void Replaying::roll_back() noexcept {
  for (;;) try {
      if (!take_back(done.edits_, done.merges_, [](Edit& e) { e.journal_->commit(); })) return;
    } catch (...) {  // of an adapter whose weight somebody else writes meanwhile
      done.merges_.pop_back();
    }
}
void Replaying::undo(Replayed& r) {
  while (take_back(r.edits_, r.merges_, [](Edit& e) { e.undo(); })) {
  }
}

}  // namespace detail

void Replayed::undo() { detail::Replaying::undo(*this); }
Recipe Replayed::recipe() const {
  Recipe r;
  for (const auto& s : steps_) r += detail::recipe_of(s);
  return r;
}

Replayed Recipe::replay(const detail::Root& root, const ReplayOptions& options) const {
  GRAFT_CHECK(root.module, "recipe: there is no model");
  nn::refuse_during_call("a recipe");
  register_modules();
  detail::Replaying replaying{root, options};
  replaying.reserve(size());
  for (size_t i = 0; i < size(); ++i) try {
      replaying.run(*steps_[i]);
    } catch (const Error& e) {
      replaying.roll_back();
      throw Error(concat("recipe: step ", i + 1, " of ", size(), ": ", e.what()), e.code());
    } catch (...) {
      replaying.roll_back();
      throw;
    }
  return std::move(replaying.done);
}

}  // namespace graft

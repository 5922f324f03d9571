// Fusing by name: every group is checked and built aside; then slots and hooks are exchanged without a way to fail.
#include "graft/surgery/fuse_modules.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include "graft/core/warning.h"
#include "graft/nn/architecture.h"
#include "graft/nn/call.h"
#include "graft/nn/containers.h"
#include "graft/nn/linear.h"
#include "graft/surgery/draft.h"
#include "graft/surgery/fold.h"
#include "graft/surgery/recipe_step.h"
#include "graft/surgery/trace.h"

namespace graft::inline v1::surgery {
namespace {

using nn::Module;
using nn::ModulePtr;
using K = nn::HookKind;

bool contains(const Module& tree, const Module* m) {
  const auto all = tree.modules();
  return std::ranges::find(all, m) != all.end();
}

ModuleGroup fuse_group(const ModuleGroup& g, bool is_qat, const FuserMethods& additional) {
  std::vector<std::type_index> sequence;
  for (const ModulePtr& m : g) {
    const Module& part = *m;
    sequence.emplace_back(typeid(part));
  }
  ModuleGroup result{get_fuser_method(sequence, additional)(is_qat, g)};
  for (size_t i = 1; i < g.size(); ++i) {
    result.push_back(nn::make<nn::Identity>());
    result.back()->train(g[0]->training());
  }
  return result;
}

std::vector<HookMove> moves_of(const ModuleGroup& g, const ModulePtr& fused) {
  return {{g.front(), K::forward_pre, fused}, {g.back(), K::forward, fused}};
}

// The hooks of modules that leave, but for those that move.
void list_dropped(const ModuleGroup& g, const Module& fused, const std::vector<std::string>& names,
                  std::vector<std::string>& dropped) {
  constexpr std::pair<K, const char*> kinds[] = {{K::forward_pre, "forward pre-hook"},
                                                 {K::forward, "forward hook"},
                                                 {K::full_backward_pre, "backward pre-hook"},
                                                 {K::full_backward, "backward hook"}};
  for (size_t i = 0; i < g.size(); ++i) {
    if (!g[i]->hooks() || contains(fused, g[i].get())) continue;
    for (const auto& [kind, text] : kinds) {
      const size_t n = g[i]->hooks()->count(kind);
      const bool moves = (kind == K::forward_pre && i == 0) || (kind == K::forward && i + 1 == g.size());
      if (n && !moves) dropped.push_back(concat(names[i], ": ", n, " ", text, n == 1 ? "" : "s"));
    }
  }
}

struct Group {
  std::vector<std::string> names;
  std::vector<nn::ChildEntry*> slots;
  ModuleGroup modules, result;
  std::vector<void*> typed;
};

Group look_up(Module& model, const std::vector<std::string>& names, std::unordered_set<const Module*>& seen) {
  GRAFT_CHECK(!names.empty(), "fuse_modules: a group is empty");
  Group g{names, {}, {}, {}, {}};
  for (const std::string& name : names) {
    g.slots.push_back(&model.child_entry(name));
    const ModulePtr& m = g.slots.back()->module;
    GRAFT_CHECK(m, ErrorCode::type_error, "fuse_modules: '", name, "' is empty");
    GRAFT_CHECK(seen.insert(m.get()).second, ErrorCode::plan_refused, "fuse_modules: '", name,
                "' is named twice, or holds a module that another name "
                "has: it has several uses, of which fusing would lose one");
    GRAFT_CHECK(!m->is_shared(), ErrorCode::plan_refused, "fuse_modules: '", name, "' (", nn::type_name(*m),
                ") is shared with '",
                m->holders()[0] == g.slots.back() ? m->holders()[1]->path() : m->holders()[0]->path(),
                "', which would lose it");
    g.modules.push_back(m);
  }
  return g;
}

void check_calls(Module& model, const nn::Values& example, const std::vector<Group>& groups) {
  if (example.empty()) return;
  const Trace t = trace(model, example);
  for (const Group& g : groups)
    for (size_t i = 0; i < g.modules.size(); ++i) {
      const auto calls = t.calls_of.find(g.modules[i].get());
      GRAFT_CHECK(calls == t.calls_of.end() || calls->second.size() == 1, ErrorCode::plan_refused, "fuse_modules: '",
                  g.names[i], "' (", nn::type_name(*g.modules[i]), ") is called ", calls->second.size(),
                  " times; fusing would lose one");
      const bool behind_linear = i > 0 && norm_dims(*g.modules[i]) && dynamic_cast<nn::Linear*>(g.modules[i - 1].get());
      if (!behind_linear || calls == t.calls_of.end()) continue;
      for (const size_t v : t.calls[calls->second[0]].in)  // it works on the last dimension, the norm on dimension 1
        GRAFT_CHECK(t.values[v].tensor.dim() <= 2, ErrorCode::plan_refused, "fuse_modules: '", g.names[i],
                    "' normalises dimension 1 of ", t.values[v].tensor.dim(), ", which '", g.names[i - 1],
                    "' does not make");
    }
}

// The parameters that the model will have lost, and those that it will have won.
std::shared_ptr<const Liveness> liveness(const Module& model, const std::vector<Group>& groups) {
  std::unordered_map<const nn::ChildEntry*, const Module*> next;
  for (const Group& g : groups)
    for (size_t i = 0; i < g.slots.size(); ++i) next[g.slots[i]] = g.result[i].get();
  std::unordered_set<const Module*> seen;
  Tensors after;
  std::vector<const Module*> todo{&model};
  while (!todo.empty()) {
    const Module* m = todo.back();
    todo.pop_back();
    if (!m || !seen.insert(m).second) continue;
    for (const auto& e : m->param_entries())
      if (e->leaf.defined()) after.push_back(e->leaf);
    for (const auto& e : m->child_entries()) {
      const auto it = next.find(e.get());
      todo.push_back(it == next.end() ? e->module.get() : it->second);
    }
  }
  return std::make_shared<const Liveness>(model.parameters(), after);
}

void build(Group& g, bool is_qat, const FuseModulesOptions& o) {
  try {
    g.result = o.fuser_func ? o.fuser_func(g.modules, is_qat, o.additional_fuser_method_mapping)
                            : fuse_group(g.modules, is_qat, o.additional_fuser_method_mapping);
  } catch (Error& e) {
    e.within(g.names[0], nn::type_name(*g.modules[0]));
    throw;
  }
  GRAFT_CHECK(g.result.size() == g.modules.size(), "fuse_modules: the fuser made ", g.result.size(), " modules of ",
              g.modules.size());
  for (size_t i = 0; i < g.slots.size(); ++i) g.typed.push_back(g.slots[i]->check(g.result[i]));
}

Fused report_of(const Group& g) {
  Fused f{g.names[0], g.names, {}, {}};
  for (const ModulePtr& m : g.modules) f.what += (f.what.empty() ? "" : " + ") + nn::type_name(*m);
  f.what += " -> " + nn::type_name(*g.result[0]);
  return f;
}

// What a recipe says.
detail::Step step_of(const std::vector<Group>& groups, bool is_qat, const FuseModulesOptions& o) {
  detail::Step step;
  step.kind = detail::Step::Kind::fuse_modules;
  step.qat = is_qat;
  const bool own = o.fuser_func || !o.additional_fuser_method_mapping.empty();
  if (own) step.missing = "it was fused by a function of the caller's";
  for (const Group& g : groups) {
    step.groups.push_back(g.names);
    if (own || is_qat) continue;
    detail::Fold fold{g.names[0], {}, false};
    for (size_t i = 0; i < g.modules.size(); ++i) fold.parts.emplace_back(g.names[i], nn::architecture(*g.modules[i]));
    step.keys.fold.push_back(std::move(fold));
  }
  return step;
}

struct Prepared {
  std::unique_ptr<detail::Journal> journal;
  std::vector<Fused> fused;
};

// All that may fail.
Prepared prepare(Module& model, const ModuleNames& names, bool is_qat, const FuseModulesOptions& o) {
  nn::refuse_during_call("fuse_modules");
  GRAFT_CHECK(!names.groups.empty(), "fuse_modules: no modules are named");
  std::unordered_set<const Module*> seen;
  std::vector<Group> groups;
  for (const auto& group : names.groups) groups.push_back(look_up(model, group, seen));
  check_calls(model, o.example, groups);

  Prepared p{std::make_unique<detail::Journal>(), {}};
  auto changes = std::make_shared<std::vector<Change>>();
  std::vector<HookMove> moves;
  std::vector<Succession> successions;
  for (Group& g : groups) {
    build(g, is_qat, o);
    p.fused.push_back(report_of(g));
    if (std::ranges::find(g.modules, g.result[0]) == g.modules.end()) g.result[0]->set_made_of(joined(g.names));
    for (size_t i = 0; i < g.slots.size(); ++i) {
      changes->push_back({g.names[i], {}, g.modules[i], g.result[i], "fusion", 0});
      successions.push_back({g.names[i], g.modules[i].get(), g.result[i].get()});
      p.journal->slots.push_back({g.slots[i], g.slots[i]->owner->weak_from_this().lock(), g.result[i], g.typed[i],
                                  g.result[i].get()});
    }
    if (o.fuser_func) continue;  // which moves hooks itself
    for (HookMove& m : moves_of(g.modules, g.result[0])) moves.push_back(std::move(m));
    list_dropped(g.modules, *g.result[0], g.names, p.fused.back().dropped_hooks);
  }
  const auto live = liveness(model, groups);
  p.journal->root = {.module = &model, .owner = model.weak_from_this().lock()};
  p.journal->groups = Following(o.optimizers, successions, live, model, {}).edits();
  p.journal->changes = std::move(changes);
  p.journal->live = live;
  p.journal->hooks = HookMoves(moves);
  p.journal->recording = std::make_shared<detail::Recording>(model, nullptr, step_of(groups, is_qat, o));
  return p;
}

}  // namespace

Fusion detail::fuse_in_place(Module& model, const ModuleNames& names, bool is_qat, const FuseModulesOptions& o) {
  Prepared p = prepare(model, names, is_qat, o);
  std::vector<std::string> dropped;
  for (const Fused& f : p.fused)
    for (const std::string& hook : f.dropped_hooks) dropped.push_back(hook);
  for (const std::string& hook : dropped) warn("fuse_modules: hooks do not run any more: ", hook);
  detail::Journal& journal = *p.journal;
  Fusion fusion{std::move(p.fused), {}, detail::commit(std::move(p.journal))};
  detail::finish_recording(journal, nullptr);
  if (o.recipe) *o.recipe = fusion.edit.recipe();
  if (o.dropped_hooks) *o.dropped_hooks = std::move(dropped);
  return fusion;
}
ModulePtr detail::fuse_named(const ModulePtr& original, const ModuleNames& names, bool is_qat,
                             const FuseModulesOptions& o) {
  GRAFT_CHECK(original, "fuse_modules: there is no model");
  nn::refuse_during_call("fuse_modules");
  const ModulePtr model = o.inplace            ? original
                          : o.share_parameters ? original->clone_sharing_parameters()
                                               : original->clone();
  fuse_in_place(*model, names, is_qat, o);
  return model;
}
Fusion fuse(Module& model, const ModuleNames& names, const FuseModulesOptions& o) {
  return detail::fuse_in_place(model, names, false, o);
}

ModuleGroup fuse_known_modules(const ModuleGroup& modules, bool is_qat, const FuserMethods& additional) {
  GRAFT_CHECK(!modules.empty() && std::find(modules.begin(), modules.end(), nullptr) == modules.end(),
              "fuse_known_modules: a module is missing");
  ModuleGroup result = fuse_group(modules, is_qat, additional);
  HookMoves(moves_of(modules, result[0])).exchange();
  return result;
}

}  // namespace graft

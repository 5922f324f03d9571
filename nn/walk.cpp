// Traversal: named_* and friends, entries by path. Nothing here recurses: models may be 100,000 levels deep.
#include <algorithm>
#include <array>

#include "graft/nn/module.h"

namespace graft::inline v1::nn {

static std::string join(const std::string& prefix, const std::string& name) {
  return prefix.empty() ? name : prefix + "." + name;
}

// A module in one slot only is reached once anyway: nothing need be remembered of it.
static bool reached_before(const Module& m, ModuleSet& seen) { return m.is_shared() && !seen.insert(&m).second; }

// Pre-order. M is Module or const Module; visit(path, module).
template <class M, class Visit>
static void walk_named(M& root, const std::string& prefix, ModuleSet* memo, bool once, Visit&& visit) {
  ModuleSet own;
  std::vector<std::pair<std::string, M*>> todo{{prefix, &root}};
  while (!todo.empty()) {
    const auto [path, m] = std::move(todo.back());
    todo.pop_back();
    if (once && (memo ? !memo->insert(m).second : reached_before(*m, own))) continue;
    visit(path, *m);
    const auto& children = m->child_entries();
    for (auto it = children.rbegin(); it != children.rend(); ++it)
      if ((*it)->module) todo.emplace_back(join(path, (*it)->name), (*it)->module.get());
  }
}
// The same without paths, which are quadratic in the depth; each module once.
template <class M> static std::vector<M*> walk(M& root) {
  std::vector<M*> order, todo{&root};
  ModuleSet seen;
  while (!todo.empty()) {
    M* m = todo.back();
    todo.pop_back();
    if (reached_before(*m, seen)) continue;
    order.push_back(m);
    const auto& children = m->child_entries();
    for (auto it = children.rbegin(); it != children.rend(); ++it)
      if ((*it)->module) todo.push_back((*it)->module.get());
  }
  return order;
}

std::vector<Module*> Module::modules() { return walk(*this); }
std::vector<const Module*> Module::modules() const { return walk(*this); }

template <class M>
static NamedList<M*> list_modules(M& root, ModuleSet* memo, const std::string& prefix, bool once) {
  NamedList<M*> list;
  walk_named(root, prefix, memo, once, [&](const std::string& path, M& m) { list.emplace_back(path, &m); });
  return list;
}
NamedList<Module*> Module::named_modules(ModuleSet* memo, const std::string& prefix, bool once) {
  return list_modules(*this, memo, prefix, once);
}
NamedList<const Module*> Module::named_modules(ModuleSet* memo, const std::string& prefix, bool once) const {
  return list_modules(*this, memo, prefix, once);
}

template <class M> static NamedList<M*> list_children(M& m) {
  NamedList<M*> list;
  ModuleSet seen;
  for (const auto& e : m.child_entries())
    if (e->module && seen.insert(e->module.get()).second) list.emplace_back(e->name, e->module.get());
  return list;
}
NamedList<Module*> Module::named_children() { return list_children(*this); }
NamedList<const Module*> Module::named_children() const { return list_children(*this); }
template <class M> static std::vector<M*> seconds(const NamedList<M*>& named) {
  std::vector<M*> list;
  for (const auto& [name, m] : named) list.push_back(m);
  return list;
}
std::vector<Module*> Module::children() { return seconds(named_children()); }
std::vector<const Module*> Module::children() const { return seconds(named_children()); }

// ---- parameters and buffers --------------------------------------------------------------------------------------

// The tensors that were listed; of a single layer, a handful that needs no hash table.
class SeenTensors {
 public:
  bool insert(const TensorImpl* t) {  // false: was there
    if (many_.empty()) {
      const auto end = few_.begin() + count_;
      if (std::find(few_.begin(), end, t) != end) return false;
      if (end != few_.end()) return few_[size_t(count_++)] = t, true;
      many_.insert(few_.begin(), end);
    }
    return many_.insert(t).second;
  }

 private:
  std::array<const TensorImpl*, 16> few_;
  std::ptrdiff_t count_ = 0;
  std::unordered_set<const TensorImpl*> many_;
};

// entries(module) are the entries of one kind, tensor(entry) is what to list of one.
template <class Entries, class Get>
static std::vector<Tensor> list_tensors(const Module& root, bool recurse, Entries&& entries, Get&& get) {
  std::vector<Tensor> list;
  SeenTensors seen;
  auto add = [&](const Module& m) {
    for (const auto& e : entries(m))
      if (const Tensor& t = get(*e); t.defined() && seen.insert(t.impl())) list.push_back(t);
  };
  if (!recurse || root.child_entries().empty()) return add(root), list;
  for (const Module* m : walk(root)) add(*m);
  return list;
}
template <class Entries, class Get>
static NamedList<Tensor> list_named(const Module& root, const std::string& prefix, bool recurse, bool once,
                                    Entries&& entries, Get&& get) {
  NamedList<Tensor> list;
  SeenTensors seen;
  auto add = [&](const std::string& path, const Module& m) {
    for (const auto& e : entries(m)) {
      const Tensor& t = get(*e);
      if (t.defined() && (!once || seen.insert(t.impl()))) list.emplace_back(join(path, e->name), t);
    }
  };
  if (!recurse || root.child_entries().empty()) return add(prefix, root), list;
  walk_named(root, prefix, nullptr, once, add);
  return list;
}
static const auto kParams = [](const Module& m) -> auto& { return m.param_entries(); };
static const auto kLeaf = [](const ParamEntry& e) -> const Tensor& { return e.leaf; };
static const auto kBuffers = [](const Module& m) -> auto& { return m.buffer_entries(); };
static const auto kValue = [](const BufferEntry& e) -> const Tensor& { return e.value; };

std::vector<Tensor> Module::parameters(bool recurse) const { return list_tensors(*this, recurse, kParams, kLeaf); }
std::vector<Tensor> Module::buffers(bool recurse) const { return list_tensors(*this, recurse, kBuffers, kValue); }
NamedList<Tensor> Module::named_parameters(const std::string& prefix, bool recurse, bool once) const {
  return list_named(*this, prefix, recurse, once, kParams, kLeaf);
}
NamedList<Tensor> Module::named_buffers(const std::string& prefix, bool recurse, bool once) const {
  return list_named(*this, prefix, recurse, once, kBuffers, kValue);
}

Module& Module::apply(const std::function<void(Module&)>& fn) {
  struct Step { Module* module; size_t next; };
  std::vector<Step> stack{{this, 0}};
  ModuleSet seen{this};
  while (!stack.empty()) {
    auto& [m, next] = stack.back();
    if (next >= m->children_.size()) {
      Module& done = *m;
      stack.pop_back();
      fn(done);
      continue;
    }
    Module* child = m->children_[next++]->module.get();
    if (child && seen.insert(child).second) stack.push_back({child, 0});
  }
  return *this;
}

// ---- modes -------------------------------------------------------------------------------------------------------

Module& Module::train(bool mode) {
  const std::vector<Module*> all = modules();
  for (auto m = all.rbegin(); m != all.rend(); ++m) (*m)->set_training(mode);  // a module may hold its parts in a mode
  return *this;
}
Module& Module::requires_grad_(bool on) {
  for (const Tensor& p : parameters()) p.requires_grad_(on);
  return *this;
}
void Module::zero_grad(bool set_to_none) {
  for (const Tensor& p : parameters()) {
    const Tensor g = p.grad();
    if (g.defined()) p.set_grad(set_to_none ? Tensor() : zeros(g.shape(), g.options()));
  }
}

// ---- by path -----------------------------------------------------------------------------------------------------

// The module that owns the last name of `path`.
static const Module& owner_of(const Module& root, std::string_view path, std::string_view& last) {
  const size_t dot = path.rfind('.');
  last = dot == std::string_view::npos ? path : path.substr(dot + 1);
  return dot == std::string_view::npos ? root : root.get_submodule(path.substr(0, dot));
}
[[noreturn]] static void fail_missing(const Module& m, std::string_view name) {
  fail(ErrorCode::key_error, type_name(m), " has no attribute `", name, "`");
}

const Module& Module::get_submodule(std::string_view path) const {
  const Module* m = this;
  while (!path.empty()) {
    const size_t dot = path.find('.');
    const std::string_view name = path.substr(0, dot);
    path = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
    const Entry* e = m->find_entry(name);
    if (!e) fail_missing(*m, name);
    const ChildEntry* child = m->find_child(name);
    GRAFT_CHECK(child && child->module, ErrorCode::type_error, "`", name, "` of ", type_name(*m), " is not an nn::Module");
    m = child->module.get();
  }
  return *m;
}
Module& Module::get_submodule(std::string_view path) {
  return const_cast<Module&>(std::as_const(*this).get_submodule(path));
}
void Module::set_submodule(std::string_view path, ModulePtr m, bool strict) {
  GRAFT_CHECK(!path.empty(), "set_submodule: cannot set the submodule without a target name");
  std::string_view last;
  auto& owner = const_cast<Module&>(owner_of(*this, path, last));
  if (strict && !owner.find_entry(last)) fail_missing(owner, last);
  GRAFT_CHECK(!owner.find_entry(last) || owner.find_child(last), ErrorCode::type_error, "`", last, "` of ",
              type_name(owner), " is not an nn::Module");
  owner.add_module(std::string(last), std::move(m));
}

ChildEntry& Module::child_entry(std::string_view path) {
  std::string_view last;
  const Module& owner = owner_of(*this, path, last);
  if (!owner.find_entry(last)) fail_missing(owner, last);
  ChildEntry* e = owner.find_child(last);
  GRAFT_CHECK(e, ErrorCode::type_error, "`", last, "` of ", type_name(owner), " is not an nn::Module");
  return *e;
}
static ParamEntry& find_param_at(const Module& root, std::string_view path) {
  std::string_view last;
  const Module& owner = owner_of(root, path, last);
  ParamEntry* e = owner.find_param(last);
  if (!e && !owner.find_child(last) && !owner.find_buffer(last)) fail_missing(owner, last);
  GRAFT_CHECK(e, ErrorCode::type_error, "`", last, "` of ", type_name(owner), " is not an nn::Parameter");
  return *e;
}
static BufferEntry& find_buffer_at(const Module& root, std::string_view path) {
  std::string_view last;
  const Module& owner = owner_of(root, path, last);
  BufferEntry* e = owner.find_buffer(last);
  if (!e && !owner.find_child(last) && !owner.find_param(last)) fail_missing(owner, last);
  GRAFT_CHECK(e, ErrorCode::type_error, "`", last, "` of ", type_name(owner), " is not a buffer");
  return *e;
}
ParamEntry& Module::param_entry(std::string_view path) { return find_param_at(*this, path); }
BufferEntry& Module::buffer_entry(std::string_view path) { return find_buffer_at(*this, path); }
Tensor Module::get_parameter(std::string_view path) const { return find_param_at(*this, path).leaf; }
Tensor Module::get_buffer(std::string_view path) const { return find_buffer_at(*this, path).value; }

}  // namespace graft::nn

// The registry of a module: registration, the door for children, removal and destruction.
#include "graft/nn/module.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <typeinfo>
#include "graft/nn/call.h"

namespace graft::inline v1::nn {

// ---- names -------------------------------------------------------------------------------------------------------

std::string Module::class_name() const {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> full(abi::__cxa_demangle(typeid(*this).name(), nullptr, nullptr, &status),
                                                    std::free);
  const std::string name = full ? full.get() : typeid(*this).name();
  const size_t colons = name.substr(0, name.find('<')).rfind("::");  // "graft::v1::nn::Conv2d" -> "Conv2d"
  return colons == std::string::npos ? name : name.substr(colons + 2);
}
std::string type_name(const Module& m) { return m.class_name(); }

std::string Entry::path() const {
  const std::string above = owner->path();
  return above.empty() ? name : above + "." + name;
}

std::string Module::path() const {
  std::vector<const std::string*> names;
  const Module* m = this;
  for (; m->holders_; m = m->holders_->owner) names.push_back(&m->holders_->name);
  std::string path = m->detached() ? "(detached)" : "";
  for (; !names.empty(); names.pop_back()) path.append(path.empty() ? "" : ".").append(*names.back());
  return path;
}
std::vector<ChildEntry*> Module::holders() const {
  std::vector<ChildEntry*> all;
  for (ChildEntry* e = holders_; e; e = e->next_holder_) all.push_back(e);
  return all;
}

// ---- finding entries ---------------------------------------------------------------------------------------------

constexpr size_t kIndexFrom = 24;  // entries; below, comparing names one by one is quicker

template <class E> static E* find_in(const std::vector<std::unique_ptr<E>>& entries, std::string_view name) {
  for (const auto& e : entries)
    if (e->name == name) return e.get();
  return nullptr;
}
Entry* Module::find_entry(std::string_view name) const {
  if (!index_.empty()) {
    const auto it = index_.find(name);
    return it == index_.end() ? nullptr : it->second;
  }
  if (Entry* e = find_in(children_, name)) return e;
  if (Entry* e = find_in(params_, name)) return e;
  return find_in(buffers_, name);
}
void Module::remember(Entry& e) {
  if (!index_.empty()) {
    index_.emplace(e.name, &e);
    return;
  }
  if (children_.size() + params_.size() + buffers_.size() < kIndexFrom) return;
  for (const auto& c : children_) index_.emplace(c->name, c.get());
  for (const auto& p : params_) index_.emplace(p->name, p.get());
  for (const auto& b : buffers_) index_.emplace(b->name, b.get());
}
template <class E> static E* own_entry(const std::vector<std::unique_ptr<E>>& entries, const Entry* found) {
  return found && found->index < entries.size() && entries[found->index].get() == found
             ? entries[found->index].get() : nullptr;
}
ChildEntry* Module::find_child(std::string_view name) const { return own_entry(children_, find_entry(name)); }
ParamEntry* Module::find_param(std::string_view name) const { return own_entry(params_, find_entry(name)); }
BufferEntry* Module::find_buffer(std::string_view name) const { return own_entry(buffers_, find_entry(name)); }

// ---- registration ------------------------------------------------------------------------------------------------

void Module::check_name(const char* kind, const std::string& name, const Entry* same_kind) const {
  GRAFT_CHECK(name.find('.') == std::string::npos, ErrorCode::key_error, type_name(*this), ": ", kind,
              " name can't contain \".\", got: ", name);
  GRAFT_CHECK(!name.empty(), ErrorCode::key_error, type_name(*this), ": ", kind, " name can't be empty string \"\"");
  // Every module has a forward; in PyTorch an entry of that name would hide it.
  GRAFT_CHECK(name != "forward" && (same_kind || !find_entry(name)), ErrorCode::key_error, type_name(*this), ": attribute '", name,
              "' already exists");
}

// Adds an entry at the end. Everything that may fail comes first.
template <class E, class Remember>
static E& append(std::vector<std::unique_ptr<E>>& entries, std::unique_ptr<E> e, Remember&& remember) {
  e->index = entries.size();
  entries.push_back(std::move(e));
  try {
    remember(*entries.back());
  } catch (...) {
    entries.pop_back();
    throw;
  }
  return *entries.back();
}

ChildEntry& Module::declare_child(std::string name, ModulePtr m, ChildEntry::Cast cast, bool may_be_empty) {
  check_name("module", name, nullptr);
  auto e = std::make_unique<ChildEntry>();
  e->name = std::move(name);
  e->owner = this;
  e->cast = cast;
  e->may_be_empty = may_be_empty;
  e->put(std::move(m));
  return append(children_, std::move(e), [this](Entry& x) { remember(x); });
}
ParamEntry& Module::declare_parameter(std::string name, const Parameter& p) {
  check_name("parameter", name, nullptr);
  auto e = std::make_unique<ParamEntry>();
  e->name = std::move(name);
  e->owner = this;
  e->put(p);
  return append(params_, std::move(e), [this](Entry& x) { remember(x); });
}
BufferEntry& Module::declare_buffer(std::string name, Tensor t, bool persistent) {
  check_name("buffer", name, nullptr);
  auto e = std::make_unique<BufferEntry>();
  e->name = std::move(name);
  e->owner = this;
  e->value = std::move(t);
  e->persistent = persistent;
  return append(buffers_, std::move(e), [this](Entry& x) { remember(x); });
}

ChildEntry& Module::add_module(std::string name, ModulePtr m) {
  ChildEntry* there = find_child(name);
  check_name("module", name, there);
  if (!there) return declare_child(std::move(name), std::move(m), child_cast(), true);
  there->put(std::move(m));
  return *there;
}
ParamEntry& Module::register_parameter(std::string name, const Parameter& p) {
  ParamEntry* there = find_param(name);
  check_name("parameter", name, there);
  if (!there) return declare_parameter(std::move(name), p);
  there->put(p);
  return *there;
}
ParamEntry& Module::register_parameter(std::string name, const Tensor& t) {
  check_name("parameter", name, find_param(name));
  GRAFT_CHECK(!t.defined() || !t.is_leaf() || t.requires_grad(), ErrorCode::type_error, type_name(*this),
              ": cannot assign a plain tensor as parameter '", name, "' (nn::parameter(tensor) or None expected)");
  return register_parameter(std::move(name), Parameter(t));
}
BufferEntry& Module::register_buffer(std::string name, Tensor t, bool persistent) {
  BufferEntry* there = find_buffer(name);
  check_name("buffer", name, there);
  if (!there) return declare_buffer(std::move(name), std::move(t), persistent);
  there->value = std::move(t);
  there->persistent = persistent;
  return *there;
}

template <class E>
static void retire(std::vector<std::unique_ptr<E>>& entries, std::vector<std::unique_ptr<E>>& retired, size_t at) {
  retired.reserve(retired.size() + 1);
  std::unique_ptr<E> e = std::move(entries[at]);
  entries.erase(entries.begin() + std::ptrdiff_t(at));
  for (size_t i = at; i < entries.size(); ++i) entries[i]->index = i;
  e->removed = true;
  retired.push_back(std::move(e));
}
void Module::remove(std::string_view name) {
  Entry* e = find_entry(name);
  GRAFT_CHECK(e, ErrorCode::key_error, type_name(*this), " has no attribute `", name, "`");
  const size_t at = e->index;
  if (ChildEntry* child = own_entry(children_, e)) {
    ModulePtr none;
    const bool optional = std::exchange(child->may_be_empty, true);
    try {
      child->put(none);
    } catch (...) {
      child->may_be_empty = optional;
      throw;
    }
    index_.erase(name);
    retire(children_, retired_children_, at);
  } else if (ParamEntry* p = own_entry(params_, e)) {
    index_.erase(name);
    p->put(Tensor());
    retire(params_, retired_params_, at);
  } else {
    index_.erase(name);
    buffers_[at]->value = Tensor();
    retire(buffers_, retired_buffers_, at);
  }
}

ChildEntry& Module::insert_child(size_t at, ModulePtr m) {
  ChildEntry& e = declare_child("(new)", std::move(m), child_cast(), true);
  std::rotate(children_.begin() + std::ptrdiff_t(at), children_.end() - 1, children_.end());
  for (size_t i = at; i < children_.size(); ++i) children_[i]->index = i;
  number_children();
  return e;
}
void Module::number_children() {
  for (size_t i = 0; i < children_.size(); ++i) {
    const std::string name = std::to_string(i);  // short: no allocation
    if (children_[i]->name == name) continue;
    index_.clear();
    children_[i]->name = name;
  }
  if (index_.empty() && !children_.empty()) remember(*children_.back());
}

HookTable& Module::hook_table() {
  if (!hooks_) hooks_ = std::make_shared<HookTable>();
  return *hooks_;
}

// ---- the door for children ---------------------------------------------------------------------------------------

static bool is_inside(const Module& m, const Module& of) {  // is `m` reached upwards from `of`?
  ModuleSet seen;
  std::vector<const Module*> todo{&of};
  while (!todo.empty()) {
    const Module* at = todo.back();
    todo.pop_back();
    if (at == &m) return true;
    if (!seen.insert(at).second) continue;
    for (const ChildEntry* e : at->holders()) todo.push_back(e->owner);
  }
  return false;
}

void* ChildEntry::check(const ModulePtr& m) const {
  GRAFT_CHECK(!removed, ErrorCode::key_error, "slot '", name, "' was removed from ", type_name(*owner));
  if (!m) {
    GRAFT_CHECK(may_be_empty, ErrorCode::type_error, "slot '", name, "' of ", type_name(*owner),
                " cannot be empty; a slot that may be is declared with nullptr");
    return nullptr;
  }
  GRAFT_CHECK(m->copyable(), ErrorCode::type_error, "slot '", name, "' of ", type_name(*owner), ": make modules by nn::make<",
              type_name(*m), ">(), so that they can be copied");
  void* found = cast ? cast(*m) : nullptr;
  GRAFT_CHECK(!cast || found, ErrorCode::type_error, "slot '", name, "' of ", type_name(*owner), " cannot hold ",
              type_name(*m), module ? " (was " + type_name(*module) + ")" : "", ": other call signature");
  const bool simple = m->child_entries().empty() || !owner->holders_;  // then only itself could be the trouble
  GRAFT_CHECK(m.get() != owner && (simple || !is_inside(*m, *owner)), ErrorCode::invalid_argument, "slot '", name, "' of ", type_name(*owner), ": ",
              type_name(*m), " contains it: a module cannot be inside itself");
  return found;
}

void ChildEntry::hold() noexcept {
  if (!module) return;
  ChildEntry* last = module->holders_;
  while (last && last->next_holder_) last = last->next_holder_;
  (last ? last->next_holder_ : module->holders_) = this;
  prev_holder_ = last;
  module->was_held_ = true;
}
void ChildEntry::let_go() noexcept {
  if (!module) return;
  (prev_holder_ ? prev_holder_->next_holder_ : module->holders_) = next_holder_;
  if (next_holder_) next_holder_->prev_holder_ = prev_holder_;
  next_holder_ = prev_holder_ = nullptr;
}
void ChildEntry::commit(ModulePtr& m, void* typed_as) noexcept {
  let_go();
  std::swap(module, m);
  typed = typed_as;
  hold();
}

constinit thread_local bool t_has_retired = false;
static thread_local std::vector<ModulePtr> t_retired;
void release_retired() noexcept {
  const std::vector<ModulePtr> dead = std::move(t_retired);
  t_retired.clear();
  t_has_retired = false;
}
void ChildEntry::put(ModulePtr m) {
  void* found = check(m);
  if (in_call() && module) {
    t_retired.push_back(module);
    t_has_retired = true;
  }
  commit(m, found);
}
ChildEntry::~ChildEntry() { let_go(); }

std::string current_path() {
  return v1::current_path();
}
void refuse_during_call(const char* what) {
  GRAFT_CHECK(!in_call(), ErrorCode::concurrent_modification, what, ": the model is being called (at '", current_path(),
              "'); do it before or after the call");
}

// Iterative and without allocation: dying modules form an intrusive list.
Module::~Module() {
  static thread_local ModulePtr* chain = nullptr;
  ModulePtr mine;
  ModulePtr* head = chain ? chain : &mine;
  for (auto* list : {&children_, &retired_children_})
    for (const auto& e : *list) {
      if (!e->module) continue;
      e->let_go();
      if (e->module.use_count() > 1) {  // someone else keeps it
        e->module.reset();
        continue;
      }
      Module& m = *e->module;
      m.next_dying_ = std::move(*head);
      *head = std::move(e->module);
    }
  if (chain) return;
  chain = &mine;
  while (mine) {
    const ModulePtr m = std::move(mine);
    mine = std::move(m->next_dying_);
  }
  chain = nullptr;
}

}  // namespace graft::nn

// Writing down what an edit does, before it is done: what was asked and answered, and where each key of a state_dict() goes.
#include <algorithm>
#include "graft/nn/architecture.h"
#include "graft/surgery/draft.h"
#include "graft/surgery/recipe_step.h"
#include "graft/surgery/register_modules.h"

namespace graft::inline v1::surgery {

uint64_t structure_hash(const nn::Module& m) {
  register_modules();
  return nn::architecture_hash(m);
}

namespace {

using detail::Draft;
using detail::Journal;
using detail::KeyMap;
using detail::Operation;

class Committed {  // the model as it will be, while this lives
 public:
  explicit Committed(Journal& j) : journal_(j) { j.exchange_slots(); }
  ~Committed() { journal_.exchange_slots(); }
  Committed(const Committed&) = delete;
  Committed& operator=(const Committed&) = delete;

 private:
  Journal& journal_;
};

// The keys of a state_dict(), and whose they are, in its order; a path of its own for each slot of what is shared.
struct Keys {
  struct Item { std::string key; const TensorImpl* tensor; };
  std::vector<Item> all;
  std::unordered_map<std::string_view, const TensorImpl*> by_key;
  std::unordered_map<const TensorImpl*, const std::string*> by_tensor;  // the first key
  bool complete = true;

  explicit Keys(const nn::Module& root) {
    struct Level { const nn::Module* module; std::string prefix; size_t next; };
    std::vector<Level> stack{{&root, "", 0}};
    size_t left = 1'000'000;  // models with much sharing have more paths than memory holds
    const auto own = [&](const nn::Module& m, const std::string& prefix) {
      for (const auto& e : m.param_entries())
        if (e->value().defined()) all.push_back({prefix + e->name, e->leaf.defined() ? e->leaf.impl() : e->value().impl()});
      for (const auto& e : m.buffer_entries())
        if (e->value.defined() && e->persistent) all.push_back({prefix + e->name, e->value.impl()});
    };
    own(root, "");
    while (!stack.empty() && complete) {
      Level& top = stack.back();
      if (top.next == top.module->child_entries().size()) {
        stack.pop_back();
        continue;
      }
      const nn::ChildEntry& e = *top.module->child_entries()[top.next++];
      if (!e.module) continue;
      complete = --left > 0;
      std::string prefix = top.prefix + e.name + ".";
      own(*e.module, prefix);
      if (!e.module->child_entries().empty()) stack.push_back({e.module.get(), std::move(prefix), 0});
    }
    by_key.reserve(all.size());
    by_tensor.reserve(all.size());
    for (const Item& i : all) by_key.emplace(i.key, i.tensor), by_tensor.emplace(i.tensor, &i.key);
  }
};

// What the new tensors of an edit are made of: the key of an old one, and how.
using Sources = std::unordered_map<const TensorImpl*, std::pair<std::string, Carried::How>>;
void add_sources(Sources& to, const Change& c) {
  if (!c.after || !c.before) return;
  std::unordered_map<std::string_view, Tensor> now;
  const auto parameters = c.after->named_parameters(), buffers = c.after->named_buffers();
  for (const auto* list : {&parameters, &buffers})
    for (const auto& [name, t] : *list) now.emplace(name, t);
  const size_t prefix = c.path.empty() ? 0 : c.path.size() + 1;
  for (const Carried& w : c.weights) {
    if (w.how != Carried::How::copied && w.how != Carried::How::sliced && w.how != Carried::How::inflated) continue;
    if (const auto it = now.find(std::string_view(w.path).substr(prefix)); it != now.end())
      to.emplace(it->second.impl(), std::pair(w.path, w.how));
  }
}
// An edited copy, and what a ready-made surgery has computed, take over what has the name and shape of an old tensor.
void add_copied(Sources& to, const Draft::Asked& a) {
  std::unordered_map<std::string, Tensor> old;
  const auto all = [](const nn::Module& m) {
    nn::NamedList<Tensor> list = m.named_parameters();
    for (auto& b : m.named_buffers()) list.push_back(std::move(b));
    return list;
  };
  for (auto& [name, t] : all(*a.node->module)) old.emplace(name, t);
  for (const auto& [name, t] : all(*a.module))
    if (const auto it = old.find(name); it != old.end() && it->second.shape() == t.shape())
      to.emplace(t.impl(), std::pair(a.path.empty() ? name : a.path + "." + name, Carried::How::copied));
}

void compare(const Keys& before, const Keys& after, const Sources& sources, KeyMap& keys) {
  keys.complete = before.complete && after.complete;
  if (!keys.complete) return;
  std::vector<bool> needed(keys.fold.size());
  const auto folded = [&](const std::string& key) {
    for (size_t i = 0; i < keys.fold.size(); ++i) {
      const detail::Fold& f = keys.fold[i];
      if (!key.starts_with(f.to) || key[f.to.size()] != '.') continue;
      if (f.chain && key.find('.', f.to.size() + 1) != key.npos) continue;
      needed[i] = true;
      return true;
    }
    return false;
  };
  std::unordered_set<std::string_view> moved;  // old keys that are renamed
  for (const Keys::Item& i : after.all) {
    const auto same = before.by_key.find(i.key);
    if (same != before.by_key.end() && same->second == i.tensor) continue;
    if (const auto it = before.by_tensor.find(i.tensor); it != before.by_tensor.end()) {
      const bool stays = after.by_key.contains(*it->second) || !moved.insert(*it->second).second;
      (stays ? keys.tie : keys.rename).push_back({i.key, *it->second});
      continue;
    }
    if (const auto it = sources.find(i.tensor); it != sources.end()) {
      keys.carry.push_back({i.key, it->second.first, it->second.second, {}});
      continue;
    }
    if (!folded(i.key)) keys.fresh.push_back(i.key);
  }
  for (const Keys::Item& i : before.all)
    if (!after.by_key.contains(i.key) && !moved.contains(i.key)) keys.drop.push_back(i.key);
  std::vector<detail::Fold> all;
  for (size_t i = 0; i < needed.size(); ++i)
    if (needed[i]) all.push_back(std::move(keys.fold[i]));
  keys.fold = std::move(all);
}

Operation::Kind kind_of(const Draft::Asked& a) {
  switch (a.kind) {
    case Answer::Kind::remove: return Operation::Kind::remove;
    case Answer::Kind::insert: return a.behind ? Operation::Kind::insert_after : Operation::Kind::insert_before;
    case Answer::Kind::exchange: return Operation::Kind::swap;
    default: return Operation::Kind::replace;
  }
}

// What new modules hold of the model as it was is named by its path there.
nn::Surroundings surroundings(const Draft& d) {
  nn::Surroundings around;
  for (const Graph::Node* n : d.graph.originals()) {
    const std::string path = n->slots.empty() ? std::string() : n->slots[0]->path();
    around.modules.emplace(n->module, path);
    const auto key = [&](const std::string& name) { return path.empty() ? name : path + "." + name; };
    for (const auto& e : n->module->param_entries())
      if (e->leaf.defined()) around.tensors.emplace(e->leaf.impl(), key(e->name));
    for (const auto& e : n->module->buffer_entries())
      if (e->value.defined()) around.tensors.emplace(e->value.impl(), key(e->name));
  }
  // What has taken the place of an original inside of another answer is the answer about that original.
  for (const Graph::Node* n : d.graph.originals()) {
    const Graph::Node* last = n;
    while (last->successor) {
      const Graph::Node* next = const_cast<Graph&>(d.graph).find(last->successor.get());
      if (!next || next == last) break;
      last = next;
    }
    if (last != n && !last->original) around.modules.emplace(last->module, around.modules.at(n->module));
  }
  return around;
}

// What is there in the end, where answers were asked about as well.
nn::ModulePtr last_answer(const Draft& d, const nn::ModulePtr& first) {
  nn::ModulePtr m = first;
  for (;;) {
    const Graph::Node* n = const_cast<Graph&>(d.graph).find(m.get());
    if (!n || !n->successor || n->successor == m) return m;
    m = n->successor;
  }
}
Operation describe(const Draft& d, const Draft::Asked& a, const nn::Surroundings& around) {
  Operation o;
  o.kind = kind_of(a);
  o.path = a.path;
  o.with = a.with;
  o.removal = a.removal;
  if (!a.module) return o;
  const nn::ModulePtr last = last_answer(d, a.module);
  if (last == a.module) {
    o.carry = a.kind == Answer::Kind::replace ? a.policy->options.carry : Carry::none;
    o.copies = a.policy->copies;
    o.named = a.policy->named;
  }
  if (o.named) return o;
  try {
    o.module = nn::architecture(*last, around);
  } catch (const Error& e) {
    o.missing = e.what();
  }
  return o;
}
std::vector<std::string> inherited(const Options& o) {
  std::vector<std::string> list;
  for (const auto& [on, name] : {std::pair(o.inherit_device, "device"), {o.inherit_dtype, "dtype"}, {o.inherit_training, "training"},
                                 {o.inherit_requires_grad, "requires_grad"}, {o.inherit_hooks, "hooks"}})
    if (on) list.emplace_back(name);
  return list;
}

}  // namespace

std::shared_ptr<const detail::Step> detail::record(Journal& j, const Draft* d, Step step) {
  register_modules();
  const bool edits = d && !(d->policies.size() == 1 && d->policies[0].step);
  if (d && !edits) step = *d->policies[0].step;
  const nn::Module& root = *j.root.module;
  const Keys before(root);
  step.before = nn::architecture_hash(root);
  const nn::Surroundings around = edits ? surroundings(*d) : nn::Surroundings();
  Sources sources;
  for (const Change& c : *j.changes) add_sources(sources, c);
  if (edits) {
    step.inherit = inherited(d->options);
    step.missing = d->not_recorded;
    for (const Draft::Asked& a : d->asked)
      if ((a.policy->copies || a.policy->named) && a.module) add_copied(sources, a);
  }
  const Committed now(j);
  const nn::Module& other = j.other_root ? *j.other_root : root;
  step.after = nn::architecture_hash(other);
  if (edits)
    for (const Draft::Asked& a : d->asked) step.operations.push_back(describe(*d, a, around));
  const Keys after(other);
  compare(before, after, sources, step.keys);
  for (KeyMap::Adapted& c : step.keys.carry) {
    if (c.how == Carried::How::copied) continue;
    const size_t dot = c.to.rfind('.');
    const nn::Module& owner = dot == c.to.npos ? other : other.get_submodule(c.to.substr(0, dot));
    const std::string name = dot == c.to.npos ? c.to : c.to.substr(dot + 1);
    const nn::ParamEntry* p = owner.find_param(name);
    c.shape = p ? p->value().shape() : owner.find_buffer(name)->value.shape();
  }
  return std::make_shared<const Step>(std::move(step));
}

}  // namespace graft

// Writing down what an edit does, before it is done: what was asked and answered, and where each key of a state_dict() goes.
#include "graft/nn/architecture.h"
#include "graft/nn/structure.h"
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
using nn::Structure;

constexpr const char* kExtraState = "_extra_state";

// The keys of a state_dict(), and whose they are, in its order; a path of its own for each slot of what is shared. What
// tells tensors apart is their address; of extra state, that of its module.
struct Keys {
  struct Item { std::string key; const void* identity; const Structure::Leaf* tensor; };
  const Structure& of;
  std::vector<Item> all;
  std::unordered_map<std::string_view, const void*> by_key;
  std::unordered_map<const void*, const std::string*> by_identity;  // the first key
  bool complete = true;

  explicit Keys(const Structure& s) : of(s) {
    struct Level { uint32_t module; std::string prefix; size_t next; };
    std::vector<Level> stack{{0, "", 0}};
    size_t left = 1'000'000;  // models with much sharing have more paths than memory holds
    const auto own = [&](uint32_t m, const std::string& prefix) {
      for (const Structure::Leaf& t : s.parameters(m))
        if (t.value) all.push_back({prefix + s.name(t), t.identity(), &t});
      for (const Structure::Leaf& t : s.buffers(m))
        if (t.value && t.persistent) all.push_back({prefix + s.name(t), t.identity(), &t});
      if (s.extra_state(m)) all.push_back({prefix + kExtraState, s.module(m), nullptr});
    };
    own(0, "");
    while (!stack.empty() && complete) {
      Level& top = stack.back();
      if (top.next == s.children(top.module).size()) {
        stack.pop_back();
        continue;
      }
      const Structure::Child& c = s.children(top.module)[top.next++];
      if (c.module == Structure::kNone) continue;
      complete = --left > 0;
      std::string prefix = top.prefix + s.name(c) + ".";
      own(c.module, prefix);
      if (!s.children(c.module).empty()) stack.push_back({c.module, std::move(prefix), 0});
    }
    by_key.reserve(all.size());
    by_identity.reserve(all.size());
    for (const Item& i : all) by_key.emplace(i.key, i.identity), by_identity.emplace(i.identity, &i.key);
  }
};

std::string key_below(const std::string& path, const std::string& name) { return path.empty() ? name : path + "." + name; }
// A module of a structure, with its path below another one. Each is visited once, parents first.
template <class F> void walk(const Structure& s, uint32_t from, const std::string& path, F visit) {
  struct Level { uint32_t module; std::string path; size_t next; };
  std::vector<Level> stack{{from, path, 0}};
  std::unordered_set<uint32_t> seen{from};
  visit(from, path);
  while (!stack.empty()) {
    Level& top = stack.back();
    if (top.next == s.children(top.module).size()) {
      stack.pop_back();
      continue;
    }
    const Structure::Child& c = s.children(top.module)[top.next++];
    if (c.module == Structure::kNone || !seen.insert(c.module).second) continue;
    std::string below = key_below(top.path, s.name(c));
    visit(c.module, below);
    stack.push_back({c.module, std::move(below), 0});
  }
}

}  // namespace

namespace detail {
struct RecordedPart {  // a module of a model, or one that was made for it
  uint32_t structure = 0, module = Structure::kNone;  // kNone: there is none
};
}  // namespace detail

namespace {

using Part = detail::RecordedPart;

std::vector<std::pair<std::string, const Structure::Leaf*>> tensors(const Structure& s, const Part& p) {
  std::vector<std::pair<std::string, const Structure::Leaf*>> list;
  walk(s, p.module, "", [&](uint32_t m, const std::string& path) {
    for (const auto& all : {s.parameters(m), s.buffers(m)})
      for (const Structure::Leaf& t : all)
        if (t.value) list.emplace_back(key_below(path, s.name(t)), &t);
  });
  return list;
}
std::vector<std::pair<std::string, const void*>> extra_states(const Structure& s, const Part& p) {
  std::vector<std::pair<std::string, const void*>> list;
  walk(s, p.module, "", [&](uint32_t m, const std::string& path) {
    if (s.extra_state(m)) list.emplace_back(key_below(path, kExtraState), s.module(m));
  });
  return list;
}

// What the new tensors of an edit are made of: the key of an old one, and how.
using Sources = std::unordered_map<const void*, std::pair<std::string, Carried::How>>;
void add_sources(Sources& to, const Change& c, const Structure& s, const Part& after) {
  std::unordered_map<std::string, const Structure::Leaf*> now;
  for (auto& [name, t] : tensors(s, after)) now.emplace(std::move(name), t);
  const size_t prefix = c.path.empty() ? 0 : c.path.size() + 1;
  for (const Carried& w : c.weights) {
    if (w.how != Carried::How::copied && w.how != Carried::How::sliced && w.how != Carried::How::inflated) continue;
    if (const auto it = now.find(w.path.substr(prefix)); it != now.end())
      to.emplace(it->second->identity(), std::pair(w.path, w.how));
  }
}
// An edited copy, and what a ready-made surgery has computed, take over what has the name and shape of an old tensor.
void add_copied(Sources& to, const std::string& path, const Structure& was, const Part& before, const Structure& is, const Part& after) {
  std::unordered_map<std::string, const Structure::Leaf*> old;
  for (auto& [name, t] : tensors(was, before)) old.emplace(std::move(name), t);
  for (const auto& [name, t] : tensors(is, after))
    if (const auto it = old.find(name); it != old.end() && was.shape(*it->second) == is.shape(*t))
      to.emplace(t->identity(), std::pair(key_below(path, name), Carried::How::copied));
  std::unordered_set<std::string> states;
  for (auto& [name, m] : extra_states(was, before)) states.insert(std::move(name));
  for (const auto& [name, m] : extra_states(is, after))
    if (states.contains(name)) to.emplace(m, std::pair(key_below(path, name), Carried::How::copied));
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
    if (same != before.by_key.end() && same->second == i.identity) continue;
    if (const auto it = before.by_identity.find(i.identity); it != before.by_identity.end()) {
      const bool stays = after.by_key.contains(*it->second) || !moved.insert(*it->second).second;
      (stays ? keys.tie : keys.rename).push_back({i.key, *it->second});
      continue;
    }
    if (const auto it = sources.find(i.identity); it != sources.end()) {
      const Carried::How how = it->second.second;
      keys.carry.push_back({i.key, it->second.first, how, how == Carried::How::copied ? Shape() : after.of.shape(*i.tensor)});
      continue;
    }
    if (!i.tensor || !folded(i.key)) keys.fresh.push_back(i.key);
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

// What there is in the end, where answers were asked about as well.
nn::ModulePtr last_answer(const Graph& graph, const nn::ModulePtr& first) {
  nn::ModulePtr m = first;
  for (;;) {
    const Graph::Node* n = const_cast<Graph&>(graph).find(m.get());
    if (!n || !n->successor || n->successor == m) return m;
    m = n->successor;
  }
}
std::vector<std::string> inherited(const Options& o) {
  std::vector<std::string> list;
  for (const auto& [on, name] : {std::pair(o.inherit_device, "device"), {o.inherit_dtype, "dtype"}, {o.inherit_training, "training"},
                                 {o.inherit_requires_grad, "requires_grad"}, {o.inherit_hooks, "hooks"}})
    if (on) list.emplace_back(name);
  return list;
}

}  // namespace

// What is kept of the edit until somebody asks.
struct detail::Recording::Taken {
  struct Asked {
    std::string path;
    Operation::Kind kind;
    Removal removal;
    bool is_last;              // what was answered is there in the end
    uint32_t policy;
    Part module;               // what comes
    uint32_t more = 0;         // of `rest`, counted from 1
  };
  struct Rest {
    std::string with;
    Part before, answer;  // of edited copies and ready-made surgeries
  };
  struct From {  // which policies the answers are of
    Carry carry;
    bool copies;
    std::optional<NamedSurgery> named;
  };
  struct Carrying { size_t change; Part after; };
  std::vector<Fold> folds;
  std::shared_ptr<const Step> said;  // by the policy; or what is known so far
  std::deque<Structure> structures;  // before, after, and of what came and went
  bool edits = false;
  std::vector<From> policies;
  std::vector<Asked> asked;
  std::vector<Rest> rest;
  std::shared_ptr<const std::vector<Change>> changes;
  std::vector<Carrying> carrying;
  std::vector<std::pair<const nn::Module*, const nn::Module*>> successors;  // what is there in the end, the original

  const Structure& before() const { return structures[0]; }
  const Structure& after() const { return structures[1]; }
  Part part(const nn::Module& m) {  // as it is now
    if (const uint32_t at = after().find(&m); at != Structure::kNone) return {1, at};
    structures.emplace_back(m, after());
    return {uint32_t(structures.size() - 1), 0};
  }
  void take(const Draft&);
  nn::Surroundings surroundings() const;
  Operation describe(const Asked&, const nn::Surroundings&) const;
  Step step() const;
};

void detail::Recording::Taken::take(const Draft& d) {
  for (const Policy& p : d.policies) policies.push_back({p.options.carry, p.copies, p.named});
  bool nested = false;
  asked.reserve(d.asked.size());
  for (const Draft::Asked& a : d.asked) {
    Asked& to = asked.emplace_back();
    to.path = a.path;
    to.kind = kind_of(a);
    to.removal = a.removal;
    to.policy = uint32_t(a.policy - d.policies.data());
    if (!a.with.empty()) rest.push_back({a.with, {}, {}}), to.more = uint32_t(rest.size());
    if (!a.module) continue;
    nested = nested || !a.module->child_entries().empty();
    const nn::ModulePtr last = last_answer(d.graph, a.module);
    to.is_last = last == a.module;
    to.module = part(*last);
    if (a.policy->folds)
      for (Fold& f : a.policy->folds(*a.node->module, a.path)) folds.push_back(std::move(f));
    if ((!a.policy->copies && !a.policy->named) || a.policy->folds) continue;
    rest.push_back({a.with, {0, before().find(a.node->module)}, to.is_last ? to.module : part(*a.module)});
    to.more = uint32_t(rest.size());
  }
  // What has taken the place of an original inside of another answer is the answer about that original.
  if (!nested) return;
  for (const Graph::Node* n : d.graph.originals()) {
    if (!n->successor) continue;
    const nn::ModulePtr last = last_answer(d.graph, n->successor);
    const Graph::Node* there = const_cast<Graph&>(d.graph).find(last.get());
    if (there && !there->original) successors.emplace_back(there->module, n->module);
  }
}
// What new modules hold of the model as it was is named by its path there.
nn::Surroundings detail::Recording::Taken::surroundings() const {
  nn::Surroundings around;
  const Structure& s = before();
  walk(s, 0, "", [&](uint32_t m, const std::string& path) {
    around.modules.emplace(s.module(m), path);
    for (const auto& list : {s.parameters(m), s.buffers(m)})
      for (const Structure::Leaf& t : list)
        if (t.leaf) around.tensors.emplace(t.leaf, key_below(path, s.name(t)));
  });
  for (const auto& [last, original] : successors) around.modules.emplace(last, around.modules.at(original));
  return around;
}
Operation detail::Recording::Taken::describe(const Asked& a, const nn::Surroundings& around) const {
  Operation o;
  o.kind = a.kind;
  o.path = a.path;
  if (a.more > 0) o.with = rest[a.more - 1].with;
  o.removal = a.removal;
  if (a.module.module == Structure::kNone) return o;
  const From& from = policies[a.policy];
  if (a.is_last) {
    o.carry = a.kind == Operation::Kind::replace ? from.carry : Carry::none;
    o.copies = from.copies;
    o.named = from.named;
  }
  if (o.named) return o;
  try {
    o.module = nn::architecture(structures[a.module.structure], a.module.module, around);
  } catch (const Error& e) {
    o.missing = e.what();
  }
  return o;
}
detail::Step detail::Recording::Taken::step() const {
  Step step = *said;
  step.keys.fold.insert(step.keys.fold.end(), folds.begin(), folds.end());
  step.before = nn::architecture_hash(before());
  step.after = nn::architecture_hash(after());
  Sources sources;
  for (const Carrying& c : carrying) add_sources(sources, (*changes)[c.change], structures[c.after.structure], c.after);
  if (edits) {
    const nn::Surroundings around = surroundings();
    for (const Asked& a : asked) {
      if (a.more > 0 && rest[a.more - 1].answer.module != Structure::kNone) {
        const Rest& r = rest[a.more - 1];
        add_copied(sources, a.path, before(), r.before, structures[r.answer.structure], r.answer);
      }
      step.operations.push_back(describe(a, around));
    }
  }
  compare(Keys(before()), Keys(after()), sources, step.keys);
  return step;
}

detail::Recording::Recording(const nn::Module& model, const Draft* d, Step step) : taken_(std::make_unique<Taken>()) {
  register_modules();
  Taken& t = *taken_;
  t.edits = d && !(d->policies.size() == 1 && d->policies[0].step);
  t.structures.emplace_back(model, d ? d->graph.nodes().size() : 0);
  if (t.edits) {
    step.inherit = inherited(d->options);
    step.missing = d->not_recorded;
  }
  t.said = d && !t.edits ? d->policies[0].step : std::make_shared<const Step>(std::move(step));
}
void detail::Recording::finish(const Journal& j, const Draft* d) {
  Taken& t = *taken_;
  t.structures.emplace_back(*j.new_root, t.before());
  t.changes = j.changes;
  for (size_t i = 0; i < j.changes->size(); ++i)
    if (const Change& c = (*j.changes)[i]; !c.weights.empty() && c.before && c.after) t.carrying.push_back({i, t.part(*c.after)});
  if (t.edits) t.take(*d);
}
detail::Recording::~Recording() = default;
std::shared_ptr<const detail::Step> detail::Recording::step() const {
  const std::lock_guard lock(mutex_);
  if (!step_) {
    step_ = std::make_shared<const Step>(taken_->step());
    taken_.reset();
  }
  return step_;
}

}  // namespace graft

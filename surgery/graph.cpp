#include "graft/surgery/graph.h"

#include <unordered_set>

namespace graft::inline v1::surgery {

Graph::Graph(nn::Module& root, nn::ModulePtr owner) {
  root_ = &add(owner, root);
  root_->live = 1;
  std::vector<Node*> entered;
  enter(*root_, 0, entered);
  originals_.push_back(root_);
  originals_.insert(originals_.end(), entered.begin(), entered.end());
  for (Node* n : originals_) {
    n->original = true;
    states_.push_back({n->module, n->module->child_entries().size(), n->module->training()});
    for (const auto& e : n->module->param_entries())
      leaves_.push_back({e.get(), e->leaf.impl(), e->leaf.defined() ? e->leaf.dtype() : DType{}, e->leaf.defined() ? e->leaf.device() : Device()});
    for (const auto& e : n->module->child_entries()) snapshot_.push_back({e.get(), e->module, e->typed});
  }
}

Graph::Node* Graph::find(const nn::Module* m) {
  const auto it = by_module_.find(m);
  return it == by_module_.end() ? nullptr : it->second;
}
Graph::Node& Graph::add(const nn::ModulePtr& keep, nn::Module& m) {
  Node*& n = by_module_[&m];
  if (n) return *n;
  n = &nodes_.emplace_back(&arena_);
  n->module = &m;
  n->keep = keep;
  return *n;
}

const nn::ModulePtr& Graph::content(nn::ChildEntry* e) const {
  if (!aside_.empty())
    if (const auto it = aside_.find(e); it != aside_.end()) return it->second;
  if (changes_.empty()) return e->module;
  const auto it = change_of_.find(e);
  return it == change_of_.end() ? e->module : changes_[it->second].module;
}

// `n` has become live: so do its children. Iterative, since models are deep.
void Graph::enter(Node& n, int depth, std::vector<Node*>& entered) {
  struct Level { Node* node; size_t next; };
  std::vector<Level> stack{{&n, 0}};
  while (!stack.empty()) {
    auto& [node, next] = stack.back();
    if (next == children_of(*node->module)) {
      node->entered = true;
      stack.pop_back();
      continue;
    }
    nn::ChildEntry* e = child_of(*node->module, next++);
    const nn::ModulePtr& m = content(e);
    if (!m) continue;
    Node& child = add(m, *m);
    if (!node->entered) child.slots.push_back(e);
    if (child.live++ > 0) continue;
    if (!child.entered) child.depth = depth;
    entered.push_back(&child);
    stack.push_back({&child, 0});
  }
}

void Graph::leave(Node& n) {
  std::vector<Node*> dying{&n};
  while (!dying.empty()) {
    const Node* node = dying.back();
    dying.pop_back();
    for (size_t i = 0; i < children_of(*node->module); ++i) {
      const nn::ModulePtr& m = content(child_of(*node->module, i));
      if (!m) continue;
      Node* child = find(m.get());
      if (--child->live == 0) dying.push_back(child);
    }
  }
}

// `replaced` may have parts that r takes over; null: nothing is replaced.
void Graph::check_parts(Node* replaced, nn::Module& r) {
  const auto walk = [](nn::Module& from, auto&& visit) {
    std::vector<nn::Module*> todo{&from};
    while (!todo.empty()) {
      nn::Module* m = todo.back();
      todo.pop_back();
      if (!visit(*m)) continue;
      for (const auto& e : m->child_entries())
        if (e->module) todo.push_back(e->module.get());
    }
  };
  if (r.child_entries().empty()) {
    const Node* n = find(&r);
    if (!n || !n->original) return;
  }
  std::unordered_set<const nn::Module*> seen, within;
  std::vector<const nn::Module*> taken;
  walk(r, [&](nn::Module& m) {
    if (!seen.insert(&m).second) return false;
    const Node* n = find(&m);
    if (!n || !n->original) return true;
    if (!replaced || &m != replaced->module) taken.push_back(&m);
    return false;
  });
  if (taken.empty()) return;
  if (replaced) walk(*replaced->module, [&](nn::Module& m) { return within.insert(&m).second; });
  for (const nn::Module* m : taken)
    GRAFT_CHECK(within.contains(m), ErrorCode::plan_refused, "the replacement ", nn::type_name(r), " contains ",
                m == root_->module ? "the model itself" : "'" + m->path() + "'",
                ", which is part of the model already; clone() it, or share it by a slot after the surgery");
}

void Graph::list_live_slots(const Node& n, std::vector<nn::ChildEntry*>& live) const {
  live.clear();
  for (nn::ChildEntry* e : n.slots) {
    const auto owner = by_module_.find(e->owner);
    if (owner != by_module_.end() && owner->second->live > 0 && content(e).get() == n.module) live.push_back(e);
  }
}
std::vector<nn::ChildEntry*> Graph::live_slots(const Node& n) const {
  std::vector<nn::ChildEntry*> live;
  list_live_slots(n, live);
  return live;
}
void Graph::set_content(nn::ChildEntry* e, const nn::ModulePtr& m) {
  if (const auto it = aside_.find(e); it != aside_.end()) {
    it->second = m;
  } else if (!find(e->owner)->original) {
    e->put(m);  // of a module that this plan has made
  } else if (const auto [at, added] = change_of_.emplace(e, changes_.size()); added) {
    changes_.push_back({e, m});
  } else {
    changes_[at->second].module = m;
  }
}
void Graph::arrive(Node& n, int slots, int depth, std::vector<Node*>& entered) {
  const bool starts = n.live == 0;
  n.live += slots;
  if (!starts) return;
  n.depth = depth;
  entered.push_back(&n);
  enter(n, depth, entered);
}
void Graph::depart(Node& n, int slots) {
  n.live -= slots;
  if (n.live == 0) leave(n);
}

void Graph::replace(Node& node, const nn::ModulePtr& r, std::vector<Node*>& entered) {
  check_parts(&node, *r);
  GRAFT_CHECK(find(r.get()) || r->holders().empty(), ErrorCode::plan_refused, "the replacement ", nn::type_name(*r),
              " is part of another model, at '", r->path(), "'; clone() it");
  std::vector<nn::ChildEntry*>& live = replacing_;
  list_live_slots(node, live);
  for (nn::ChildEntry* e : live) e->check(r);
  Node& next = add(r, *r);
  for (nn::ChildEntry* e : live) {
    set_content(e, r);
    next.slots.push_back(e);
  }
  const bool root = root_ == &node;
  if (root) new_root_ = r, root_ = &next;
  const int moved = int(live.size()) + root;
  arrive(next, moved, node.depth + 1, entered);
  node.successor = r;
  depart(node, moved);
}

bool Graph::unchanged(std::string* where) const {
  const auto differs = [&](const auto& at) {
    if (where) *where = at.path();
    return false;
  };
  for (const State& s : states_)
    if (s.module->child_entries().size() != s.children || s.module->training() != s.training) return differs(*s.module);
  for (const Seen& s : snapshot_)
    if (s.slot->removed || s.slot->module != s.module) return differs(*s.slot);
  for (const Leaf& l : leaves_) {
    const Tensor& now = l.entry->leaf;
    if (l.entry->removed || now.impl() != l.leaf || (l.leaf && (now.dtype() != l.dtype || now.device() != l.device)))
      return differs(*l.entry);
  }
  return true;
}

void Graph::restore_slots() noexcept {
  for (Seen& s : snapshot_) {
    if (s.slot->removed || s.slot->module == s.module) continue;
    nn::ModulePtr back = s.module;
    s.slot->commit(back, s.typed);
  }
}

}  // namespace graft

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
    entries_.emplace_back(n->module, n->module->child_entries().size());
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
    const auto& entries = node->module->child_entries();
    if (next == entries.size()) {
      node->entered = true;
      stack.pop_back();
      continue;
    }
    nn::ChildEntry* e = entries[next++].get();
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
    for (const auto& e : node->module->child_entries()) {
      const nn::ModulePtr& m = content(e.get());
      if (!m) continue;
      Node* child = find(m.get());
      if (--child->live == 0) dying.push_back(child);
    }
  }
}

void Graph::check_parts(Node& replaced, nn::Module& r) {
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
    if (&m != replaced.module) taken.push_back(&m);
    return false;
  });
  if (taken.empty()) return;
  walk(*replaced.module, [&](nn::Module& m) { return within.insert(&m).second; });
  for (const nn::Module* m : taken)
    GRAFT_CHECK(within.contains(m), ErrorCode::plan_refused, "the replacement ", nn::type_name(r), " contains ",
                m == root_->module ? "the model itself" : "'" + m->path() + "'",
                ", which is part of the model already; clone() it, or share it by a slot after the surgery");
}

void Graph::replace(Node& node, const nn::ModulePtr& r, std::vector<Node*>& entered) {
  check_parts(node, *r);
  GRAFT_CHECK(find(r.get()) || r->holders().empty(), ErrorCode::plan_refused, "the replacement ", nn::type_name(*r),
              " is part of another model, at '", r->path(), "'; clone() it");
  std::vector<nn::ChildEntry*> live;
  for (nn::ChildEntry* e : node.slots)
    if (Node* owner = find(e->owner); owner && owner->live > 0 && content(e).get() == node.module) live.push_back(e);
  Node& next = add(r, *r);
  for (nn::ChildEntry* e : live) {
    if (!find(e->owner)->original) {
      e->put(r);  // of a module that this plan has made
    } else if (const auto [it, added] = change_of_.emplace(e, changes_.size()); added) {
      e->check(r);
      changes_.push_back({e, r});
    } else {
      e->check(r);
      changes_[it->second].module = r;
    }
    next.slots.push_back(e);
  }
  const bool root = root_ == &node;
  if (root) new_root_ = r, root_ = &next;
  const int moved = int(live.size()) + root;
  const bool starts = next.live == 0;
  next.live += moved;
  if (starts) {
    next.depth = node.depth + 1;
    entered.push_back(&next);
    enter(next, node.depth + 1, entered);
  }
  node.successor = r;
  node.live -= moved;
  if (node.live == 0) leave(node);
}

bool Graph::unchanged(std::string* where) const {
  const auto differs = [&](const nn::Module& m) {
    if (where) *where = m.path();
    return false;
  };
  for (const auto& [m, n] : entries_)
    if (m->child_entries().size() != n) return differs(*m);
  for (const Seen& s : snapshot_)
    if (s.slot->removed || s.slot->module != s.module) return differs(*s.slot->owner);
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

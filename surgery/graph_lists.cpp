// Inserting, removing and exchanging on the graph of a plan: lists of children as they would be.
#include <algorithm>
#include <unordered_set>
#include "graft/surgery/graph.h"

namespace graft::inline v1::surgery {

size_t Graph::children_of(const nn::Module& m) const {
  if (!lists_.empty())
    if (const auto it = lists_.find(&m); it != lists_.end()) return it->second.size();
  return m.child_entries().size();
}
nn::ChildEntry* Graph::child_of(const nn::Module& m, size_t i) const {
  if (!lists_.empty())
    if (const auto it = lists_.find(&m); it != lists_.end()) return it->second[i];
  return m.child_entries()[i].get();
}
std::vector<nn::ChildEntry*>& Graph::list_of(nn::Module& container) {
  const auto [it, fresh] = lists_.try_emplace(&container);
  if (fresh)
    for (const auto& e : container.child_entries()) it->second.push_back(e.get());
  return it->second;
}

bool Graph::contains(const Node& outer, const Node& inner) const {
  std::vector<const nn::Module*> todo{outer.module};
  nn::ModuleSet seen;
  while (!todo.empty()) {
    const nn::Module* m = todo.back();
    todo.pop_back();
    if (m == inner.module) return true;
    if (!seen.insert(m).second) continue;
    for (size_t i = 0; i < children_of(*m); ++i)
      if (const nn::ModulePtr& child = content(child_of(*m, i))) todo.push_back(child.get());
  }
  return false;
}

bool Graph::in_ordered(const Node& node) const {
  const auto live = live_slots(node);
  return &node != root_ && std::ranges::all_of(live, [](const nn::ChildEntry* e) {
    return e->owner->children_are() == nn::Children::ordered;
  });
}

void Graph::remove(Node& node, const nn::ModulePtr& stand_in, bool keep_entries, std::vector<Node*>& entered) {
  const bool root = &node == root_;
  const std::vector<nn::ChildEntry*> live = live_slots(node);
  const auto goes = [&](const nn::ChildEntry* e) { return !keep_entries && e->owner->children_are() != nn::Children::fixed; };
  const auto becomes_empty = [&](const nn::ChildEntry* e) { return !keep_entries && e->may_be_empty; };
  for (nn::ChildEntry* e : live)
    if (!goes(e) && !becomes_empty(e)) e->check(stand_in);
  Node* other = nullptr;
  int stand_ins = root;
  for (nn::ChildEntry* e : live) {
    if (goes(e)) {
      std::erase(list_of(*e->owner), e);
      aside_[e] = nullptr;
    } else if (becomes_empty(e)) {
      set_content(e, nullptr);
    } else {
      if (!other) other = &add(stand_in, *stand_in);
      set_content(e, stand_in);
      other->slots.push_back(e);
      ++stand_ins;
    }
  }
  if (root) {
    other = &add(stand_in, *stand_in);
    new_root_ = stand_in, root_ = other;
  }
  if (other) {
    arrive(*other, stand_ins, node.depth + 1, entered);
    node.successor = stand_in;
  }
  depart(node, int(live.size()) + root);
}

void Graph::insert(Node& node, const nn::ModulePtr& m, bool behind, std::vector<Node*>& entered) {
  check_parts(nullptr, *m);
  GRAFT_CHECK(find(m.get()) || m->holders().empty(), ErrorCode::plan_refused, "the inserted ", nn::type_name(*m),
              " is part of another model, at '", m->path(), "'; clone() it");
  const std::vector<nn::ChildEntry*> live = live_slots(node);
  for (nn::ChildEntry* e : live) e->check(m);
  Node& next = add(m, *m);
  for (nn::ChildEntry* e : live) {
    auto entry = std::make_unique<nn::ChildEntry>();
    entry->owner = e->owner;
    entry->cast = e->cast;
    entry->may_be_empty = true;
    auto& list = list_of(*e->owner);
    list.insert(std::ranges::find(list, e) + behind, entry.get());
    aside_[entry.get()] = m;
    next.slots.push_back(entry.get());
    inserted_.push_back(std::move(entry));
  }
  arrive(next, int(live.size()), node.depth + 1, entered);
}

void Graph::exchange(Node& a, Node& b) {
  const auto named = [](const Node& n) { return n.slots.empty() ? std::string("the model") : "'" + n.slots[0]->path() + "'"; };
  GRAFT_CHECK(&a != root_ && &b != root_, ErrorCode::plan_refused, "swap: the model itself has no place to swap");
  GRAFT_CHECK(a.live > 0 && b.live > 0, ErrorCode::plan_refused, "swap: ", named(a.live > 0 ? b : a),
              " has been replaced or removed by the same plan");
  for (const auto& [outer, inner] : {std::pair(&a, &b), std::pair(&b, &a)})
    GRAFT_CHECK(outer == inner || !contains(*outer, *inner), ErrorCode::plan_refused, "swap: ", named(*inner), " lies within ",
                named(*outer));
  const std::vector<nn::ChildEntry*> of_a = live_slots(a), of_b = live_slots(b);
  for (nn::ChildEntry* e : of_a) e->check(b.keep);
  for (nn::ChildEntry* e : of_b) e->check(a.keep);
  for (nn::ChildEntry* e : of_a) set_content(e, b.keep);
  for (nn::ChildEntry* e : of_b) set_content(e, a.keep);
  std::swap(a.slots, b.slots);
  std::swap(a.live, b.live);
}

// ---- names -------------------------------------------------------------------------------------------------------

// A container whose names are numbers is numbered anew; in others what is new is named after its neighbour.
void Graph::settle() {
  for (const auto& [module, list] : lists_) {
    const auto& now = module->child_entries();
    bool numbered = true;
    std::unordered_set<std::string> taken;
    for (size_t i = 0; i < now.size(); ++i) {
      numbered &= now[i]->name == std::to_string(i);
      taken.insert(now[i]->name);
    }
    ListChange change{by_module_.find(module)->second->module, {}};
    for (size_t i = 0; i < list.size(); ++i) {
      const bool fresh = list[i]->name.empty();
      std::string name = list[i]->name;
      if (numbered) {
        name = std::to_string(i);
      } else if (fresh) {
        const auto old = [](const nn::ChildEntry* e) { return !e->name.empty(); };
        const auto behind = std::ranges::find_if(list.begin() + std::ptrdiff_t(i), list.end(), old);
        const auto front = std::find_if(list.rend() - std::ptrdiff_t(i), list.rend(), old);
        const std::string stem = front != list.rend() ? (*front)->name + "_after" : behind != list.end() ? (*behind)->name + "_before" : "new";
        name = stem;
        for (int k = 2; !taken.insert(name).second; ++k) name = stem + std::to_string(k);
      }
      names_after_[list[i]] = name;
      change.items.push_back({std::move(name), fresh ? nullptr : list[i], fresh ? content(list[i]) : nullptr});
    }
    list_changes_.push_back(std::move(change));
  }
}

const std::string& Graph::name_after(const nn::ChildEntry* e) const {
  const auto it = names_after_.find(e);
  return it == names_after_.end() ? e->name : it->second;
}

std::string Graph::path_after(const Node& node) const {
  std::string path;
  const Node* n = &node;
  while (n != root_) {
    const auto live = live_slots(*n);
    if (live.empty()) return path;
    const std::string& name = name_after(live[0]);
    path = path.empty() ? name : name + "." + path;
    n = by_module_.find(live[0]->owner)->second;
  }
  return path;
}

}  // namespace graft

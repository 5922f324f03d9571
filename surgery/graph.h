// A model as a plan sees it: every module once, with the slots that hold it, as it is and as it would become. Nothing
// of the model is written; slots of modules that the plan itself has made are.
#pragma once
#include <deque>
#include <memory_resource>
#include <unordered_map>
#include <unordered_set>
#include <vector>
#include "graft/nn/child_list.h"

namespace graft::inline v1::surgery {

class Graph {
 public:
  struct Node {
    explicit Node(std::pmr::memory_resource* memory) : slots(memory) {}
    nn::Module* module = nullptr;
    nn::ModulePtr keep;                  // null for a root that is not shared
    std::pmr::vector<nn::ChildEntry*> slots;  // that hold it, in the order in which they are reached
    int live = 0;                        // how many of them are reached from the root; the root has one more
    int depth = 0;                       // replacements that it lies within
    bool original = false;               // part of the model as it was
    bool entered = false;                // its slots have been listed
    bool answered = false;               // a policy has replaced or kept it: it is not offered again
    nn::ModulePtr successor;             // what is to take its place
  };

  Graph(nn::Module& root, nn::ModulePtr owner);
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  Node& root() { return *root_; }
  const std::vector<Node*>& originals() const { return originals_; }  // pre-order, root first
  const std::pmr::deque<Node>& nodes() const { return nodes_; }
  Node* find(const nn::Module*);
  bool is_live(const nn::Module& m) const {  // part of the model as it would be
    const auto it = by_module_.find(&m);
    return it != by_module_.end() && it->second->live > 0;
  }
  const nn::ModulePtr& content(nn::ChildEntry*) const;  // as it would be

  // Puts r into every live slot of `node`; `entered` receives the modules that become part of the model, in pre-order.
  // Errors: r contains a module of the model that does not lie within `node`; a slot that takes no such module.
  void replace(Node& node, const nn::ModulePtr& r, std::vector<Node*>& entered);

  // Takes `node` out: its entries in containers go (unless `keep_entries`), slots that may be empty become so, and the
  // others get `stand_in`.
  void remove(Node& node, const nn::ModulePtr& stand_in, bool keep_entries, std::vector<Node*>& entered);
  // Puts m into an entry of its own beside each live slot of `node`, all of which must be in ordered containers.
  void insert(Node& node, const nn::ModulePtr& m, bool behind, std::vector<Node*>& entered);
  bool in_ordered(const Node& node) const;
  void exchange(Node&, Node&);  // each takes the slots of the other

  // Containers whose lists change, with the names that their entries get.
  struct ListChange {
    nn::Module* owner;
    std::vector<nn::ChildList::Item> items;
  };
  void settle();  // names the entries of the lists that change; nothing is planned after it
  const std::vector<ListChange>& list_changes() const { return list_changes_; }
  bool is_aside(const nn::ChildEntry* e) const { return aside_.contains(e); }  // it goes, or is still to be made
  size_t children_of(const nn::Module& m) const;  // as they would be
  nn::ChildEntry* child_of(const nn::Module& m, size_t i) const;
  const std::string& name_after(const nn::ChildEntry*) const;
  std::string path_after(const Node&) const;  // of its first live slot, in the model as it will be

  struct SlotChange { nn::ChildEntry* slot; nn::ModulePtr module; };
  const std::vector<SlotChange>& slot_changes() const { return changes_; }
  const nn::ModulePtr& new_root() const { return new_root_; }

  bool has_leaf(const TensorImpl* t) const {  // had the model it?
    if (leaf_set_.empty())
      for (const Leaf& l : leaves_) leaf_set_.insert(l.leaf);
    return leaf_set_.contains(t);
  }
  // Is the model still as it was? If not, the text says where.
  bool unchanged(std::string* where = nullptr) const;
  void restore_slots() noexcept;  // puts back what was in the slots of the model

 private:
  Node& add(const nn::ModulePtr&, nn::Module&);
  void enter(Node&, int depth, std::vector<Node*>& entered);
  void leave(Node&);
  void check_parts(Node* replaced, nn::Module& r);
  std::vector<nn::ChildEntry*>& list_of(nn::Module& container);  // to be changed
  std::vector<nn::ChildEntry*> live_slots(const Node&) const;
  void list_live_slots(const Node&, std::vector<nn::ChildEntry*>& into) const;
  void set_content(nn::ChildEntry*, const nn::ModulePtr&);
  void arrive(Node&, int slots, int depth, std::vector<Node*>& entered);
  void depart(Node&, int slots);
  bool contains(const Node& outer, const Node& inner) const;

  std::pmr::monotonic_buffer_resource arena_;  // of all that is kept per module
  std::pmr::deque<Node> nodes_{&arena_};
  std::pmr::unordered_map<const nn::Module*, Node*> by_module_{&arena_};
  std::vector<Node*> originals_;
  Node* root_ = nullptr;
  std::vector<SlotChange> changes_;
  std::pmr::unordered_map<const nn::ChildEntry*, size_t> change_of_{&arena_};
  nn::ModulePtr new_root_;
  std::vector<nn::ChildEntry*> replacing_;  // kept, so that replacing many allocates once
  std::unordered_map<const nn::Module*, std::vector<nn::ChildEntry*>> lists_;  // of containers that change
  std::vector<std::unique_ptr<nn::ChildEntry>> inserted_;  // stand for entries that commit will make
  std::unordered_map<const nn::ChildEntry*, nn::ModulePtr> aside_;  // what those hold, and null for entries that go
  std::vector<ListChange> list_changes_;
  std::unordered_map<const nn::ChildEntry*, std::string> names_after_;
  struct Seen { nn::ChildEntry* slot; nn::ModulePtr module; void* typed; };
  std::vector<Seen> snapshot_;
  struct State { const nn::Module* module; size_t children; bool training; };
  struct Leaf { const nn::ParamEntry* entry; const TensorImpl* leaf; DType dtype; Device device; };
  std::vector<State> states_;  // of the originals
  std::vector<Leaf> leaves_;
  mutable std::unordered_set<const TensorImpl*> leaf_set_;
};

}  // namespace graft

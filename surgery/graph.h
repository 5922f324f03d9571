// A model as a plan sees it: every module once, with the slots that hold it, as it is and as it would become. Nothing
// of the model is written; slots of modules that the plan itself has made are.
#pragma once
#include <deque>
#include <memory_resource>
#include <unordered_map>
#include <vector>
#include "graft/nn/module.h"

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
  const nn::ModulePtr& content(nn::ChildEntry*) const;  // as it would be

  // Puts r into every live slot of `node`; `entered` receives the modules that become part of the model, in pre-order.
  // Errors: r contains a module of the model that does not lie within `node`; a slot that takes no such module.
  void replace(Node& node, const nn::ModulePtr& r, std::vector<Node*>& entered);

  struct SlotChange { nn::ChildEntry* slot; nn::ModulePtr module; };
  const std::vector<SlotChange>& slot_changes() const { return changes_; }
  const nn::ModulePtr& new_root() const { return new_root_; }

  // Is the model still as it was? If not, the text says where.
  bool unchanged(std::string* where = nullptr) const;
  void restore_slots() noexcept;  // puts back what was in the slots of the model

 private:
  Node& add(const nn::ModulePtr&, nn::Module&);
  void enter(Node&, int depth, std::vector<Node*>& entered);
  void leave(Node&);
  void check_parts(Node& replaced, nn::Module& r);

  std::pmr::monotonic_buffer_resource arena_;  // of all that is kept per module
  std::pmr::deque<Node> nodes_{&arena_};
  std::pmr::unordered_map<const nn::Module*, Node*> by_module_{&arena_};
  std::vector<Node*> originals_;
  Node* root_ = nullptr;
  std::vector<SlotChange> changes_;
  std::pmr::unordered_map<const nn::ChildEntry*, size_t> change_of_{&arena_};
  nn::ModulePtr new_root_;
  struct Seen { nn::ChildEntry* slot; nn::ModulePtr module; void* typed; };
  std::vector<Seen> snapshot_;
  std::vector<std::pair<const nn::Module*, size_t>> entries_;  // how many children each original has
};

}  // namespace graft

// Another list of children for a module, prepared aside and exchanged without a way to fail: how surgery inserts into
// containers and removes from them.
#pragma once
#include "graft/nn/module.h"

namespace graft::inline v1::nn {

// An entry that leaves is empty and retired with its module, never freed before it: slots that refer to it stay valid.
class ChildList {
 public:
  struct Item {
    std::string name;
    ChildEntry* entry;      // of the module now; null: a new one
    ModulePtr module = {};  // what the new one holds
  };
  ChildList(Module& owner, const std::vector<Item>& items);
  void exchange() noexcept;  // there, and back
  void prepare();            // before an exchange that does not follow directly
  bool in_place() const;     // has the module the list that the last exchange has put there?
  const Module& owner() const { return *owner_; }

 private:
  struct Move {  // an entry of one of the two lists, and what it holds there, while it is out
    ChildEntry* entry;
    ModulePtr module;
    void* typed;
    const Module* content;  // what it holds where it is in the list
  };
  void retire_all() noexcept;
  void index_entries() noexcept;

  Module* owner_;
  ModulePtr keep_;  // null for a root that is not shared
  std::vector<ChildEntry*> here_, other_;
  uint32_t state_here_, state_other_;  // two edits that cancel out leave another state than none
  std::vector<Move> moves_;
  std::vector<std::pair<ChildEntry*, std::string>> names_;  // of those that stay under another name
  std::vector<std::unique_ptr<ChildEntry>> made_;
};

}  // namespace graft

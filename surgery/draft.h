// What a plan holds, and what an edit remembers. Shared by plan.cpp, edit.cpp and report.cpp.
#pragma once
#include "graft/surgery/follow.h"
#include "graft/surgery/graph.h"
#include "graft/nn/child_list.h"
#include "graft/surgery/plan.h"

namespace graft::inline v1::surgery::detail {

class Recording;  // recipe_step.h

struct Draft {
  Draft(Root r, std::vector<Policy> p, Options o)
      : root(std::move(r)), policies(std::move(p)), options(std::move(o)), graph(*root.module, root.owner) {}

  Root root;
  std::vector<Policy> policies;
  Options options;
  Graph graph;
  std::shared_ptr<std::vector<Change>> changes = std::make_shared<std::vector<Change>>();  // shared with what apply() returns
  std::vector<Note> notes;
  std::vector<Declined> declined;
  std::optional<Cost> cost_before, cost_after;  // of the example
  std::vector<std::pair<std::string, std::pair<Graph::Node*, Graph::Node*>>> inserted;  // beside whom, who
  struct Copying { size_t change; Carry how; uint64_t versions; };  // of what was copied, at that time
  std::vector<Copying> copied;
  void copy_weights(Copying&, Change&) const;  // into the new module, unless they are there already
  struct Asked {  // what was answered about a module of the model as it was
    Answer::Kind kind;
    const Graph::Node* node;
    const Policy* policy;
    std::string path, with;
    nn::ModulePtr module;
    bool behind = false;
    Removal removal = Removal::entry;
  };
  std::vector<Asked> asked;                       // for recipes
  std::string not_recorded;                       // why not
  Indices indices;                                // as apply() leaves them
  std::vector<std::pair<std::string, Graph::Node*>> replaced;  // of the model as it was, each once
  std::shared_ptr<const Liveness> live;
  std::shared_ptr<const Following> following;
  std::vector<Following::Resized> resized;        // as it was planned
  int64_t before = 0, after = 0;                  // numbers of parameters

  std::vector<std::string> leaving() const, entering() const;  // names of parameters
  std::vector<Succession> successions() const;
  std::shared_ptr<const Following> follow() const;
};

// A slot and the module that is not in it: the new one before the exchange, the old one after.
struct SlotSwap {
  nn::ChildEntry* slot;
  nn::ModulePtr owner;  // of the slot, kept alive; null for a root that is not shared
  nn::ModulePtr module;
  void* typed;
  const nn::Module* placed;  // what the edit put there
  bool within = true;        // the slot is part of the model after the edit
};

// A module that the edit has brought in, as it was then: later edits may stand on it.
struct Made {
  nn::ModulePtr module;
  std::vector<std::pair<const nn::ChildEntry*, const nn::Module*>> children;
};

struct Journal {
  Root root;
  std::shared_ptr<const std::vector<Change>> changes;
  std::vector<SlotSwap> slots;
  std::vector<nn::ChildList> lists;
  std::vector<bool> lists_within;  // as of slots
  std::vector<Made> made;
  bool exchanged = false;
  nn::ModulePtr other_root;  // where the root itself is exchanged
  nn::Module* new_root = nullptr;  // the model after the edit, in any case; set by commit()
  std::optional<Difference> verified;
  std::vector<GroupEdit> groups;
  HookMoves hooks;
  std::shared_ptr<const Liveness> live;
  std::shared_ptr<Recording> recording;  // null: not recorded
  Indices* indices = nullptr;
  Indices other_indices;
  bool applied = false;

  void exchange_slots() noexcept;  // there, and back
  void commit() noexcept;
};

std::unique_ptr<Journal> build_journal(const Draft&);
void finish_recording(Journal&, const Draft*);  // of a journal that is committed; rolls back where memory ends
// Of a journal that is committed: runs the model, and rolls back where it differs from `before` or does not run.
void verify(Journal&, const nn::Value& before, const Verify&);
std::vector<Carried> weights_of(const Change&);  // also where nothing was to be carried

}  // namespace graft

// The entries of a module's registry: a slot for a child, a parameter, a buffer. They are the single truth about a
// model; member handles (child.h, param.h) refer to one entry for life.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>
#include "graft/core/tensor.h"

namespace graft::inline v1::nn {

class Module;
using ModulePtr = std::shared_ptr<Module>;

struct Entry {
  std::string name;
  Module* owner = nullptr;  // fixed for life
  size_t index = 0;         // position among the owner's entries of this kind
  bool removed = false;     // taken out of the registry; kept while a handle may still point here
  std::string path() const;  // of the owner, then the name
};

// A place for a module. put() is the only door; surgery uses its two halves.
struct ChildEntry : Entry {
  using Cast = void* (*)(Module&);

  ModulePtr module;
  void* typed = nullptr;      // Callable<declared signature>*: set when something is put in, never during a call
  Cast cast = nullptr;        // finds the declared signature in a module; null: any module will do
  bool may_be_empty = false;

  ChildEntry() = default;
  ChildEntry(const ChildEntry&) = delete;
  ChildEntry& operator=(const ChildEntry&) = delete;
  ~ChildEntry();

  void put(ModulePtr m);
  void* check(const ModulePtr& m) const;                 // Error, or the pointer to commit as `typed`
  void commit(ModulePtr& m, void* typed_as) noexcept;    // swaps with m; what was here is the caller's to keep alive

 private:
  friend class Module;
  void hold() noexcept;  // joins the list of the slots that hold `module`
  void let_go() noexcept;
  ChildEntry* next_holder_ = nullptr;
  ChildEntry* prev_holder_ = nullptr;
};

// A tensor that was made to be a parameter: a leaf, with or without a wish for gradients.
class Parameter : public Tensor {
 public:
  Parameter() = default;  // None
  explicit Parameter(Tensor t) : Tensor(std::move(t)) {}
};
Parameter parameter(const Tensor&, bool requires_grad = true);  // the same memory, without history
Parameter as_parameter(const Tensor&);  // itself if it is a leaf that requires grad (or None), else parameter(t)

enum class Check : uint8_t { shape_and_dtype, none };

// A parameter: the leaf that optimizers see, and the value that forward uses. They are one tensor, unless the entry is
// editable (surgery::to_mutable_module) and was edited: then the value is any tensor, and its gradient reaches the leaf
// through the recorded edits.
struct ParamEntry : Entry {
  Tensor leaf;            // undefined: None
  Tensor edited;          // where `editable`: the value
  bool editable = false;

  const Tensor& value() const { return editable ? edited : leaf; }
  bool is_edited() const { return editable && !edited.is_same(leaf); }

  ParamEntry() = default;
  ParamEntry(const ParamEntry&) = delete;
  ParamEntry& operator=(const ParamEntry&) = delete;
  ~ParamEntry() { untie_edits(); }

  void put(Tensor new_leaf);                          // the door: a leaf of any shape, or undefined; drops edits
  void assign(const Parameter& p, Check = Check::shape_and_dtype);  // what `module.weight = p` does
  void assign(const Tensor& t, Check = Check::shape_and_dtype);     // a plain tensor: only where editable, or a leaf
  void share(const ParamEntry& other);                // ties: both have one leaf
  void edit(const char* op, const std::function<Tensor(const Tensor& value)>& f);  // value = f(value), recorded
  void make_editable();
  void materialize();                                 // the value becomes the new leaf
  void tie_edits(ParamEntry& other);                  // of one leaf and editable: what is done to one is done to both
  const void* edit_ties() const { return tied_.get(); }  // equal for entries whose edits are tied; null: none

 private:
  void untie_edits() noexcept;
  void spread();  // value and leaf to the entries that are tied
  std::shared_ptr<std::vector<ParamEntry*>> tied_;
  void check_like(const Tensor&, Check) const;
  void set_value(const Tensor&, Check);
};

struct BufferEntry : Entry {
  Tensor value;            // undefined: None
  bool persistent = true;  // part of state_dict
  void put(Tensor t) { value = std::move(t); }
};

}  // namespace graft::nn

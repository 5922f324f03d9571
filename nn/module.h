// Module: base of everything that holds parameters. It owns ordered entries (entry.h) for parameters, buffers and
// children; a class names them by members (child.h, param.h). How a layer is written: docs/adding-a-layer.md.
//
//   struct Net : nn::Layer {                               // Layer: Tensor forward(const Tensor&)
//     nn::Child<nn::Linear> fc1{this, "fc1", 8, 16};
//     nn::Child<nn::Linear> fc2{this, "fc2", 16, 2};
//     Tensor forward(const Tensor& x) override { return fc2(relu(fc1(x))); }
//   };
//   auto net = nn::make<Net>();                            // shared, can be cloned
//   Tensor y = (*net)(x);
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>
#include "graft/core/tensor.h"
#include "graft/nn/entry.h"
#include "graft/nn/hooks.h"
#include "graft/nn/state_dict.h"
#include "graft/nn/value.h"

namespace graft::inline v1::nn {

std::string type_name(const Module&);  // "Conv2d"

template <class T> using NamedList = std::vector<std::pair<std::string, T>>;
using ModuleSet = std::unordered_set<const Module*>;

// Members that code refers to; or a list, or names, that a container runs through.
enum class Children : uint8_t { fixed, ordered, keyed };

class Module : public std::enable_shared_from_this<Module> {
 public:
  Module() = default;
  Module(const Module& source);  // only inside clone(); elsewhere an Error
  Module(Module&&) = delete;
  Module& operator=(const Module&) = delete;
  virtual ~Module();

  // ---- calls -----------------------------------------------------------------------------------------------------
  virtual Value invoke(const Values& args);  // forward, erased; runs no hooks
  Value call(Values args);                   // the same with hooks
  bool hooked() const { return hooks_ && hooks_->on_calls(); }  // with hooks of its own
  bool runs_hooks() const {  // or those of all modules
    const HookTable* all = HookTable::of_all();
    return hooked() || (all && all->on_calls());
  }

  // ---- registration; names: no dots, not empty, not taken by another kind; the same kind is replaced ------------
  ChildEntry& add_module(std::string name, ModulePtr);  // null: an empty slot
  ChildEntry& register_module(std::string name, ModulePtr m) { return add_module(std::move(name), std::move(m)); }
  ParamEntry& register_parameter(std::string name, const Parameter&);  // Parameter(): None
  ParamEntry& register_parameter(std::string name, const Tensor&);     // a leaf that requires grad
  ParamEntry& register_parameter(std::string name, std::nullptr_t) { return register_parameter(std::move(name), Parameter()); }
  BufferEntry& register_buffer(std::string name, Tensor, bool persistent = true);
  void remove(std::string_view name);  // an own entry of any kind

  // ---- traversal: own parameters, buffers first, then children, in order of registration -------------------------
  std::vector<Tensor> parameters(bool recurse = true) const;
  NamedList<Tensor> named_parameters(const std::string& prefix = {}, bool recurse = true,
                                     bool remove_duplicate = true) const;
  std::vector<Tensor> buffers(bool recurse = true) const;
  NamedList<Tensor> named_buffers(const std::string& prefix = {}, bool recurse = true,
                                  bool remove_duplicate = true) const;
  std::vector<Module*> children();
  std::vector<const Module*> children() const;
  NamedList<Module*> named_children();
  NamedList<const Module*> named_children() const;
  std::vector<Module*> modules();  // this one first, each once
  std::vector<const Module*> modules() const;
  NamedList<Module*> named_modules(ModuleSet* memo = nullptr, const std::string& prefix = {},
                                   bool remove_duplicate = true);
  NamedList<const Module*> named_modules(ModuleSet* memo = nullptr, const std::string& prefix = {},
                                         bool remove_duplicate = true) const;
  Module& apply(const std::function<void(Module&)>& fn);  // children first, this one last, each module once

  // ---- by path; Error names what is missing ----------------------------------------------------------------------
  Module& get_submodule(std::string_view path);  // "": this one
  const Module& get_submodule(std::string_view path) const;
  void set_submodule(std::string_view path, ModulePtr, bool strict = false);  // strict: it must exist
  Tensor get_parameter(std::string_view path) const;  // the leaf
  Tensor get_buffer(std::string_view path) const;
  ChildEntry& child_entry(std::string_view path);
  ParamEntry& param_entry(std::string_view path);
  BufferEntry& buffer_entry(std::string_view path);
  ChildEntry* find_child(std::string_view name) const;  // own entries; null: none
  ParamEntry* find_param(std::string_view name) const;
  BufferEntry* find_buffer(std::string_view name) const;
  const std::vector<std::unique_ptr<ChildEntry>>& child_entries() const { return children_; }
  const std::vector<std::unique_ptr<ParamEntry>>& param_entries() const { return params_; }
  const std::vector<std::unique_ptr<BufferEntry>>& buffer_entries() const { return buffers_; }

  // ---- modes -----------------------------------------------------------------------------------------------------
  bool training() const { return training_; }
  Module& train(bool mode = true);
  Module& eval() { return train(false); }
  virtual void set_training(bool on) { training_ = on; }  // of this module alone; overridden by those that stay in one mode
  Module& requires_grad_(bool on = true);
  void zero_grad(bool set_to_none = true);

  // ---- conversions, in place: parameters keep their identity, gradients follow; integers keep their dtype --------
  Module& to(Device, std::optional<DType> = {}, bool non_blocking = false);
  Module& to(DType, bool non_blocking = false);  // floating point or complex
  Module& to(const Tensor& like, bool non_blocking = false);
  Module& to(MemoryFormat);  // of the 4-dimensional ones
  Module& cpu() { return to(Device(Device::cpu)); }
  Module& cuda(int index = 0);
  Module& ipu(int index = 0);  // not supported
  Module& xpu(int index = 0);  // not supported
  Module& half() { return to(f16); }
  Module& bfloat16() { return to(bf16); }
  Module& float32() { return to(f32); }
  Module& float64() { return to(f64); }
  Module& type(DType);  // of all parameters and buffers, integers included
  Module& to_empty(Device);  // there, with memory that is not initialised

  // ---- state -----------------------------------------------------------------------------------------------------
  StateDict state_dict(const std::string& prefix = {}, bool keep_vars = false) const;
  void state_dict(StateDict& destination, const std::string& prefix = {}, bool keep_vars = false) const;
  IncompatibleKeys load_state_dict(const StateDict&, LoadOptions = {});  // all of it, or an Error and no change
  virtual Tensor get_extra_state() const { return {}; }  // undefined: none; bytes: bytes_tensor()
  virtual void set_extra_state(const Tensor&);
  virtual int64_t state_version() const { return 1; }
  // May complete or rename what an older version saved. `dict` is a copy; nothing of this module may change.
  virtual void prepare_load(StateDict& /*dict*/, const std::string& /*prefix*/, std::optional<int64_t> /*version*/) const {}

  // ---- hooks: see hooks.h for what a callable may take and return ------------------------------------------------
  template <class F> RemovableHandle register_forward_pre_hook(F f, HookOptions o = {}) {
    return hook_table().add<HookKind::forward_pre>(as_forward_pre(std::move(f)), o);
  }
  template <class F> RemovableHandle register_forward_hook(F f, HookOptions o = {}) {
    return hook_table().add<HookKind::forward>(as_forward(std::move(f)), o);
  }
  template <class F> RemovableHandle register_full_backward_pre_hook(F f, HookOptions o = {}) {
    return hook_table().add<HookKind::full_backward_pre>(as_backward_pre(std::move(f)), o);
  }
  template <class F> RemovableHandle register_full_backward_hook(F f, HookOptions o = {}) {
    return hook_table().add<HookKind::full_backward>(as_backward(std::move(f)), o);
  }
  // Deprecated as in PyTorch, whose old form saw wrong gradients: here it is register_full_backward_hook.
  template <class F> RemovableHandle register_backward_hook(F f) { return register_full_backward_hook(std::move(f)); }
  RemovableHandle register_state_dict_pre_hook(StateDictPreFn f) {
    return hook_table().add<HookKind::state_dict_pre>(std::move(f));
  }
  RemovableHandle register_state_dict_post_hook(StateDictFn f) {
    return hook_table().add<HookKind::state_dict>(std::move(f));
  }
  RemovableHandle register_load_state_dict_pre_hook(LoadPreFn f) {
    return hook_table().add<HookKind::load_pre>(std::move(f));
  }
  RemovableHandle register_load_state_dict_post_hook(LoadFn f) { return hook_table().add<HookKind::load>(std::move(f)); }
  const HookTable* hooks() const { return hooks_.get(); }  // null: there never was one
  HookTable& hook_table();                                 // made when missing

  // ---- identity --------------------------------------------------------------------------------------------------
  ModulePtr clone() const;  // deep; keeps sharing of modules and parameters, hooks, editable parameters
  ModulePtr clone_sharing_parameters() const;  // the same, but parameters are those of this module; buffers are copied
  bool copyable() const { return copier_ != nullptr; }
  bool detached() const { return was_held_ && !holders_; }  // it was in a slot, and is in none now
  std::string path() const;  // dotted, from its root; of a removed module "(detached)"
  std::vector<ChildEntry*> holders() const;  // all slots that hold it
  bool is_shared() const { return holders_ && holders_->next_holder_; }  // more than one does
  virtual std::string extra_repr() const { return {}; }
  virtual std::string class_name() const;  // for printing; by default the C++ name without namespaces
  bool is_mutable() const { return mutable_; }  // surgery::to_mutable_module was called with it; prints "MutableModule(...)"
  void set_mutable(bool on = true) { mutable_ = on; }
  const std::string& made_of() const { return made_of_; }  // what surgery has made this of: "conv1, bn1, relu1"; mostly empty
  void set_made_of(std::string paths) { made_of_ = std::move(paths); }
  virtual bool prints_runs_once() const { return false; }  // children of equal text in a row, as ModuleList does
  virtual Children children_are() const { return Children::fixed; }  // what surgery may insert and remove

  // Records how to copy an M, so that clone() needs no code in it. Called by make().
  template <class M> static void made_as(M& m);
  static ModulePtr own(Module* fresh);  // one kind of reference count serves all types: half a megabyte less than a kind each

 protected:

  // For containers.
  virtual ChildEntry::Cast child_cast() const { return nullptr; }  // what add_module() demands of a new child
  ChildEntry& insert_child(size_t at, ModulePtr);                  // the children are numbered anew
  void number_children();                                          // names 0, 1, 2, ...

 private:
  friend struct ChildEntry;
  friend class ChildList;
  friend class Cloning;
  friend class ChildHandle;
  friend class Param;
  friend class Buffer;
  using Copier = Module* (*)(const Module&);  // the result is the caller's
  template <class M> static Module* copy_as(const Module& source);
  [[noreturn]] static Module* refuse_copy(const Module& source);
  ModulePtr clone(bool share_parameters) const;

  ChildEntry& declare_child(std::string name, ModulePtr, ChildEntry::Cast, bool may_be_empty);
  ParamEntry& declare_parameter(std::string name, const Parameter&);
  BufferEntry& declare_buffer(std::string name, Tensor, bool persistent);
  void check_name(const char* kind, const std::string& name, const Entry* same_kind) const;
  Entry* find_entry(std::string_view name) const;
  void remember(Entry&);
  Value call_hooked(Values args);

  std::vector<std::unique_ptr<ParamEntry>> params_, retired_params_;  // retired: a member handle may still point there
  std::vector<std::unique_ptr<BufferEntry>> buffers_, retired_buffers_;
  std::vector<std::unique_ptr<ChildEntry>> children_, retired_children_;
  std::unordered_map<std::string_view, Entry*> index_;  // of modules with many entries
  std::shared_ptr<HookTable> hooks_;
  ChildEntry* holders_ = nullptr;  // intrusive list
  ModulePtr next_dying_;
  Copier copier_ = nullptr;  // never copied: a slice must not inherit it
  bool training_ = true;
  bool mutable_ = false;
  bool was_held_ = false;
  std::string made_of_;
  uint32_t list_state_ = 0;  // which ChildList has put the children in place
};

std::ostream& operator<<(std::ostream&, const Module&);  // the tree, as PyTorch prints it
std::string repr(const Module&);

// One module being copied right now; innermost first. The copy constructors of members find their new entries here.
class Cloning {
 public:
  explicit Cloning(const Module& source) : source_(&source), outer_(top_) { top_ = this; }
  ~Cloning() { top_ = outer_; }
  Cloning(const Cloning&) = delete;
  Cloning& operator=(const Cloning&) = delete;
  static ModulePtr shell(const Module&);  // a copy whose tensors and children are not copied yet
  static ChildEntry* where(const ChildEntry&);
  static ParamEntry* where(const ParamEntry&);
  static BufferEntry* where(const BufferEntry&);

 private:
  friend class Module;
  static Module& copy_of_owner(const Entry&);
  static thread_local Cloning* top_;
  const Module* source_;
  Module* made_ = nullptr;
  Cloning* outer_;
};

template <class M> Module* Module::copy_as(const Module& source) {
  M* const m = new M(dynamic_cast<const M&>(source));
  made_as(*m);
  return m;
}
template <class M> void Module::made_as(M& m) {
  if constexpr (!std::is_abstract_v<M>) {
    if (typeid(m) != typeid(M)) return;
    if constexpr (std::is_copy_constructible_v<M>) static_cast<Module&>(m).copier_ = &copy_as<M>;
    else static_cast<Module&>(m).copier_ = &refuse_copy;
  }
}

template <class M, class... A> std::shared_ptr<M> make(A&&... args) {
  M* const m = new M(std::forward<A>(args)...);
  Module::made_as(*m);
  return std::shared_ptr<M>(Module::own(m), m);
}

// clone() with the type of what is cloned.
template <class M> std::shared_ptr<M> clone(const M& m) { return std::dynamic_pointer_cast<M>(m.clone()); }

}  // namespace graft::nn

// Hooks of a module: lists that are replaced, never edited, so that a running list is a snapshot; and their handles.
#pragma once
#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <type_traits>
#include <variant>
#include "graft/nn/state_dict.h"
#include "graft/nn/value.h"

namespace graft::inline v1::nn {

class Module;
class HookTable;

enum class HookKind : uint8_t {
  forward_pre, forward, full_backward_pre, full_backward, state_dict_pre, state_dict, load_pre, load
};
inline constexpr size_t kHookKinds = 8;

struct HookOptions {
  bool prepend = false;      // before those that are there
  bool always_call = false;  // forward hooks: also when forward throws; the output is then None
};

// The stored forms. What a hook changes, it changes in its reference argument.
using ForwardPreFn = std::function<void(Module&, Values& args)>;
using ForwardFn = std::function<void(Module&, const Values& args, Value& output)>;
using BackwardPreFn = std::function<void(Module&, Tensors& grad_output)>;
using BackwardFn = std::function<void(Module&, Tensors& grad_input, const Tensors& grad_output)>;
using StateDictPreFn = std::function<void(Module&, const std::string& prefix, bool keep_vars)>;
using StateDictFn = std::function<void(Module&, StateDict&, const std::string& prefix)>;
using LoadPreFn = std::function<void(Module&, StateDict&, const std::string& prefix)>;
using LoadFn = std::function<void(Module&, IncompatibleKeys&)>;

using HookFn = std::variant<ForwardPreFn, ForwardFn, BackwardPreFn, BackwardFn, StateDictPreFn, StateDictFn, LoadPreFn,
                            LoadFn>;  // in the order of HookKind

struct HookRecord {
  uint64_t id = 0;
  HookKind kind{};
  HookOptions options;
  HookFn fn;
  std::weak_ptr<HookTable> home;  // changes when surgery moves the hook to another module: handles stay valid
  template <HookKind K> const auto& get() const { return std::get<size_t(K)>(fn); }
};

// Removes a hook. Copies are the same handle; it outlives the module harmlessly.
class RemovableHandle {
 public:
  RemovableHandle() = default;
  explicit RemovableHandle(const std::shared_ptr<HookRecord>& r) : id_(r->id), record_(r) {}
  void remove();
  uint64_t id() const { return id_; }

 private:
  uint64_t id_ = 0;
  std::weak_ptr<HookRecord> record_;
};

class HookTable : public std::enable_shared_from_this<HookTable> {
 public:
  using List = std::vector<std::shared_ptr<HookRecord>>;
  const std::shared_ptr<const List>& list(HookKind k) const { return lists_[size_t(k)]; }  // null: none
  bool has(HookKind k) const { return list(k) != nullptr; }
  size_t count(HookKind k) const { return has(k) ? list(k)->size() : 0; }
  bool on_calls() const { return lists_[0] || lists_[1] || lists_[2] || lists_[3]; }

  template <HookKind K, class F> RemovableHandle add(F f, HookOptions options = {}) {
    return add(K, HookFn(std::in_place_index<size_t(K)>, std::move(f)), options);
  }
  void remove(const HookRecord&);
  // Of the calls of every module; they run before the module's own. Null: nobody has registered any.
  static HookTable* of_all() { return of_all_.load(std::memory_order_acquire); }
  static HookTable& make_of_all();
  void take(HookTable& from, HookKind);             // appends all hooks of a kind, handles included
  void exchange(HookKind, std::shared_ptr<const List>&) noexcept;  // puts another list in; handles follow
  std::shared_ptr<HookTable> clone() const;         // the same functions in records of their own

 private:
  RemovableHandle add(HookKind, HookFn, HookOptions);
  std::array<std::shared_ptr<const List>, kHookKinds> lists_;
  static std::atomic<HookTable*> of_all_;
};

// ---- what users may pass ---------------------------------------------------------------------------------------

// hook(module, args): may return new args (Values), one value instead of all args, or nothing.
template <class F> ForwardPreFn as_forward_pre(F f) {
  return [f = std::move(f)](Module& m, Values& args) mutable {
    using R = std::invoke_result_t<F&, Module&, Values&>;
    if constexpr (std::is_void_v<R>) {
      f(m, args);
    } else {
      auto changed = f(m, args);
      if constexpr (std::is_same_v<R, Values>) args = std::move(changed);
      else if constexpr (std::is_same_v<R, std::optional<Values>>) { if (changed) args = std::move(*changed); }
      else if constexpr (std::is_same_v<R, std::optional<Value>>) { if (changed) args = Values{std::move(*changed)}; }
      else args = Values{Value(std::move(changed))};
    }
  };
}

// hook(module, args, output): may return a new output, or change it in its reference.
template <class F> ForwardFn as_forward(F f) {
  return [f = std::move(f)](Module& m, const Values& args, Value& output) mutable {
    using R = std::invoke_result_t<F&, Module&, const Values&, Value&>;
    if constexpr (std::is_void_v<R>) {
      f(m, args, output);
    } else {
      auto changed = f(m, args, output);
      if constexpr (std::is_same_v<R, std::optional<Value>>) { if (changed) output = std::move(*changed); }
      else output = Value(std::move(changed));
    }
  };
}

// hook(module, grad_output): may return other gradients.
template <class F> BackwardPreFn as_backward_pre(F f) {
  return [f = std::move(f)](Module& m, Tensors& grad_output) mutable {
    using R = std::invoke_result_t<F&, Module&, Tensors&>;
    if constexpr (std::is_void_v<R>) f(m, grad_output);
    else if constexpr (std::is_same_v<R, std::optional<Tensors>>) { if (auto g = f(m, grad_output)) grad_output = *g; }
    else grad_output = f(m, grad_output);
  };
}

// hook(module, grad_input, grad_output): may return other gradients of the inputs.
template <class F> BackwardFn as_backward(F f) {
  return [f = std::move(f)](Module& m, Tensors& grad_input, const Tensors& grad_output) mutable {
    using R = std::invoke_result_t<F&, Module&, Tensors&, const Tensors&>;
    if constexpr (std::is_void_v<R>) f(m, grad_input, grad_output);
    else if constexpr (std::is_same_v<R, std::optional<Tensors>>) {
      if (auto g = f(m, grad_input, grad_output)) grad_input = *g;
    } else grad_input = f(m, grad_input, grad_output);
  };
}

// ---- on the calls of every module: for debugging and profiling; not while other threads call modules ---------------
template <class F> RemovableHandle register_module_forward_pre_hook(F f, HookOptions o = {}) {
  return HookTable::make_of_all().add<HookKind::forward_pre>(as_forward_pre(std::move(f)), o);
}
template <class F> RemovableHandle register_module_forward_hook(F f, HookOptions o = {}) {
  return HookTable::make_of_all().add<HookKind::forward>(as_forward(std::move(f)), o);
}
template <class F> RemovableHandle register_module_full_backward_pre_hook(F f, HookOptions o = {}) {
  return HookTable::make_of_all().add<HookKind::full_backward_pre>(as_backward_pre(std::move(f)), o);
}
template <class F> RemovableHandle register_module_full_backward_hook(F f, HookOptions o = {}) {
  return HookTable::make_of_all().add<HookKind::full_backward>(as_backward(std::move(f)), o);
}

}  // namespace graft::nn

// Param and Buffer: the members through which a module reads and changes its own tensors.
#pragma once
#include "graft/core/index.h"
#include "graft/core/ops.h"
#include "graft/nn/module.h"

namespace graft::inline v1::nn {

// Reading is as of a tensor: linear(x, weight, bias), weight->shape(). Assigning a parameter() puts it into the entry,
// assigning another Param ties the two. In an editable module (surgery::to_mutable_module) any tensor may be assigned,
// and *= += -= /= edit() are recorded; elsewhere they need NoGrad, as in PyTorch.
class Param {
 public:
  Param(Module* owner, std::string name, const Parameter& p) : entry_(&owner->declare_parameter(std::move(name), p)) {}
  Param(Module* owner, std::string name, const Tensor& init)  // becomes a parameter() unless it is one
      : Param(owner, std::move(name), as_parameter(init)) {}
  Param(Module* owner, std::string name, std::nullptr_t) : Param(owner, std::move(name), Parameter()) {}
  explicit Param(ParamEntry& e) : entry_(&e) {}  // names an entry, as containers do
  Param(const Param& o) : entry_(Cloning::where(*o.entry_)) {}  // inside clone() only
  Param(Param&& o) noexcept : entry_(o.entry_) {}
  ~Param() = default;

  operator const Tensor&() const { return entry_->value(); }  // NOLINT(google-explicit-constructor)
  const Tensor& value() const { return entry_->value(); }
  const Tensor& operator*() const { return entry_->value(); }
  const Tensor* operator->() const { return &entry_->value(); }
  const Tensor& leaf() const { return entry_->leaf; }  // what parameters() yields
  explicit operator bool() const { return entry_->value().defined(); }

  Param& operator=(const Param& o) { return entry_->share(*o.entry_), *this; }  // NOLINT: same entry is harmless
  Param& operator=(const Parameter& p) { return entry_->assign(p), *this; }
  Param& operator=(const Tensor& t) { return entry_->assign(t), *this; }
  Param& operator=(std::nullptr_t) { return entry_->assign(Parameter()), *this; }
  Param& assign(const Parameter& p, Check check) { return entry_->assign(p, check), *this; }
  Param& assign(const Tensor& t, Check check) { return entry_->assign(t, check), *this; }

  template <class V> Param& operator*=(const V& v) { return apply("mul", [&](const Tensor& w) { return w * v; }); }
  template <class V> Param& operator+=(const V& v) { return apply("add", [&](const Tensor& w) { return w + v; }); }
  template <class V> Param& operator-=(const V& v) { return apply("sub", [&](const Tensor& w) { return w - v; }); }
  template <class V> Param& operator/=(const V& v) { return apply("div", [&](const Tensor& w) { return w / v; }); }
  template <class V> Param& mul_(const V& v) { return *this *= v; }
  template <class V> Param& add_(const V& v) { return *this += v; }
  template <class V> Param& sub_(const V& v) { return *this -= v; }
  template <class V> Param& div_(const V& v) { return *this /= v; }
  Param& fill_(Scalar v) {  // what was before gets a gradient of zeros
    return apply("fill", [&](const Tensor& w) {
      return masked_fill(w, ones(w.shape(), Options(DType::boolean, w.device())), v);
    });
  }
  Param& copy_(const Tensor& from) {
    return edit([&](Tensor& w) { w.copy_(from); });
  }
  // weight[{Slice(1), 0}] = v, as x.index_put_ (core/index.h).
  template <class V> Param& index_put_(const std::vector<TensorIndex>& at, const V& v) {
    return edit([&](Tensor& w) {
      if constexpr (std::is_convertible_v<const V&, const Tensor&>) w.index_put_(at, v);
      else w.index_put_(at, scalar_tensor(v, w.options()));
    });
  }
  // Any in-place change, on a copy that becomes the value: weight.edit([](Tensor& w) { w.narrow(0, 0, 1).mul_(v); }).
  template <class F> Param& edit(F&& f) {
    return apply("edit", [&](const Tensor& w) {
      Tensor copy = w.clone();
      f(copy);
      return copy;
    });
  }
  Param& materialize() { return entry_->materialize(), *this; }
  ParamEntry& entry() const { return *entry_; }

 private:
  Param& apply(const char* op, const std::function<Tensor(const Tensor&)>& f) { return entry_->edit(op, f), *this; }
  ParamEntry* entry_;
};

// A tensor that is part of the state but not learned. Assigning replaces it.
class Buffer {
 public:
  Buffer(Module* owner, std::string name, Tensor init, bool persistent = true)
      : entry_(&owner->declare_buffer(std::move(name), std::move(init), persistent)) {}
  Buffer(const Buffer& o) : entry_(Cloning::where(*o.entry_)) {}  // inside clone() only
  Buffer(Buffer&& o) noexcept : entry_(o.entry_) {}
  ~Buffer() = default;

  operator const Tensor&() const { return entry_->value; }  // NOLINT(google-explicit-constructor)
  const Tensor& value() const { return entry_->value; }
  const Tensor& operator*() const { return entry_->value; }
  const Tensor* operator->() const { return &entry_->value; }
  explicit operator bool() const { return entry_->value.defined(); }

  Buffer& operator=(const Buffer& o) { return *this = o.value(); }  // NOLINT: shares the tensor
  Buffer& operator=(const Tensor& t) { return entry_->put(t), *this; }
  Buffer& operator=(std::nullptr_t) { return *this = Tensor(); }
  BufferEntry& entry() const { return *entry_; }

 private:
  BufferEntry* entry_;
};

}  // namespace graft::nn

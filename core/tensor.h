// Tensor: a handle to strided memory, shared by its views, and to a place in the autograd graph.
#pragma once
#include <array>
#include <cassert>
#include <functional>
#include <initializer_list>
#include <iosfwd>
#include <memory>
#include <string_view>
#include <vector>
#include "graft/core/memory.h"
#include "graft/core/ref.h"
#include "graft/kernels/view.h"

namespace graft::inline v1 {

class Tensor;
struct Node;
struct TensorImpl;
using Tensors = std::vector<Tensor>;

// Sizes (or strides) of up to kMaxRank dimensions, inline.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t>);
  explicit Shape(const View& v) : Shape(std::span(v.size, v.rank)) {}
  explicit Shape(std::span<const int64_t>);
  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[size_t(i)]; }
  int64_t& operator[](int i) { return dims_[size_t(i)]; }
  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return begin() + rank_; }
  void push_back(int64_t d);
  friend bool operator==(const Shape& a, const Shape& b);

 private:
  int rank_ = 0;
  std::array<int64_t, kMaxRank> dims_{};
};

// Memory shared by a tensor and its views. Header and data are one block, unless the data has its own source.
struct Storage : Counted {
  std::atomic<uint32_t> version{0};       // counts the in-place writes
  std::atomic<const char*> writer{""};    // the op of the last one, for error messages
  std::byte* data = nullptr;              // null on Device::meta
  size_t bytes = 0;
  memory::Source* source = nullptr;       // null: the data follows this header
};
void destroy(Storage*) noexcept;
Ref<Storage> make_storage(size_t bytes, Device);

using Hook = std::function<Tensor(const Tensor& grad)>;  // returns the gradient to use instead, or an undefined tensor

struct LeafState;  // .grad and hooks of a tensor that was asked to require gradients

// One tensor. Fields of the graph are written by core/autograd.cpp and core/op.cpp only.
struct TensorImpl : Counted {
  View view;
  Ref<Storage> storage;
  Ref<Node> node;                          // what computed it, under autograd
  Ref<TensorImpl> base;                    // of a view: the tensor that is not one
  std::unique_ptr<LeafState> leaf;
  uint32_t slot = 0;                       // which output of `node`
  uint32_t history = 0;                    // counts how often `node` was replaced by an in-place op
  std::atomic<uint32_t> base_history{0};   // of a view: the base's `history` that `node` was made from
  bool requires_grad = false;              // a leaf's wish; of others see needs_grad()
  bool inference = false;                  // made in inference mode: can never be saved for a gradient
  bool untracked_view = false;             // a view made without grad mode: constant, must not be written with history

  TensorImpl();
  TensorImpl(const TensorImpl&) = delete;
  TensorImpl& operator=(const TensorImpl&) = delete;
  ~TensorImpl();
};
void destroy(TensorImpl*) noexcept;
void destroy(Node*) noexcept;
Ref<TensorImpl> make_impl();
void set_shape(View&, const Shape&);
void set_contiguous(View&);              // strides, numel from sizes
void allocate_storage(TensorImpl&);      // for the contiguous geometry in its view
void share_storage(TensorImpl&, const TensorImpl& from);  // geometry is set, data is not
Ref<TensorImpl> alias(const TensorImpl&);  // same memory and geometry, no history, not a view

class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(Ref<TensorImpl> impl) : impl_(std::move(impl)) {}

  static Tensor empty(const Shape&, DType = DType::f32, Device = Device::cpu);
  static Tensor full(const Shape&, double value, DType = DType::f32, Device = Device::cpu);
  static Tensor zeros(const Shape& s, DType t = DType::f32, Device d = Device::cpu) { return full(s, 0, t, d); }
  static Tensor of(std::initializer_list<double> values, const Shape&, DType = DType::f32);

  bool defined() const { return bool(impl_); }
  Shape shape() const { return Shape(view()); }
  Shape strides() const { return Shape(std::span(view().stride, view().rank)); }
  int rank() const { return view().rank; }
  int64_t dim(int i) const { return view().size[i < 0 ? i + rank() : i]; }
  int64_t numel() const { return view().numel; }
  DType dtype() const { return view().dtype; }
  Device device() const { return view().device; }
  bool is_contiguous() const { return view().contiguous; }
  const View& view() const { return impl_->view; }
  uint32_t version() const { return impl_->storage->version; }
  template <class T> T* data() const {
    assert(dtype_of<T>::value == dtype());
    return view().as<T>();
  }
  double at(std::initializer_list<int64_t> index) const;  // slow: tests and printing
  double item() const { return at({}); }

  // Autograd.
  bool requires_grad() const;
  bool is_leaf() const;
  Tensor& requires_grad_(bool on = true);
  Tensor grad() const;
  void set_grad(Tensor);
  void register_hook(Hook) const;
  void backward(bool retain_graph = false, bool create_graph = false) const;
  Tensor detach() const;

  // Views of the same memory.
  Tensor transpose(int a, int b) const;
  Tensor expand(const Shape&) const;
  Tensor narrow(int dim, int64_t start, int64_t length) const;
  Tensor reshape(const Shape&) const;  // a view where the memory allows it
  Tensors split(int64_t size, int dim = 0) const;

  Tensor clone() const;
  Tensor contiguous() const;
  Tensor to(DType) const;
  const Tensor& add_(const Tensor&) const;
  const Tensor& add_(const Tensor&, double alpha) const;
  const Tensor& mul_(const Tensor&) const;
  const Tensor& relu_() const;
  const Tensor& copy_(const Tensor&) const;

  TensorImpl* impl() const { return impl_.get(); }
  const Ref<TensorImpl>& ref() const { return impl_; }

 private:
  Ref<TensorImpl> impl_;
};

std::ostream& operator<<(std::ostream&, const Shape&);   // [2,3]
std::ostream& operator<<(std::ostream&, const View&);    // f32[2,3]@cpu
std::ostream& operator<<(std::ostream&, const Tensor&);  // the same

}  // namespace graft

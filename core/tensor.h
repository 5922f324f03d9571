// Tensor: a handle to strided memory, shared by its views, and to a place in the autograd graph.
#pragma once
#include <algorithm>
#include <array>
#include <cassert>
#include <functional>
#include <initializer_list>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>
#include "graft/core/error.h"
#include "graft/core/hooks.h"
#include "graft/core/memory.h"
#include "graft/core/ref.h"
#include "graft/kernels/packed.h"
#include "graft/kernels/scalar.h"
#include "graft/kernels/view.h"

namespace graft::inline v1 {

class Generator;
class Tensor;
class TensorIndex;
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
  bool empty() const { return rank_ == 0; }
  friend bool operator==(const Shape& a, const Shape& b);

 private:
  int rank_ = 0;
  std::array<int64_t, kMaxRank> dims_{};
};

size_t numel_of(const Shape&);  // product of the sizes; Error where it overflows or a size is negative
std::ostream& operator<<(std::ostream&, const Shape&);

// Memory shared by a tensor and its views. Header and data are one block, unless the data has its own source.
struct Storage : Counted, Packs {  // with the version, and what kernels keep beside a weight
  std::atomic<const char*> writer{""};    // the op of the last one, for error messages
  std::byte* data = nullptr;              // null on Device::meta
  size_t bytes = 0;
  memory::Source* source = nullptr;       // null: the data follows this header
};
void destroy(Storage*) noexcept;
Ref<Storage> make_storage(size_t bytes, Device);

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
  bool stale = false;                      // a parameter that surgery took out of its model; see optim/optimizer.h
  bool retains_grad = false;               // not a leaf, but keeps its gradient

  TensorImpl();
  TensorImpl(const TensorImpl&) = delete;
  TensorImpl& operator=(const TensorImpl&) = delete;
  ~TensorImpl();
};
void destroy(TensorImpl*) noexcept;
void destroy(Node*) noexcept;
Ref<TensorImpl> make_impl();
void set_shape(View&, const Shape&);
void set_contiguous(View&);              // strides, numel from sizes; Error where the bytes overflow
void set_strided(View&);                 // numel and `contiguous` from sizes and strides
void allocate_storage(TensorImpl&);      // for the contiguous geometry in its view
void share_storage(TensorImpl&, const TensorImpl& from);  // geometry is set, data is not
Ref<TensorImpl> alias(const TensorImpl&);  // same memory and geometry, no history, not a view

// How a new tensor is to be. Converts from a DType or a Device: zeros({2, 3}, f64), empty({2}, {f32, "meta"}).
struct Options {
  Options() = default;
  Options(DType t) : dtype(t) {}  // NOLINT(google-explicit-constructor)
  Options(Device d) : device(d) {}  // NOLINT(google-explicit-constructor)
  Options(Device::Type d) : device(d) {}  // NOLINT(google-explicit-constructor)
  Options(DType t, Device d) : dtype(t), device(d) {}
  DType dtype_or(DType other) const { return dtype.value_or(other); }

  std::optional<DType> dtype;  // default: f32, or what the values are
  Device device;
};

enum class MemoryFormat : uint8_t { preserve, contiguous, channels_last, channels_last_3d };

class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(Ref<TensorImpl> impl) : impl_(std::move(impl)) {}

  // What it is. Sizes and strides in elements; dimensions may be counted from the end.
  bool defined() const { return bool(impl_); }
  Shape shape() const { return Shape(view()); }
  Shape strides() const { return Shape(std::span(view().stride, view().rank)); }
  int dim() const { return view().rank; }
  int64_t size(int d) const;
  int64_t stride(int d) const;
  int64_t numel() const { return view().numel; }
  int64_t nbytes() const { return numel() * size_of(dtype()); }
  int64_t storage_offset() const { return view().offset; }
  DType dtype() const { return view().dtype; }
  Device device() const { return view().device; }
  Options options() const { return {dtype(), device()}; }
  bool is_contiguous(MemoryFormat = MemoryFormat::contiguous) const;
  bool is_same(const Tensor& o) const { return impl_.get() == o.impl_.get(); }
  const View& view() const { return impl_->view; }
  uint32_t version() const { return impl_->storage->version; }  // counts in-place writes to the memory

  // Elements on cpu. T must be the C++ type of dtype(); the memory is that of the view, not always contiguous.
  template <class T> const T* data() const { return static_cast<const T*>(typed(dtype_v<T>)); }
  template <class T> T* mutable_data() const { return static_cast<T*>(written(dtype_v<T>)); }  // moves the version
  template <class T> T item() const { return item().template to<T>(); }
  Scalar item() const;                                     // of a tensor with one element
  double at(std::initializer_list<int64_t> index) const;  // slow: tests and printing
  Scalar scalar_at(std::span<const int64_t> index) const;

  // Autograd (what the words mean: docs/autograd.md).
  bool requires_grad() const;
  bool is_leaf() const;
  const Tensor& requires_grad_(bool on = true) const;
  Tensor grad() const;  // undefined where none arrived
  void set_grad(Tensor) const;
  void retain_grad() const;  // keep the gradient of a tensor that is not a leaf
  bool retains_grad() const { return impl_->retains_grad; }
  void set_data(const Tensor&) const;  // of a leaf: other memory, dtype, device; same identity, no history
  HookHandle register_hook(Hook) const;  // runs when the gradient of this tensor is complete
  HookHandle register_post_accumulate_grad_hook(std::function<void(const Tensor& leaf)>) const;
  // Adds gradients to .grad of the leaves, or of `inputs` only. `gradient` may be left out for one real element.
  void backward(const Tensor& gradient = {}, bool retain_graph = false, bool create_graph = false,
                const Tensors& inputs = {}) const;
  Tensor detach() const;
  const Tensor& detach_() const;
  std::string_view grad_fn() const;  // "mul"; empty for leaves
  bool is_inference() const { return impl_->inference; }

  // Views of the same memory. Lists of dimensions and sizes are Shapes: x.permute({1, 0}). reshape and flatten copy
  // where no strides would do; view and unflatten refuse.
  Tensor view(const Shape&) const;  // one size may be -1
  Tensor reshape(const Shape&) const;
  Tensor transpose(int a, int b) const;
  Tensor swapaxes(int a, int b) const { return transpose(a, b); }
  Tensor swapdims(int a, int b) const { return transpose(a, b); }
  Tensor t() const;   // of at most 2 dimensions
  Tensor T() const;   // all dimensions reversed
  Tensor mT() const;  // the last two swapped
  Tensor permute(const Shape& order) const;
  Tensor movedim(const Shape& from, const Shape& to) const;
  Tensor movedim(int from, int to) const { return movedim(Shape{from}, Shape{to}); }
  Tensor expand(const Shape&) const;  // -1 keeps a size
  Tensor expand_as(const Tensor& o) const { return expand(o.shape()); }
  Tensor broadcast_to(const Shape& s) const { return expand(s); }
  Tensor view_as(const Tensor& o) const { return view(o.shape()); }
  Tensor reshape_as(const Tensor& o) const { return reshape(o.shape()); }
  Tensor squeeze() const;
  Tensor squeeze(int dim) const;
  Tensor squeeze(const Shape& dims) const;
  Tensor unsqueeze(int dim) const;
  Tensor flatten(int start = 0, int end = -1) const;
  Tensor unflatten(int dim, const Shape& sizes) const;
  Tensor narrow(int dim, int64_t start, int64_t length) const;
  Tensor slice(int dim, std::optional<int64_t> start = {}, std::optional<int64_t> end = {}, int64_t step = 1) const;
  Tensor select(int dim, int64_t index) const;
  Tensor diagonal(int64_t offset = 0, int dim1 = 0, int dim2 = 1) const;
  Tensor unfold(int dim, int64_t size, int64_t step) const;  // windows, in a new last dimension
  Tensor as_strided(const Shape& size, const Shape& stride, std::optional<int64_t> storage_offset = {}) const;
  Tensors split(int64_t size, int dim = 0) const;
  Tensors split(const std::vector<int64_t>& sizes, int dim = 0) const;
  Tensors chunk(int64_t chunks, int dim = 0) const;
  Tensors tensor_split(int64_t sections, int dim = 0) const;
  Tensors tensor_split(const std::vector<int64_t>& ends, int dim = 0) const;
  Tensors unbind(int dim = 0) const;

  Tensor clone(MemoryFormat = MemoryFormat::preserve) const;
  Tensor contiguous(MemoryFormat = MemoryFormat::contiguous) const;
  Tensor to(MemoryFormat) const;
  Tensor to(DType) const;
  // Between pinned memory and cuda, `non_blocking` returns before the copy is done (core/cuda.h).
  Tensor to(Device, bool non_blocking = false) const;
  Tensor to(Device::Type t) const { return to(Device(t)); }
  Tensor to(const Options&) const;
  Tensor cuda(int index = 0) const { return to(Device(Device::cuda, index)); }
  Tensor cpu() const { return to(Device(Device::cpu)); }

  // In place: as the functions of the same name in core/ops.h.
  const Tensor& copy_(const Tensor&) const;
  const Tensor& fill_(Scalar) const;
  const Tensor& zero_() const { return fill_(0); }
  const Tensor& add_(const Tensor&) const;
  const Tensor& add_(const Tensor&, double alpha) const;
  const Tensor& add_(Scalar) const;
  const Tensor& sub_(const Tensor&) const;
  const Tensor& sub_(const Tensor&, double alpha) const;
  const Tensor& sub_(Scalar) const;
  const Tensor& mul_(const Tensor&) const;
  const Tensor& mul_(Scalar) const;
  const Tensor& div_(const Tensor&) const;
  const Tensor& div_(Scalar) const;
  const Tensor& pow_(Scalar) const;
  const Tensor& addcmul_(const Tensor&, const Tensor&, double value = 1) const;
  const Tensor& addcdiv_(const Tensor&, const Tensor&, double value = 1) const;
  const Tensor& lerp_(const Tensor& end, const Tensor& weight) const;
  const Tensor& lerp_(const Tensor& end, double weight) const;
  const Tensor& clamp_(std::optional<Scalar> min, std::optional<Scalar> max = {}) const;
  const Tensor& clamp_min_(Scalar) const;
  const Tensor& clamp_max_(Scalar) const;
  const Tensor& neg_() const;
  const Tensor& abs_() const;
  const Tensor& square_() const;
  const Tensor& reciprocal_() const;
  const Tensor& sign_() const;
  const Tensor& floor_() const;
  const Tensor& ceil_() const;
  const Tensor& trunc_() const;
  const Tensor& round_(int decimals = 0) const;
  const Tensor& exp_() const;
  const Tensor& log_() const;
  const Tensor& sqrt_() const;
  const Tensor& rsqrt_() const;
  const Tensor& sin_() const;
  const Tensor& cos_() const;
  const Tensor& tanh_() const;
  const Tensor& sigmoid_() const;
  const Tensor& relu_() const;

  // Indexing (core/index.h): x.index({Slice(1, None, 2), Ellipsis, None, 3, mask, indices}).
  Tensor index(std::initializer_list<TensorIndex>) const;
  Tensor index(const std::vector<TensorIndex>&) const;
  const Tensor& index_put_(std::initializer_list<TensorIndex>, const Tensor& value, bool accumulate = false) const;
  const Tensor& index_put_(std::initializer_list<TensorIndex>, Scalar value) const;
  const Tensor& index_put_(const std::vector<TensorIndex>&, const Tensor& value, bool accumulate = false) const;

  // In place, by index (their functions are in core/ops.h).
  const Tensor& scatter_(int dim, const Tensor& index, const Tensor& src) const;
  const Tensor& scatter_(int dim, const Tensor& index, Scalar value) const;
  const Tensor& scatter_add_(int dim, const Tensor& index, const Tensor& src) const;
  const Tensor& index_add_(int dim, const Tensor& index, const Tensor& source, Scalar alpha = 1) const;
  const Tensor& index_copy_(int dim, const Tensor& index, const Tensor& source) const;
  const Tensor& index_fill_(int dim, const Tensor& index, Scalar value) const;
  const Tensor& masked_fill_(const Tensor& mask, Scalar value) const;
  const Tensor& tril_(int64_t diagonal = 0) const;
  const Tensor& triu_(int64_t diagonal = 0) const;
  const Tensor& masked_scatter_(const Tensor& mask, const Tensor& source) const;

  // In place, random (core/random.h).
  const Tensor& uniform_(double from = 0, double to = 1, Generator* = nullptr) const;
  const Tensor& normal_(double mean = 0, double std = 1, Generator* = nullptr) const;
  const Tensor& exponential_(double rate = 1, Generator* = nullptr) const;
  const Tensor& bernoulli_(double p = 0.5, Generator* = nullptr) const;
  const Tensor& random_(Generator* = nullptr) const;  // all integers >= 0 that the dtype holds exactly
  const Tensor& random_(int64_t to, Generator* = nullptr) const;
  const Tensor& random_(int64_t from, int64_t to, Generator* = nullptr) const;

  TensorImpl* impl() const { return impl_.get(); }
  const Ref<TensorImpl>& ref() const { return impl_; }

 private:
  const void* typed(DType) const;
  void* written(DType) const;
  Ref<TensorImpl> impl_;
};

// ---- making tensors (values and random numbers: core/ops.h) --------------------------------------------------

Tensor empty(const Shape&, const Options& = {});
Tensor full(const Shape&, Scalar value, const Options& = {});
inline Tensor zeros(const Shape& s, const Options& o = {}) { return full(s, 0.0, o); }
inline Tensor ones(const Shape& s, const Options& o = {}) { return full(s, 1.0, o); }
Tensor stack(const Tensors&, int dim = 0);
Tensor scalar_tensor(Scalar, const Options& = {});  // 0-dim; dtype by the kind of number
// Copies `values` (contiguous, of type `from`).
Tensor tensor_of(const void* values, DType from, const Shape&, const Options&);
template <class T> Tensor tensor(std::span<const T> values, const Shape& shape, const Options& options = {}) {
  GRAFT_CHECK(values.size() == numel_of(shape), ErrorCode::shape_mismatch, "tensor: ", values.size(),
              " values for shape ", shape);
  return tensor_of(values.data(), dtype_v<T>, shape, options);
}
// tensor({1., 2.}), tensor({1, 2, 3}) of i64, tensor({1., 2., 3., 4.}, {2, 2}, f64).
template <class T> Tensor tensor(std::initializer_list<T> values, const Shape& shape, const Options& options = {}) {
  GRAFT_CHECK(values.size() == numel_of(shape), ErrorCode::shape_mismatch, "tensor: ", values.size(),
              " values for shape ", shape);
  if constexpr (std::is_same_v<T, int>) {
    const std::vector<int64_t> wide(values.begin(), values.end());
    return tensor_of(wide.data(), i64, shape, options);
  } else {
    Options o = options;
    if (std::is_same_v<T, double> && !o.dtype) o.dtype = f32;
    const std::unique_ptr<T[]> copy(new T[values.size()]);
    std::copy(values.begin(), values.end(), copy.get());
    return tensor_of(copy.get(), dtype_v<T>, shape, o);
  }
}
template <class T> Tensor tensor(std::initializer_list<T> values, const Options& options = {}) {
  return tensor(values, Shape({int64_t(values.size())}), options);
}
// Nested lists: tensor({{1., 2.}, {3., 4.}}).
template <class T> Tensor tensor(std::initializer_list<std::initializer_list<T>> rows, const Options& options = {}) {
  std::vector<Tensor> made;
  for (const std::initializer_list<T>& row : rows) made.push_back(tensor(row, options));
  return stack(made);
}
template <class T> Tensor tensor(std::initializer_list<std::initializer_list<std::initializer_list<T>>> blocks, const Options& options = {}) {
  std::vector<Tensor> made;
  for (const auto& block : blocks) made.push_back(tensor(block, options));
  return stack(made);
}
template <class T>
  requires(!std::is_same_v<T, bool>)
Tensor tensor(const std::vector<T>& values, const Options& options = {}) {
  return tensor(std::span<const T>(values), Shape({int64_t(values.size())}), options);
}
// Foreign memory, not copied. `release` runs when the last tensor that uses it is gone; strides in elements.
Tensor from_blob(void* data, const Shape&, const Options& = {}, std::function<void()> release = {});
Tensor from_blob(void* data, const Shape&, const Shape& strides, const Options& = {}, std::function<void()> release = {});

std::ostream& operator<<(std::ostream&, const Shape&);   // [2,3]
std::ostream& operator<<(std::ostream&, const View&);    // f32[2,3]@cpu
std::ostream& operator<<(std::ostream&, const Tensor&);  // the values, as PyTorch prints them
std::string summary(const Tensor&);                      // f32[2,3]@cpu, or "undefined"
void write_part(std::ostream&, const Tensor&);           // so do errors name a tensor
std::ostream& operator<<(std::ostream&, Device);

}  // namespace graft

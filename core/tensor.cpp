#include "graft/core/tensor.h"

#include <algorithm>
#include <new>
#include <ostream>
#include "graft/core/error.h"
#include "graft/core/autograd.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {

// ---- shapes --------------------------------------------------------------------------------------------------

Shape::Shape(std::initializer_list<int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
Shape::Shape(std::span<const int64_t> dims) {
  GRAFT_CHECK(dims.size() <= kMaxRank, "shape: rank ", dims.size(), " exceeds ", kMaxRank);
  rank_ = int(dims.size());
  std::ranges::copy(dims, dims_.begin());
}
void Shape::push_back(int64_t d) {
  GRAFT_CHECK(rank_ < kMaxRank, "shape: rank exceeds ", kMaxRank);
  dims_[size_t(rank_++)] = d;
}
bool operator==(const Shape& a, const Shape& b) { return std::ranges::equal(a, b); }

void set_shape(View& v, const Shape& shape) {
  v.rank = uint8_t(shape.rank());
  for (int i = 0; i < shape.rank(); ++i) {
    GRAFT_CHECK(shape[i] >= 0, "shape: negative size in ", shape);
    v.size[i] = shape[i];
  }
}

void set_contiguous(View& v) {
  int64_t step = 1;
  for (int i = v.rank - 1; i >= 0; --i) {
    v.stride[i] = step;
    step *= v.size[i];
  }
  v.numel = step;
  v.contiguous = true;
}

// ---- memory --------------------------------------------------------------------------------------------------

constexpr size_t kHeader = 64;  // keeps the data of a storage 64-byte aligned
static_assert(sizeof(Storage) <= kHeader);

Ref<Storage> make_storage(size_t bytes, Device device) {
  memory::Source* source = device == Device::meta ? nullptr : memory::source();
  const bool inline_data = !source && device != Device::meta;
  auto storage = Ref<Storage>::adopt(new (memory::allocate(kHeader + (inline_data ? bytes : 0))) Storage);
  storage->bytes = inline_data ? bytes : 0;
  if (inline_data) storage->data = reinterpret_cast<std::byte*>(storage.get()) + kHeader;
  if (source) {
    storage->data = source->allocate(bytes);  // may throw: then the header is released without a source
    storage->source = source;
    storage->bytes = bytes;
  }
  return storage;
}
void destroy(Storage* s) noexcept {
  if (s->source) s->source->release(s->data, s->bytes);
  const size_t bytes = kHeader + (s->source ? 0 : s->bytes);
  s->~Storage();
  memory::release(s, bytes);
}

TensorImpl::TensorImpl() = default;
TensorImpl::~TensorImpl() = default;
Ref<TensorImpl> make_impl() { return Ref<TensorImpl>::adopt(new (memory::allocate(sizeof(TensorImpl))) TensorImpl); }
void destroy(TensorImpl* t) noexcept {
  t->~TensorImpl();
  memory::release(t, sizeof(TensorImpl));
}

void allocate_storage(TensorImpl& t) {
  t.storage = make_storage(size_t(t.view.numel * size_of(t.view.dtype)), t.view.device);
  t.view.data = t.storage->data;
}

void share_storage(TensorImpl& t, const TensorImpl& from) {
  View& v = t.view;
  t.storage = from.storage;
  v.numel = 1;
  v.contiguous = true;
  for (int i = v.rank - 1; i >= 0; --i) {
    if (v.size[i] != 1 && v.stride[i] != v.numel) v.contiguous = false;
    v.numel *= v.size[i];
  }
  if (v.numel == 0) v.contiguous = true;
  if (t.storage->data) v.data = t.storage->data + v.offset * size_of(v.dtype);
}

Ref<TensorImpl> alias(const TensorImpl& t) {
  Ref<TensorImpl> copy = make_impl();
  copy->view = t.view;
  copy->storage = t.storage;
  copy->inference = t.inference;
  return copy;
}

// ---- Tensor --------------------------------------------------------------------------------------------------

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  Ref<TensorImpl> t = make_impl();
  set_shape(t->view, shape);
  t->view.dtype = dtype;
  t->view.device = device;
  t->inference = thread_modes().inference;
  set_contiguous(t->view);
  allocate_storage(*t);
  return Tensor(std::move(t));
}

Tensor Tensor::of(std::initializer_list<double> values, const Shape& shape, DType dtype) {
  const Tensor t = empty(shape, DType::f64);
  GRAFT_CHECK(t.numel() == int64_t(values.size()), "Tensor::of: ", values.size(), " values for shape ", shape);
  std::ranges::copy(values, t.data<double>());
  return t.to(dtype);
}

Tensor Tensor::detach() const { return Tensor(alias(*impl_)); }

double Tensor::at(std::initializer_list<int64_t> index) const {
  GRAFT_CHECK(int(index.size()) == rank() && view().data, "at: ", index.size(), " indices into ", *this);
  int64_t offset = 0;
  int d = 0;
  for (const int64_t i : index) {
    GRAFT_CHECK(i >= 0 && i < dim(d), "at: index ", i, " out of range in dimension ", d, " of ", *this);
    offset += i * view().stride[d++];
  }
  switch (dtype()) {
    case DType::f32: return data<float>()[offset];
    case DType::f64: return data<double>()[offset];
    case DType::i64: return double(data<int64_t>()[offset]);
    case DType::boolean: return data<bool>()[offset];
  }
  return 0;
}

// ---- printing ------------------------------------------------------------------------------------------------

std::ostream& operator<<(std::ostream& o, const Shape& s) {
  o << '[';
  for (int i = 0; i < s.rank(); ++i) o << (i ? "," : "") << s[i];
  return o << ']';
}
std::ostream& operator<<(std::ostream& o, const View& v) {
  return o << name_of(v.dtype) << Shape(v) << '@' << name_of(v.device);
}
std::ostream& operator<<(std::ostream& o, const Tensor& t) { return t.defined() ? o << t.view() : o << "undefined"; }

}  // namespace graft

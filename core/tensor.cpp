#include "graft/core/tensor.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <new>
#include <ostream>
#include "graft/core/cuda.h"
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

size_t numel_of(const Shape& shape) {
  uint64_t n = 1;
  bool zero = false, overflow = false;
  for (const int64_t d : shape) {
    GRAFT_CHECK(d >= 0, ErrorCode::shape_mismatch, "shape: negative size in ", shape);
    zero = zero || d == 0;
    overflow = overflow || __builtin_mul_overflow(n, uint64_t(d), &n);
  }
  GRAFT_CHECK(zero || (!overflow && n <= uint64_t(INT64_MAX)), ErrorCode::overflow, "shape: the number of elements of ",
              shape, " does not fit into 64 bits");
  return zero ? 0 : size_t(n);
}

void set_shape(View& v, const Shape& shape) {
  v.rank = uint8_t(shape.rank());
  for (int i = 0; i < shape.rank(); ++i) {
    GRAFT_CHECK(shape[i] >= 0, ErrorCode::shape_mismatch, "shape: negative size in ", shape);
    v.size[i] = shape[i];
  }
}

[[noreturn, gnu::cold, gnu::noinline]] static void fail_overflow(const View& v) {
  fail(ErrorCode::overflow, "shape: the bytes of ", name_of(v.dtype), Shape(v), " do not fit into 63 bits");
}

void set_contiguous(View& v) {
  int64_t step = 1;
  bool zero = false, overflow = false;
  for (int i = v.rank - 1; i >= 0; --i) {
    v.stride[i] = step;
    if (v.size[i] == 0) [[unlikely]] zero = true;  // of the others the strides count as if it were 1
    else overflow |= __builtin_mul_overflow(step, v.size[i], &step);
  }
  v.numel = zero ? 0 : step;
  v.contiguous = true;
  if (overflow || step > INT64_MAX / 16) [[unlikely]]
    if (!zero || overflow) fail_overflow(v);
}

void set_strided(View& v) {
  v.numel = 1;
  v.contiguous = true;
  bool overflow = false;
  for (int i = v.rank - 1; i >= 0; --i) {
    if (v.size[i] != 1 && v.stride[i] != v.numel) v.contiguous = false;
    overflow |= __builtin_mul_overflow(v.numel, v.size[i], &v.numel);
  }
  if (overflow) [[unlikely]] v.numel = int64_t(numel_of(Shape(v)));  // zero, or an error
  if (v.numel == 0) v.contiguous = true;
}

// ---- memory --------------------------------------------------------------------------------------------------

constexpr size_t kHeader = 64;  // keeps the data of a storage 64-byte aligned
static_assert(sizeof(Storage) <= kHeader);

Ref<Storage> make_storage(size_t bytes, Device device) {
  memory::Source* source = device.type == Device::cpu    ? memory::source()
                           : device.type == Device::cuda ? &cuda::detail::memory_of(device.index)
                                                         : nullptr;
  const bool inline_data = !source && device.type != Device::meta;
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
  if (s->entries.load(std::memory_order_relaxed)) release_packs(*s);
  if (s->source) s->source->release(s->data, s->bytes);
  const size_t bytes = kHeader + (s->source ? 0 : s->bytes);
  s->~Storage();
  memory::release(s, bytes);
}

TensorImpl::TensorImpl() = default;
TensorImpl::~TensorImpl() {
  if (retains_grad) forget_retained(*this);
}
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
  t.storage = from.storage;
  set_strided(t.view);
  if (t.storage->data) t.view.data = t.storage->data + t.view.offset * size_of(t.view.dtype);
}

Ref<TensorImpl> alias(const TensorImpl& t) {
  Ref<TensorImpl> copy = make_impl();
  copy->view = t.view;
  copy->storage = t.storage;
  copy->inference = t.inference;
  return copy;
}

// ---- Tensor --------------------------------------------------------------------------------------------------

Tensor empty(const Shape& shape, const Options& options) {
  Ref<TensorImpl> t = make_impl();
  set_shape(t->view, shape);
  t->view.dtype = options.dtype_or(f32);
  t->view.device = thread_modes().dry_run ? Device(Device::meta) : options.device;
  t->inference = thread_modes().inference;
  set_contiguous(t->view);
  allocate_storage(*t);
  return Tensor(std::move(t));
}

using NotDry = ModeGuard<&Modes::dry_run, false>;  // constants of the program are real in a dry run, too

Tensor tensor_of(const void* values, DType from, const Shape& shape, const Options& options) {
  const NotDry real;
  const Tensor t = empty(shape, from);
  if (t.numel()) std::memcpy(t.view().data, values, size_t(t.nbytes()));
  return t.to(Options(options.dtype_or(from), options.device));
}

Tensor scalar_tensor(Scalar value, const Options& options) {
  const NotDry real;
  if (options.device.type == Device::cuda) return full({}, value, options);  // without a copy from the host
  const Tensor t = empty({}, Options(options.dtype_or(value.dtype()), Device::cpu));
  with_type(t.dtype(), AllTypes{}, [&](auto tag) {
    using T = typename decltype(tag)::type;
    *t.view().as<T>() = value.to<T>();
  });
  return options.device == Device::cpu ? t : t.to(options.device);
}

namespace {
struct Foreign final : memory::Source {
  explicit Foreign(std::function<void()> done) : done_(std::move(done)) {}
  std::byte* allocate(size_t) override { return nullptr; }
  void release(std::byte*, size_t) noexcept override {
    if (done_) done_();
    delete this;
  }
  std::function<void()> done_;
};
}  // namespace

Tensor from_blob(void* data, const Shape& shape, const Options& options, std::function<void()> release) {
  View v;
  set_shape(v, shape);
  v.dtype = options.dtype_or(f32);
  set_contiguous(v);
  return from_blob(data, shape, Shape(std::span(v.stride, v.rank)), options, std::move(release));
}
Tensor from_blob(void* data, const Shape& shape, const Shape& strides, const Options& options,
                 std::function<void()> release) {
  GRAFT_CHECK(shape.rank() == strides.rank(), "from_blob: shape ", shape, " and strides ", strides, " differ in rank");
  GRAFT_CHECK(options.device == Device::cpu, "from_blob: memory of ", to_string(options.device), " is not supported");
  Ref<TensorImpl> t = make_impl();
  set_shape(t->view, shape);
  t->view.dtype = options.dtype_or(f32);
  set_contiguous(t->view);  // checks for overflow
  GRAFT_CHECK(data || t->view.numel == 0, "from_blob: null data for ", shape);
  for (int i = 0; i < shape.rank(); ++i) {
    GRAFT_CHECK(strides[i] > 0 || shape[i] <= 1, "from_blob: stride ", strides[i], " of dimension ", i,
                " is not positive; elements must not share memory");
    t->view.stride[i] = strides[i];
  }
  set_strided(t->view);
  GRAFT_CHECK(!may_overlap(t->view), "from_blob: with shape ", shape, " and strides ", strides,
              " elements share memory");
  int64_t last = 0;
  for (int i = 0; i < shape.rank(); ++i) last += std::max<int64_t>(shape[i] - 1, 0) * strides[i];
  auto source = std::make_unique<Foreign>(std::move(release));
  t->storage = make_storage(0, Device::meta);
  t->storage->data = static_cast<std::byte*>(data);
  t->storage->bytes = size_t((last + 1) * size_of(t->view.dtype));
  t->storage->source = source.release();
  t->view.data = t->storage->data;
  t->inference = thread_modes().inference;
  return Tensor(std::move(t));
}

int64_t Tensor::size(int d) const { return view().size[wrap_dim("size", d, view())]; }
int64_t Tensor::stride(int d) const { return view().stride[wrap_dim("stride", d, view())]; }

bool Tensor::is_contiguous(MemoryFormat format) const {
  const View& v = view();
  if (format == MemoryFormat::contiguous || format == MemoryFormat::preserve) return v.contiguous;
  const int rank = format == MemoryFormat::channels_last ? 4 : 5;
  if (v.rank != rank) return false;
  int64_t step = 1;
  for (int i = 0; i < rank; ++i) {  // channels, then the spatial dimensions from the last, then the batch
    const int d = i == 0 ? 1 : i == rank - 1 ? 0 : rank - i;
    if (v.size[d] != 1 && v.stride[d] != step) return false;
    step *= v.size[d];
  }
  return true;
}

static void need_host_memory(std::string_view what, const Tensor& t) {
  if (t.device().type == Device::cuda) [[unlikely]]
    fail(ErrorCode::device_mismatch, what, ": ", t, " is in the memory of the device; use to(Device::cpu), or view().data as its address there");
}
const void* Tensor::typed(DType t) const {
  GRAFT_CHECK(t == dtype(), ErrorCode::dtype_mismatch, "data: ", *this, " read as ", name_of(t));
  need_host_memory("data", *this);
  if (!view().data && numel() > 0) need_values("data", *this);
  return view().data;
}
void* Tensor::written(DType t) const {
  GRAFT_CHECK(t == dtype(), ErrorCode::dtype_mismatch, "mutable_data: ", *this, " written as ", name_of(t));
  need_host_memory("mutable_data", *this);
  if (!view().contiguous && may_overlap(view())) [[unlikely]]
    fail("mutable_data: elements of the expanded ", *this, " share memory; clone() it first");
  if (thread_modes().dry_run || (!view().data && numel() > 0)) need_values("mutable_data", *this);
  impl_->storage->version.fetch_add(1, std::memory_order_relaxed);
  impl_->storage->writer.store("mutable_data", std::memory_order_relaxed);
  return view().data;
}

Scalar Tensor::item() const {
  GRAFT_CHECK(numel() == 1, ErrorCode::shape_mismatch, "item: needs one element, not ", *this);
  constexpr std::array<int64_t, kMaxRank> first{};
  return scalar_at(std::span(first.data(), size_t(dim())));
}

Scalar Tensor::scalar_at(std::span<const int64_t> index) const {
  GRAFT_CHECK(int(index.size()) == dim(), ErrorCode::shape_mismatch, "at: ", index.size(), " indices into ", *this);
  need_values("item", *this);
  int64_t offset = 0;
  int d = 0;
  for (const int64_t i : index) {
    GRAFT_CHECK(i >= 0 && i < view().size[d], ErrorCode::index_out_of_range, "at: index ", i,
                " out of range in dimension ", d, " of ", *this);
    offset += i * view().stride[d++];
  }
  const std::byte* at = view().data + offset * size_of(dtype());
  alignas(16) std::byte copy[16];
  if (device().type == Device::cuda) {
    cuda::detail::download(copy, at, size_t(size_of(dtype())), device().index);
    at = copy;
  }
  Scalar value;
  with_type(dtype(), AllTypes{}, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T x = *reinterpret_cast<const T*>(at);
    if constexpr (is_half_v<T>) value = float(x);
    else value = x;
  });
  return value;
}
double Tensor::at(std::initializer_list<int64_t> index) const {
  return scalar_at(std::span(index.begin(), index.size())).to<double>();
}

// ---- devices -------------------------------------------------------------------------------------------------

std::string_view name_of(Device::Type t) {
  constexpr std::array<std::string_view, kDevices> names{"cpu", "cuda", "meta"};
  return names[size_t(t)];
}
std::string to_string(Device d) {
  return std::string(name_of(d.type)) + (d.type == Device::cuda ? ":" + std::to_string(d.index) : "");
}
Device::Device(std::string_view text) {
  const std::string_view kind = text.substr(0, text.find(':'));
  bool ok = false;
  for (int t = 0; t < kDevices; ++t)
    if (kind == name_of(Type(t))) type = Type(t), ok = true;
  if (kind.size() < text.size()) {
    const char* last = text.data() + text.size();
    const auto [end, error] = std::from_chars(text.data() + kind.size() + 1, last, index);
    ok = ok && error == std::errc() && end == last && (type == cuda || index == 0);
  }
  GRAFT_CHECK(ok, ErrorCode::invalid_argument, "device: '", text, "' is not one of cpu, cuda, cuda:N, meta");
}

// ---- printing ------------------------------------------------------------------------------------------------

std::ostream& operator<<(std::ostream& o, const Shape& s) {
  o << '[';
  for (int i = 0; i < s.rank(); ++i) o << (i ? "," : "") << s[i];
  return o << ']';
}
std::ostream& operator<<(std::ostream& o, Device d) { return o << to_string(d); }
std::ostream& operator<<(std::ostream& o, const View& v) {
  return o << name_of(v.dtype) << Shape(v) << '@' << v.device;
}
std::string summary(const Tensor& t) { return t.defined() ? concat(t.view()) : "undefined"; }
void write_part(std::ostream& o, const Tensor& t) { o << summary(t); }

}  // namespace graft

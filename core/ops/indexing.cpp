// x.index({...}) and x.index_put_({...}, value): integers, slices, Ellipsis and None are views; masks and index tensors
// are broadcast together and looked up by one op. The rules are PyTorch's.
#include "graft/core/ops/indexing.h"

#include "graft/core/autograd.h"
#include "graft/core/cuda_graph.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {
namespace {

using Kind = TensorIndex::Kind;

bool is_mask(const Tensor& t) { return t.dtype() == boolean || t.dtype() == u8; }

// A view of x, and for some of its dimensions an index tensor (undefined: the whole dimension).
struct Selection {
  Tensor view;
  std::array<Tensor, kMaxRank> index;
  bool any() const { return std::ranges::any_of(index, &Tensor::defined); }
};

int consumed(const TensorIndex& i) {
  if (i.kind == Kind::tensor) return is_mask(i.tensor) ? i.tensor.dim() : 1;
  return i.kind == Kind::integer || i.kind == Kind::slice;
}

class Selector {
 public:
  Selector(const Tensor& x, std::span<const TensorIndex> indices) : x_(x) {
    s_.view = x;
    int total = 0, ellipses = 0;
    for (const TensorIndex& i : indices) {
      GRAFT_CHECK(i.kind != Kind::tensor || i.tensor.defined(), "index: an index is undefined");
      total += consumed(i);
      ellipses += i.kind == Kind::ellipsis;
    }
    GRAFT_CHECK(total <= x.dim(), ErrorCode::index_out_of_range, "index: too many indices (", total, ") for ", x);
    GRAFT_CHECK(ellipses <= 1, "index: more than one Ellipsis");
    for (const TensorIndex& i : indices) apply_one(i, x.dim() - total);
  }
  Selection take() { return std::move(s_); }

 private:
  void apply_one(const TensorIndex& i, int rest) {
    switch (i.kind) {
      case Kind::integer: return pick(i.integer);
      case Kind::slice: s_.view = s_.view.slice(dim_++, i.slice.start, i.slice.stop, i.slice.step); return;
      case Kind::none: s_.view = s_.view.unsqueeze(dim_++); return;
      case Kind::ellipsis: dim_ += rest; return;
      case Kind::boolean: return put_flag(i.integer != 0);
      case Kind::tensor: return apply_tensor(i.tensor);
    }
  }
  void pick(int64_t index) {
    const int64_t size = s_.view.size(dim_);
    GRAFT_CHECK(index >= -size && index < size, ErrorCode::index_out_of_range, "index: index ", index,
                " is out of range for dimension ", dim_, " with size ", size, ": ", x_);
    s_.view = s_.view.select(dim_, index);
  }
  void put_flag(bool on) {  // a new dimension of size 1 or 0
    s_.view = s_.view.unsqueeze(dim_);
    s_.index[size_t(dim_++)] = zeros({on ? 1 : 0}, {i64, x_.device()});
  }
  void apply_tensor(const Tensor& t) {
    const bool known = t.device().type != Device::meta && !thread_modes().dry_run;
    if (t.dim() == 0) cuda::detail::need_readable("index", t);
    if (t.dim() == 0 && known)
      return is_mask(t) ? put_flag(t.item<bool>()) : pick(as_index("index", t).item<int64_t>());
    if (!is_mask(t)) {
      s_.index[size_t(dim_++)] = as_index("index", t).to(x_.device());
      return;
    }
    for (int d = 0; d < t.dim(); ++d)
      GRAFT_CHECK(t.size(d) == s_.view.size(dim_ + d), ErrorCode::shape_mismatch, "index: the mask ", t,
                  " does not match dimension ", dim_ + d, " of ", s_.view);
    if (t.dim() == 0) fail(ErrorCode::data_dependent, "index: the size of the result depends on the values of ", t);
    for (const Tensor& column : nonzero(t).unbind(1)) s_.index[size_t(dim_++)] = column.to(x_.device());
  }

  const Tensor& x_;
  Selection s_;
  int dim_ = 0;
};

struct Lookup {
  IndexAttrs attrs;
  Tensors index;  // broadcast to one shape, checked
};
Lookup lookup_of(const Selection& s) {
  Lookup l;
  Shape shape;
  for (int d = 0; d < s.view.dim(); ++d) {
    const Tensor& t = s.index[size_t(d)];
    if (!t.defined()) continue;
    GRAFT_CHECK(l.attrs.n < kMaxIndices, "index: more than ", kMaxIndices, " dimensions with index tensors");
    check_indices("index", t, -s.view.size(d), s.view.size(d), d, s.view);
    l.attrs.dims[l.attrs.n++] = uint8_t(d);
    l.index.push_back(t);
    while (shape.rank() < t.dim()) {  // grow in front
      Shape wider{1};
      for (const int64_t n : shape) wider.push_back(n);
      shape = wider;
    }
    for (int i = 1; i <= t.dim(); ++i) {
      int64_t& n = shape[shape.rank() - i];
      GRAFT_CHECK(n == 1 || t.size(-i) == 1 || n == t.size(-i), ErrorCode::shape_mismatch,
                  "index: the index tensors do not broadcast: ", l.index.front(), ", ", t);
      if (n == 1) n = t.size(-i);
    }
  }
  for (Tensor& t : l.index) t = t.expand(shape);
  return l;
}

// Leading dimensions of size 1 that the destination does not have are dropped, as in an assignment in Python.
Tensor fitted(Tensor value, const Tensor& to, int rank) {
  value = value.to(to.dtype()).to(to.device());
  while (value.dim() > rank && value.size(0) == 1) value = value.squeeze(0);
  return value;
}

}  // namespace

static Tensor index_with(const Tensor& x, std::span<const TensorIndex> indices) {
  const Selection s = Selector(x, indices).take();
  if (!s.any()) return s.view.is_same(x) ? x.squeeze(Shape{}) : s.view;
  const Lookup l = lookup_of(s);
  return index_at(s.view, l.index, l.attrs);
}
static void put_with(const Tensor& x, std::span<const TensorIndex> indices, const Tensor& value, bool accumulate) {
  const Selection s = Selector(x, indices).take();
  if (!s.any()) {
    const Tensor v = fitted(value, s.view, s.view.dim());
    accumulate ? s.view.add_(v) : s.view.copy_(v);
    return;
  }
  Lookup l = lookup_of(s);
  l.attrs.put = accumulate ? Put::add : Put::assign;
  const Shape selected = indexed_shape(s.view.view(), l.index[0].view(), l.attrs);
  const Tensor v = fitted(value, s.view, selected.rank());
  index_put_at_(s.view, v.expand(selected), l.index, l.attrs);
}

Tensor Tensor::index(std::initializer_list<TensorIndex> indices) const {
  return index_with(*this, std::span(indices.begin(), indices.size()));
}
Tensor Tensor::index(const std::vector<TensorIndex>& indices) const { return index_with(*this, indices); }
const Tensor& Tensor::index_put_(std::initializer_list<TensorIndex> indices, const Tensor& value,
                                 bool accumulate) const {
  put_with(*this, std::span(indices.begin(), indices.size()), value, accumulate);
  return *this;
}
const Tensor& Tensor::index_put_(std::initializer_list<TensorIndex> indices, Scalar value) const {
  put_with(*this, std::span(indices.begin(), indices.size()), scalar_tensor(value), false);
  return *this;
}
const Tensor& Tensor::index_put_(const std::vector<TensorIndex>& indices, const Tensor& value, bool accumulate) const {
  put_with(*this, indices, value, accumulate);
  return *this;
}

}  // namespace graft

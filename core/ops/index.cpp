// Reading and writing elements by index: gather, scatter, index, index_put and what is made of them.
#include "graft/kernels/index/attrs.h"

#include "graft/core/autograd.h"
#include "graft/core/cuda_graph.h"
#include "graft/core/ops.h"
#include "graft/core/ops/indexing.h"

namespace graft::inline v1 {

// ---- indices -------------------------------------------------------------------------------------------------

static const OpDef first_outside_op{.name = "first_outside", .infer = [](Infer& c) {
                                         c.out().rank = 1;
                                         c.out().size[0] = 2;
                                       }};

bool has_values(const Tensor& t) {
  return t.device().type != Device::meta && !thread_modes().dry_run && !cuda::detail::is_unreadable(t);
}
std::optional<int64_t> first_outside(const Tensor& index, const RangeAttrs& range) {
  if (index.numel() == 0 || !has_values(index)) return {};
  const Tensor found = apply(first_outside_op, range, index).to(Device::cpu);
  const auto* p = found.data<int64_t>();
  return p[0] ? std::optional(p[1]) : std::nullopt;
}
void check_indices(std::string_view op, const Tensor& index, int64_t low, int64_t size, int dim, const Tensor& x) {
  const auto bad = first_outside(index, {low, size});
  GRAFT_CHECK(!bad, ErrorCode::index_out_of_range, op, ": index ", *bad, " is out of range for dimension ",
              dim, " with size ", size, ": ", x);
}
Tensor as_index(std::string_view op, const Tensor& index) {
  GRAFT_CHECK(index.defined(), op, ": the index is undefined");
  GRAFT_CHECK(index.dtype() == i64 || index.dtype() == i32, ErrorCode::dtype_mismatch, op,
              ": indices must be i64 or i32, not ", index);
  return index.to(i64);
}

// ---- gather, scatter -----------------------------------------------------------------------------------------

static Tensor put_at(const Tensor& x, int dim, const Tensor& index, const Tensor& src, Put put);

static const OpDef gather_op{
    .name = "gather",
    .infer = [](Infer& c) { copy_sizes(c.out(), c.in(1)); },
    .backward =
        [](Backward& b) {
          const Tensor zero = zeros(b.input_shape(0), b.g().options());
          b.to(0) = put_at(zero, b.attrs<ScatterAttrs>().dim, b.input(1), b.g(), Put::add);
        },
    .reads = {input(1)},
};
static Tensor take_at(const Tensor& x, int dim, const Tensor& index) {
  return apply(gather_op, ScatterAttrs{dim}, x, index);
}

static Tensor equal_where(const Tensor& a, const Tensor& b) {  // 1 or 0
  const NoGrad quiet;
  return ones({}, a.options()) - gt(a, b).to(a.dtype()) - gt(b, a).to(a.dtype());
}
static void scatter_backward(Backward& b) {
  const auto [dim, put] = b.attrs<ScatterAttrs>();
  const Tensor& index = b.input(1);
  if (put == Put::assign || put == Put::add) {
    if (b.needs(0))
      b.to(0) = put == Put::add ? b.g() : put_at(b.g(), dim, index, zeros(index.shape(), b.g().options()), put);
    if (b.needs(2)) b.to(2) = take_at(b.g(), dim, index);
    return;
  }
  const Tensor &x = b.input(0), &src = b.input(2), y = b.output();
  if (put == Put::multiply) {
    const Tensor gy = b.g() * y;
    if (b.needs(0)) b.to(0) = gy / x;
    if (b.needs(2)) b.to(2) = take_at(gy, dim, index) / src;
    return;
  }
  // The gradient of an extremum is shared evenly by all that attain it.
  const Tensor in_x = equal_where(x, y), in_src = equal_where(src, take_at(y, dim, index));
  const Tensor share = b.g() / put_at(in_x, dim, index, in_src, Put::add);
  if (b.needs(0)) b.to(0) = share * in_x;
  if (b.needs(2)) b.to(2) = take_at(share, dim, index) * in_src;
}
static const OpDef scatter_op{  // assign and add read the index only
    .name = "scatter",
    .infer = infer_same,
    .backward = scatter_backward,
    .reads = {input(1), 0, input(1)},
};
constexpr Reads kReducedReads = input(0) | input(1) | input(2) | output();
static const OpDef scatter_reduce_op{
    .name = "scatter",
    .infer = infer_same,
    .backward = scatter_backward,
    .reads = {kReducedReads, 0, kReducedReads},
};
static const OpDef& scatter_op_for(Put put) { return put <= Put::add ? scatter_op : scatter_reduce_op; }
static Tensor put_at(const Tensor& x, int dim, const Tensor& index, const Tensor& src, Put put) {
  return apply(scatter_op_for(put), ScatterAttrs{dim, put}, x, index, src);
}

static int dim_of_index(std::string_view op, int dim, const Tensor& x, const Tensor& index) {
  GRAFT_CHECK(index.dim() == x.dim() || (x.dim() == 0 && index.dim() == 1) || (x.dim() == 1 && index.dim() == 0),
              ErrorCode::shape_mismatch, op, ": ", x, " and index ", index, " differ in rank");
  return x.dim() == 0 && (dim == 0 || dim == -1) ? 0 : wrap_dim(op, dim, x.view());
}
// Index sizes may be smaller than those of x, but for `dim`, where they are free.
static void check_index_sizes(std::string_view op, int dim, const Tensor& index, const Tensor& x) {
  if (index.numel() == 0) return;
  for (int d = 0; d < std::min(index.dim(), x.dim()); ++d)
    GRAFT_CHECK(d == dim || index.size(d) <= x.size(d), ErrorCode::shape_mismatch, op, ": index ", index,
                " is larger than ", x, " in dimension ", d);
}
Tensor gather(const Tensor& x, int dim, const Tensor& index) {
  const int d = dim_of_index("gather", dim, x, index);
  const Tensor i = as_index("gather", index);
  if (x.dim() == 1 && i.dim() == 0) return gather(x, dim, i.reshape({1})).reshape({});
  check_index_sizes("gather", d, i, x);
  check_indices("gather", i, 0, x.dim() ? x.size(d) : 1, d, x);
  return take_at(x, d, i);
}

// Values that lie in the memory that is written are read before: they are not written element for element.
static Tensor apart(const Tensor& values, const Tensor& from) {
  return values.impl()->storage.get() == from.impl()->storage.get() ? values.clone() : values;
}
namespace {
struct ScatterCall { int dim; Tensor index, src; };
}
static ScatterCall scatter_call(const Tensor& x, int dim, const Tensor& index, const Tensor& src) {
  ScatterCall c{dim_of_index("scatter", dim, x, index), as_index("scatter", index), src};
  GRAFT_CHECK(src.dtype() == x.dtype(), ErrorCode::dtype_mismatch, "scatter: source ", src, " and destination ", x,
              " differ in dtype");
  if (c.index.dim() != x.dim()) c.index = c.index.reshape(x.dim() ? Shape{1} : Shape{});
  if (c.src.dim() != x.dim() && c.src.numel() == 1) c.src = c.src.reshape(c.index.shape());
  check_index_sizes("scatter", c.dim, c.index, x);
  if (c.index.numel() == 0) c.src = c.src.dim() == c.index.dim() ? c.src : empty(c.index.shape(), x.options());
  GRAFT_CHECK(c.src.dim() == c.index.dim(), ErrorCode::shape_mismatch, "scatter: index ", index, " and source ", src,
              " differ in rank");
  for (int d = 0; d < c.index.dim(); ++d) {
    GRAFT_CHECK(c.index.size(d) <= c.src.size(d) || c.index.numel() == 0, ErrorCode::shape_mismatch, "scatter: index ",
                index, " is larger than source ", src, " in dimension ", d);
    if (c.index.size(d) < c.src.size(d)) c.src = c.src.narrow(d, 0, c.index.size(d));
  }
  check_indices("scatter", c.index, 0, x.dim() ? x.size(c.dim) : 1, c.dim, x);
  return c;
}
static Tensor like_index(const Tensor& x, const Tensor& index, Scalar value) {
  return full({}, value, x.options()).expand(index.shape());
}
static Put put_named(std::string_view reduce) {
  if (reduce == "add" || reduce == "sum") return Put::add;
  if (reduce == "multiply" || reduce == "prod") return Put::multiply;
  if (reduce == "amin") return Put::least;
  if (reduce == "amax") return Put::greatest;
  fail("scatter: reduce '", reduce, "' is not one of add, multiply, sum, prod, mean, amax, amin");
}
static Tensor scatter_with(const Tensor& x, int dim, const Tensor& index, const Tensor& src, Put put) {
  const ScatterCall c = scatter_call(x, dim, index, src);
  return put_at(x, c.dim, c.index, c.src, put);
}
static const Tensor& scatter_with_(const Tensor& x, int dim, const Tensor& index, const Tensor& src, Put put) {
  const ScatterCall c = scatter_call(x, dim, index, src);
  return apply_inplace(scatter_op_for(put), ScatterAttrs{c.dim, put}, x, c.index, apart(c.src, x));
}
Tensor scatter(const Tensor& x, int dim, const Tensor& index, const Tensor& src) {
  return scatter_with(x, dim, index, src, Put::assign);
}
Tensor scatter(const Tensor& x, int dim, const Tensor& index, Scalar value) {
  return scatter_with(x, dim, index, like_index(x, index, value), Put::assign);
}
Tensor scatter(const Tensor& x, int dim, const Tensor& index, const Tensor& src, std::string_view reduce) {
  return scatter_with(x, dim, index, src, put_named(reduce));
}
Tensor scatter(const Tensor& x, int dim, const Tensor& index, Scalar value, std::string_view reduce) {
  return scatter_with(x, dim, index, like_index(x, index, value), put_named(reduce));
}
Tensor scatter_add(const Tensor& x, int dim, const Tensor& index, const Tensor& src) {
  return scatter_with(x, dim, index, src, Put::add);
}
const Tensor& Tensor::scatter_(int dim, const Tensor& index, const Tensor& src) const {
  return scatter_with_(*this, dim, index, src, Put::assign);
}
const Tensor& Tensor::scatter_(int dim, const Tensor& index, Scalar value) const {
  return scatter_with_(*this, dim, index, like_index(*this, index, value), Put::assign);
}
const Tensor& Tensor::scatter_add_(int dim, const Tensor& index, const Tensor& src) const {
  return scatter_with_(*this, dim, index, src, Put::add);
}

static Scalar identity_of(Put put, DType t) {
  if (put == Put::add) return 0;
  if (put == Put::multiply) return 1;
  Scalar edge;
  with_type(t, AllTypes{}, [&](auto tag) {
    using T = compute_t<typename decltype(tag)::type>;
    if constexpr (std::is_floating_point_v<T>) edge = put == Put::least ? INFINITY : -INFINITY;
    else if constexpr (!is_complex_v<T>)
      edge = put == Put::least ? std::numeric_limits<T>::max() : std::numeric_limits<T>::lowest();
  });
  return edge;
}
static Tensor scatter_count(const Tensor& x, int dim, const Tensor& index, bool include_self) {
  const Tensor one = ones(x.shape(), x.options());
  return scatter(include_self ? one : scatter(one, dim, index, 0), dim, index, 1, "add");
}
Tensor scatter_reduce(const Tensor& x, int dim, const Tensor& index, const Tensor& src, std::string_view reduce,
                      bool include_self) {
  const bool mean = reduce == "mean";
  const Put put = mean ? Put::add : put_named(reduce);
  const Tensor start = include_self ? x : scatter(x, dim, index, identity_of(put, x.dtype()));
  const Tensor total = scatter_with(start, dim, index, src, put);
  if (!mean) return total;
  GRAFT_CHECK(is_differentiable(x.dtype()), ErrorCode::not_implemented, "scatter_reduce: mean of ", x);
  return total / scatter_count(x, dim, index, include_self);
}

// ---- index, index_put ----------------------------------------------------------------------------------------

Shape indexed_shape(const View& x, const View& index, const IndexAttrs& a) {
  const int at = a.adjacent() ? a.dims[0] : 0;
  Shape to;
  auto put_index = [&] { for (int i = 0; i < index.rank; ++i) to.push_back(index.size[i]); };
  bool done = false;
  for (int d = 0; d < x.rank; ++d) {
    if (!done && to.rank() == at) put_index(), done = true;
    if (!a.has(d)) to.push_back(x.size[d]);
  }
  if (!done) put_index();
  return to;
}
static void infer_index(Infer& c) { set_shape(c.out(), indexed_shape(c.in(0), c.in(1), c.attrs<IndexAttrs>())); }
static std::vector<TensorImpl*> with_indices(std::initializer_list<TensorImpl*> first, std::span<const Tensor> index) {
  std::vector<TensorImpl*> in(first);
  for (const Tensor& t : index) in.push_back(t.impl());
  return in;
}
static Tensors saved_indices(const Backward& b, int from) {
  Tensors index;
  for (int i = from; i < b.inputs(); ++i) index.push_back(b.input(i));
  return index;
}
static void index_backward(Backward& b) {
  auto a = b.attrs<IndexAttrs>();
  a.put = Put::add;
  b.to(0) = index_put_at(zeros(b.input_shape(0), b.g().options()), b.g(), saved_indices(b, 1), a);
}
static const OpDef index_op{.name = "index", .infer = infer_index, .backward = index_backward, .reads = {0xfe}};
static const OpDef index_select_op{
    .name = "index_select", .infer = infer_index, .backward = index_backward, .reads = {0xfe}};
static const OpDef index_put_op{
    .name = "index_put",
    .infer = infer_same,
    .backward =
        [](Backward& b) {
          const auto& a = b.attrs<IndexAttrs>();
          const Tensors index = saved_indices(b, 2);
          if (b.needs(0))
            b.to(0) =
                a.put == Put::add ? b.g() : index_put_at(b.g(), zeros(b.input_shape(1), b.g().options()), index, a);
          if (b.needs(1)) b.to(1) = index_at(b.g(), index, a);
        },
    .reads = {0xfc, 0xfc, 0},
    .keeps_shapes = true,
};

Tensor index_at(const Tensor& x, std::span<const Tensor> index, const IndexAttrs& a) {
  Tensor out;
  apply_into(Call{index_op, with_indices({x.impl()}, index), a}, std::span(&out, 1));
  return out;
}
Tensor index_put_at(const Tensor& x, const Tensor& values, std::span<const Tensor> index, const IndexAttrs& a) {
  Tensor out;
  apply_into(Call{index_put_op, with_indices({x.impl(), values.impl()}, index), a}, std::span(&out, 1));
  return out;
}
void index_put_at_(const Tensor& x, const Tensor& values, std::span<const Tensor> index, const IndexAttrs& a) {
  const Tensor source = apart(values, x);
  apply_inplace(Call{index_put_op, with_indices({x.impl(), source.impl()}, index), a});
}

namespace {
struct OneDim { IndexAttrs attrs; Tensor index; Shape shape; };  // shape: of what is selected
}
static OneDim one_dim(std::string_view op, const Tensor& x, int dim, const Tensor& index, int64_t low = 0,
                      Put put = Put::assign) {
  const int d = wrap_dim(op, dim, x.view());
  GRAFT_CHECK(index.dim() <= 1, ErrorCode::shape_mismatch, op, ": the index must be a vector, not ", index);
  OneDim one{{.n = 1, .dims = {uint8_t(d)}, .put = put}, as_index(op, index).reshape({index.numel()}), x.shape()};
  check_indices(op, one.index, low ? -x.size(d) : 0, x.size(d), d, x);
  one.shape[d] = index.numel();
  return one;
}
Tensor index_select(const Tensor& x, int dim, const Tensor& index) {
  if (x.dim() == 0) return index_select(x.reshape({1}), dim, index).reshape({});
  const OneDim one = one_dim("index_select", x, dim, index);
  return apply(index_select_op, one.attrs, x, one.index);
}
static Tensor checked_source(std::string_view op, const Tensor& source, const OneDim& one, const Tensor& x) {
  GRAFT_CHECK(source.dtype() == x.dtype(), ErrorCode::dtype_mismatch, op, ": source ", source, " and destination ", x,
              " differ in dtype");
  GRAFT_CHECK(source.shape() == one.shape || (source.dim() == 0 && source.numel() == int64_t(numel_of(one.shape))),
              ErrorCode::shape_mismatch, op, ": source ", source, " must have the shape ", one.shape);
  return source.reshape(one.shape);
}
static Tensor scaled(const Tensor& x, Scalar by) {
  return by.kind() != Scalar::Kind::complex && by.value() == 1 ? x : x * scalar_tensor(by, {x.dtype(), x.device()});
}
Tensor index_add(const Tensor& x, int dim, const Tensor& index, const Tensor& source, Scalar alpha) {
  if (x.dim() == 0) return index_add(x.reshape({1}), dim, index, source.reshape({1}), alpha).reshape({});
  const OneDim one = one_dim("index_add", x, dim, index, 0, Put::add);
  return index_put_at(x, scaled(checked_source("index_add", source, one, x), alpha), {&one.index, 1}, one.attrs);
}
Tensor index_copy(const Tensor& x, int dim, const Tensor& index, const Tensor& source) {
  if (x.dim() == 0) return index_copy(x.reshape({1}), dim, index, source.reshape({1})).reshape({});
  const OneDim one = one_dim("index_copy", x, dim, index);
  return index_put_at(x, checked_source("index_copy", source, one, x), {&one.index, 1}, one.attrs);
}
Tensor index_fill(const Tensor& x, int dim, const Tensor& index, Scalar value) {
  if (x.dim() == 0) return index_fill(x.reshape({1}), dim, index, value).reshape({});
  const OneDim one = one_dim("index_fill", x, dim, index, -1);
  return index_put_at(x, full({}, value, x.options()).expand(one.shape), {&one.index, 1}, one.attrs);
}
const Tensor& Tensor::index_add_(int dim, const Tensor& index, const Tensor& source, Scalar alpha) const {
  const OneDim one = one_dim("index_add", *this, dim, index, 0, Put::add);
  index_put_at_(*this, scaled(checked_source("index_add", source, one, *this), alpha), {&one.index, 1}, one.attrs);
  return *this;
}
const Tensor& Tensor::index_copy_(int dim, const Tensor& index, const Tensor& source) const {
  const OneDim one = one_dim("index_copy", *this, dim, index);
  index_put_at_(*this, checked_source("index_copy", source, one, *this), {&one.index, 1}, one.attrs);
  return *this;
}
const Tensor& Tensor::index_fill_(int dim, const Tensor& index, Scalar value) const {
  const OneDim one = one_dim("index_fill", *this, dim, index, -1);
  index_put_at_(*this, full({}, value, options()).expand(one.shape), {&one.index, 1}, one.attrs);
  return *this;
}

Tensor take(const Tensor& x, const Tensor& index) {
  const Tensor flat = x.reshape({x.numel()}), i = as_index("take", index);
  check_indices("take", i, -x.numel(), x.numel(), 0, flat);
  return index_at(flat, {&i, 1}, {.n = 1});
}
Tensor take_along_dim(const Tensor& x, const Tensor& index, std::optional<int> dim) {
  if (!dim) return take_along_dim(x.reshape({x.numel()}), index.reshape({index.numel()}), 0);
  GRAFT_CHECK(x.dim() == index.dim(), ErrorCode::shape_mismatch, "take_along_dim: ", x, " and index ", index,
              " differ in rank");
  const int d = wrap_dim("take_along_dim", *dim, x.view());
  Shape to_x = x.shape(), to_index = index.shape();
  for (int i = 0; i < x.dim(); ++i) {
    if (i == d) continue;
    const int64_t size = x.size(i) == 1 ? index.size(i) : x.size(i);
    to_x[i] = to_index[i] = size;
  }
  const Tensor from = x.expand(to_x), i = as_index("take_along_dim", index).expand(to_index);
  check_index_sizes("take_along_dim", d, i, from);
  check_indices("take_along_dim", i, -x.size(d), x.size(d), d, x);
  return take_at(from, d, i);
}

}  // namespace graft

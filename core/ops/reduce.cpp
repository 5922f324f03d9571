// Reductions: shape rules, derivatives, public functions.
#include "graft/kernels/reduce/attrs.h"

#include <bit>
#include <limits>
#include <numeric>
#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {

// ---- dimensions ----------------------------------------------------------------------------------------------

Dims::Dims(std::initializer_list<int> d) : Dims(std::vector<int>(d)) {}
Dims::Dims(const std::vector<int>& d) : n_(int(d.size())) {
  GRAFT_CHECK(d.size() <= kMaxRank, "dims: ", d.size(), " dimensions exceed ", kMaxRank);
  std::ranges::copy(d, dims_);
}
// A tensor without dimensions accepts 0 and -1, as in PyTorch.
static int wrap_reduced(std::string_view op, int d, const View& v) {
  return v.rank == 0 && (d == 0 || d == -1) ? 0 : wrap_dim(op, d, v);
}
uint8_t Dims::mask(std::string_view op, const View& v) const {
  if (n_ == 0) return 0xff;
  unsigned m = 0;
  for (int i = 0; i < n_; ++i) {
    const unsigned bit = 1U << wrap_reduced(op, dims_[i], v);
    GRAFT_CHECK(!(m & bit), op, ": dimension ", dims_[i], " appears twice for ", v);
    m |= bit;
  }
  return uint8_t(m);
}
static ReduceAttrs attrs_of(std::string_view op, const Dims& dims, bool keepdim, const Tensor& x) {
  const uint8_t mask = dims.mask(op, x.view());
  return {mask, keepdim ? mask : uint8_t(0)};
}

static void reduce_sizes(View& out, const View& x, ReduceAttrs a) {
  out.rank = 0;
  for (int i = 0; i < x.rank; ++i) {
    if (!(a.reduce >> i & 1)) out.size[out.rank++] = x.size[i];
    else if (a.keep >> i & 1) out.size[out.rank++] = 1;
  }
}
static void infer_reduced(Infer& c) { reduce_sizes(c.out(), c.in(0), c.attrs<ReduceAttrs>()); }
static void check_not_empty(Infer& c, ReduceAttrs a) {
  for (int i = 0; i < c.in(0).rank; ++i)
    c.check(c.in(0).size[i] > 0 || !(a.reduce >> i & 1), "the reduced dimension ", i, " is empty");
}
// The gradient of a reduction's output with size 1 where dimensions were reduced: it then broadcasts to the input.
static Tensor unreduce(const Tensor& g, const Shape& x, ReduceAttrs a) {
  if (g.dim() == x.rank() || g.dim() == 0) return g;
  Shape shape = x;
  for (int i = 0; i < x.rank(); ++i)
    if (a.reduce >> i & 1) shape[i] = 1;
  return g.reshape(shape);
}
static int64_t reduced_count(const Shape& x, uint8_t mask) {
  int64_t n = 1;
  for (int i = 0; i < x.rank(); ++i)
    if (mask >> i & 1) n *= x[i];
  return n;
}

// ---- sum, mean -----------------------------------------------------------------------------------------------

static const OpDef sum_op{
    .name = "sum",
    .infer =
        [](Infer& c) {
          infer_reduced(c);
          if (!is_differentiable(c.in(0).dtype)) c.out().dtype = i64;
        },
    .backward =
        [](Backward& b) {
          const Shape x = b.input_shape(0);
          b.to(0) = unreduce(b.g(), x, b.attrs<ReduceAttrs>()).expand(x);
        },
};
static const OpDef mean_op{
    .name = "mean",
    .infer =
        [](Infer& c) {
          c.check(is_differentiable(c.in(0).dtype), "needs floating point or complex numbers; pass a dtype");
          infer_reduced(c);
        },
    .backward =
        [](Backward& b) {
          const Shape x = b.input_shape(0);
          const auto a = b.attrs<ReduceAttrs>();
          b.to(0) = unreduce(b.g() / double(reduced_count(x, a.reduce)), x, a).expand(x);
        },
};
static const Tensor& as(const Tensor& x, std::optional<DType> t, Tensor& held) { return t ? held = x.to(*t) : x; }

Tensor sum(const Tensor& x, const Dims& dims, bool keepdim, std::optional<DType> t) {
  Tensor held;
  return apply(sum_op, attrs_of("sum", dims, keepdim, x), as(x, t, held));
}
Tensor mean(const Tensor& x, const Dims& dims, bool keepdim, std::optional<DType> t) {
  Tensor held;
  return apply(mean_op, attrs_of("mean", dims, keepdim, x), as(x, t, held));
}
Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  const int lead = x.dim() - shape.rank();
  ReduceAttrs a;
  bool ok = lead >= 0;
  for (int i = 0; ok && i < x.dim(); ++i) {
    if (i >= lead && shape[i - lead] == x.size(i)) continue;
    a.reduce = uint8_t(a.reduce | 1U << i);
    if (i < lead) continue;
    a.keep = uint8_t(a.keep | 1U << i);
    ok = shape[i - lead] == 1;
  }
  GRAFT_CHECK(ok, "sum_to: a gradient ", x, " does not reduce to ", shape);
  if (size_t(x.numel()) == numel_of(shape)) {  // every sum would be of one number
    Shape ones;
    for (int i = 0; i < lead && x.size(i) == 1; ++i) ones.push_back(i);
    if (a.keep || ones.rank() < lead) return x.reshape(shape);  // of an empty tensor the leading sizes may be others
    return x.squeeze(ones);
  }
  return apply(sum_op, a, x);
}

// ---- running sums and products, prod -------------------------------------------------------------------------

static const OpDef cumsum_op{
    .name = "cumsum",
    .infer = [](Infer& c) { infer_same(c); },
    .backward =
        [](Backward& b) {
          const int dim = b.attrs<ScanAttrs>().dim;
          b.to(0) = b.g().dim() == 0 ? b.g() : flip(cumsum(flip(b.g(), {dim}), dim), {dim});
        },
};
// d prod(x[..i]) / d x[k] without a division: the product of those before k, times that of those after k.
static Tensor cumprod_grad(const Tensor& x, const Tensor& g, int dim) {
  if (x.dim() == 0) return g;
  const int64_t n = x.size(dim);
  const Tensor one = ones_like(x.narrow(dim, 0, n ? 1 : 0));
  Tensors slices;
  for (int64_t k = 0; k < n; ++k) {
    const Tensor before = k ? prod(x.narrow(dim, 0, k), dim, true) : one;
    const Tensor after = cumprod(cat({one, x.narrow(dim, k + 1, n - k - 1)}, dim), dim);
    slices.push_back(before * sum(g.narrow(dim, k, n - k) * after, dim, true));
  }
  return n ? cat(slices, dim) : g;
}
static const OpDef cumprod_op{
    .name = "cumprod",
    .infer = [](Infer& c) { infer_same(c); },
    .backward = [](Backward& b) { b.to(0) = cumprod_grad(b.input(0), b.g(), b.attrs<ScanAttrs>().dim); },
    .reads = {input(0)},
};
static const OpDef prod_op{
    .name = "prod",
    .infer =
        [](Infer& c) {
          infer_reduced(c);
          if (!is_differentiable(c.in(0).dtype)) c.out().dtype = i64;
        },
    .backward =
        [](Backward& b) {  // each element's is the product of all others, so that zeros need no rule
          const auto a = b.attrs<ReduceAttrs>();
          const Tensor& x = b.input(0);
          const Tensor g = unreduce(b.g(), x.shape(), a);
          if (x.dim() == 0 || x.numel() == 0) return void(b.to(0) = g.expand(x.shape()));
          const bool whole = a.reduce == 0xff;
          const int dim = whole ? 0 : std::countr_zero(a.reduce);
          const Tensor flat = whole ? x.reshape({x.numel()}) : x;
          const int64_t n = flat.size(dim);
          const Tensor one = ones_like(flat.narrow(dim, 0, 1));
          const Tensor before = cumprod(cat({one, flat.narrow(dim, 0, n - 1)}, dim), dim);
          const Tensor after = flip(cumprod(cat({one, flip(flat.narrow(dim, 1, n - 1), {dim})}, dim), dim), {dim});
          b.to(0) = g * (before * after).reshape(x.shape());
        },
    .reads = {input(0)},
};
static Tensor widened(const Tensor& x, std::optional<DType> t) { return x.to(t.value_or(is_differentiable(x.dtype()) ? x.dtype() : i64)); }

Tensor cumsum(const Tensor& x, int dim, std::optional<DType> t) {
  return apply(cumsum_op, ScanAttrs{wrap_reduced("cumsum", dim, x.view())}, widened(x, t));
}
Tensor cumprod(const Tensor& x, int dim, std::optional<DType> t) {
  return apply(cumprod_op, ScanAttrs{wrap_reduced("cumprod", dim, x.view())}, widened(x, t));
}
Tensor prod(const Tensor& x, std::optional<DType> t) {
  Tensor held;
  return apply(prod_op, ReduceAttrs{0xff, 0}, as(x, t, held));
}
Tensor prod(const Tensor& x, int dim, bool keepdim, std::optional<DType> t) {
  Tensor held;
  return apply(prod_op, attrs_of("prod", dim, keepdim, x), as(x, t, held));
}

// ---- extremes ------------------------------------------------------------------------------------------------

static void infer_extreme(Infer& c) {
  check_not_empty(c, c.attrs<ReduceAttrs>());
  infer_reduced(c);
}
static void share_equally(Backward& b) {  // among the equal ones
  const auto a = b.attrs<ReduceAttrs>();
  const Tensor& x = b.input(0);
  const Tensor y = unreduce(b.output().detach(), x.shape(), a);
  const Tensor best = logical_or(eq(x, y), logical_and(isnan(x), isnan(y)));
  const Tensor count = unreduce(apply(sum_op, a, best), x.shape(), a);
  b.to(0) = masked(unreduce(b.g(), x.shape(), a) / count.to(b.g().dtype()), best);
}
static const OpDef amax_op{.name = "amax", .infer = infer_extreme, .backward = share_equally, .reads = {Reads(input(0) | output())}};
static const OpDef amin_op{.name = "amin", .infer = infer_extreme, .backward = share_equally, .reads = {Reads(input(0) | output())}};
Tensor amax(const Tensor& x, const Dims& dims, bool keepdim) { return apply(amax_op, attrs_of("amax", dims, keepdim, x), x); }
Tensor amin(const Tensor& x, const Dims& dims, bool keepdim) { return apply(amin_op, attrs_of("amin", dims, keepdim, x), x); }
Tensor max(const Tensor& x) { return amax(x); }
Tensor min(const Tensor& x) { return amin(x); }

static void infer_indexed(Infer& c) {
  const auto a = c.attrs<ReduceAttrs>();
  check_not_empty(c, a);
  reduce_sizes(c.out(0), c.in(0), a);
  reduce_sizes(c.out(1), c.in(0), a);
  c.out(1).dtype = i64;
}
static void to_the_index(Backward& b) {
  const int dim = std::countr_zero(b.attrs<ReduceAttrs>().reduce);
  const Shape x = b.input_shape(0);
  if (x.rank() == 0) return void(b.to(0) = b.g());
  Shape one = x;
  one[dim] = 1;
  b.to(0) = scatter_add(zeros(x, b.g().options()), dim, b.output(1).reshape(one), b.g().reshape(one));
}
static const OpDef max_op{.name = "max", .infer = infer_indexed, .backward = to_the_index, .reads = {output(1)}};
static const OpDef min_op{.name = "min", .infer = infer_indexed, .backward = to_the_index, .reads = {output(1)}};

static MaxResult indexed(const OpDef& op, std::string_view name, const Tensor& x, int dim, bool keepdim) {
  std::array<Tensor, 2> out;
  TensorImpl* in[] = {x.impl()};
  apply_into(Call{op, in, attrs_of(name, dim, keepdim, x)}, out);
  return {out[0], out[1]};
}
MaxResult max(const Tensor& x, int dim, bool keepdim) { return indexed(max_op, "max", x, dim, keepdim); }
MaxResult min(const Tensor& x, int dim, bool keepdim) { return indexed(min_op, "min", x, dim, keepdim); }

static Tensor index_of(const OpDef& op, std::string_view name, const Tensor& t, std::optional<int> dim, bool keepdim) {
  const Tensor x = t.detach();
  if (dim) return indexed(op, name, x, *dim, keepdim).indices;
  const Tensor i = indexed(op, name, x.reshape({x.numel()}), 0, false).indices;
  Shape shape;
  for (int d = 0; keepdim && d < x.dim(); ++d) shape.push_back(1);
  return i.reshape(shape);
}
Tensor argmax(const Tensor& x, std::optional<int> dim, bool keepdim) { return index_of(max_op, "argmax", x, dim, keepdim); }
Tensor argmin(const Tensor& x, std::optional<int> dim, bool keepdim) { return index_of(min_op, "argmin", x, dim, keepdim); }

// ---- truth ---------------------------------------------------------------------------------------------------

static void infer_truth(Infer& c) {
  infer_reduced(c);
  c.out().dtype = c.in(0).dtype == u8 ? u8 : boolean;
}
static const OpDef any_op{.name = "any", .infer = infer_truth};
static const OpDef all_op{.name = "all", .infer = infer_truth};
Tensor any(const Tensor& x, const Dims& dims, bool keepdim) { return apply(any_op, attrs_of("any", dims, keepdim, x), x); }
Tensor all(const Tensor& x, const Dims& dims, bool keepdim) { return apply(all_op, attrs_of("all", dims, keepdim, x), x); }
Tensor count_nonzero(const Tensor& x, const Dims& dims) { return sum(ne(x.detach(), 0), dims); }

// ---- variance ------------------------------------------------------------------------------------------------

static const OpDef var_op{  // var, mean
    .name = "var",
    .infer =
        [](Infer& c) {
          c.check(is_floating(c.in(0).dtype), "needs floating point numbers");
          for (int i = 0; i < 2; ++i) reduce_sizes(c.out(i), c.in(0), c.attrs<VarAttrs>().dims);
        },
    .backward =
        [](Backward& b) {
          const auto [dims, correction] = b.attrs<VarAttrs>();
          const Tensor& x = b.input(0);
          const double n = double(reduced_count(x.shape(), dims.reduce));
          const Tensor mean = unreduce(apply(mean_op, ReduceAttrs{dims.reduce, dims.keep}, x), x.shape(), dims);
          if (b.has_g(0)) b.to(0) = unreduce(b.g(0), x.shape(), dims) * (x - mean) * (2 / std::max(0., n - correction));
          if (!b.has_g(1)) return;
          const Tensor share = (unreduce(b.g(1), x.shape(), dims) / n).expand(x.shape());
          b.to(0) = b.to(0).defined() ? b.to(0) + share : share;
        },
    .reads = {input(0)},
};
VarMean var_mean(const Tensor& x, const Dims& dims, double correction, bool keepdim) {
  std::array<Tensor, 2> out;
  TensorImpl* in[] = {x.impl()};
  apply_into(Call{var_op, in, VarAttrs{attrs_of("var", dims, keepdim, x), correction}}, out);
  return {out[0], out[1]};
}
// The square root with slope 0 instead of infinity at 0.
static Tensor safe_sqrt(const Tensor& v) {
  const Tensor zero = eq(v, 0);
  return masked(sqrt(where(zero, 1, v)), logical_not(zero));
}
Tensor var(const Tensor& x, const Dims& dims, double correction, bool keepdim) { return var_mean(x, dims, correction, keepdim).var; }
Tensor std(const Tensor& x, const Dims& dims, double correction, bool keepdim) { return safe_sqrt(var(x, dims, correction, keepdim)); }
VarMean std_mean(const Tensor& x, const Dims& dims, double correction, bool keepdim) {
  const VarMean v = var_mean(x, dims, correction, keepdim);
  return {safe_sqrt(v.var), v.mean};
}

// ---- norms ----------------------------------------------------------------------------------------

Tensor linalg::vector_norm(const Tensor& x, double p, const Dims& dims, bool keepdim) {
  GRAFT_CHECK(is_differentiable(x.dtype()), ErrorCode::dtype_mismatch, "vector_norm: needs floating point or complex numbers, not ", x);
  if (p == 0) return sum(ne(x, 0).to(real_of(x.dtype())), dims, keepdim);
  const Tensor size = abs(x);
  if (std::isinf(p)) return p > 0 ? amax(size, dims, keepdim) : amin(size, dims, keepdim);
  if (p == 1) return sum(size, dims, keepdim);
  if (p == 2) return safe_sqrt(sum(square(size), dims, keepdim));
  const Tensor zero = eq(size, 0);  // its power has an infinite slope for p < 1
  const Tensor powers = p > 0 ? masked(pow(where(zero, 1, size), p), logical_not(zero)) : pow(size, p);
  const Tensor total = sum(powers, dims, keepdim), none = eq(total, 0);
  return p > 0 ? masked(pow(where(none, 1, total), 1 / p), logical_not(none)) : pow(total, 1 / p);
}
Tensor norm(const Tensor& x, double p, const Dims& dims, bool keepdim) { return linalg::vector_norm(x, p, dims, keepdim); }

}  // namespace graft

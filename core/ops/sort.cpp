// Ordering elements: sort, topk, kthvalue, median, unique, bincount, searchsorted. NaN counts as the greatest.
#include "graft/kernels/sort/attrs.h"

#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/core/ops/indexing.h"
#include "graft/kernels/rearrange/attrs.h"

namespace graft::inline v1 {

// ---- along a dimension: the kernels know the last one --------------------------------------------------------

static int64_t last_size(const View& v) { return v.rank ? v.size[v.rank - 1] : 1; }
static void infer_picked(Infer& c, int64_t keep) {
  for (int i = 0; i < 2; ++i) {
    copy_sizes(c.out(i), c.in(0));
    if (c.in(0).rank) c.out(i).size[c.in(0).rank - 1] = keep;
  }
  c.out(1).dtype = i64;
}
static void picked_backward(Backward& b) {
  b.to(0) = scatter_add(zeros(b.input_shape(0), b.g().options()), -1, b.output(1), b.g());
}
static const OpDef sort_op{
    .name = "sort",
    .infer = [](Infer& c) { infer_picked(c, last_size(c.in(0))); },
    .backward = picked_backward,
    .reads = {output(1)},
};
static const OpDef topk_op{
    .name = "topk",
    .infer = [](Infer& c) { infer_picked(c, c.attrs<TopkAttrs>().k); },
    .backward = picked_backward,
    .reads = {output(1)},
};
static const OpDef kthvalue_op{
    .name = "kthvalue",
    .infer = [](Infer& c) { infer_picked(c, 1); },
    .backward = picked_backward,
    .reads = {output(1)},
};

static Sorted along(const OpDef& op, const Attrs& attrs, const Tensor& x, int dim) {
  const Tensor last = (dim == x.dim() - 1 ? x : x.transpose(dim, -1)).contiguous();
  std::array<Tensor, 2> out;
  TensorImpl* in[] = {last.impl()};
  apply_into(Call{op, in, attrs}, out);
  if (dim == x.dim() - 1) return {out[0], out[1]};
  return {out[0].transpose(dim, -1), out[1].transpose(dim, -1)};
}
static Sorted as_scalar(const Sorted& s) { return {s.values.reshape({}), s.indices.reshape({})}; }

Sorted sort(const Tensor& x, int dim, bool descending, bool /*stable*/) {
  if (x.dim() == 0) return as_scalar(sort(x.reshape({1}), dim, descending));
  return along(sort_op, SortAttrs{descending}, x, wrap_dim("sort", dim, x.view()));
}
Tensor argsort(const Tensor& x, int dim, bool descending, bool stable) {
  return sort(x, dim, descending, stable).indices;
}
Tensor msort(const Tensor& x) { return sort(x, 0).values; }

Sorted topk(const Tensor& x, int64_t k, int dim, bool largest, bool sorted) {
  if (x.dim() == 0) return k == 0 ? topk(x.reshape({1}), 0) : as_scalar(topk(x.reshape({1}), k, dim, largest, sorted));
  const int d = wrap_dim("topk", dim, x.view());
  GRAFT_CHECK(k >= 0 && k <= x.size(d), ErrorCode::index_out_of_range, "topk: k = ", k,
              " is out of range for dimension ", d, " with size ", x.size(d), ": ", x);
  return along(topk_op, TopkAttrs{k, largest, sorted}, x, d);
}

static Sorted drop_or_keep(const Sorted& s, int dim, bool keepdim) {
  return keepdim ? s : Sorted{s.values.squeeze(dim), s.indices.squeeze(dim)};
}
Sorted kthvalue(const Tensor& x, int64_t k, int dim, bool keepdim) {
  if (x.dim() == 0) return as_scalar(kthvalue(x.reshape({1}), k, dim, true));
  const int d = wrap_dim("kthvalue", dim, x.view());
  GRAFT_CHECK(k >= 1 && k <= x.size(d), ErrorCode::index_out_of_range, "kthvalue: k = ", k,
              " is out of range for dimension ", d, " with size ", x.size(d), ": ", x);
  return drop_or_keep(along(kthvalue_op, KthAttrs{k, false}, x, d), d, keepdim);
}
Sorted median(const Tensor& x, int dim, bool keepdim) {  // the lower of two in the middle
  if (x.dim() == 0) return as_scalar(median(x.reshape({1}), dim, true));
  const int d = wrap_dim("median", dim, x.view());
  GRAFT_CHECK(x.size(d) > 0, ErrorCode::shape_mismatch, "median: dimension ", d, " is empty: ", x);
  return drop_or_keep(along(kthvalue_op, KthAttrs{(x.size(d) + 1) / 2, true}, x, d), d, keepdim);
}
Tensor median(const Tensor& x) {
  if (x.numel() == 0) return full({}, NAN, x.options());
  return median(x.reshape({x.numel()}), 0, false).values;
}

// ---- sizes that depend on values -----------------------------------------------------------------------------

static const OpDef unique_runs_op{
    .name = "unique_runs",
    .infer =
        [](Infer& c) {
          for (int i = 0; i < 4; ++i) {
            copy_sizes(c.out(i), c.in(0));
            c.out(i).dtype = i64;
          }
          c.out(3).rank = 0;
        },
};
static Unique unique_of(std::string_view op, const Tensor& values, const Tensor& order, const Shape& shape) {
  std::array<Tensor, 4> out;  // inverse, lengths, firsts, count
  TensorImpl* in[] = {values.impl(), order.impl()};
  apply_into(Call{unique_runs_op, in, {}}, out);
  const int64_t n = known_count(op, out[3], values);
  return {index_select(values, 0, out[2].narrow(0, 0, n)), out[0].reshape(shape), out[1].narrow(0, 0, n)};
}
Unique unique(const Tensor& x) {
  const Sorted s = sort(x.detach().reshape({x.numel()}), 0);
  return unique_of("unique", s.values, s.indices, x.shape());
}
Unique unique_consecutive(const Tensor& x) {
  const Tensor flat = x.detach().reshape({x.numel()}).contiguous();
  return unique_of("unique_consecutive", flat, arange(flat.numel(), Options(i64, x.device())), x.shape());
}

Tensor bincount(const Tensor& x, const Tensor& weights, int64_t minlength) {
  GRAFT_CHECK(x.dim() == 1 && is_integral(x.dtype()), "bincount: needs a vector of integers, not ", x);
  GRAFT_CHECK(minlength >= 0, "bincount: negative minlength ", minlength);
  const Tensor index = x.to(i64);
  int64_t bins = minlength;
  if (x.numel() > 0) {
    const int64_t most = known_count("bincount", topk(index, 1).values.reshape({}), x);
    GRAFT_CHECK(topk(index, 1, 0, false).values.item<int64_t>() >= 0, ErrorCode::index_out_of_range,
                "bincount: negative values in ", x);
    bins = std::max(bins, most + 1);
  }
  const Tensor w = !weights.defined() ? ones(x.shape(), Options(i64, x.device()))
                   : weights.dtype() == f32 ? weights : weights.to(f64);
  return scatter_add(zeros({bins}, w.options()), 0, index, w);
}

static const OpDef searchsorted_op{
    .name = "searchsorted",
    .infer =
        [](Infer& c) {
          copy_sizes(c.out(), c.in(1));
          c.out().dtype = i64;
        },
};
Tensor searchsorted(const Tensor& sorted, const Tensor& values, bool right, bool out_int32) {
  GRAFT_CHECK(sorted.dtype() == values.dtype(), ErrorCode::dtype_mismatch, "searchsorted: ", sorted, " and ", values,
              " differ in dtype");
  GRAFT_CHECK(sorted.dim() >= 1, ErrorCode::shape_mismatch, "searchsorted: needs a sorted sequence, not ", sorted);
  bool fits = sorted.dim() == 1 || sorted.dim() == values.dim();
  for (int d = 0; fits && sorted.dim() > 1 && d + 1 < sorted.dim(); ++d) fits = sorted.size(d) == values.size(d);
  GRAFT_CHECK(fits, ErrorCode::shape_mismatch, "searchsorted: leading dimensions differ: ", sorted, ", ", values);
  const Tensor y =
      apply(searchsorted_op, SearchAttrs{right}, sorted.detach().contiguous(), values.detach().contiguous());
  return out_int32 ? y.to(i32) : y;
}
Tensor bucketize(const Tensor& values, const Tensor& boundaries, bool right, bool out_int32) {
  GRAFT_CHECK(boundaries.dim() == 1, ErrorCode::shape_mismatch, "bucketize: boundaries must be a vector, not ",
              boundaries);
  return searchsorted(boundaries, values, right, out_int32);
}

}  // namespace graft

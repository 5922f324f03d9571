// Ops with masks: masked_fill, nonzero, and what is made of them.
#include "graft/core/autograd.h"
#include "graft/core/cuda_graph.h"
#include "graft/core/ops.h"
#include "graft/core/ops/indexing.h"

namespace graft::inline v1 {

struct MaskAttrs { bool where = true; };  // fills where the mask is this
static Tensor fill_where(const Tensor& x, const Tensor& mask, const Tensor& value, bool where);
static const OpDef masked_fill_op{  // x, mask, value
    .name = "masked_fill",
    .infer =
        [](Infer& c) {
          c.check(c.in(1).dtype == boolean, "the mask must be bool");
          infer_broadcast(c);
        },
    .backward =
        [](Backward& b) {
          const bool where = b.attrs<MaskAttrs>().where;
          const Tensor zero = zeros({}, b.g().options());
          if (b.needs(0)) b.to(0) = fill_where(b.g(), b.input(1), zero, where);
          if (b.needs(2)) b.to(2) = fill_where(b.g(), b.input(1), zero, !where);  // the pass sums it
        },
    .reads = {input(1), 0, input(1)},
};
static Tensor fill_where(const Tensor& x, const Tensor& mask, const Tensor& value, bool where) {
  return apply(masked_fill_op, MaskAttrs{where}, x, mask, value);
}
Tensor masked_fill(const Tensor& x, const Tensor& mask, const Tensor& value) {
  GRAFT_CHECK(value.dim() == 0, ErrorCode::shape_mismatch, "masked_fill: the value must be 0-dim, not ", value);
  return fill_where(x, mask, value.to(x.dtype()), true);
}
static Tensor value_for(const Tensor& x, Scalar value) {
  GRAFT_CHECK(value.kind() != Scalar::Kind::complex || is_complex(x.dtype()), ErrorCode::dtype_mismatch,
              "masked_fill: a complex value does not fit in ", x);
  return full({}, value, x.options());
}
Tensor masked_fill(const Tensor& x, const Tensor& mask, Scalar value) {
  return fill_where(x, mask, value_for(x, value), true);
}
const Tensor& Tensor::masked_fill_(const Tensor& mask, Scalar value) const {
  return apply_inplace(masked_fill_op, MaskAttrs{true}, *this, mask, value_for(*this, value));
}

// ---- results whose size depends on values --------------------------------------------------------------------

static const OpDef nonzero_count_op{.name = "nonzero_count",
                                    .infer = [](Infer& c) { c.out().rank = 0, c.out().dtype = i64; }};
static const OpDef nonzero_op{
    .name = "nonzero",
    .infer =
        [](Infer& c) {
          set_shape(c.out(), {c.attrs<int64_t>(), c.in(0).rank});
          c.out().dtype = i64;
        },
};
int64_t known_count(std::string_view op, const Tensor& count, const Tensor& x) {
  cuda::detail::need_readable(op, x);
  GRAFT_CHECK(count.device().type != Device::meta && !thread_modes().dry_run, ErrorCode::data_dependent, op,
              ": the size of the result depends on the values of ", x, ", which are not known here");
  return count.item<int64_t>();
}
Tensor nonzero(const Tensor& x) {
  return apply(nonzero_op, known_count("nonzero", apply(nonzero_count_op, {}, x), x), x);
}
Tensors where(const Tensor& condition) {
  if (condition.dim() == 0) return where(condition.reshape({1}));
  return nonzero(condition).unbind(1);
}

// The positions that are set, as indices into the flattened mask.
static Tensor set_positions(std::string_view op, const Tensor& mask) {
  GRAFT_CHECK(mask.dtype() == boolean, ErrorCode::dtype_mismatch, op, ": the mask must be bool, not ", mask);
  const Tensor flat = mask.reshape({mask.numel()});
  return apply(nonzero_op, known_count(op, apply(nonzero_count_op, {}, flat), mask), flat).reshape({-1});
}
static Shape common_shape(std::string_view op, const Tensor& a, const Tensor& b) {
  Shape to = a.dim() >= b.dim() ? a.shape() : b.shape();
  for (int i = 1; i <= std::min(a.dim(), b.dim()); ++i) {
    GRAFT_CHECK(a.size(-i) == b.size(-i) || a.size(-i) == 1 || b.size(-i) == 1, ErrorCode::shape_mismatch, op,
                ": shapes do not broadcast in dimension -", i, ": ", a, ", ", b);
    to[to.rank() - i] = a.size(-i) == 1 ? b.size(-i) : a.size(-i);
  }
  return to;
}
Tensor masked_select(const Tensor& x, const Tensor& mask) {
  const Shape shape = common_shape("masked_select", x, mask);
  const Tensor index = set_positions("masked_select", mask.expand(shape));
  return index_at(x.expand(shape).reshape({-1}), {&index, 1}, {.n = 1});
}
Tensor masked_scatter(const Tensor& x, const Tensor& mask, const Tensor& source) {
  const Shape shape = common_shape("masked_scatter", x, mask);
  GRAFT_CHECK(source.dtype() == x.dtype(), ErrorCode::dtype_mismatch, "masked_scatter: source ", source,
              " and destination ", x, " differ in dtype");
  const Tensor index = set_positions("masked_scatter", mask.expand(shape));
  GRAFT_CHECK(source.numel() >= index.numel(), ErrorCode::shape_mismatch, "masked_scatter: ", index.numel(),
              " elements of the mask are set, the source has ", source.numel());
  const Tensor values = source.reshape({source.numel()}).narrow(0, 0, index.numel());
  return index_put_at(x.expand(shape).reshape({-1}), values, {&index, 1}, {.n = 1}).reshape(shape);
}
const Tensor& Tensor::masked_scatter_(const Tensor& mask, const Tensor& source) const {
  return copy_(masked_scatter(*this, mask, source));
}

}  // namespace graft

// Where views lie in memory: as_strided, and the two ops that autograd needs for writing through views.
#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {

Region region_of(const View& v, const View& base) {
  Region r{.rank = v.rank, .offset = v.offset - base.offset};
  if (!base.contiguous) {
    r.base_rank = base.rank;
    std::copy_n(base.stride, base.rank, r.base_stride);
  }
  for (int i = 0; i < v.rank; ++i) {
    r.size[i] = v.size[i];
    r.stride[i] = v.stride[i];
  }
  return r;
}

static void check_region(const Infer& c, const Region& r, int64_t numel) {
  int64_t last = r.offset;
  bool overflow = false;
  for (int i = 0; i < r.rank; ++i) {
    c.check(r.size[i] >= 0, "negative size in dimension ", i);
    c.check(r.stride[i] >= 0, "negative stride in dimension ", i);
    int64_t reach = 0;
    overflow = overflow || __builtin_mul_overflow(std::max<int64_t>(r.size[i] - 1, 0), r.stride[i], &reach) ||
               __builtin_add_overflow(last, reach, &last);
  }
  for (int i = 0; i < r.rank; ++i)
    if (r.size[i] == 0) return;
  c.check(!overflow && r.offset >= 0 && last < numel, "the region [", r.offset, ",", last, "] leaves ", numel,
          " elements");
}

const OpDef as_strided_op{
    .name = "as_strided",
    .infer =
        [](Infer& c) {
          const auto& r = c.attrs<Region>();
          c.check(is_dense(c.in(0)), "needs an input without gaps in memory");
          check_region(c, r, c.in(0).numel);
          View& y = c.out();
          y.rank = r.rank;
          y.offset = c.in(0).offset + r.offset;
          for (int i = 0; i < r.rank; ++i) {
            y.size[i] = r.size[i];
            y.stride[i] = r.stride[i];
          }
        },
    .backward = [](Backward& b) { b.to(0) = embed(b.g(), b.attrs<Region>(), b.input_shape(0)); },
    .view = true,
};
// The tensor in the order of memory that the region's offsets refer to.
static Tensor laid_out_for(const Region& r, const Tensor& x) {
  return r.base_rank ? clone_as(x, Shape(std::span(r.base_stride, r.base_rank))) : x.contiguous();
}
Tensor as_strided(const Tensor& base, const Region& r) { return apply(as_strided_op, r, laid_out_for(r, base)); }

Tensor Tensor::as_strided(const Shape& size, const Shape& stride, std::optional<int64_t> offset) const {
  GRAFT_CHECK(size.rank() == stride.rank(), ErrorCode::shape_mismatch, "as_strided: sizes ", size, " and strides ",
              stride, " differ in rank");
  GRAFT_CHECK(is_dense(view()), "as_strided: needs an input without gaps in memory, not ", *this, " with strides ",
              strides(), "; clone() it");
  const View& v = view();
  View target;
  set_shape(target, size);
  std::ranges::copy(stride, target.stride);
  target.offset = offset.value_or(v.offset);
  return apply(as_strided_op, region_of(target, v), *this);
}

static const OpDef embed_op{
    .name = "embed",
    .infer =
        [](Infer& c) {
          const auto& a = c.attrs<EmbedAttrs>();
          set_shape(c.out(), Shape(std::span(a.into, a.rank)));
          set_contiguous(c.out());
          check_region(c, a.region, c.out().numel);
          if (!a.region.base_rank) return;
          std::copy_n(a.region.base_stride, a.region.base_rank, c.out().stride);
          c.strided();
        },
    .backward = [](Backward& b) { b.to(0) = as_strided(b.g(), b.attrs<EmbedAttrs>().region); },
};
Tensor embed(const Tensor& x, const Region& region, const Shape& into) {
  EmbedAttrs a{.region = region, .rank = uint8_t(into.rank())};
  std::ranges::copy(into, a.into);
  return apply(embed_op, a, x);
}

const OpDef overwrite_op{
    .name = "overwrite",
    .infer = [](Infer& c) { infer_same(c), check_region(c, c.attrs<Region>(), c.in(0).numel); },  // keeps the layout
    .backward =
        [](Backward& b) {
          const auto& r = b.attrs<Region>();
          if (b.needs(0))
            b.to(0) = overwrite(b.g(), zeros(Shape(std::span(r.size, r.rank)), b.g().options()), r);
          if (b.needs(1)) b.to(1) = as_strided(b.g(), r);
        },
};
Tensor overwrite(const Tensor& base, const Tensor& x, const Region& r) {
  return apply(overwrite_op, r, laid_out_for(r, base), x);
}

}  // namespace graft

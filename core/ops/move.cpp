// Ops that copy elements: clone, to, copy_, full, cat.
#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {

static const OpDef clone_op{
    .name = "clone",
    .infer =
        [](Infer& c) {
          const auto& a = c.attrs<LayoutAttrs>();
          if (a.rank == 0xff) return infer_same(c);
          copy_sizes(c.out(), c.in(0));
          if (a.rank == 0) return;
          std::copy_n(a.stride, a.rank, c.out().stride);
          c.strided();
        },
    .backward = [](Backward& b) { b.to(0) = b.g(); },
};
Tensor Tensor::clone() const { return apply(clone_op, LayoutAttrs{}, *this); }
Tensor Tensor::contiguous() const { return is_contiguous() ? *this : apply(clone_op, LayoutAttrs{.rank = 0}, *this); }
Tensor clone_as(const Tensor& x, const Shape& strides) {
  if (x.strides() == strides) return x;
  LayoutAttrs a{.rank = uint8_t(strides.rank())};
  std::ranges::copy(strides, a.stride);
  return apply(clone_op, a, x);
}

static const OpDef to_op{
    .name = "to",
    .infer = [](Infer& c) { infer_same(c), c.out().dtype = c.attrs<DType>(); },
    .backward = [](Backward& b) { b.to(0) = b.g(); },  // the pass converts gradients to the dtype of their tensor
};
Tensor Tensor::to(DType t) const { return t == dtype() ? *this : apply(to_op, t, *this); }

static const OpDef to_device_op{
    .name = "to_device",
    .infer = [](Infer& c) { infer_same(c), c.out().device = c.attrs<Device>(); },
    .backward = [](Backward& b) { b.to(0) = b.g().to(b.input_device(0)); },
};
Tensor Tensor::to(Device d) const {
  if (d == device()) return *this;
  GRAFT_CHECK(d.type != Device::cuda, ErrorCode::device_unavailable, "to: ", d, " is not available in this build");
  GRAFT_CHECK(device().type != Device::meta, ErrorCode::data_dependent, "to: ", *this, " has no values to copy to ", d);
  return apply(to_device_op, d, *this);
}
Tensor Tensor::to(const Options& o) const { return to(o.dtype_or(dtype())).to(o.device); }

const OpDef copy_op{  // (dst, src), in place only: what dst was no longer matters
    .name = "copy",
    .infer =
        [](Infer& c) {
          copy_sizes(c.out(), c.in(0));
          const Shape both = broadcast_shapes(c, c.in(0), c.in(1));
          c.check(both == Shape(c.in(0)), "source does not broadcast to destination");
        },
    .backward = [](Backward& b) { b.to(1) = b.g(); },
};
const Tensor& Tensor::copy_(const Tensor& src) const { return apply_inplace(copy_op, {}, *this, src); }

struct FullAttrs { FillAttrs fill; Shape shape; DType dtype = f32; Device device; };
static const OpDef full_op{
    .name = "full",
    .infer =
        [](Infer& c) {
          const auto& a = c.attrs<FullAttrs>();
          set_shape(c.out(), a.shape);
          c.out().dtype = a.dtype;
          c.out().device = a.device;
        },
};
Tensor full(const Shape& shape, Scalar value, const Options& o) {
  return apply(full_op, FullAttrs{{value}, shape, o.dtype_or(value.dtype()), o.device});
}

static const OpDef cat_op{
    .name = "cat",
    .infer =
        [](Infer& c) {
          const int dim = c.attrs<DimAttrs>().dim;
          copy_sizes(c.out(), c.in(0));
          for (int i = 1; i < c.inputs(); ++i) {
            const View& v = c.in(i);
            c.check(v.rank == c.out().rank, "ranks differ");
            for (int d = 0; d < v.rank; ++d)
              c.check(d == dim || v.size[d] == c.out().size[d], "sizes differ in dimension ", d);
            c.out().size[dim] += v.size[dim];
          }
        },
    .backward =
        [](Backward& b) {
          const int dim = b.attrs<DimAttrs>().dim;
          int64_t at = 0;
          for (int i = 0; i < b.inputs(); ++i) {
            const int64_t n = b.input_shape(i)[dim];
            if (b.needs(i)) b.to(i) = b.g().narrow(dim, at, n);
            at += n;
          }
        },
    .promote = Promote::common,
    .keeps_shapes = true,
};
Tensor cat(const Tensors& parts, int dim) {
  GRAFT_CHECK(!parts.empty(), "cat: needs at least one tensor");
  Tensor out;
  apply_into(Call{cat_op, impls(parts), DimAttrs{wrap_dim("cat", dim, parts[0].view())}}, std::span(&out, 1));
  return out;
}

}  // namespace graft

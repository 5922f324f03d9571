// Ops that copy elements: clone, to, copy_, full, cat.
#include "graft/core/autograd.h"
#include "graft/core/cuda_graph.h"
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
static LayoutAttrs layout_of(MemoryFormat format, const Tensor& x) {
  LayoutAttrs a;
  if (format == MemoryFormat::contiguous) a.rank = 0;
  if (format == MemoryFormat::contiguous || format == MemoryFormat::preserve) return a;
  const int rank = format == MemoryFormat::channels_last ? 4 : 5;
  GRAFT_CHECK(x.dim() == rank, ErrorCode::shape_mismatch, "contiguous: ", rank == 4 ? "channels_last" : "channels_last_3d",
              " needs ", rank, " dimensions, not ", x);
  a.rank = uint8_t(rank);
  int64_t step = 1;
  for (int i = 0; i < rank; ++i) {  // channels, then the spatial dimensions from the last, then the batch
    const int d = i == 0 ? 1 : i == rank - 1 ? 0 : rank - i;
    a.stride[d] = step;
    step *= std::max<int64_t>(x.size(d), 1);
  }
  return a;
}
Tensor Tensor::clone(MemoryFormat format) const { return apply(clone_op, layout_of(format, *this), *this); }
Tensor Tensor::contiguous(MemoryFormat format) const { return is_contiguous(format) ? *this : clone(format); }
Tensor Tensor::to(MemoryFormat format) const { return contiguous(format); }
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
    .infer = [](Infer& c) { infer_same(c), c.out().device = c.attrs<ToDeviceAttrs>().device; },
    .backward = [](Backward& b) { b.to(0) = b.g().to(b.input_device(0)); },
};
// A copy from the host reads there at each replay, so that the memory must be pinned; nothing waits for one to the host.
static void check_recorded_copy(const Tensor& x, Device d, bool non_blocking) {
  cuda::detail::need_readable("to", x);
  GRAFT_CHECK(d.type != Device::cuda || (x.device() == Device::cpu && non_blocking && cuda::is_pinned(x)), "to: ", x, " to ", d,
              ": while a graph is captured, only pinned memory of the host is copied to a device, with non_blocking");
}
Tensor Tensor::to(Device d, bool non_blocking) const {
  if (d == device()) return *this;
  cuda::need("to", d);
  if (thread_modes().dry_run) return *this;  // all devices are one
  GRAFT_CHECK(device().type != Device::meta, ErrorCode::data_dependent, "to: ", *this, " has no values to copy to ", d);
  if (cuda::is_capturing()) check_recorded_copy(*this, d, non_blocking);
  const bool between = d.type == Device::cuda && device().type == Device::cuda;
  if (between) cuda::detail::join(device().index, d.index);
  const Tensor dense = is_dense(view()) ? *this : contiguous();  // a copy between devices is one of bytes
  const Tensor there = apply(to_device_op, ToDeviceAttrs{d, non_blocking}, dense);
  if (between) cuda::detail::join(device().index, d.index);
  return there;
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
const Tensor& Tensor::copy_(const Tensor& src) const {
  if (src.defined() && !(src.device() == device()) && (device().type == Device::cuda || src.device().type == Device::cuda))
    return copy_(src.to(device()));
  return apply_inplace(copy_op, {}, *this, src);
}

const Tensor& Tensor::fill_(Scalar value) const { return copy_(scalar_tensor(value, options())); }

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
          const auto is_nothing = [](const View& v) { return v.rank == 1 && v.size[0] == 0; };  // joins with any rank
          int first = 0;
          while (first + 1 < c.inputs() && is_nothing(c.in(first))) ++first;
          copy_sizes(c.out(), c.in(first));
          for (int i = first + 1; i < c.inputs(); ++i) {
            const View& v = c.in(i);
            if (is_nothing(v)) continue;
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
            const Shape shape = b.input_shape(i);
            const bool nothing = shape.rank() == 1 && shape[0] == 0;
            const int64_t n = nothing ? 0 : shape[dim];
            if (b.needs(i)) b.to(i) = nothing ? zeros(shape, b.g().options()) : b.g().narrow(dim, at, n);
            at += n;
          }
        },
    .promote = Promote::common,
    .keeps_shapes = true,
};
Tensor cat(const Tensors& parts, int dim) {
  GRAFT_CHECK(!parts.empty(), "cat: needs at least one tensor");
  const Tensor* first = &parts[0];
  for (const Tensor& t : parts) {
    GRAFT_CHECK(t.defined(), "cat: a tensor is undefined");
    if (first->dim() == 1 && first->numel() == 0) first = &t;
    GRAFT_CHECK(t.dim() > 0, ErrorCode::shape_mismatch, "cat: a tensor without dimensions cannot be joined; use stack()");
  }
  Tensor out;
  apply_into(Call{cat_op, impls(parts), DimAttrs{wrap_dim("cat", dim, first->view())}}, std::span(&out, 1));
  return out;
}

Tensor stack(const Tensors& parts, int dim) {
  GRAFT_CHECK(!parts.empty(), "stack: needs at least one tensor");
  for (const Tensor& t : parts)
    GRAFT_CHECK(t.shape() == parts[0].shape(), ErrorCode::shape_mismatch, "stack: shapes differ: ", parts[0], " and ", t);
  const int rank = parts[0].dim() + 1;
  GRAFT_CHECK(dim >= -rank && dim < rank, ErrorCode::index_out_of_range, "stack: dimension ", dim,
              " is out of range for ", parts[0]);
  Tensors wide;
  for (const Tensor& t : parts) wide.push_back(t.unsqueeze(dim));
  return cat(wide, dim);
}

}  // namespace graft

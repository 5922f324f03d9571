// Max and average pooling, sliding or adaptive, over 1 to 3 spatial dimensions. The result lies in memory as the input.
#include "graft/kernels/pool/attrs.h"

#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {
namespace {

struct PoolingAttrs {
  PoolAttrs pool;  // first: that is what kernels read
  Shape input;     // its shape
  Shape output;    // of adaptive ones: the spatial sizes
  bool channels_last = false;
};

void lay_out(Infer& c, int i, bool channels_last) {
  if (!channels_last) return;
  View& v = c.out(i);
  int64_t step = 1;
  const auto next = [&](int d) { v.stride[d] = std::exchange(step, step * v.size[d]); };
  next(1);
  for (int d = v.rank - 1; d > 1; --d) next(d);
  next(0);
  c.strided(i);
}

void check_pool(const Infer& c, const PoolAttrs& a) {
  const View& x = c.in(0);
  c.check(x.rank == a.rank + 2, "expected ", a.rank + 1, "D or ", a.rank + 2, "D input");
  for (int d = 1; d < x.rank; ++d) c.check(x.size[d] > 0, "dimension ", d, " is empty");
}
void check_window(const Infer& c, const PoolAttrs& a, int d) {
  c.check(a.kernel[d] > 0 && a.stride[d] > 0 && a.dilation[d] > 0, "kernel size, stride and dilation must be positive");
  const int span = (a.kernel[d] - 1) * a.dilation[d] + 1;
  c.check(a.padding[d] >= 0 && a.padding[d] <= span / 2,
          "pad should be at most half of effective kernel size, but got pad=", a.padding[d], ", kernel_size=", a.kernel[d],
          " and dilation=", a.dilation[d]);
}
template <bool adaptive, bool with_indices> void infer_pool(Infer& c) {
  const auto& a = c.attrs<PoolingAttrs>();
  check_pool(c, a.pool);
  const View& x = c.in(0);
  for (int i = 0; i <= int(with_indices); ++i) {
    View& y = c.out(i);
    copy_sizes(y, x);
    for (int d = 0; d < a.pool.rank; ++d) {
      if (!adaptive) check_window(c, a.pool, d);
      y.size[2 + d] = adaptive ? a.output[d] : pool_size(a.pool, d, x.size[2 + d]);
      c.check(y.size[2 + d] > 0 || adaptive, "Output size is too small in spatial dimension ", d);
    }
    lay_out(c, i, a.channels_last);
  }
  if (with_indices) c.out(1).dtype = i64;
}
void infer_pool_grad(Infer& c) {
  const auto& a = c.attrs<PoolingAttrs>();
  set_shape(c.out(), a.input);
  lay_out(c, 0, a.channels_last);
}

// ---- max -----------------------------------------------------------------------------------------------------

Tensor picked(const Tensor& x, const Tensor& indices) {  // x's values where the maxima were
  Shape flat = indices.shape();
  while (flat.rank() > 3) flat = Shape(std::span(flat.begin(), size_t(flat.rank() - 1)));
  flat[2] = indices.numel() ? -1 : 0;
  const Tensor at = indices.reshape(flat);
  flat[2] = x.numel() ? -1 : 0;
  return gather(x.reshape(flat), 2, at).reshape(indices.shape());
}
const OpDef max_pool_backward_op{  // (g, indices)
    .name = "max_pool_backward",
    .infer = infer_pool_grad,
    .backward = [](Backward& b) { b.to(0) = picked(b.g(), b.input(1)); },
    .reads = {input(1)},
};
void max_pool_derivative(Backward& b) {
  b.to(0) = apply(max_pool_backward_op, b.attrs<PoolingAttrs>(), b.g(), b.output(1));
}
const OpDef max_pool_op{
    .name = "max_pool", .infer = infer_pool<false, true>, .backward = max_pool_derivative, .reads = {output(1)}};
const OpDef adaptive_max_pool_op{
    .name = "adaptive_max_pool", .infer = infer_pool<true, true>, .backward = max_pool_derivative, .reads = {output(1)}};

// ---- average -------------------------------------------------------------------------------------------------

extern const OpDef avg_pool_op;
extern const OpDef adaptive_avg_pool_op;
template <const OpDef& op> void apply_derivative(Backward& b) { b.to(0) = apply(op, b.attrs<PoolingAttrs>(), b.g()); }

const OpDef avg_pool_backward_op{
    .name = "avg_pool_backward", .infer = infer_pool_grad, .backward = apply_derivative<avg_pool_op>};
const OpDef avg_pool_op{
    .name = "avg_pool", .infer = infer_pool<false, false>, .backward = apply_derivative<avg_pool_backward_op>};
const OpDef adaptive_avg_pool_backward_op{
    .name = "adaptive_avg_pool_backward", .infer = infer_pool_grad, .backward = apply_derivative<adaptive_avg_pool_op>};
const OpDef adaptive_avg_pool_op{
    .name = "adaptive_avg_pool", .infer = infer_pool<true, false>, .backward = apply_derivative<adaptive_avg_pool_backward_op>};

// ---- public --------------------------------------------------------------------------------------------------

PoolingAttrs attrs_for(const Tensor& x, const PoolAttrs& a, const Shape& output = {}) {
  const View& v = x.view();
  const bool channels_last = v.rank > 2 && !v.contiguous && v.stride[1] == 1 && is_dense(v);
  return {a, x.shape(), output, channels_last};
}
MaxResult with_indices(const OpDef& op, const Tensor& x, const PoolingAttrs& a) {
  std::array<Tensor, 2> out;
  TensorImpl* in[] = {x.impl()};
  apply_into(Call{op, in, a}, out);
  return {out[0], out[1]};
}
MaxResult without_batch(const MaxResult& r) { return {r.values.squeeze(0), r.indices.squeeze(0)}; }
PoolAttrs adaptive_of(int rank) { return PoolAttrs{.rank = uint8_t(rank), .adaptive = true}; }
Shape filled(const Shape& output, const Tensor& x) {  // -1 is the input's size
  Shape s = output;
  for (int i = 0; i < s.rank(); ++i) {
    if (s[i] == -1) s[i] = x.size(i - s.rank());
    GRAFT_CHECK(s[i] >= 0, ErrorCode::shape_mismatch, "adaptive pool: output size ", output, " is negative");
  }
  return s;
}

}  // namespace

MaxResult max_pool(const Tensor& x, const PoolAttrs& a) {
  if (x.dim() == a.rank + 1) return without_batch(max_pool(x.unsqueeze(0), a));
  return with_indices(max_pool_op, x, attrs_for(x, a));
}
Tensor avg_pool(const Tensor& x, const PoolAttrs& a) {
  if (x.dim() == a.rank + 1) return avg_pool(x.unsqueeze(0), a).squeeze(0);
  return apply(avg_pool_op, attrs_for(x, a), x);
}
MaxResult adaptive_max_pool(const Tensor& x, const Shape& output) {
  if (x.dim() == output.rank() + 1) return without_batch(adaptive_max_pool(x.unsqueeze(0), output));
  GRAFT_CHECK(x.dim() == output.rank() + 2, ErrorCode::shape_mismatch, "adaptive_max_pool: output size ", output, " for ", x);
  return with_indices(adaptive_max_pool_op, x, attrs_for(x, adaptive_of(output.rank()), filled(output, x)));
}
Tensor adaptive_avg_pool(const Tensor& x, const Shape& output) {
  if (x.dim() == output.rank() + 1) return adaptive_avg_pool(x.unsqueeze(0), output).squeeze(0);
  GRAFT_CHECK(x.dim() == output.rank() + 2, ErrorCode::shape_mismatch, "adaptive_avg_pool: output size ", output, " for ", x);
  return apply(adaptive_avg_pool_op, attrs_for(x, adaptive_of(output.rank()), filled(output, x)), x);
}

}  // namespace graft

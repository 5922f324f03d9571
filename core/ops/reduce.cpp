// Reductions: sum over any dimensions, max with indices.
#include "graft/kernels/reduce/attrs.h"

#include <bit>

#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {

static void reduce_sizes(View& out, const View& x, ReduceAttrs a) {
  out.rank = 0;
  for (int i = 0; i < x.rank; ++i) {
    if (!(a.reduce >> i & 1)) out.size[out.rank++] = x.size[i];
    else if (a.keep >> i & 1) out.size[out.rank++] = 1;
  }
}
// The gradient of a reduction's output with size 1 where dimensions were reduced: it then broadcasts to the input.
static Tensor unreduce(const Tensor& g, const Shape& x, ReduceAttrs a) {
  if (g.dim() == x.rank() || g.dim() == 0) return g;
  Shape shape = x;
  for (int i = 0; i < x.rank(); ++i)
    if (a.reduce >> i & 1) shape[i] = 1;
  return g.reshape(shape);
}

static const OpDef sum_op{
    .name = "sum",
    .infer =
        [](Infer& c) {
          reduce_sizes(c.out(), c.in(0), c.attrs<ReduceAttrs>());
          if (!is_differentiable(c.in(0).dtype)) c.out().dtype = i64;
        },
    .backward =
        [](Backward& b) {
          const Shape x = b.input_shape(0);
          b.to(0) = unreduce(b.g(), x, b.attrs<ReduceAttrs>()).expand(x);
        },
};

Tensor sum(const Tensor& x) { return apply(sum_op, ReduceAttrs{0xff, 0}, x); }
Tensor sum(const Tensor& x, std::initializer_list<int> dims, bool keepdim) {
  ReduceAttrs a;
  for (const int d : dims) a.reduce = uint8_t(a.reduce | 1U << wrap_dim("sum", d, x.view()));
  if (keepdim) a.keep = a.reduce;
  return apply(sum_op, a, x);
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
  return apply(sum_op, a, x);
}

static const OpDef max_op{
    .name = "max",
    .infer =
        [](Infer& c) {
          const auto a = c.attrs<ReduceAttrs>();
          for (int i = 0; i < c.in(0).rank; ++i)
            c.check(c.in(0).size[i] > 0 || !(a.reduce >> i & 1), "dimension ", i, " is empty");
          reduce_sizes(c.out(0), c.in(0), a);
          reduce_sizes(c.out(1), c.in(0), a);
          c.out(1).dtype = DType::i64;
        },
    .backward =
        [](Backward& b) {
          const int dim = std::countr_zero(b.attrs<ReduceAttrs>().reduce);
          const Shape x = b.input_shape(0);
          Shape one = x;
          one[dim] = 1;
          b.to(0) = scatter_add(zeros(x, b.g().options()), dim, b.output(1).reshape(one), b.g().reshape(one));
        },
    .reads = {output(1)},
};
MaxResult max(const Tensor& x, int dim) {
  std::array<Tensor, 2> out;
  TensorImpl* in[] = {x.impl()};
  apply_into(Call{max_op, in, ReduceAttrs{uint8_t(1U << wrap_dim("max", dim, x.view())), 0}}, out);
  return {out[0], out[1]};
}

}  // namespace graft

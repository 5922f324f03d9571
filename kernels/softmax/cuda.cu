// Softmax and log softmax over one dimension on cuda, and their derivatives. A group of threads has a line: maximum and sum in
// one pass (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018), results in a second.
#include "graft/kernels/cuda/compat.h"

#include <algorithm>
#include <cmath>
#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/group.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/move/attrs.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

struct LineSet {  // element j of line r: (r / step * n + j) * step + r % step
  unsigned count, n, step;
  DType dtype;
  unsigned bytes;
  __device__ size_t start(unsigned r) const { return size_t(r / step) * n * step + r % step; }
};

template <class C> struct Scaled {  // a sum of std::exp(x - top)
  C top, sum;
  GRAFT_HD static Scaled join(Scaled a, Scaled b) {
    const C top = a.top > b.top ? a.top : b.top;
    if (top == C(-INFINITY)) return {top, a.sum + b.sum};
    return {top, a.sum * std::exp(a.top - top) + b.sum * std::exp(b.top - top)};
  }
};

template <class C, bool logarithm>
__global__ __launch_bounds__(kThreads) void softmax_lines(std::byte* y, const std::byte* x, LineSet lines, Groups g) {
  using Acc = Scaled<C>;
  GRAFT_SHARED(Acc, part, [kThreads]);
  const unsigned r = blockIdx.x * g.outputs + g.group();
  const bool mine = r < lines.count;
  const size_t start = mine ? lines.start(r) : 0;
  const auto at = [&](unsigned j) { return (start + size_t(j) * lines.step) * lines.bytes; };
  Acc acc{C(-INFINITY), C(0)};
  if (mine)
    for (unsigned j = g.place(); j < lines.n; j += g.along) {
      const C v = load_own<C>(x + at(j), lines.dtype);
      acc = Acc::join(acc, {v != v ? C(0) : v, v != v ? v : C(1)});  // a NaN stays in the sum
    }
  acc = join_group(g, part, acc, [](const Acc& a, const Acc& b) { return Acc::join(a, b); });
  if (!mine) return;
  const C scale = logarithm ? std::log(acc.sum) : C(1) / acc.sum;
  for (unsigned j = g.place(); j < lines.n; j += g.along) {
    const C d = load_own<C>(x + at(j), lines.dtype) - acc.top;
    store_own(y + at(j), lines.dtype, logarithm ? d - scale : std::exp(d) * scale);
  }
}

template <class C, bool logarithm>
__global__ __launch_bounds__(kThreads) void softmax_lines_grad(std::byte* dx, const std::byte* y, const std::byte* g_out, LineSet lines, Groups g) {
  GRAFT_SHARED(C, part, [kThreads]);
  const unsigned r = blockIdx.x * g.outputs + g.group();
  const bool mine = r < lines.count;
  const size_t start = mine ? lines.start(r) : 0;
  const auto at = [&](unsigned j) { return (start + size_t(j) * lines.step) * lines.bytes; };
  C sum = C(0);
  if (mine)
    for (unsigned j = g.place(); j < lines.n; j += g.along) {
      const C d = load_own<C>(g_out + at(j), lines.dtype);
      sum += logarithm ? d : d * load_own<C>(y + at(j), lines.dtype);
    }
  sum = join_group(g, part, sum, [](const C& a, const C& b) { return a + b; });
  if (!mine) return;
  for (unsigned j = g.place(); j < lines.n; j += g.along) {
    const C d = load_own<C>(g_out + at(j), lines.dtype), v = load_own<C>(y + at(j), lines.dtype);
    store_own(dx + at(j), lines.dtype, logarithm ? d - std::exp(v) * sum : v * (d - sum));
  }
}

// Launches for the lines along the dimension; every operand is contiguous.
template <class Start> Decline each_line(const Launch& l, Start start) {
  for (const View* v : l.in)
    if (!v->contiguous) return "needs contiguous inputs";
  const View& x = *l.in[0];
  if (x.numel == 0) return kRan;
  if (x.numel > INT32_MAX) return "2^31 elements or more";
  const int dim = l.attrs_as<DimAttrs>().dim;
  const int64_t n = x.rank ? x.size[dim] : 1, step = x.rank ? x.stride[dim] : 1;
  const LineSet lines{unsigned(x.numel / n), unsigned(n), unsigned(std::max<int64_t>(step, 1)), x.dtype, unsigned(size_of(x.dtype))};
  const Groups g(n, step > 1);
  start(lines, g, blocks_for(lines.count, g.outputs));
  return kRan;
}
template <class C, bool logarithm> Decline forward(const Launch& l) {
  return each_line(l, [&](const LineSet& lines, const Groups& g, unsigned blocks) {
    launch(softmax_lines<C, logarithm>, blocks, kThreads, 0, l.stream, l.out[0]->data, l.in[0]->data, lines, g);
  });
}
template <class C, bool logarithm> Decline backward(const Launch& l) {  // in: y, g
  return each_line(l, [&](const LineSet& lines, const Groups& g, unsigned blocks) {
    launch(softmax_lines_grad<C, logarithm>, blocks, kThreads, 0, l.stream, l.out[0]->data, l.in[0]->data, l.in[1]->data, lines, g);
  });
}
template <class C> void add_softmax(DType t) {
  add_kernel("softmax", Device::cuda, t, "lines", forward<C, false>);
  add_kernel("log_softmax", Device::cuda, t, "lines", forward<C, true>);
  add_kernel("softmax_grad", Device::cuda, t, "lines", backward<C, false>);
  add_kernel("log_softmax_grad", Device::cuda, t, "lines", backward<C, true>);
}

}  // namespace

void register_softmax_cuda() {
  for (const DType t : {f32, f16, bf16}) add_softmax<float>(t);
  add_softmax<double>(f64);
}

}  // namespace graft

// Softmax and log softmax over one dimension on cuda, and their derivatives. A group of threads has a line: a row that fits into
// registers is read once; of others maximum and sum come from one pass (Milakov and Gimelshein, "Online normalizer calculation
// for softmax", 2018), results from a second.
#include "graft/kernels/cuda/compat.h"

#include <algorithm>
#include <cmath>
#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/group.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/cuda/row.h"
#include "graft/kernels/move/attrs.h"
#include "graft/kernels/softmax/cuda_lines.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

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

// ---- rows in registers ------------------------------------------------------------------------------------------

template <class T, bool logarithm>
__global__ __launch_bounds__(kThreads) void softmax_rows(T* y, const T* x, unsigned rows, unsigned packs, Groups g) {
  using C = compute_t<T>;
  using Acc = Scaled<C>;
  GRAFT_SHARED(Acc, part, [kThreads]);
  const unsigned r = blockIdx.x * g.outputs + g.group(), own = r < rows ? packs : 0;
  const size_t start = size_t(own ? r : 0) * packs * RowInRegisters<T>::n;
  RowInRegisters<T> row;
  row.read(x + start, own, g);
  Acc acc{C(-INFINITY), C(0)};
  row.visit(own, g, [&](C v) { acc.top = v > acc.top ? v : acc.top; });
  const C base = acc.top == C(-INFINITY) ? C(0) : acc.top;
  row.visit(own, g, [&](C v) { acc.sum += std::exp(v - base); });  // a NaN stays in the sum
  acc = join_group(g, part, acc, [](const Acc& a, const Acc& b) { return Acc::join(a, b); });
  const C scale = logarithm ? std::log(acc.sum) : C(1) / acc.sum;
  row.update(own, g, [&](C v) { return logarithm ? v - acc.top - scale : std::exp(v - acc.top) * scale; });
  row.write(y + start, own, g);
}

template <class T, bool logarithm>
__global__ __launch_bounds__(kThreads) void softmax_rows_grad(T* dx, const T* y, const T* g_out, unsigned rows, unsigned packs, Groups g) {
  using C = compute_t<T>;
  GRAFT_SHARED(C, part, [kThreads]);
  const unsigned r = blockIdx.x * g.outputs + g.group(), own = r < rows ? packs : 0;
  const size_t start = size_t(own ? r : 0) * packs * RowInRegisters<T>::n;
  RowInRegisters<T> row, grad;
  row.read(y + start, own, g);
  grad.read(g_out + start, own, g);
  C sum = C(0);
  const auto each = [&](auto f) {  // of both rows
#pragma unroll
    for (unsigned k = 0; k < kPacksOfThread; ++k) {
      if (g.place() + k * g.along >= own) continue;
#pragma unroll
      for (unsigned e = 0; e < RowInRegisters<T>::n; ++e)
        f(row.pack[k].of[e], convert_element<C>(row.pack[k].of[e]), convert_element<C>(grad.pack[k].of[e]));
    }
  };
  each([&](T&, C v, C d) { sum += logarithm ? d : d * v; });
  sum = join_group(g, part, sum, [](const C& a, const C& b) { return a + b; });
  each([&](T& out, C v, C d) { out = convert_element<T>(logarithm ? d - std::exp(v) * sum : v * (d - sum)); });
  row.write(dx + start, own, g);
}

// ---- launching --------------------------------------------------------------------------------------------------

// Launches for the lines along the dimension; every operand is contiguous. `start_rows` is for those that fit into registers.
template <class T, class StartRows, class Start> Decline each_line(const Launch& l, StartRows start_rows, Start start) {
  for (const View* v : l.in)
    if (!v->contiguous) return "needs contiguous inputs";
  const View& x = *l.in[0];
  if (x.numel == 0) return kRan;
  if (x.numel > INT32_MAX) return "2^31 elements or more";
  const int dim = l.attrs_as<DimAttrs>().dim;
  const int64_t n = x.rank ? x.size[dim] : 1, step = x.rank ? x.stride[dim] : 1;
  const LineSet lines{unsigned(x.numel / n), unsigned(n), unsigned(std::max<int64_t>(step, 1)), x.dtype, unsigned(size_of(x.dtype))};
  Groups g(n, step > 1);
  if (step == 1 && fit_registers<T>({l.out[0]->data, x.data, l.in.back()->data}, n, g))
    start_rows(lines.count, unsigned(n / kPerPack<T>), g, blocks_for(lines.count, g.outputs));
  else
    start(lines, g, blocks_for(lines.count, g.outputs));
  return kRan;
}
template <class T, bool logarithm> Decline forward(const Launch& l) {
  const View &y = *l.out[0], &x = *l.in[0];
  return each_line<T>(
      l,
      [&](unsigned rows, unsigned packs, const Groups& g, unsigned blocks) {
        launch(softmax_rows<T, logarithm>, blocks, kThreads, 0, l.stream, y.as<T>(), x.as<T>(), rows, packs, g);
      },
      [&](const LineSet& lines, const Groups& g, unsigned blocks) {
        launch(softmax_lines<compute_t<T>, logarithm>, blocks, kThreads, 0, l.stream, y.data, x.data, lines, g);
      });
}
template <class T, bool logarithm> Decline backward(const Launch& l) {
  const View &dx = *l.out[0], &y = *l.in[0], &g_out = *l.in[1];
  return each_line<T>(
      l,
      [&](unsigned rows, unsigned packs, const Groups& g, unsigned blocks) {
        launch(softmax_rows_grad<T, logarithm>, blocks, kThreads, 0, l.stream, dx.as<T>(), y.as<T>(), g_out.as<T>(), rows, packs, g);
      },
      [&](const LineSet& lines, const Groups& g, unsigned blocks) {
        launch(softmax_lines_grad<compute_t<T>, logarithm>, blocks, kThreads, 0, l.stream, dx.data, y.data, g_out.data, lines, g);
      });
}

}  // namespace

void register_softmax_cuda() {
  register_cross_entropy_cuda();
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    const auto add = [](const char* op, Kernel k) { add_kernel(op, Device::cuda, dtype_v<T>, "lines", k); };
    add("softmax", forward<T, false>);
    add("log_softmax", forward<T, true>);
    add("softmax_grad", backward<T, false>);
    add("log_softmax_grad", backward<T, true>);
  });
}

}  // namespace graft

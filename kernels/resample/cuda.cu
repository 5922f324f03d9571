// Resampling one dimension on cuda: each output is a weighted sum of a few inputs (taps); and the transpose. A thread has a result.
#include "graft/kernels/cuda/compat.h"

#include <utility>
#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/cuda/strided.h"
#include "graft/kernels/cuda/workspace.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

// Results [outer, size, inner] of values [outer, from, inner]; the taps are [m, taps], m being one of the two sizes.
struct Lines {
  unsigned count, inner, from;
  unsigned m, taps;
  Divider by_inner, by_size;
  DType dtype;
  unsigned bytes;

  struct Place {
    size_t values;   // where the line of values begins
    unsigned index;  // along the dimension
  };
  __device__ Place place(unsigned i) const {
    const unsigned line = by_inner.divide(i), outer = by_size.divide(line);
    return {size_t(outer) * from * inner + (i - line * inner), line - outer * by_size.divisor};
  }
};

template <class C>
__global__ __launch_bounds__(kThreads) void weigh_taps(std::byte* y, const std::byte* x, const int64_t* index, const double* weight, Lines s) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= s.count) return;
  const Lines::Place p = s.place(i);
  C sum = C(0);
  for (size_t t = size_t(p.index) * s.taps; t < size_t(p.index + 1) * s.taps; ++t)
    sum += C(weight[t]) * load_own<C>(x + (p.values + size_t(index[t]) * s.inner) * s.bytes, s.dtype);
  store_own(y + size_t(i) * s.bytes, s.dtype, sum);
}

// starts[tap][j] is the first row of the taps that has j or more there: index ascends along the rows.
__global__ __launch_bounds__(kThreads) void find_starts(unsigned* starts, const int64_t* index, unsigned m, unsigned taps, unsigned n) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= (m + 1) * taps) return;
  const unsigned row = i / taps, tap = i - row * taps;
  const int64_t after = row ? index[i - taps] + 1 : 0, until = row < m ? index[i] : n;
  for (int64_t j = after; j <= until; ++j) starts[size_t(tap) * (n + 1) + size_t(j)] = row;
}
template <class C>
__global__ __launch_bounds__(kThreads) void weigh_taps_transposed(std::byte* dx, const std::byte* g, const unsigned* starts,
                                                                  const double* weight, Lines s) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= s.count) return;
  const Lines::Place p = s.place(i);
  C sum = C(0);
  for (unsigned t = 0; t < s.taps; ++t) {
    const unsigned* start = starts + size_t(t) * (s.by_size.divisor + 1) + p.index;
    for (unsigned row = start[0]; row < start[1]; ++row)
      sum += C(weight[size_t(row) * s.taps + t]) * load_own<C>(g + (p.values + size_t(row) * s.inner) * s.bytes, s.dtype);
  }
  store_own(dx + size_t(i) * s.bytes, s.dtype, sum);
}

// Calls run(lines, results, values) for all of the results, or parts of at most 2^31 - 1.
template <class Run> Decline for_each_part_of_lines(const Launch& l, Run run) {
  const View &x = *l.in[0], &y = *l.out[0];
  for (const View* v : l.in)
    if (!v->contiguous) return "needs contiguous inputs";
  if (y.numel == 0) return kRan;
  const int64_t each = y.size[1] * y.size[2], from = x.size[1] * x.size[2];
  if (each > INT32_MAX || l.in[1]->numel + l.in[1]->size[1] > INT32_MAX) return "2^31 elements or more in a part of the outer dimension";
  Lines s{};
  s.inner = unsigned(y.size[2]), s.from = unsigned(x.size[1]);
  s.m = unsigned(l.in[1]->size[0]), s.taps = unsigned(l.in[1]->size[1]);
  s.by_inner = Divider(s.inner), s.by_size = Divider(unsigned(y.size[1]));
  s.dtype = x.dtype, s.bytes = unsigned(size_of(x.dtype));
  const int64_t at_once = INT32_MAX / each;
  for (int64_t first = 0; first < y.size[0]; first += at_once) {
    s.count = unsigned(std::min(at_once, y.size[0] - first) * each);
    run(s, y.data + first * each * s.bytes, x.data + first * from * s.bytes);
  }
  return kRan;
}
template <class C> Decline resample_on(const Launch& l) {
  return for_each_part_of_lines(l, [&](const Lines& s, std::byte* y, const std::byte* x) {
    launch(weigh_taps<C>, blocks_for(s.count), kThreads, 0, l.stream, y, x, l.in[1]->as<int64_t>(), l.in[2]->as<double>(), s);
  });
}
template <class C> Decline resample_transposed_on(const Launch& l) {
  const View& index = *l.in[1];
  const int64_t n = l.out[0]->size[1], taps = index.size[1];
  const Workspace starts(*l.out[0], l.out[0]->numel ? size_t(taps * (n + 1)) * sizeof(unsigned) : 0);
  if (!starts.get() && l.out[0]->numel) return "no memory left for a table of the taps";
  auto* table = reinterpret_cast<unsigned*>(starts.get());
  bool found = false;
  return for_each_part_of_lines(l, [&](const Lines& s, std::byte* dx, const std::byte* g) {
    if (!std::exchange(found, true))
      launch(find_starts, blocks_for((s.m + 1) * int64_t(s.taps)), kThreads, 0, l.stream, table, index.as<int64_t>(), s.m, s.taps, unsigned(n));
    launch(weigh_taps_transposed<C>, blocks_for(s.count), kThreads, 0, l.stream, dx, g, table, l.in[2]->as<double>(), s);
  });
}
template <class C> void add_resample(DType t) {
  add_kernel("resample", Device::cuda, t, "elements", resample_on<C>);
  add_kernel("resample_transposed", Device::cuda, t, "elements", resample_transposed_on<C>);
}

}  // namespace

void register_resample_cuda() {
  for (const DType t : {f32, f16, bf16}) add_resample<float>(t);
  add_resample<double>(f64);
}

}  // namespace graft

// Kernels on cpu that resample one dimension: each output is a weighted sum of a few inputs (taps); and the transpose.
#include <algorithm>
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

// x [outer, n, inner], index [m, taps], weight [m, taps] f64, out [outer, m, inner], all contiguous.
struct Sizes {
  explicit Sizes(const View& x, const View& index)
      : outer(x.size[0]), inner(x.size[2]), m(index.size[0]), taps(index.size[1]) {}
  int64_t outer, inner, m, taps;
};
bool all_contiguous(const Launch& l) {
  for (const View* v : l.in)
    if (!v->contiguous) return false;
  return true;
}

template <class T> Decline resample(const Launch& l) {
  if (!all_contiguous(l)) return "an input is strided";
  const Sizes s(*l.in[0], *l.in[1]);
  const int64_t n = l.in[0]->size[1];
  const T* x = l.in[0]->as<T>();
  T* y = l.out[0]->as<T>();
  using C = compute_t<T>;
  for (int64_t row = 0; row < s.outer * s.m; ++row) {
    const int64_t* index = l.in[1]->as<int64_t>() + row % s.m * s.taps;
    const double* weight = l.in[2]->as<double>() + row % s.m * s.taps;
    const T* from = x + row / s.m * n * s.inner;
    for (int64_t i = 0; i < s.inner; ++i) {
      C sum = 0;
      for (int64_t t = 0; t < s.taps; ++t) sum += C(weight[t]) * C(from[index[t] * s.inner + i]);
      y[row * s.inner + i] = T(sum);
    }
  }
  return kRan;
}
template <class T> Decline resample_transposed(const Launch& l) {  // the same with in and out exchanged: sums into out
  if (!all_contiguous(l)) return "an input is strided";
  const Sizes s(*l.in[0], *l.in[1]);
  const int64_t n = l.out[0]->size[1];
  const T* g = l.in[0]->as<T>();
  T* y = l.out[0]->as<T>();
  using C = compute_t<T>;
  std::fill_n(y, l.out[0]->numel, T(0));
  for (int64_t row = 0; row < s.outer * s.m; ++row) {
    const int64_t* index = l.in[1]->as<int64_t>() + row % s.m * s.taps;
    const double* weight = l.in[2]->as<double>() + row % s.m * s.taps;
    T* to = y + row / s.m * n * s.inner;
    for (int64_t t = 0; t < s.taps; ++t)
      for (int64_t i = 0; i < s.inner; ++i) {
        T& sum = to[index[t] * s.inner + i];
        sum = T(C(sum) + C(weight[t]) * C(g[row * s.inner + i]));
      }
  }
  return kRan;
}

}  // namespace

void register_resample_cpu() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add_kernel("resample", Device::cpu, dtype_v<T>, "reference", resample<T>);
    add_kernel("resample_transposed", Device::cpu, dtype_v<T>, "reference", resample_transposed<T>);
  });
}

}  // namespace graft

// Reductions on cpu that are no fold: largest and smallest with their index, variance, running sums and products.
#include <algorithm>
#include <complex>
#include <type_traits>
#include "graft/kernels/reduce/fold.h"

namespace graft::inline v1 {
namespace {

using namespace reduce;

template <class T, bool largest> bool beats(T a, T b) {  // the first of equals stays; NaN wins
  if constexpr (is_floating_v<T>)
    if (const auto x = compute_t<T>(a), y = compute_t<T>(b); x != x || y != y) return x != x && y == y;
  return largest ? a > b : a < b;
}
template <class T, bool largest> Decline extreme(const Launch& l) {
  const View& x = *l.in[0];
  const uint8_t mask = l.attrs_as<ReduceAttrs>().reduce;
  const Walk along(x, mask), kept(x, uint8_t(~mask));
  if (along.n > 1) return "more than one dimension";
  if (l.out[0]->numel == 0) return kRan;
  parallel_for(0, kept.count, std::max<int64_t>(1, kChunk / along.count), [&](int64_t first, int64_t last) {
    for (int64_t o = first; o < last; ++o) {
      const T* p = x.as<T>() + kept.offset(o);
      int64_t best = 0;
      for (int64_t i = 1; i < along.count; ++i)
        if (beats<T, largest>(p[i * along.step()], p[best * along.step()])) best = i;
      l.out[0]->as<T>()[o] = p[best * along.step()];
      l.out[1]->as<int64_t>()[o] = best;
    }
  });
  return kRan;
}

// Two passes: the mean, then the squares of the distances to it.
template <class T> Decline variance(const Launch& l) {
  const View& x = *l.in[0];
  const auto& a = l.attrs_as<VarAttrs>();
  Walk along(x, a.dims.reduce);
  const Walk kept(x, uint8_t(~a.dims.reduce));
  along.innermost_last();
  const int64_t outputs = l.out[0]->numel;
  const double divisor = std::max(0., double(along.count) - a.correction);
  parallel_for(0, outputs, std::max<int64_t>(1, kChunk / std::max<int64_t>(1, along.count)), [&](int64_t first, int64_t last) {
    for (int64_t o = first; o < last; ++o) {
      const T* p = x.as<T>() + kept.offset(o);
      const int64_t rows = along.count / std::max<int64_t>(1, along.inner());
      double total = 0, squares = 0;
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < along.inner(); ++i) total += double(compute_t<T>(p[along.row(r) + i * along.step()]));
      const double mean = total / double(along.count);
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < along.inner(); ++i) {
          const double d = double(compute_t<T>(p[along.row(r) + i * along.step()])) - mean;
          squares += d * d;
        }
      l.out[0]->as<T>()[o] = T(squares / divisor);
      l.out[1]->as<T>()[o] = T(mean);
    }
  });
  return kRan;
}

template <class T, bool product> Decline scan(const Launch& l) {
  using Acc = std::conditional_t<std::is_integral_v<T>, int64_t, std::conditional_t<is_complex_v<T>, std::complex<double>, double>>;
  const View &x = *l.in[0], &y = *l.out[0];
  if (x.numel == 0) return kRan;
  const int dim = l.attrs_as<ScanAttrs>().dim;
  const int64_t n = x.rank ? x.size[dim] : 1, from = x.rank ? x.stride[dim] : 0, to = x.rank ? y.stride[dim] : 0;
  for (int64_t line = 0; line < x.numel / n; ++line) {
    int64_t at = line;
    const T* p = x.as<T>();
    T* q = y.as<T>();
    for (int d = x.rank - 1; d >= 0; --d) {
      if (d == dim) continue;
      p += at % x.size[d] * x.stride[d];
      q += at % x.size[d] * y.stride[d];
      at /= x.size[d];
    }
    Acc acc = Acc(product ? 1 : 0);
    for (int64_t i = 0; i < n; ++i) {
      if constexpr (product) acc *= convert<Acc>(p[i * from]);
      else acc += convert<Acc>(p[i * from]);
      q[i * to] = convert<T>(acc);
    }
  }
  return kRan;
}

}  // namespace

void register_reduce_along_cpu();  // called at the end of cpu.cpp
void register_reduce_along_cpu() {
  for_each_type(AllTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr DType t = dtype_v<T>;
    if constexpr (!is_complex_v<T>) {
      add_kernel("max", Device::cpu, t, "reference", extreme<T, true>);
      add_kernel("min", Device::cpu, t, "reference", extreme<T, false>);
    }
    if constexpr (is_floating_v<T>) add_kernel("var", Device::cpu, t, "two passes", variance<T>);
    if constexpr (!std::is_same_v<T, bool>) {
      add_kernel("cumsum", Device::cpu, t, "reference", scan<T, false>);
      add_kernel("cumprod", Device::cpu, t, "reference", scan<T, true>);
    }
  });
}

}  // namespace graft

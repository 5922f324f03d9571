// Reductions on cpu: sum over any dimensions, maximum with its index. Sums of f32 accumulate in f64.
#include "graft/kernels/reduce/attrs.h"

#include <array>
#include <cmath>
#include <concepts>
#include <type_traits>
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

template <class T> struct Accumulator { using type = double; };
template <std::integral T> struct Accumulator<T> { using type = int64_t; };
template <class T> struct Accumulator<std::complex<T>> { using type = std::complex<double>; };

// A sum of integers is i64.
template <class T> using Sum = std::conditional_t<std::is_integral_v<T>, int64_t, T>;

struct Dims {
  int n = 0;
  std::array<int64_t, kMaxRank> size{}, stride{};
  int64_t count = 1;
};
Dims pick(const View& x, uint8_t mask) {
  Dims d;
  for (int i = 0; i < x.rank; ++i) {
    if (!(mask >> i & 1)) continue;
    d.size[size_t(d.n)] = x.size[i];
    d.stride[size_t(d.n++)] = x.stride[i];
    d.count *= x.size[i];
  }
  return d;
}
int64_t offset_of(const Dims& d, int64_t i) {
  int64_t at = 0;
  for (int k = d.n - 1; k >= 0; --k) {
    at += i % d.size[size_t(k)] * d.stride[size_t(k)];
    i /= d.size[size_t(k)];
  }
  return at;
}

template <class T> Decline sum_all(const Launch& l) {  // four chains: an addition takes four cycles
  const View& x = *l.in[0];
  if (!x.contiguous || l.out[0]->numel != 1) return "not everything is summed, or the input is strided";
  using A = typename Accumulator<T>::type;
  std::array<A, 4> part{};
  const T* p = x.as<T>();
  int64_t i = 0;
  for (; i + 4 <= x.numel; i += 4)
    for (size_t k = 0; k < 4; ++k) part[k] += convert<A>(p[i + int64_t(k)]);
  for (; i < x.numel; ++i) part[0] += convert<A>(p[i]);
  *l.out[0]->as<Sum<T>>() = convert<Sum<T>>((part[0] + part[1]) + (part[2] + part[3]));
  return kRan;
}

template <class T> Decline sum_dims(const Launch& l) {
  const View& x = *l.in[0];
  const uint8_t mask = l.attrs_as<ReduceAttrs>().reduce;
  const Dims inner = pick(x, mask);
  const Dims outer = pick(x, uint8_t(~mask));
  for (int64_t o = 0; o < outer.count; ++o) {
    const T* p = x.as<T>() + offset_of(outer, o);
    using A = typename Accumulator<T>::type;
    A total = 0;
    if (inner.n == 1)
      for (int64_t i = 0; i < inner.count; ++i) total += convert<A>(p[i * inner.stride[0]]);
    else
      for (int64_t i = 0; i < inner.count; ++i) total += convert<A>(p[offset_of(inner, i)]);
    l.out[0]->as<Sum<T>>()[o] = convert<Sum<T>>(total);
  }
  return kRan;
}

template <class T> bool is_nan(T v) {
  if constexpr (is_floating_v<T>) return std::isnan(float(v));
  else return false;
}

template <class T> Decline max_dim(const Launch& l) {  // the first of equals; NaN wins
  const View& x = *l.in[0];
  const uint8_t mask = l.attrs_as<ReduceAttrs>().reduce;
  const Dims inner = pick(x, mask);
  const Dims outer = pick(x, uint8_t(~mask));
  for (int64_t o = 0; o < outer.count; ++o) {
    const T* p = x.as<T>() + offset_of(outer, o);
    int64_t best = 0;
    for (int64_t i = 1; i < inner.count; ++i) {
      const T v = p[i * inner.stride[0]];
      const T b = p[best * inner.stride[0]];
      if (v > b || (is_nan(v) && !is_nan(b))) best = i;
    }
    l.out[0]->as<T>()[o] = p[best * inner.stride[0]];
    l.out[1]->as<int64_t>()[o] = best;
  }
  return kRan;
}

template <class T> void add_sum() {
  add_kernel("sum", Device::cpu, dtype_v<T>, "all", sum_all<T>);
  add_kernel("sum", Device::cpu, dtype_v<T>, "dims", sum_dims<T>);
}

}  // namespace

void register_reduce_cpu() {
  for_each_type(AllTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add_sum<T>();
    if constexpr (!is_complex_v<T>) add_kernel("max", Device::cpu, dtype_v<T>, "reference", max_dim<T>);
  });
}

}  // namespace graft

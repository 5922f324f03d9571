// Softmax and log softmax over one dimension on cpu, and their derivatives.
#include <algorithm>
#include <cmath>
#include "graft/kernels/move/attrs.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

// Calls f(first element, step, n) for every line along the dimension.
template <class F> Decline lines(const Launch& l, const F& f) {
  for (const View* v : l.in)
    if (!v->contiguous) return "needs contiguous inputs";
  const View& x = *l.in[0];
  const int dim = l.attrs_as<DimAttrs>().dim;
  const int64_t n = x.size[dim], step = x.stride[dim];
  for (int64_t r = 0; n > 0 && r < x.numel / n; ++r) {
    const int64_t at = r / step * step * n + r % step;
    step == 1 ? f(at, std::integral_constant<int64_t, 1>{}, n) : f(at, step, n);
  }
  return kRan;
}

template <class T> compute_t<T> top_of(const T* p, int64_t step, int64_t n) {
  using C = compute_t<T>;
  C top = p[0];
  for (int64_t i = 1; i < n; ++i) top = std::max<C>(top, C(p[i * step]));
  return top;
}

template <class T> Decline softmax(const Launch& l) {
  using C = compute_t<T>;
  return lines(l, [&](int64_t at, auto step, int64_t n) {
    const T* p = l.in[0]->as<T>() + at;
    T* q = l.out[0]->as<T>() + at;
    const C top = top_of(p, step, n);
    C total = 0;
    if constexpr (std::is_same_v<T, C>) {
      for (int64_t i = 0; i < n; ++i) total += q[i * step] = std::exp(p[i * step] - top);
      const C scale = 1 / total;
      for (int64_t i = 0; i < n; ++i) q[i * step] *= scale;
    } else {
      for (int64_t i = 0; i < n; ++i) total += std::exp(C(p[i * step]) - top);
      for (int64_t i = 0; i < n; ++i) q[i * step] = T(std::exp(C(p[i * step]) - top) / total);
    }
  });
}
template <class T> Decline log_softmax(const Launch& l) {
  using C = compute_t<T>;
  return lines(l, [&](int64_t at, auto step, int64_t n) {
    const T* p = l.in[0]->as<T>() + at;
    T* q = l.out[0]->as<T>() + at;
    const C top = top_of(p, step, n);
    C total = 0;
    for (int64_t i = 0; i < n; ++i) total += std::exp(C(p[i * step]) - top);
    const C shift = std::log(total);
    for (int64_t i = 0; i < n; ++i) q[i * step] = T(C(p[i * step]) - top - shift);
  });
}

// (y, g): dx = y (g - sum(g y)), and of the logarithm dx = g - exp(y) sum(g).
template <class T> Decline softmax_grad(const Launch& l) {
  using C = compute_t<T>;
  return lines(l, [&](int64_t at, auto step, int64_t n) {
    const T *y = l.in[0]->as<T>() + at, *g = l.in[1]->as<T>() + at;
    T* dx = l.out[0]->as<T>() + at;
    C total = 0;
    for (int64_t i = 0; i < n; ++i) total += C(g[i * step]) * C(y[i * step]);
    for (int64_t i = 0; i < n; ++i) dx[i * step] = T(C(y[i * step]) * (C(g[i * step]) - total));
  });
}
template <class T> Decline log_softmax_grad(const Launch& l) {
  using C = compute_t<T>;
  return lines(l, [&](int64_t at, auto step, int64_t n) {
    const T *y = l.in[0]->as<T>() + at, *g = l.in[1]->as<T>() + at;
    T* dx = l.out[0]->as<T>() + at;
    C total = 0;
    for (int64_t i = 0; i < n; ++i) total += C(g[i * step]);
    for (int64_t i = 0; i < n; ++i) dx[i * step] = T(C(g[i * step]) - std::exp(C(y[i * step])) * total);
  });
}

}  // namespace

void register_softmax_cpu() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add_kernel("softmax", Device::cpu, dtype_v<T>, "reference", softmax<T>);
    add_kernel("softmax_grad", Device::cpu, dtype_v<T>, "reference", softmax_grad<T>);
    add_kernel("log_softmax", Device::cpu, dtype_v<T>, "reference", log_softmax<T>);
    add_kernel("log_softmax_grad", Device::cpu, dtype_v<T>, "reference", log_softmax_grad<T>);
  });
}

}  // namespace graft

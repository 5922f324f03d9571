// Layer, group and RMS norm on cpu: every row is normalized by its own statistics.
#include <algorithm>
#include <cmath>
#include "graft/kernels/norm/attrs.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

constexpr int kChains = 16;

// sum of f(i), i < n, in several chains
template <class C, class F> double sum(int64_t n, const F& f) {
  double total = 0;
  for (int64_t start = 0; start < n; start += 4096) {
    C part[kChains] = {};
    const int64_t end = std::min<int64_t>(start + 4096, n);
    int64_t i = start;
    for (; i + kChains <= end; i += kChains)
      for (int j = 0; j < kChains; ++j) part[j] += f(i + j);
    for (; i < end; ++i) part[0] += f(i);
    for (int j = 0; j < kChains; ++j) total += double(part[j]);
  }
  return total;
}

// f(element, weight number) over the stretch of elements [start, end) that one weight, or one weight each, belongs to.
template <class F> void each_stretch(const RowNormAttrs& a, int64_t row, const F& f) {
  const int64_t weights = a.length / a.inner;
  const int64_t base = row % a.groups * weights;
  if (a.inner == 1) return f(0, a.length, base, std::integral_constant<int, 1>{});
  for (int64_t k = 0; k < weights; ++k) f(k * a.inner, (k + 1) * a.inner, base + k, std::integral_constant<int, 0>{});
}

template <class T> Decline row_norm(const Launch& l) {
  using C = compute_t<T>;
  const auto& a = l.attrs_as<RowNormAttrs>();
  const View& x = *l.in[0];
  if (!x.contiguous) return "x is not contiguous";
  const C* weight = a.weight ? l.in[1]->as<C>() : nullptr;
  const C* bias = a.bias ? l.in[a.weight ? 2 : 1]->as<C>() : nullptr;
  C *means = l.out[1]->as<C>(), *rstds = l.out[2]->as<C>();
  const int64_t n = a.length;
  for (int64_t r = 0; r < l.out[1]->numel; ++r) {
    const T* p = x.as<T>() + r * n;
    T* y = l.out[0]->as<T>() + r * n;
    const C mean = a.center ? C(sum<C>(n, [&](int64_t i) { return C(p[i]); }) / double(n)) : C(0);
    const double var = sum<C>(n, [&](int64_t i) { return (C(p[i]) - mean) * (C(p[i]) - mean); }) / double(n);
    const C rstd = C(1 / std::sqrt(var + a.eps));
    means[r] = mean;
    rstds[r] = rstd;
    if (!weight && !bias) {
      for (int64_t i = 0; i < n; ++i) y[i] = T((C(p[i]) - mean) * rstd);
      continue;
    }
    each_stretch(a, r, [&](int64_t start, int64_t end, int64_t k, auto step) {
      for (int64_t i = start, j = k; i < end; ++i, j += step) {
        const C value = (C(p[i]) - mean) * rstd * (weight ? weight[j] : C(1));
        y[i] = T(bias ? value + bias[j] : value);
      }
    });
  }
  return kRan;
}

// With xhat = (x - mean) rstd and h = g w: dx = rstd (h - mean(h) - xhat mean(h xhat)), dw = sum(g xhat), db = sum(g).
template <class T> Decline row_norm_grad(const Launch& l) {
  using C = compute_t<T>;
  const auto& a = l.attrs_as<RowNormAttrs>();
  if (!l.in[0]->contiguous || !l.in[1]->contiguous) return "x or g is not contiguous";
  const C* weight = a.weight ? l.in[4]->as<C>() : nullptr;
  C* dw = l.out.size() > 1 ? l.out[1]->as<C>() : nullptr;
  C* db = l.out.size() > 1 ? l.out[2]->as<C>() : nullptr;
  if (dw) std::fill_n(dw, l.out[1]->numel, C(0)), std::fill_n(db, l.out[2]->numel, C(0));
  const int64_t n = a.length;
  for (int64_t r = 0; r < l.in[2]->numel; ++r) {
    const T *p = l.in[0]->as<T>() + r * n, *g = l.in[1]->as<T>() + r * n;
    T* dx = l.out[0]->as<T>() + r * n;
    const C mean = l.in[2]->as<C>()[r], rstd = l.in[3]->as<C>()[r];
    double sum_h = 0, sum_hx = 0;
    each_stretch(a, r, [&](int64_t start, int64_t end, int64_t k, auto step) {
      const auto h = [&](int64_t i) { return weight ? C(g[start + i]) * weight[k + i * step] : C(g[start + i]); };
      sum_h += sum<C>(end - start, h);
      sum_hx += sum<C>(end - start, [&](int64_t i) { return h(i) * (C(p[start + i]) - mean); });
    });
    const C shift = a.center ? C(sum_h / double(n)) : C(0);
    const C slope = C(sum_hx / double(n) * double(rstd) * double(rstd));
    each_stretch(a, r, [&](int64_t start, int64_t end, int64_t k, auto step) {
      C sum_g = 0, sum_gx = 0;  // of one weight
      for (int64_t i = start, j = k; i < end; ++i, j += step) {
        const C d = C(p[i]) - mean;
        dx[i] = T(rstd * ((weight ? C(g[i]) * weight[j] : C(g[i])) - shift - d * slope));
        if (!dw) continue;
        if constexpr (step == 1) {
          dw[j] += C(g[i]) * d * rstd;
          db[j] += C(g[i]);
        } else {
          sum_gx += C(g[i]) * d * rstd;
          sum_g += C(g[i]);
        }
      }
      if (dw && step == 0) dw[k] += sum_gx, db[k] += sum_g;
    });
  }
  return kRan;
}

template <class T> Decline add_row_norm(const Launch& l) {
  if (!l.in[0]->contiguous || !l.in[1]->contiguous) return "x or the residual is not contiguous";
  const View& sum = *l.out[3];
  for (int64_t i = 0; i < sum.numel; ++i) sum.as<T>()[i] = T(compute_t<T>(l.in[0]->as<T>()[i]) + compute_t<T>(l.in[1]->as<T>()[i]));
  const View* in[] = {&sum, l.in.size() > 2 ? l.in[2] : nullptr, l.in.size() > 3 ? l.in[3] : nullptr};
  return row_norm<T>({.in = std::span(in).first(l.in.size() - 1), .out = l.out.first(3), .attrs = l.attrs});
}

}  // namespace

void register_row_norm_cpu() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add_kernel("row_norm", Device::cpu, dtype_v<T>, "rows", row_norm<T>);
    add_kernel("add_row_norm", Device::cpu, dtype_v<T>, "rows", add_row_norm<T>);
    add_kernel("row_norm_grad", Device::cpu, dtype_v<T>, "rows", row_norm_grad<T>);
  });
}

}  // namespace graft

// Batch norm on cpu, for two layouts: contiguous, where a channel is n stretches of memory, and channels last, where it
// is a column of a matrix. A channel's statistics come from one pass: sums of d and d*d, d being the distance to its
// first element, so that nothing cancels; f32 sums are short and end in f64.
#include <algorithm>
#include <cmath>
#include "graft/kernels/norm/attrs.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

constexpr Decline kLayout = "x is neither contiguous nor channels last, or an operand lies in another order";

// x as [n][channels][length], or as rows [n * length][channels].
struct Geometry {
  int64_t n = 0, channels = 0, length = 1;
  bool columns = false;
  int64_t count() const { return n * length; }
};
bool same_strides(const View& a, const View& b) {
  if (a.contiguous && b.contiguous) return true;
  for (int d = 0; d < a.rank; ++d)
    if (a.size[d] != 1 && a.stride[d] != b.stride[d]) return false;
  return true;
}
bool geometry(const View& x, Geometry& g) {
  g.n = x.size[0];
  g.channels = x.size[1];
  for (int d = 2; d < x.rank; ++d) g.length *= x.size[d];
  if (x.contiguous && g.length > 1) return true;
  g.columns = true;
  return x.contiguous || g.channels == 1 ? is_dense(x) : x.stride[1] == 1 && is_dense(x);
}

constexpr int kTile = 32;        // channels of a matrix that are walked together
constexpr int64_t kShort = 256;  // additions in f32 before the sum moves to f64

// Two sums over a channel: f(element number in memory, channel within the tile) yields both addends.
struct Sums { double a = 0, b = 0; };

template <class C, class F> void sum_columns(const Geometry& g, int64_t first, int width, Sums* to, const F& f) {
  for (int64_t row = 0; row < g.count(); row += kShort) {
    C a[kTile] = {}, b[kTile] = {};
    const int64_t end = std::min(row + kShort, g.count());
    if (width == kTile)
      for (int64_t r = row; r < end; ++r)
        for (int c = 0; c < kTile; ++c) f(r * g.channels + first + c, c, a[c], b[c]);
    else
      for (int64_t r = row; r < end; ++r)
        for (int c = 0; c < width; ++c) f(r * g.channels + first + c, c, a[c], b[c]);
    for (int c = 0; c < width; ++c) to[c].a += double(a[c]), to[c].b += double(b[c]);
  }
}
template <class C, class F> void sum_stretches(const Geometry& g, int64_t channel, Sums& to, const F& f) {
  constexpr int kChains = 16;
  for (int64_t n = 0; n < g.n; ++n) {
    const int64_t at = (n * g.channels + channel) * g.length;
    for (int64_t start = 0; start < g.length; start += kShort * kChains) {
      C a[kChains] = {}, b[kChains] = {};
      const int64_t end = std::min(start + kShort * kChains, g.length);
      int64_t i = start;
      for (; i + kChains <= end; i += kChains)
        for (int j = 0; j < kChains; ++j) f(at + i + j, 0, a[j], b[j]);
      for (; i < end; ++i) f(at + i, 0, a[0], b[0]);
      for (int j = 0; j < kChains; ++j) to.a += double(a[j]), to.b += double(b[j]);
    }
  }
}
template <class F> void each_column(const Geometry& g, int64_t first, int width, const F& f) {
  for (int64_t r = 0; r < g.count(); ++r)
    if (width == kTile)
      for (int c = 0; c < kTile; ++c) f(r * g.channels + first + c, c);
    else
      for (int c = 0; c < width; ++c) f(r * g.channels + first + c, c);
}
template <class F> void each_stretch(const Geometry& g, int64_t channel, const F& f) {
  for (int64_t n = 0; n < g.n; ++n) {
    const int64_t at = (n * g.channels + channel) * g.length;
    for (int64_t i = 0; i < g.length; ++i) f(at + i, 0);
  }
}

// Calls sum and each for whichever layout it is: f(first channel, number of channels).
template <class F> void tiles(const Geometry& g, const F& f) {
  const int64_t step = g.columns ? kTile : 1;
  for (int64_t c = 0; c < g.channels; c += step) f(c, int(std::min(step, g.channels - c)));
}
template <class C, class F> void sum_tile(const Geometry& g, int64_t first, int width, Sums* to, const F& f) {
  g.columns ? sum_columns<C>(g, first, width, to, f) : sum_stretches<C>(g, first, *to, f);
}
template <class F> void each_tile(const Geometry& g, int64_t first, int width, const F& f) {
  g.columns ? each_column(g, first, width, f) : each_stretch(g, first, f);
}

template <class C> struct Affine {  // y = (x - mean) * scale + shift
  C mean[kTile], scale[kTile], shift[kTile];
};
template <class T, class C> void normalize(const Geometry& g, int64_t first, int width, const Affine<C>& a, const T* x, T* y) {
  each_tile(g, first, width, [&](int64_t i, int c) { y[i] = T((C(x[i]) - a.mean[c]) * a.scale[c] + a.shift[c]); });
}
template <class C> const C* statistics(const View* v) { return v ? v->as<C>() : nullptr; }

template <class T> Decline batch_norm(const Launch& l) {
  using C = compute_t<T>;
  const auto& attrs = l.attrs_as<BatchNormAttrs>();
  const View& x = *l.in[0];
  Geometry g;
  if (!geometry(x, g) || !same_strides(x, *l.out[0])) return kLayout;
  const C* weight = statistics<C>(attrs.weight ? l.in[1] : nullptr);
  const C* bias = statistics<C>(attrs.bias ? l.in[attrs.weight ? 2 : 1] : nullptr);
  C* mean = l.out[1]->as<C>();
  C* var = l.out[2]->as<C>();
  const T* p = x.as<T>();
  const double count = double(g.count());
  tiles(g, [&](int64_t first, int width) {
    C origin[kTile];
    Sums sums[kTile];
    Affine<C> a;
    for (int c = 0; c < width; ++c) origin[c] = C(p[g.columns ? first + c : (first + c) * g.length]);
    sum_tile<C>(g, first, width, sums, [&](int64_t i, int c, C& s, C& q) {
      const C d = C(p[i]) - origin[c];
      s += d;
      q += d * d;
    });
    for (int c = 0; c < width; ++c) {
      const double distance = sums[c].a / count;
      const double v = std::max(0.0, sums[c].b / count - distance * distance);
      const int64_t k = first + c;
      const double rstd = 1 / std::sqrt((std::isnan(sums[c].b) ? sums[c].b : v) + attrs.eps);
      mean[k] = C(double(origin[c]) + distance);
      var[k] = C(std::isnan(sums[c].b) ? sums[c].b : v);
      a.mean[c] = mean[k];
      a.scale[c] = C(rstd * (weight ? double(weight[k]) : 1));
      a.shift[c] = bias ? bias[k] : C(0);
    }
    normalize(g, first, width, a, p, l.out[0]->as<T>());
  });
  return kRan;
}

template <class T> Decline batch_norm_eval(const Launch& l) {
  using C = compute_t<T>;
  const auto& attrs = l.attrs_as<BatchNormAttrs>();
  const View& x = *l.in[0];
  Geometry g;
  if (!geometry(x, g) || !same_strides(x, *l.out[0])) return kLayout;
  const C* weight = statistics<C>(attrs.weight ? l.in[3] : nullptr);
  const C* bias = statistics<C>(attrs.bias ? l.in[attrs.weight ? 4 : 3] : nullptr);
  const C *mean = l.in[1]->as<C>(), *var = l.in[2]->as<C>();
  tiles(g, [&](int64_t first, int width) {
    Affine<C> a;
    for (int c = 0; c < width; ++c) {
      const int64_t k = first + c;
      a.mean[c] = mean[k];
      a.scale[c] = C((weight ? double(weight[k]) : 1) / std::sqrt(double(var[k]) + attrs.eps));
      a.shift[c] = bias ? bias[k] : C(0);
    }
    normalize(g, first, width, a, x.as<T>(), l.out[0]->as<T>());
  });
  return kRan;
}

// With xhat = (x - mean) rstd: dx = w rstd (g - mean(g) - xhat mean(g xhat)), dw = sum(g xhat), db = sum(g).
template <class T> Decline batch_norm_grad(const Launch& l) {
  using C = compute_t<T>;
  const auto& attrs = l.attrs_as<BatchNormAttrs>();
  const View& x = *l.in[0];
  Geometry geo;
  if (!geometry(x, geo) || !same_strides(x, *l.out[0]) || !same_strides(x, *l.in[1])) return kLayout;
  const C *mean = l.in[2]->as<C>(), *var = l.in[3]->as<C>();
  const C* weight = statistics<C>(attrs.weight ? l.in[4] : nullptr);
  C *dw = l.out[1]->as<C>(), *db = l.out[2]->as<C>();
  const T *p = x.as<T>(), *g = l.in[1]->as<T>();
  T* dx = l.out[0]->as<T>();
  const double count = double(geo.count());
  tiles(geo, [&](int64_t first, int width) {
    Sums sums[kTile];
    C m[kTile], scale[kTile], slope[kTile], shift[kTile];
    std::copy_n(mean + first, width, m);
    sum_tile<C>(geo, first, width, sums, [&](int64_t i, int c, C& a, C& b) {
      a += C(g[i]);
      b += C(g[i]) * (C(p[i]) - m[c]);
    });
    for (int c = 0; c < width; ++c) {
      const int64_t k = first + c;
      const double rstd = 1 / std::sqrt(double(var[k]) + attrs.eps);
      dw[k] = C(sums[c].b * rstd);
      db[k] = C(sums[c].a);
      scale[c] = C(rstd * (weight ? double(weight[k]) : 1));
      shift[c] = C(sums[c].a / count);
      slope[c] = C(sums[c].b / count * rstd * rstd);
    }
    each_tile(geo, first, width, [&](int64_t i, int c) {
      dx[i] = T(scale[c] * (C(g[i]) - shift[c] - (C(p[i]) - m[c]) * slope[c]));
    });
  });
  return kRan;
}

}  // namespace

void register_batch_norm_cpu() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add_kernel("batch_norm", Device::cpu, dtype_v<T>, "one_pass", batch_norm<T>);
    add_kernel("batch_norm_eval", Device::cpu, dtype_v<T>, "one_pass", batch_norm_eval<T>);
    add_kernel("batch_norm_grad", Device::cpu, dtype_v<T>, "two_passes", batch_norm_grad<T>);
  });
}

}  // namespace graft

// Softmax, its relatives and cross entropy over one dimension on cpu, and their derivatives: lines of contiguous numbers
// (lines.h), and around them the other dtypes and dimensions, through a buffer, and threads.
#include <algorithm>
#include <cmath>
#include <span>
#include "graft/kernels/convert.h"
#include "graft/kernels/isa.h"
#include "graft/kernels/label/attrs.h"
#include "graft/kernels/move/attrs.h"
#include "graft/kernels/parallel.h"
#include "graft/kernels/scratch.h"
#include "graft/kernels/softmax/lines.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {

softmax_lines::LineSet softmax_lines::lines_in_use() {
#if defined(__x86_64__)
  if (cpu::isa() == cpu::Isa::avx512) return lines_avx512();
  if (cpu::isa() == cpu::Isa::avx2) return lines_avx2();
#endif
  return lines_baseline();
}

namespace {

using softmax_lines::Lines;
using softmax_lines::LineSet;

template <class C> Lines<C> lines() {
  const LineSet set = softmax_lines::lines_in_use();
  if constexpr (std::is_same_v<C, float>) return set.f32;
  else return set.f64;
}

constexpr int64_t kGrain = 1 << 15;  // elements of a thread's piece, at least

// A reference to what is called for every line: f(number, result, inputs, elements).
template <class C> struct EachLine {
  template <class F>
  EachLine(const F& f)
      : context(&f), call([](const void* p, int64_t r, C* y, const C* const* in, int64_t n) { (*static_cast<const F*>(p))(r, y, in, n); }) {}
  void operator()(int64_t r, C* y, const C* const* in, int64_t n) const { call(context, r, y, in, n); }

  const void* context;
  void (*call)(const void*, int64_t, C*, const C* const*, int64_t);
};
// Calls `line` for every line along the dimension, on memory of type C without gaps. There may be no result.
template <class T> Decline each_line(std::span<const View* const> in, const View* out, int dim, const EachLine<compute_t<T>>& line) {
  using C = compute_t<T>;
  constexpr size_t kOperands = 3;
  const View& x = *in[0];
  if (x.numel == 0) return kRan;
  const int64_t n = x.size[dim], step = x.stride[dim];
  const bool direct = std::is_same_v<T, C> && step == 1;
  const graft::Row load = convert_row(dtype_v<C>, dtype_v<T>), store = convert_row(dtype_v<T>, dtype_v<C>);
  parallel_for(0, x.numel / n, std::max<int64_t>(1, kGrain / n), [&](int64_t first, int64_t last) {
    const Scratch<C> buffer(direct ? 0 : n * int64_t(in.size()));
    for (int64_t r = first; r < last; ++r) {
      const int64_t at = r / step * step * n + r % step;
      T* const y = out ? out->as<T>() + at : nullptr;
      const C* from[kOperands];
      if constexpr (std::is_same_v<T, C>) {
        if (direct) {
          for (size_t k = 0; k < in.size(); ++k) from[k] = in[k]->as<T>() + at;
          line(r, y, from, n);
          continue;
        }
      }
      for (size_t k = 0; k < in.size(); ++k) {
        C* part = buffer.get() + int64_t(k) * n;
        const Operand pair[] = {{reinterpret_cast<std::byte*>(part), 1}, {reinterpret_cast<std::byte*>(in[k]->as<T>() + at), step}};
        load(pair, n, nullptr);
        from[k] = part;
      }
      line(r, buffer.get(), from, n);
      if (!out) continue;
      const Operand pair[] = {{reinterpret_cast<std::byte*>(y), step}, {reinterpret_cast<std::byte*>(buffer.get()), 1}};
      store(pair, n, nullptr);
    }
  });
  return kRan;
}

constexpr Decline kContiguous = "needs contiguous inputs";
bool contiguous(const Launch& l) {
  return std::ranges::all_of(l.in, [](const View* v) { return v->contiguous; });
}
template <class C> struct Forward {
  void (*run)(C* y, const C* x, int64_t n);
  void operator()(int64_t, C* y, const C* const* in, int64_t n) const { run(y, in[0], n); }
};
template <class C> struct Backward {  // in: y, g
  void (*run)(C* dx, const C* y, const C* g, int64_t n);
  void operator()(int64_t, C* dx, const C* const* in, int64_t n) const { run(dx, in[0], in[1], n); }
};
template <class T, template <class> class Pass, auto member> Decline along(const Launch& l) {
  using C = compute_t<T>;
  return contiguous(l) ? each_line<T>(l.in, l.out[0], l.attrs_as<DimAttrs>().dim, Pass<C>{lines<C>().*member}) : kContiguous;
}

// ---- logsumexp: beside the result what softmax(x) is made of again -----------------------------------------------------

template <class T> Decline logsumexp(const Launch& l) {
  using C = compute_t<T>;
  if (!contiguous(l)) return kContiguous;
  const auto statistics = lines<C>().statistics;
  return each_line<T>(l.in, nullptr, l.attrs_as<DimAttrs>().dim, [&](int64_t r, C*, const C* const* in, int64_t n) {
    auto s = statistics(in[0], n);
    if (!std::isfinite(s.top)) {  // nothing to shift by
      const bool bad = std::any_of(in[0], in[0] + n, [](C x) { return x != x; });
      s = {0, bad ? C(NAN) : s.top > 0 ? C(INFINITY) : C(0)};
    }
    l.out[0]->as<T>()[r] = T(s.top + std::log(s.sum));
    l.out[1]->as<C>()[r] = s.top;
    l.out[2]->as<C>()[r] = s.sum;
  });
}
template <class T> Decline logsumexp_grad(const Launch& l) {  // in: g, x, number, sum
  using C = compute_t<T>;
  if (!contiguous(l)) return kContiguous;
  const auto exponentials = lines<C>().exponentials;
  return each_line<T>(l.in.subspan(1, 1), l.out[0], l.attrs_as<DimAttrs>().dim, [&](int64_t r, C* dx, const C* const* in, int64_t n) {
    exponentials(dx, in[0], n, l.in[2]->as<C>()[r], C(l.in[0]->as<T>()[r]) / l.in[3]->as<C>()[r]);
  });
}

// ---- cross entropy: labels are checked, number r belongs to line r ---------------------------------------------------

template <class T> struct ClassWeights {
  const T* of = nullptr;  // none: 1 each
  compute_t<T> operator[](int64_t c) const { return of ? compute_t<T>(of[c]) : compute_t<T>(1); }
};

template <class T> Decline cross_entropy(const Launch& l) {
  using C = compute_t<T>;
  if (!contiguous(l)) return kContiguous;
  const auto& a = l.attrs_as<CrossEntropyAttrs>();
  const ClassWeights<T> weight{a.weight ? l.in[2]->as<T>() : nullptr};
  const auto statistics = lines<C>().statistics;
  return each_line<T>(l.in.first(1), nullptr, class_dim(l.in[0]->rank), [&](int64_t r, C*, const C* const* in, int64_t n) {
    const C* x = in[0];
    const int64_t label = l.in[1]->as<int64_t>()[r];
    const auto s = statistics(x, n);
    l.out[2]->as<C>()[r] = s.top;
    l.out[3]->as<C>()[r] = s.sum;
    const bool used = label != a.ignore;
    const C w = used ? weight[label] : C(0), shift = std::log(s.sum);
    C loss = used ? w * (s.top - x[label] + shift) : C(0);
    if (used && a.smoothing > 0) {
      C all = 0;
      for (int64_t c = 0; c < n; ++c) all += weight[c] * (s.top - x[c] + shift);
      loss = C(1 - a.smoothing) * loss + C(a.smoothing / double(n)) * all;
    }
    l.out[0]->as<T>()[r] = T(loss);
    l.out[1]->as<T>()[r] = T(w);
  });
}
template <class T> Decline cross_entropy_grad(const Launch& l) {  // in: g, x, label, top, sum[, weight]
  using C = compute_t<T>;
  if (!contiguous(l)) return kContiguous;
  const auto& a = l.attrs_as<CrossEntropyAttrs>();
  const ClassWeights<T> weight{a.weight ? l.in[5]->as<T>() : nullptr};
  const auto exponentials = lines<C>().exponentials;
  C spread_weight = C(a.classes);
  if (a.weight && a.smoothing > 0) {
    spread_weight = 0;
    for (int64_t c = 0; c < a.classes; ++c) spread_weight += weight[c];
  }
  const C share = C(a.smoothing / double(a.classes));
  return each_line<T>(l.in.subspan(1, 1), l.out[0], class_dim(l.in[1]->rank), [&](int64_t r, C* dx, const C* const* in, int64_t n) {
    const int64_t label = l.in[2]->as<int64_t>()[r];
    if (label == a.ignore) return void(std::fill_n(dx, n, C(0)));
    const C g = C(l.in[0]->as<T>()[r]), own = C(1 - a.smoothing) * weight[label];
    exponentials(dx, in[0], n, l.in[3]->as<C>()[r], g * (own + share * spread_weight) / l.in[4]->as<C>()[r]);
    for (int64_t c = 0; share > 0 && c < n; ++c) dx[c] -= g * share * weight[c];
    dx[label] -= g * own;
  });
}

}  // namespace

void register_softmax_cpu() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    using L = Lines<compute_t<T>>;
    add_kernel("softmax", Device::cpu, dtype_v<T>, "lines", along<T, Forward, &L::softmax>);
    add_kernel("softmax_grad", Device::cpu, dtype_v<T>, "lines", along<T, Backward, &L::softmax_grad>);
    add_kernel("log_softmax", Device::cpu, dtype_v<T>, "lines", along<T, Forward, &L::log_softmax>);
    add_kernel("log_softmax_grad", Device::cpu, dtype_v<T>, "lines", along<T, Backward, &L::log_softmax_grad>);
    add_kernel("logsumexp", Device::cpu, dtype_v<T>, "lines", logsumexp<T>);
    add_kernel("logsumexp_grad", Device::cpu, dtype_v<T>, "lines", logsumexp_grad<T>);
    add_kernel("cross_entropy", Device::cpu, dtype_v<T>, "lines", cross_entropy<T>);
    add_kernel("cross_entropy_grad", Device::cpu, dtype_v<T>, "lines", cross_entropy_grad<T>);
  });
}

}  // namespace graft

// Cross entropy of softmax(x) with labels, on cuda. A group of threads reads a line once, and keeps its maximum and the sum of its
// exponentials; the derivative makes the probabilities again from x and these two. No line of probabilities is ever in memory.
// Without labels the result is the logarithm of the sum: logsumexp.
#include "graft/kernels/cuda/compat.h"

#include <cmath>
#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/group.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/cuda/row.h"
#include "graft/kernels/label/attrs.h"
#include "graft/kernels/move/attrs.h"
#include "graft/kernels/softmax/cuda_lines.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

// Label number r is of line r. They were checked before, but for those that a graph reads anew: one that is out of range gives NaN.
template <class T> struct LabelledLines {
  using C = compute_t<T>;
  LineSet lines{};
  const T *x = nullptr, *weight = nullptr;  // no weights: 1 each
  const int64_t* label = nullptr;           // none: logsumexp
  int64_t ignore = 0;
  C own = C(1), share = C(0);  // what a label keeps, and what smoothing gives to each class

  __device__ const T* line(unsigned r) const { return x + lines.start(r); }
  __device__ bool has(int64_t c) const { return c >= 0 && c < int64_t(lines.n); }
  __device__ C weight_of(size_t c) const { return weight ? convert_element<C>(weight[c]) : C(1); }
};

template <class C> __device__ inline Scaled<C> join_sums(Scaled<C> a, Scaled<C> b) {  // each without what is infinite
  const C top = a.top > b.top ? a.top : b.top;
  const auto scaled = [top](const Scaled<C>& s) { return s.top == top ? s.sum : s.sum * std::exp(s.top - top); };
  return {top, scaled(a) + scaled(b)};
}

template <class C> struct Spread { C x = C(0), weight = C(0); };  // for smoothing, sums of weight * (x - base) and of weight

// k elements are read at a time: one, or as many as 16 bytes hold where lines have no gaps.
template <class T, int k>
__global__ __launch_bounds__(kThreads) void cross_entropy_lines(T* loss, T* used, compute_t<T>* tops, compute_t<T>* sums, LabelledLines<T> s,
                                                                Groups g) {
  using C = compute_t<T>;
  GRAFT_SHARED(Scaled<C>, part, [kThreads]);
  GRAFT_SHARED(Spread<C>, spread_part, [kThreads]);
  const unsigned r = blockIdx.x * g.outputs + g.group();
  const bool mine = r < s.lines.count;
  const T* line = s.line(mine ? r : 0);
  const bool smooth = s.share > C(0);
  C base = smooth ? convert_element<C>(line[0]) : C(0);
  if (!(std::abs(base) < C(INFINITY))) base = C(0);
  Scaled<C> exps{C(-INFINITY), C(0)};
  Spread<C> spread;
  for (unsigned j = g.place(); mine && j < s.lines.n / k; j += g.along) {
    const auto some = *reinterpret_cast<const Pack<T, k>*>(line + size_t(j) * k * s.lines.step);
    C v[k], top = exps.top;
#pragma unroll
    for (int e = 0; e < k; ++e) {
      v[e] = convert_element<C>(some.of[e]);
      top = v[e] > top ? v[e] : top;  // NaN does not count: it stays in the sum
    }
    if (top > exps.top) exps = {top, exps.sum * std::exp(exps.top - top)};
    const C below = top == C(-INFINITY) ? C(0) : top;
#pragma unroll
    for (int e = 0; e < k; ++e) exps.sum += v[e] == C(INFINITY) ? C(0) : std::exp(v[e] - below);
    if (!smooth) continue;
#pragma unroll
    for (int e = 0; e < k; ++e) {
      const C w = s.weight_of(size_t(j) * k + e);
      spread.weight += w;
      spread.x += w * (v[e] - base);
    }
  }
  exps = join_group(g, part, exps, join_sums<C>);
  if (smooth) spread = join_group(g, spread_part, spread, [](const auto& a, const auto& b) { return Spread<C>{a.x + b.x, a.weight + b.weight}; });
  if (!mine || g.place() != 0) return;
  if (!s.label) {
    if (!(std::abs(exps.top) < C(INFINITY)))  // nothing to shift by
      exps = {C(0), exps.sum != exps.sum ? exps.sum : exps.top > C(0) ? C(INFINITY) : C(0)};
    loss[r] = convert_element<T>(exps.top + std::log(exps.sum));
    tops[r] = exps.top;
    sums[r] = exps.sum;
    return;
  }
  if (exps.top == C(INFINITY)) exps.sum = C(NAN);  // an infinite class leaves no probability
  const int64_t label = s.label[r];
  const C shift = std::log(exps.sum);
  C w = C(0), l = C(0);
  if (label != s.ignore) {
    const bool known = s.has(label);
    w = known ? s.weight_of(label) : C(NAN);
    l = known ? s.own * w * (exps.top - convert_element<C>(line[size_t(label) * s.lines.step]) + shift) : C(NAN);
    if (smooth) l += s.share * (spread.weight * (exps.top - base + shift) - spread.x);
  }
  loss[r] = convert_element<T>(l);
  used[r] = convert_element<T>(w);
  tops[r] = exps.top;
  sums[r] = exps.sum;
}

template <class T, int k>
__global__ __launch_bounds__(kThreads) void cross_entropy_lines_grad(T* dx, const T* g_out, const compute_t<T>* tops, const compute_t<T>* sums,
                                                                     LabelledLines<T> s, Groups g) {
  using C = compute_t<T>;
  GRAFT_SHARED(C, part, [kThreads]);
  const unsigned r = blockIdx.x * g.outputs + g.group();
  const bool mine = r < s.lines.count, smooth = s.share > C(0);
  C spread_weight = C(smooth ? s.lines.n : 0);
  if (smooth && s.weight) {
    C own = C(0);
    for (unsigned j = g.place(); j < s.lines.n; j += g.along) own += s.weight_of(j);
    spread_weight = join_group(g, part, own, [](C a, C b) { return a + b; });
  }
  if (!mine) return;
  const int64_t label = s.label ? s.label[r] : -1;
  const bool used = !s.label || label != s.ignore;
  const C g_line = convert_element<C>(g_out[r]);
  const C of_label = !s.label || !used ? C(0) : s.has(label) ? g_line * s.own * s.weight_of(label) : C(NAN);
  const C top = tops[r], share = g_line * s.share, scale = (s.label ? of_label + share * spread_weight : g_line) / sums[r];
  const T* line = s.line(r);
  T* to = dx + s.lines.start(r);
  for (unsigned j = g.place(); j < s.lines.n / k; j += g.along) {
    const size_t at = size_t(j) * k * s.lines.step;
    auto some = *reinterpret_cast<const Pack<T, k>*>(line + at);
#pragma unroll
    for (int e = 0; e < k; ++e) {
      const int64_t c = int64_t(j) * k + e;
      C d = std::exp(convert_element<C>(some.of[e]) - top) * scale;
      if (smooth) d -= share * s.weight_of(c);
      if (c == label) d -= of_label;
      some.of[e] = convert_element<T>(used ? d : C(0));
    }
    *reinterpret_cast<Pack<T, k>*>(to + at) = some;
  }
}

// Calls run(k, lines, groups, blocks): how the lines of x, and of what lies as x, are read.
template <class T, class Run> Decline each_line(const Launch& l, const View& x, int dim, const void* result, LabelledLines<T> s, Run run) {
  for (const View* v : l.in)
    if (!v->contiguous) return "needs contiguous inputs";
  if (x.numel > INT32_MAX) return "2^31 elements or more";
  if (x.numel == 0) return kRan;
  const int64_t n = x.size[dim], step = x.stride[dim];
  s.x = x.as<T>();
  s.lines = {unsigned(x.numel / n), unsigned(n), unsigned(step), x.dtype, unsigned(sizeof(T))};
  const bool in_packs = step == 1 && n % kPerPack<T> == 0 && is_aligned(x.data, 16) && is_aligned(result, 16);
  const Groups g = in_packs ? groups_of_packs(n / kPerPack<T>) : Groups(n, step > 1);
  const unsigned blocks = blocks_for(s.lines.count, g.outputs);
  in_packs ? run(std::integral_constant<int, kPerPack<T>>{}, s, g, blocks) : run(std::integral_constant<int, 1>{}, s, g, blocks);
  return kRan;
}
template <class T> Decline forward(const Launch& l, int dim, const LabelledLines<T>& s) {  // out: result, weight of the label, top, sum
  using C = compute_t<T>;
  const size_t own = s.label ? 2 : 1;
  return each_line<T>(l, *l.in[0], dim, nullptr, s, [&](auto k, const auto& lines, const Groups& g, unsigned blocks) {
    launch(cross_entropy_lines<T, k()>, blocks, kThreads, 0, l.stream, l.out[0]->as<T>(), s.label ? l.out[1]->as<T>() : nullptr,
           l.out[own]->as<C>(), l.out[own + 1]->as<C>(), lines, g);
  });
}
template <class T> Decline backward(const Launch& l, int dim, const LabelledLines<T>& s) {  // in: g, x[, label], top, sum
  using C = compute_t<T>;
  const size_t own = s.label ? 3 : 2;
  return each_line<T>(l, *l.in[1], dim, l.out[0]->data, s, [&](auto k, const auto& lines, const Groups& g, unsigned blocks) {
    launch(cross_entropy_lines_grad<T, k()>, blocks, kThreads, 0, l.stream, l.out[0]->as<T>(), l.in[0]->as<T>(), l.in[own]->as<C>(),
           l.in[own + 1]->as<C>(), lines, g);
  });
}

template <class T> LabelledLines<T> labelled(const Launch& l, const View& label, size_t weight) {
  const auto& a = l.attrs_as<CrossEntropyAttrs>();
  return {.weight = a.weight ? l.in[weight]->as<T>() : nullptr,
          .label = label.as<int64_t>(),
          .ignore = a.ignore,
          .own = compute_t<T>(1 - a.smoothing),
          .share = compute_t<T>(a.smoothing / double(a.classes))};
}
template <class T> Decline cross_entropy(const Launch& l) { return forward<T>(l, class_dim(l.in[0]->rank), labelled<T>(l, *l.in[1], 2)); }
template <class T> Decline cross_entropy_grad(const Launch& l) { return backward<T>(l, class_dim(l.in[1]->rank), labelled<T>(l, *l.in[2], 5)); }
template <class T> Decline logsumexp(const Launch& l) { return forward<T>(l, l.attrs_as<DimAttrs>().dim, {}); }
template <class T> Decline logsumexp_grad(const Launch& l) { return backward<T>(l, l.attrs_as<DimAttrs>().dim, {}); }

}  // namespace

void register_cross_entropy_cuda() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add_kernel("cross_entropy", Device::cuda, dtype_v<T>, "lines", cross_entropy<T>);
    add_kernel("cross_entropy_grad", Device::cuda, dtype_v<T>, "lines", cross_entropy_grad<T>);
    add_kernel("logsumexp", Device::cuda, dtype_v<T>, "lines", logsumexp<T>);
    add_kernel("logsumexp_grad", Device::cuda, dtype_v<T>, "lines", logsumexp_grad<T>);
  });
}

}  // namespace graft

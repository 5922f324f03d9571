// Cross entropy of softmax(x) with labels, on cuda. A group of threads reads a line once, and keeps its maximum and the sum of its
// exponentials; the derivative makes the probabilities again from x and these two. No line of probabilities is ever in memory.
#include "graft/kernels/cuda/compat.h"

#include <algorithm>
#include <cmath>
#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/group.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/label/attrs.h"
#include "graft/kernels/softmax/cuda_lines.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

// Label number r is of line r. They were checked before, but for those that a graph reads anew: one that is out of range gives NaN.
template <class T> struct LabelledLines {
  using C = compute_t<T>;
  LineSet lines;
  const T *x, *weight;  // no weights: 1 each
  const int64_t* label;
  int64_t ignore;
  C own, share;  // what a label keeps, and what smoothing gives to each class

  __device__ const T* line(unsigned r) const { return x + lines.start(r); }
  __device__ bool has(int64_t c) const { return c >= 0 && c < int64_t(lines.n); }
  __device__ C weight_of(size_t c) const { return weight ? convert_element<C>(weight[c]) : C(1); }
};

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
    for (int e = 0; e < k; ++e) exps.sum += std::exp(v[e] - below);
    if (!smooth) continue;
#pragma unroll
    for (int e = 0; e < k; ++e) {
      const C w = s.weight_of(size_t(j) * k + e);
      spread.weight += w;
      spread.x += w * (v[e] - base);
    }
  }
  exps = join_group(g, part, exps, [](const auto& a, const auto& b) { return Scaled<C>::join(a, b); });
  if (smooth) spread = join_group(g, spread_part, spread, [](const auto& a, const auto& b) { return Spread<C>{a.x + b.x, a.weight + b.weight}; });
  if (!mine || g.place() != 0) return;
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
  const int64_t label = s.label[r];
  const bool used = label != s.ignore;
  const C g_line = convert_element<C>(g_out[r]), of_label = !used ? C(0) : s.has(label) ? g_line * s.own * s.weight_of(label) : C(NAN);
  const C top = tops[r], share = g_line * s.share, scale = (of_label + share * spread_weight) / sums[r];
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
template <class T, class Run> Decline each_line(const Launch& l, const View& x, const void* result, const View& label, const View* weight, Run run) {
  for (const View* v : l.in)
    if (!v->contiguous) return "needs contiguous inputs";
  if (x.numel > INT32_MAX) return "2^31 elements or more";
  if (x.numel == 0) return kRan;
  const auto& a = l.attrs_as<CrossEntropyAttrs>();
  const int dim = x.rank > 1 ? 1 : 0;
  const int64_t n = x.size[dim], step = x.stride[dim], packs = n / kPerPack<T>;
  const LabelledLines<T> s{.lines = {unsigned(x.numel / n), unsigned(n), unsigned(step), x.dtype, unsigned(sizeof(T))},
                           .x = x.as<T>(),
                           .weight = weight ? weight->as<T>() : nullptr,
                           .label = label.as<int64_t>(),
                           .ignore = a.ignore,
                           .own = compute_t<T>(1 - a.smoothing),
                           .share = compute_t<T>(a.smoothing / double(n))};
  const bool in_packs = step == 1 && n % kPerPack<T> == 0 && is_aligned(x.data, 16) && is_aligned(result, 16);
  // Of packs: no fewer threads than lie in 512 bytes, so that a warp reads neighbours.
  const Groups g(in_packs ? std::max(std::min<int64_t>(packs, 32), packs / 4) : n, step > 1);
  const unsigned blocks = blocks_for(s.lines.count, g.outputs);
  in_packs ? run(std::integral_constant<int, kPerPack<T>>{}, s, g, blocks) : run(std::integral_constant<int, 1>{}, s, g, blocks);
  return kRan;
}
template <class T> Decline cross_entropy(const Launch& l) {
  using C = compute_t<T>;
  const bool weighted = l.attrs_as<CrossEntropyAttrs>().weight;
  return each_line<T>(l, *l.in[0], nullptr, *l.in[1], weighted ? l.in[2] : nullptr, [&](auto k, const auto& s, const Groups& g, unsigned blocks) {
    launch(cross_entropy_lines<T, k()>, blocks, kThreads, 0, l.stream, l.out[0]->as<T>(), l.out[1]->as<T>(), l.out[2]->as<C>(), l.out[3]->as<C>(),
           s, g);
  });
}
template <class T> Decline cross_entropy_grad(const Launch& l) {  // in: g, x, label, top, sum[, weight]
  using C = compute_t<T>;
  const bool weighted = l.attrs_as<CrossEntropyAttrs>().weight;
  const View& dx = *l.out[0];
  return each_line<T>(l, *l.in[1], dx.data, *l.in[2], weighted ? l.in[5] : nullptr, [&](auto k, const auto& s, const Groups& g, unsigned blocks) {
    launch(cross_entropy_lines_grad<T, k()>, blocks, kThreads, 0, l.stream, dx.as<T>(), l.in[0]->as<T>(), l.in[3]->as<C>(), l.in[4]->as<C>(), s, g);
  });
}

}  // namespace

void register_cross_entropy_cuda() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add_kernel("cross_entropy", Device::cuda, dtype_v<T>, "lines", cross_entropy<T>);
    add_kernel("cross_entropy_grad", Device::cuda, dtype_v<T>, "lines", cross_entropy_grad<T>);
  });
}

}  // namespace graft

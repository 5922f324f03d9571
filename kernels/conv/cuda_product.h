// How a convolution on cuda becomes tiled products, without its patches ever being written: which row, column and k a position,
// a channel and a tap are. Every op is one of three tasks, as on cpu (conv.h).
#pragma once
#include <numeric>
#include "graft/kernels/conv/conv.h"
#include "graft/kernels/cuda/runtime.h"
#include "graft/kernels/cuda/workspace.h"
#include "graft/kernels/gemm/cuda_tiles.h"
#include "graft/kernels/move/cuda.h"

namespace graft::inline v1::cuda::conv {

using graft::conv::Geometry;
using graft::conv::Strides;
using gemm::Digits;
using gemm::Gather;
using Product = gemm::Product<Gather>;

enum class Kind : uint8_t { forward, data, weight };
struct Side {  // a tensor, or a copy of it in another order
  const View* view = nullptr;
  std::byte* data = nullptr;
  Strides stride;

  Side() = default;
  explicit Side(const View& v) : view(&v), data(v.data), stride(graft::conv::strides_of(v)) {}
};
struct Task {
  Kind kind = Kind::forward;
  Geometry g;
  Side x, w, y;  // x has padding; the result is y, x or w
  const View *bias = nullptr, *residual = nullptr;
  gemm::Activation activation = gemm::Activation::none;

  Side& result() { return kind == Kind::forward ? y : kind == Kind::data ? x : w; }
  const View& out() const { return *(kind == Kind::forward ? y : kind == Kind::data ? x : w).view; }
  int64_t cig() const { return g.ci / g.groups; }
  int64_t cog() const { return g.co / g.groups; }
};

inline Task task_of(Kind kind, const ConvAttrs& a, const View& x, const View& w, const View& y) {
  Task t;
  t.kind = kind;
  t.g = graft::conv::geometry_of(a, x, y, w);
  t.x = Side(x), t.w = Side(w), t.y = Side(y);
  return t;
}
inline Task forward_task(const Launch& l) {
  const auto& a = l.attrs_as<ConvAttrs>();
  const View &x = *l.in[0], &w = *l.in[1], &y = *l.out[0];
  Task t = a.transposed ? task_of(Kind::data, a, y, w, x) : task_of(Kind::forward, a, x, w, y);
  if (a.has_bias) t.bias = l.in[2];
  if (a.has_residual) t.residual = l.in[a.has_bias ? 3 : 2];
  t.activation = a.activation == Activation::relu    ? gemm::Activation::relu
                 : a.activation == Activation::relu6 ? gemm::Activation::relu6
                                                     : gemm::Activation::none;
  return t;
}
inline Task backward_data_task(const Launch& l) {
  const auto& a = l.attrs_as<ConvAttrs>();
  const View &g = *l.in[0], &w = *l.in[1], &dx = *l.out[0];
  return a.transposed ? task_of(Kind::forward, a, g, w, dx) : task_of(Kind::data, a, dx, w, g);
}
inline Task backward_weight_task(const Launch& l) {
  const auto& a = l.attrs_as<ConvAttrs>();
  const View &g = *l.in[0], &x = *l.in[1], &dw = *l.out[0];
  return a.transposed ? task_of(Kind::weight, a, g, dw, x) : task_of(Kind::weight, a, x, dw, g);
}

// ---- operands --------------------------------------------------------------------------------------------------

struct Axes { int64_t size[3] = {1, 1, 1}, first[3] = {0, 0, 0}, step[3] = {1, 1, 1}; };

inline Divider divider(int64_t n) { return Divider(unsigned(std::max<int64_t>(n, 1))); }
inline Digits digits(int64_t channels, int64_t channel_step, bool inside, const Axes& a = {}) {
  Digits d;
  d.channel = divider(channels);
  d.channel_step = channel_step;
  d.channel_inside = inside;
  for (int i = 0; i < 3; ++i) {
    d.size[i] = divider(a.size[i]);
    d.first[i] = int(a.first[i]);
    d.step[i] = int(a.step[i]);
  }
  return d;
}
// Whether 16 bytes are neighbouring channels of one place: `channels` of each group, at strides that keep the alignment.
inline bool packs_channels(const Side& s, int64_t channels) {
  const int64_t n = 16 / size_of(s.view->dtype);
  bool fits = s.stride.c == 1 && channels % n == 0 && channels > 0 && is_aligned(s.data, 16);
  for (int i = 2; i < s.view->rank; ++i) fits = fits && (s.view->size[i] == 1 || s.stride.s[3 - s.view->rank + i] % n == 0);
  return fits && s.stride.n % n == 0;
}
inline Gather gather(const Side& s, const int64_t (&limit)[3], const Digits& row, const Digits& k, bool along_k) {
  Gather x;
  x.take(*s.view);
  x.data = s.data;
  x.row = row, x.k = k;
  x.along_k = along_k;
  for (int i = 0; i < 3; ++i) {
    x.step[i] = s.stride.s[i];
    x.limit[i] = int(limit[i]);
  }
  return x;
}
// Weights [rows][channels][taps] in the order of k, channel inside or outside; as one line where they lie so.
inline Digits weight_digits(const Side& w, int64_t channels, int64_t step, bool inside, const Axes& taps, const int64_t (&k)[3]) {
  int64_t expected = inside ? channels : 1;
  bool line = !inside || step == 1;
  for (int d = 2; d >= 0; --d) {
    line = line && taps.size[d] == k[d] && (k[d] == 1 || w.stride.s[d] == expected);
    expected *= k[d];
  }
  line = line && (inside || channels == 1 || step == expected);
  return line ? digits(channels * taps.size[0] * taps.size[1] * taps.size[2], 1, true) : digits(channels, step, inside, taps);
}
inline bool is_line(const Digits& d) { return d.channel_inside && d.channel_step == 1 && d.size[0].divisor * d.size[1].divisor * d.size[2].divisor == 1; }

inline bool channels_inside(const Side& s, int64_t channels) { return s.stride.c == 1 && channels > 1; }

inline Axes positions(const Geometry& g, bool of_x) {  // of the windows: where they begin in x, or their own
  Axes a;
  for (int d = 0; d < 3; ++d) {
    a.size[d] = g.out[d];
    if (of_x) a.first[d] = -g.pad[d], a.step[d] = g.stride[d];
  }
  return a;
}
inline Axes taps(const Geometry& g, bool of_x) {
  Axes a;
  for (int d = 0; d < 3; ++d) {
    a.size[d] = g.k[d];
    if (of_x) a.step[d] = g.dilation[d];
  }
  return a;
}
inline int64_t count(const Axes& a) { return a.size[0] * a.size[1] * a.size[2]; }

inline void set_groups(Product& p, const Task& t, int64_t a, int64_t b, int64_t out, int64_t bias) {
  p.batches.rank = 1;
  p.batches.size[0] = divider(t.g.groups);
  const int64_t step[4] = {a, b, out, bias};
  std::copy_n(step, 4, p.batches.step[0]);
}
inline void set_epilogue(Product& p, const Task& t, Side out, int64_t channels) {
  p.out_packs = packs_channels(out, channels);
  if (t.bias) p.bias = t.bias->data, p.bias_step = t.bias->stride[0];
  if (t.residual) p.residual = t.residual->data;
  p.activation = t.activation;
}

// y[position, o] = sum over (channel, tap) of x w
inline Product forward_product(const Task& t) {
  const Geometry& g = t.g;
  const bool inside = channels_inside(t.x, g.ci);
  Product p;
  p.m = unsigned(g.n * g.out_points()), p.n = unsigned(t.cog()), p.k = unsigned(t.cig() * g.taps());
  p.a = gather(t.x, g.in, digits(g.n, t.x.stride.n, false, positions(g, true)), digits(t.cig(), t.x.stride.c, inside, taps(g, true)), inside);
  p.a.packs = inside && packs_channels(t.x, t.cig());
  const Digits k = weight_digits(t.w, t.cig(), t.w.stride.c, inside, taps(g, false), g.k);
  p.b = gather(t.w, g.k, digits(g.co, t.w.stride.n, false), k, true);
  const int64_t n = 16 / p.b.bytes;
  p.b.packs = is_line(k) ? p.k % n == 0 && t.w.stride.n % n == 0 && is_aligned(t.w.data, 16) : inside && packs_channels(t.w, t.cig());
  p.out = gather(t.y, g.out, digits(g.n, t.y.stride.n, false, positions(g, false)), digits(g.co, t.y.stride.c, false),
                 channels_inside(t.y, g.co));
  set_groups(p, t, t.cig() * t.x.stride.c, t.cog() * t.w.stride.n, t.cog() * t.y.stride.c, t.bias ? t.cog() * t.bias->stride[0] : 0);
  set_epilogue(p, t, t.y, t.cog());
  return p;
}

// dx[position, c] = sum over (o, tap) of dy w, for the positions of x that are `phase` modulo the stride: those meet every
// stride-th tap (every stride / gcd(stride, dilation)-th), so that along each dimension this is a convolution of stride 1.
inline Product data_product(const Task& t, const int64_t (&phase)[3]) {
  const Geometry& g = t.g;
  const bool inside = channels_inside(t.y, g.co);
  Axes row, k, weights, out;
  for (int d = 0; d < 3; ++d) {
    const int64_t common = std::gcd(g.stride[d], g.dilation[d]), each = g.stride[d] / common, at = phase[d] + g.pad[d];
    int64_t tap = 0;
    while (tap < each && (at - tap * g.dilation[d]) % g.stride[d] != 0) ++tap;
    const int64_t meets = tap < each && tap < g.k[d] ? (g.k[d] - tap + each - 1) / each : 0;
    row.size[d] = out.size[d] = (g.in[d] - phase[d] + g.stride[d] - 1) / g.stride[d];
    row.first[d] = meets ? (at - tap * g.dilation[d]) / g.stride[d] : 0;
    k.size[d] = weights.size[d] = meets;
    k.step[d] = -(g.dilation[d] / common);
    weights.first[d] = tap, weights.step[d] = each;
    out.first[d] = phase[d], out.step[d] = g.stride[d];
  }
  Product p;
  p.m = unsigned(g.n * count(row)), p.n = unsigned(t.cig()), p.k = unsigned(t.cog() * count(k));
  p.a = gather(t.y, g.out, digits(g.n, t.y.stride.n, false, row), digits(t.cog(), t.y.stride.c, inside, k), inside);
  p.a.packs = inside && packs_channels(t.y, t.cog());
  Side turned = t.w;  // a row for each input channel
  std::swap(turned.stride.n, turned.stride.c);
  const bool along_rows = t.w.stride.c == 1 && t.cig() > 1;
  p.b = gather(turned, g.k, digits(t.cig(), turned.stride.n, false), weight_digits(turned, t.cog(), turned.stride.c, inside, weights, g.k),
               !along_rows);
  p.b.packs = along_rows ? packs_channels(t.w, t.cig()) : inside && packs_channels(turned, t.cog());
  p.out = gather(t.x, g.in, digits(g.n, t.x.stride.n, false, out), digits(g.ci, t.x.stride.c, false), channels_inside(t.x, g.ci));
  set_groups(p, t, t.cog() * t.y.stride.c, t.cog() * t.w.stride.n, t.cig() * t.x.stride.c, t.bias ? t.cig() * t.bias->stride[0] : 0);
  set_epilogue(p, t, t.x, t.cig());
  return p;
}

// dw[o, (channel, tap)] = sum over images and positions of dy x
inline Product weight_product(const Task& t) {
  const Geometry& g = t.g;
  const bool inside = channels_inside(t.x, g.ci), rows = channels_inside(t.y, g.co);
  Product p;
  p.m = unsigned(t.cog()), p.n = unsigned(t.cig() * g.taps()), p.k = unsigned(g.n * g.out_points());
  p.a = gather(t.y, g.out, digits(g.co, t.y.stride.c, false), digits(g.n, t.y.stride.n, false, positions(g, false)), !rows);
  p.a.packs = rows && packs_channels(t.y, t.cog());
  Axes windows = positions(g, true);
  std::fill_n(windows.first, 3, 0);
  Axes kernel = taps(g, true);
  for (int d = 0; d < 3; ++d) kernel.first[d] = -g.pad[d];
  p.b = gather(t.x, g.in, digits(t.cig(), t.x.stride.c, inside, kernel), digits(g.n, t.x.stride.n, false, windows), !inside);
  p.b.packs = inside && packs_channels(t.x, t.cig());
  p.out = gather(t.w, g.k, digits(g.co, t.w.stride.n, false), weight_digits(t.w, t.cig(), t.w.stride.c, inside, taps(g, false), g.k), true);
  p.out_packs = inside && packs_channels(t.w, t.cig());
  set_groups(p, t, t.cog() * t.y.stride.c, t.cig() * t.x.stride.c, t.cog() * t.w.stride.n, 0);
  return p;
}

// ---- running ---------------------------------------------------------------------------------------------------

// Calls run(product) for what the task consists of: parts of the images, and phases of a strided backward_data.
template <class Run> void for_each_product(Task t, Run run) {
  if (t.kind == Kind::weight) return run(weight_product(t));
  const Geometry whole = t.g;
  const bool forward = t.kind == Kind::forward;
  const int64_t each = (forward ? whole.out_points() : whole.in_points()) * std::max<int64_t>(1, forward ? t.cog() : t.cig());
  const int64_t at_once = INT32_MAX / each, bytes = size_of(t.out().dtype);
  const std::byte* residual = t.residual ? t.residual->data : nullptr;
  for (int64_t first = 0; first < whole.n; first += at_once) {
    t.g.n = std::min(at_once, whole.n - first);
    const auto go = [&](Product p) {
      p.residual = residual ? residual + first * t.residual->stride[0] * bytes : nullptr;
      run(p);
    };
    if (forward) go(forward_product(t));
    int64_t r[3];
    for (r[0] = 0; !forward && r[0] < std::min(whole.stride[0], whole.in[0]); ++r[0])
      for (r[1] = 0; r[1] < std::min(whole.stride[1], whole.in[1]); ++r[1])
        for (r[2] = 0; r[2] < std::min(whole.stride[2], whole.in[2]); ++r[2]) go(data_product(t, r));
    t.x.data += t.g.n * t.x.stride.n * bytes;
    t.y.data += t.g.n * t.y.stride.n * bytes;
  }
}

// Whether 31 bits number what the products count.
inline Decline check_sizes(const Task& t) {
  const Geometry& g = t.g;
  const int64_t rows = t.kind == Kind::forward ? g.out_points() : g.in_points(), columns = t.kind == Kind::forward ? t.cog() : t.cig();
  if (t.kind == Kind::weight ? g.n * g.out_points() > INT32_MAX || t.out().numel > INT32_MAX : rows * columns > INT32_MAX)
    return "2^31 elements or more in an image, or positions of all";
  if (std::max(g.ci, g.co) * g.taps() > INT32_MAX) return "2^31 weights or more in a filter";
  return kRan;
}

// A copy of a side in another order: its strides go to `s`. With `zeros` there are gaps that count as zeros.
inline void copy_side(Side& s, const Strides& order, std::byte* memory, size_t bytes, bool zeros, void* stream) {
  View to = *s.view;
  to.data = memory;
  to.contiguous = false;
  to.stride[0] = order.n, to.stride[1] = order.c;
  for (int i = 2; i < to.rank; ++i) to.stride[i] = order.s[3 - to.rank + i];
  if (zeros) (void)runtime::set_bytes(memory, 0, bytes, stream);
  copy_into(to, *s.view, stream);
  s.data = memory;
  s.stride = order;
}
// Weights as rows of k: [o][tap][channel], or, of backward_data, [channel][tap][o].
inline Strides order_of_weights(const Task& t, int64_t channels) {
  const Geometry& g = t.g;
  const int64_t inner = t.kind == Kind::data ? g.co : channels;
  Strides s;
  s.s[2] = inner, s.s[1] = g.k[2] * s.s[2], s.s[0] = g.k[1] * s.s[1];
  const int64_t row = g.taps() * inner;
  s.n = t.kind == Kind::data ? 1 : row, s.c = t.kind == Kind::data ? row : 1;
  return s;
}
// The residual as the epilogue reads it: where it lies in another order than the result, from the result's own memory.
inline void place_residual(Task& t, void* stream) {
  if (!t.residual) return;
  const View& out = t.out();
  bool same = true;
  for (int d = 0; d < out.rank; ++d) same = same && (out.size[d] == 1 || out.stride[d] == t.residual->stride[d]);
  if (same) return;
  copy_into(out, *t.residual, stream);
  t.residual = &out;
}

}  // namespace graft::cuda::conv

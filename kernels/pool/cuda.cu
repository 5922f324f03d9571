// Poolings on cuda. A thread has a result, and gathers what belongs to it: of the input, the points of its window; of the
// gradient, the windows that its point lies in. A large window is shared by a group of threads.
#include "graft/kernels/cuda/compat.h"

#include <cmath>
#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/group.h"
#include "graft/kernels/cuda/image.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/pool/attrs.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

enum class Pooling : uint8_t { max, average, adaptive };

struct Window { int first, last, step, count; };  // input positions; what the average divides by
struct Span { int first, last; };                 // output positions
struct Axis {
  int in = 1, out = 1, kernel = 1, stride = 1, padding = 0, dilation = 1;

  __device__ Window window(int o, Pooling kind, bool count_padding) const {
    if (kind == Pooling::adaptive) {
      const int first = int(int64_t(o) * in / out), last = int((int64_t(o + 1) * in + out - 1) / out);
      return {first, last, 1, last - first};
    }
    const int low = o * stride - padding;
    if (kind == Pooling::max) {
      const int last = low + (kernel - 1) * dilation + 1;
      return {low < 0 ? low + (-low + dilation - 1) / dilation * dilation : low, last < in ? last : in, dilation, 0};
    }
    const int high = low + kernel < in + padding ? low + kernel : in + padding;
    const int first = low < 0 ? 0 : low, last = high < in ? high : in;
    return {first, last, 1, count_padding ? high - low : last - first};
  }
  // The outputs whose windows have input i, or reach over it where they are dilated.
  __device__ Span windows_of(int i, Pooling kind) const {
    if (kind == Pooling::adaptive) return {int(int64_t(i) * out / in), int((int64_t(i + 1) * out + in - 1) / in)};
    const int high = i + padding, low = high - (kernel - 1) * dilation, last = high / stride + 1;
    return {low <= 0 ? 0 : (low + stride - 1) / stride, last < out ? last : out};
  }
};

struct Pool {
  Axis axis[3];
  Pooling kind = Pooling::max;
  bool count_padding = true;
  int divisor = 0;  // 0: of the window
  Image from, index, to;
  Places results;

  __device__ Window window(int d, int o) const { return axis[d].window(o, kind, count_padding); }
  __device__ int divides_by(const Window& u, const Window& v, const Window& w) const {
    return divisor ? divisor : u.count * v.count * w.count;
  }
};

// Calls at(a, b, c) for the points of a window: all of them, or each thread of a group for its share.
template <bool shared, class F>
__device__ inline void for_each_point(const Window& u, const Window& v, const Window& w, const Groups& g, F at) {
  if constexpr (shared) {
    const auto points = [](const Window& x) { return x.last > x.first ? unsigned(x.last - x.first + x.step - 1) / x.step : 0U; };
    const unsigned line = points(w), lines = points(v), count = points(u) * lines * line;
    for (unsigned i = g.place(); i < count; i += g.along) {
      const unsigned row = i / line, plane = row / lines;
      at(u.first + int(plane) * u.step, v.first + int(row - plane * lines) * v.step, w.first + int(i - row * line) * w.step);
    }
  } else {
    for (int a = u.first; a < u.last; a += u.step)
      for (int b = v.first; b < v.last; b += v.step)
        for (int c = w.first; c < w.last; c += w.step) at(a, b, c);
  }
}

template <class C> struct Largest {
  C value;
  int where;
  // The first of equals; of several NaN the last.
  __device__ static Largest join(Largest a, Largest b) {
    const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    if (a_nan || b_nan) return !b_nan || (a_nan && a.where > b.where) ? a : b;
    if (a.value == b.value) return a.where < b.where ? a : b;
    return a.value > b.value ? a : b;
  }
};
template <class C, bool shared> __global__ __launch_bounds__(kThreads) void max_of_windows(const __grid_constant__ Pool p, Groups g) {
  const unsigned i = blockIdx.x * g.outputs + g.group();
  const bool mine = i < p.results.count;
  const ImagePlace at = p.results.place(mine ? i : 0);
  const Window u = p.window(0, at.at[0]), v = p.window(1, at.at[1]), w = p.window(2, at.at[2]);
  const int height = p.axis[1].in, width = p.axis[2].in;
  Largest<C> best{C(-INFINITY), (u.first * height + v.first) * width + w.first};  // what a window of -inf yields
  const std::byte* x = p.from.plane(at.image, at.channel);
  if (mine)
    for_each_point<shared>(u, v, w, g, [&](int a, int b, int c) {
      const C value = load_own<C>(x + p.from.at(a, b, c), p.from.dtype);
      if (value > best.value || value != value) best = {value, (a * height + b) * width + c};
    });
  if constexpr (shared) {
    GRAFT_SHARED(Largest<C>, part, [kThreads]);
    best = join_group(g, part, best, [](const Largest<C>& a, const Largest<C>& b) { return Largest<C>::join(a, b); });
    if (g.place() != 0) return;
  }
  if (!mine) return;
  store_own(p.to.element(at), p.to.dtype, best.value);
  *reinterpret_cast<int64_t*>(p.index.element(at)) = best.where;
}

template <class C, bool shared> __global__ __launch_bounds__(kThreads) void average_of_windows(const __grid_constant__ Pool p, Groups g) {
  const unsigned i = blockIdx.x * g.outputs + g.group();
  const bool mine = i < p.results.count;
  const ImagePlace at = p.results.place(mine ? i : 0);
  const Window u = p.window(0, at.at[0]), v = p.window(1, at.at[1]), w = p.window(2, at.at[2]);
  C sum = C(0);
  const std::byte* x = p.from.plane(at.image, at.channel);
  if (mine)
    for_each_point<shared>(u, v, w, g, [&](int a, int b, int c) { sum += load_own<C>(x + p.from.at(a, b, c), p.from.dtype); });
  if constexpr (shared) {
    GRAFT_SHARED(C, part, [kThreads]);
    sum = join_group(g, part, sum, [](const C& a, const C& b) { return a + b; });
    if (g.place() != 0) return;
  }
  if (!mine) return;
  const bool empty = u.first >= u.last || v.first >= v.last || w.first >= w.last;
  store_own(p.to.element(at), p.to.dtype, empty ? C(0) : sum / C(p.divides_by(u, v, w)));
}

// What the outputs whose windows have the point pass back to it: the maximum to where it was found, or a share to every point.
template <class C, bool largest> __global__ __launch_bounds__(kThreads, 2) void gather_from_windows(const __grid_constant__ Pool p) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= p.results.count) return;
  const ImagePlace at = p.results.place(i);
  const Span u = p.axis[0].windows_of(at.at[0], p.kind), v = p.axis[1].windows_of(at.at[1], p.kind), w = p.axis[2].windows_of(at.at[2], p.kind);
  const std::byte *g = p.from.plane(at.image, at.channel), *index = p.index.data;
  if constexpr (largest) index = p.index.plane(at.image, at.channel);
  const int64_t here = (int64_t(at.at[0]) * p.axis[1].in + at.at[1]) * p.axis[2].in + at.at[2];
  C sum = C(0);
  for (int a = u.first; a < u.last; ++a)
    for (int b = v.first; b < v.last; ++b)
      for (int c = w.first; c < w.last; ++c) {
        if constexpr (largest) {
          if (*reinterpret_cast<const int64_t*>(index + p.index.at(a, b, c)) == here) sum += load_own<C>(g + p.from.at(a, b, c), p.from.dtype);
        } else {
          sum += load_own<C>(g + p.from.at(a, b, c), p.from.dtype) / C(p.divides_by(p.window(0, a), p.window(1, b), p.window(2, c)));
        }
      }
  store_own(p.to.element(at), p.to.dtype, sum);
}

// ---- launching -------------------------------------------------------------------------------------------------

// x is the side of the windows' points, y has an element per window; results are those of `to`.
Pool pool_of(const PoolAttrs& a, Pooling kind, const View& x, const View& y, const View& to) {
  Pool p;
  p.kind = kind;
  p.count_padding = a.count_include_pad;
  p.divisor = kind == Pooling::average ? a.divisor_override : 0;
  p.to = Image(to);
  p.results = Places(to);
  for (int i = 0; i + 2 < x.rank; ++i)
    p.axis[5 - x.rank + i] = {int(x.size[2 + i]), int(y.size[2 + i]), a.kernel[i], a.stride[i], a.padding[i], kind == Pooling::max ? a.dilation[i] : 1};
  return p;
}
// Calls run(p) for all images, or parts.
template <class Run> Decline for_each_part_of(const Pool& p, const View& to, Run run) {
  const bool fits = for_each_image_part(to, [&](int64_t first, unsigned count) {
    Pool part = p;
    part.results.count = count;
    for (Image* image : {&part.from, &part.index, &part.to}) image->data += image->data ? first * image->n * image->bytes : 0;
    run(part);
  });
  return fits ? kRan : "2^31 elements or more in an image";
}
Decline check_points(const View& x) {
  return x.numel > 0 && x.numel / x.size[0] / x.size[1] > INT32_MAX ? "more than 2^31 positions" : kRan;
}

using PoolKernel = void (*)(Pool, Groups);
Decline forward(const Launch& l, Pooling kind, PoolKernel alone, PoolKernel shared) {
  const View &x = *l.in[0], &y = *l.out[0];
  if (const Decline why = check_points(x)) return why;
  Pool p = pool_of(l.attrs_as<PoolAttrs>(), kind, x, y, y);
  p.from = Image(x);
  if (l.out.size() > 1) p.index = Image(*l.out[1]);
  int64_t points = 1;
  for (const Axis& a : p.axis) points *= kind != Pooling::adaptive ? a.kernel : a.out ? a.in / a.out : 1;
  const Groups g(points / 8, x.stride[1] == 1 && x.size[1] > 1);
  return for_each_part_of(p, y, [&](const Pool& part) {
    launch(g.along > 1 ? shared : alone, blocks_for(part.results.count, g.outputs), kThreads, 0, l.stream, part, g);
  });
}
Decline backward(const Launch& l, Pooling kind, void (*gather)(Pool)) {
  const View &g = *l.in[0], &dx = *l.out[0];
  if (const Decline why = check_points(dx)) return why;
  Pool p = pool_of(l.attrs_as<PoolAttrs>(), kind, dx, g, dx);
  p.from = Image(g);
  if (l.in.size() > 1) p.index = Image(*l.in[1]);
  return for_each_part_of(p, dx, [&](const Pool& part) { launch(gather, blocks_for(part.results.count), kThreads, 0, l.stream, part); });
}

template <class C, Pooling kind> Decline max_pool_on(const Launch& l) {
  return forward(l, kind, max_of_windows<C, false>, max_of_windows<C, true>);
}
template <class C> Decline max_pool_backward_on(const Launch& l) {
  const Pooling kind = l.attrs_as<PoolAttrs>().adaptive ? Pooling::adaptive : Pooling::max;
  return backward(l, kind, gather_from_windows<C, true>);
}
template <class C, Pooling kind> Decline avg_pool_on(const Launch& l) {
  return forward(l, kind, average_of_windows<C, false>, average_of_windows<C, true>);
}
template <class C, Pooling kind> Decline avg_pool_backward_on(const Launch& l) { return backward(l, kind, gather_from_windows<C, false>); }

template <class C> void add_pools(DType t) {
  const auto add = [t](const char* op, Kernel k) { add_kernel(op, Device::cuda, t, "windows", k); };
  add("max_pool", max_pool_on<C, Pooling::max>);
  add("adaptive_max_pool", max_pool_on<C, Pooling::adaptive>);
  add("max_pool_backward", max_pool_backward_on<C>);
  add("avg_pool", avg_pool_on<C, Pooling::average>);
  add("avg_pool_backward", avg_pool_backward_on<C, Pooling::average>);
  add("adaptive_avg_pool", avg_pool_on<C, Pooling::adaptive>);
  add("adaptive_avg_pool_backward", avg_pool_backward_on<C, Pooling::adaptive>);
}

}  // namespace

void register_pool_cuda() {
  for (const DType t : {f32, f16, bf16}) add_pools<float>(t);
  add_pools<double>(f64);
}

}  // namespace graft

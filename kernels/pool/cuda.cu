// Poolings on cuda. A thread has a result, and gathers what belongs to it: of the input, the points of its window; of the
// gradient, the windows that its point lies in. Of what is channels last it has as many neighbouring channels as 16 bytes hold. A
// large window is shared by a group of threads.
#include "graft/kernels/cuda/compat.h"

#include <algorithm>
#include <cmath>
#include <span>
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

  // Of result i, or of k neighbouring channels.
  template <int k> __device__ ImagePlace place(unsigned i) const {
    ImagePlace at = results.place(i);
    at.channel *= k;
    return at;
  }
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

// k neighbours as the numbers that are computed with. One may be of any dtype that is computed in T.
template <class T, int k> struct Some {
  using C = compute_t<T>;
  C of[k];

  __device__ static Some read(const std::byte* p, DType t) {
    Some s;
    if constexpr (k == 1) {
      s.of[0] = load_own<C>(p, t);
    } else {
      const auto pack = *reinterpret_cast<const Pack<T, k>*>(p);
#pragma unroll
      for (int e = 0; e < k; ++e) s.of[e] = convert_element<C>(pack.of[e]);
    }
    return s;
  }
  __device__ void write(std::byte* p, DType t) const {
    if constexpr (k == 1) {
      store_own(p, t, of[0]);
    } else {
      Pack<T, k> pack;
#pragma unroll
      for (int e = 0; e < k; ++e) pack.of[e] = convert_element<T>(of[e]);
      *reinterpret_cast<Pack<T, k>*>(p) = pack;
    }
  }
};

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

// Writes the positions that the threads of a block have found, k each, to where all of them lie in order, as the op lays them out:
// 16 bytes of neighbours at a time.
template <int k> __device__ inline void write_positions(int64_t* to, const int (&where)[k], unsigned results) {
  constexpr int w = k < 4 ? k : 4, pitch = kThreads + 4;  // what a thread keeps in one place; without bank conflicts
  using Few = Pack<int, w>;
  GRAFT_SHARED(Few, kept, [k / w * pitch]);
#pragma unroll
  for (int e = 0; e < k; e += w) {
    Few few;
#pragma unroll
    for (int i = 0; i < w; ++i) few.of[i] = where[e + i];
    kept[e / w * pitch + threadIdx.x] = few;
  }
  __syncthreads();
  const unsigned first = blockIdx.x * kThreads, count = (results - first < kThreads ? results - first : kThreads) * k;
  for (unsigned j = 2 * threadIdx.x; j < count; j += 2 * kThreads) {
    const auto two = *reinterpret_cast<const Pack<int, 2>*>(&kept[j % k / w * pitch + j / k].of[j % w]);
    const Pack<int64_t, 2> wide = {two.of[0], two.of[1]};
    reinterpret_cast<Pack<int64_t, 2>*>(to + size_t(first) * k)[j / 2] = wide;
  }
}

template <class T, int k, bool shared> __global__ __launch_bounds__(kThreads) void max_of_windows(const __grid_constant__ Pool p, Groups g) {
  using C = compute_t<T>;
  struct Best { Largest<C> of[k]; };
  const unsigned i = blockIdx.x * g.outputs + g.group();
  const bool mine = i < p.results.count;
  const ImagePlace at = p.place<k>(mine ? i : 0);
  const Window u = p.window(0, at.at[0]), v = p.window(1, at.at[1]), w = p.window(2, at.at[2]);
  const int height = p.axis[1].in, width = p.axis[2].in;
  Best best;
#pragma unroll
  for (int e = 0; e < k; ++e) best.of[e] = {C(-INFINITY), (u.first * height + v.first) * width + w.first};  // what a window of -inf yields
  const std::byte* x = p.from.plane(at.image, at.channel);
  if (mine)
    for_each_point<shared>(u, v, w, g, [&](int a, int b, int c) {
      const auto some = Some<T, k>::read(x + p.from.at(a, b, c), p.from.dtype);
      const int here = (a * height + b) * width + c;
#pragma unroll
      for (int e = 0; e < k; ++e)
        if (some.of[e] > best.of[e].value || some.of[e] != some.of[e]) best.of[e] = {some.of[e], here};
    });
  if constexpr (shared) {
    GRAFT_SHARED(Best, part, [kThreads]);
    best = join_group(g, part, best, [](const Best& a, const Best& b) {
      Best joined;
#pragma unroll
      for (int e = 0; e < k; ++e) joined.of[e] = Largest<C>::join(a.of[e], b.of[e]);
      return joined;
    });
  }
  const bool writes = mine && (!shared || g.place() == 0);
  if (writes) {
    Some<T, k> y;
#pragma unroll
    for (int e = 0; e < k; ++e) y.of[e] = best.of[e].value;
    y.write(p.to.element(at), p.to.dtype);
  }
  if constexpr (k > 1 && !shared) {
    int where[k];
#pragma unroll
    for (int e = 0; e < k; ++e) where[e] = best.of[e].where;
    write_positions(reinterpret_cast<int64_t*>(p.index.data), where, p.results.count);
  } else if (writes) {
#pragma unroll
    for (int e = 0; e < k; ++e) reinterpret_cast<int64_t*>(p.index.element(at))[e] = best.of[e].where;
  }
}

template <class T, int k, bool shared> __global__ __launch_bounds__(kThreads) void average_of_windows(const __grid_constant__ Pool p, Groups g) {
  using Sum = Some<T, k>;
  using C = compute_t<T>;
  const unsigned i = blockIdx.x * g.outputs + g.group();
  const bool mine = i < p.results.count;
  const ImagePlace at = p.place<k>(mine ? i : 0);
  const Window u = p.window(0, at.at[0]), v = p.window(1, at.at[1]), w = p.window(2, at.at[2]);
  const auto add = [](const Sum& a, const Sum& b) {
    Sum joined;
#pragma unroll
    for (int e = 0; e < k; ++e) joined.of[e] = a.of[e] + b.of[e];
    return joined;
  };
  Sum sum = {};
  const std::byte* x = p.from.plane(at.image, at.channel);
  if (mine)
    for_each_point<shared>(u, v, w, g, [&](int a, int b, int c) { sum = add(sum, Sum::read(x + p.from.at(a, b, c), p.from.dtype)); });
  if constexpr (shared) {
    GRAFT_SHARED(Sum, part, [kThreads]);
    sum = join_group(g, part, sum, add);
    if (g.place() != 0) return;
  }
  if (!mine) return;
  const bool empty = u.first >= u.last || v.first >= v.last || w.first >= w.last;
  const C divisor = empty ? C(1) : C(p.divides_by(u, v, w));  // the sum of nothing is 0
#pragma unroll
  for (int e = 0; e < k; ++e) sum.of[e] /= divisor;
  sum.write(p.to.element(at), p.to.dtype);
}

// What the outputs whose windows have the point pass back to it: the maximum to where it was found, or a share to every point.
template <class T, int k, bool largest> __global__ __launch_bounds__(kThreads, 2) void gather_from_windows(const __grid_constant__ Pool p) {
  using C = compute_t<T>;
  constexpr int at_once = k < 2 ? 1 : 2;
  using Positions = Pack<int64_t, at_once>;
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= p.results.count) return;
  const ImagePlace at = p.place<k>(i);
  const Span u = p.axis[0].windows_of(at.at[0], p.kind), v = p.axis[1].windows_of(at.at[1], p.kind), w = p.axis[2].windows_of(at.at[2], p.kind);
  const std::byte *g = p.from.plane(at.image, at.channel), *index = p.index.data;
  if constexpr (largest) index = p.index.plane(at.image, at.channel);
  const int64_t here = (int64_t(at.at[0]) * p.axis[1].in + at.at[1]) * p.axis[2].in + at.at[2];
  Some<T, k> sum = {};
  for (int a = u.first; a < u.last; ++a)
    for (int b = v.first; b < v.last; ++b)
      for (int c = w.first; c < w.last; ++c) {
        const std::byte* passed = g + p.from.at(a, b, c);
        if constexpr (largest) {
          const auto* found = reinterpret_cast<const Positions*>(index + p.index.at(a, b, c));
          bool own[k], any = false;
#pragma unroll
          for (int e = 0; e < k; e += at_once) {
            const Positions some = found[e / at_once];
#pragma unroll
            for (int j = 0; j < at_once; ++j) any |= own[e + j] = some.of[j] == here;
          }
          if (!any) continue;
          const auto some = Some<T, k>::read(passed, p.from.dtype);
#pragma unroll
          for (int e = 0; e < k; ++e)
            if (own[e]) sum.of[e] += some.of[e];
        } else {
          const auto some = Some<T, k>::read(passed, p.from.dtype);
          const C divisor = C(p.divides_by(p.window(0, a), p.window(1, b), p.window(2, c)));
#pragma unroll
          for (int e = 0; e < k; ++e) sum.of[e] += some.of[e] / divisor;
        }
      }
  sum.write(p.to.element(at), p.to.dtype);
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
// Calls run(p) for all images, or parts, with k channels to a result.
template <class Run> Decline for_each_part_of(const Pool& p, const View& to, int k, Run run) {
  const bool fits = for_each_image_part(to, [&](int64_t first, unsigned count) {
    Pool part = p;
    part.results.count = count / unsigned(k);
    part.results.channels = Divider(unsigned(to.size[1] / k));
    for (Image* image : {&part.from, &part.index, &part.to}) image->data += image->data ? first * image->n * image->bytes : 0;
    run(part);
  });
  return fits ? kRan : "2^31 elements or more in an image";
}
Decline check_points(const View& x) {
  return x.numel > 0 && x.numel / x.size[0] / x.size[1] > INT32_MAX ? "more than 2^31 positions" : kRan;
}
// Whether k channels of each place lie in 16 bytes.
bool in_packs(int k, const View& v) {
  bool ok = v.stride[1] == 1 && v.size[1] > 1 && v.size[1] % k == 0 && is_aligned(v.data, 16);
  for (int d = 0; d < v.rank; ++d) ok = ok && (d == 1 || v.stride[d] % k == 0);
  return ok;
}
bool in_packs(int k, const Launch& l) {
  const auto all = [k](std::span<const View* const> views) {
    return std::ranges::all_of(views, [k](const View* v) { return in_packs(v->dtype == i64 ? 2 : k, *v) && v->size[1] % k == 0; });
  };
  return k > 1 && all(l.in) && all(l.out);
}

using PoolKernel = void (*)(Pool, Groups);
template <int k> Decline forward(const Launch& l, Pooling kind, PoolKernel alone, PoolKernel shared) {
  const View &x = *l.in[0], &y = *l.out[0];
  if (const Decline why = check_points(x)) return why;
  Pool p = pool_of(l.attrs_as<PoolAttrs>(), kind, x, y, y);
  p.from = Image(x);
  if (l.out.size() > 1) p.index = Image(*l.out[1]);
  int64_t points = 1;
  for (const Axis& a : p.axis) points *= kind != Pooling::adaptive ? a.kernel : a.out ? a.in / a.out : 1;
  const Groups g(points / 8, x.stride[1] == 1 && x.size[1] > 1);
  return for_each_part_of(p, y, k, [&](const Pool& part) {
    launch(g.along > 1 ? shared : alone, blocks_for(part.results.count, g.outputs), kThreads, 0, l.stream, part, g);
  });
}
template <int k> Decline backward(const Launch& l, Pooling kind, void (*gather)(Pool)) {
  const View &g = *l.in[0], &dx = *l.out[0];
  if (const Decline why = check_points(dx)) return why;
  Pool p = pool_of(l.attrs_as<PoolAttrs>(), kind, dx, g, dx);
  p.from = Image(g);
  if (l.in.size() > 1) p.index = Image(*l.in[1]);
  return for_each_part_of(p, dx, k, [&](const Pool& part) { launch(gather, blocks_for(part.results.count), kThreads, 0, l.stream, part); });
}

// For a dtype T: in packs, or one by one as what it is computed in.
template <class T, Pooling kind> Decline max_pool_on(const Launch& l) {
  constexpr int k = kPerPack<T>;
  using C = compute_t<T>;
  if (in_packs(k, l)) return forward<k>(l, kind, max_of_windows<T, k, false>, max_of_windows<T, k, true>);
  return forward<1>(l, kind, max_of_windows<C, 1, false>, max_of_windows<C, 1, true>);
}
template <class T> Decline max_pool_backward_on(const Launch& l) {
  constexpr int k = kPerPack<T>;
  const Pooling kind = l.attrs_as<PoolAttrs>().adaptive ? Pooling::adaptive : Pooling::max;
  return in_packs(k, l) ? backward<k>(l, kind, gather_from_windows<T, k, true>) : backward<1>(l, kind, gather_from_windows<compute_t<T>, 1, true>);
}
template <class T, Pooling kind> Decline avg_pool_on(const Launch& l) {
  constexpr int k = kPerPack<T>;
  using C = compute_t<T>;
  if (in_packs(k, l)) return forward<k>(l, kind, average_of_windows<T, k, false>, average_of_windows<T, k, true>);
  return forward<1>(l, kind, average_of_windows<C, 1, false>, average_of_windows<C, 1, true>);
}
template <class T, Pooling kind> Decline avg_pool_backward_on(const Launch& l) {
  constexpr int k = kPerPack<T>;
  return in_packs(k, l) ? backward<k>(l, kind, gather_from_windows<T, k, false>) : backward<1>(l, kind, gather_from_windows<compute_t<T>, 1, false>);
}

}  // namespace

void register_pool_cuda() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    const auto add = [](const char* op, Kernel k) { add_kernel(op, Device::cuda, dtype_v<T>, "windows", k); };
    add("max_pool", max_pool_on<T, Pooling::max>);
    add("adaptive_max_pool", max_pool_on<T, Pooling::adaptive>);
    add("max_pool_backward", max_pool_backward_on<T>);
    add("avg_pool", avg_pool_on<T, Pooling::average>);
    add("avg_pool_backward", avg_pool_backward_on<T, Pooling::average>);
    add("adaptive_avg_pool", avg_pool_on<T, Pooling::adaptive>);
    add("adaptive_avg_pool_backward", avg_pool_backward_on<T, Pooling::adaptive>);
  });
}

}  // namespace graft

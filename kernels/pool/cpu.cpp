// Poolings on cpu. A plan lists the window of every output position per dimension; what the pooling is, and whether it is
// adaptive, is in that list. One task is an image and a block of channels: 64 that are neighbours in memory, or one.
#include <algorithm>
#include <cmath>
#include <limits>
#include "graft/kernels/parallel.h"
#include "graft/kernels/pool/attrs.h"
#include "graft/kernels/scratch.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

constexpr int64_t kBlock = 64;

struct Window {
  int64_t first, last, step;  // input positions
  int64_t count;              // that the average divides by
};
struct Plan {
  int64_t n, channels, in[3] = {1, 1, 1}, out[3] = {1, 1, 1};
  Scratch<Window> windows;
  int64_t override = 0;

  int64_t in_points() const { return in[0] * in[1] * in[2]; }
  const Window* dim(int d) const { return windows.get() + (d == 0 ? 0 : d == 1 ? out[0] : out[0] + out[1]); }
  double divisor(const Window& a, const Window& b, const Window& c) const {
    return double(override ? override : a.count * b.count * c.count);
  }

  // The missing spatial dimensions come first, with size 1.
  Plan(const View& x, const View& y)
      : n(x.size[0]), channels(x.size[1]), windows(x.rank == 3   ? y.size[2] + 2
                                                   : x.rank == 4 ? y.size[2] + y.size[3] + 1
                                                                 : y.size[2] + y.size[3] + y.size[4]) {
    for (int i = 2; i < x.rank; ++i) {
      in[3 - x.rank + i] = x.size[i];
      out[3 - x.rank + i] = y.size[i];
    }
  }
  template <class F> void fill(F window) {  // window(d, o) -> Window
    Window* to = windows.get();
    for (int d = 0; d < 3; ++d)
      for (int64_t o = 0; o < out[d]; ++o) *to++ = window(d, o);
  }
};

struct Sliding {
  int64_t kernel[3] = {1, 1, 1}, stride[3] = {1, 1, 1}, padding[3] = {0, 0, 0}, dilation[3] = {1, 1, 1};
  explicit Sliding(const PoolAttrs& a) {
    for (int i = 0; i < a.rank; ++i) {
      const int d = 3 - a.rank + i;
      kernel[d] = a.kernel[i];
      stride[d] = a.stride[i];
      padding[d] = a.padding[i];
      dilation[d] = a.dilation[i];
    }
  }
};
void plan_max(Plan& p, const PoolAttrs& a) {
  const Sliding s(a);
  p.fill([&](int d, int64_t o) {
    int64_t first = o * s.stride[d] - s.padding[d];
    const int64_t last = std::min(first + (s.kernel[d] - 1) * s.dilation[d] + 1, p.in[d]);
    if (first < 0) first += (-first + s.dilation[d] - 1) / s.dilation[d] * s.dilation[d];
    return Window{first, last, s.dilation[d], 0};
  });
}
void plan_avg(Plan& p, const PoolAttrs& a) {
  const Sliding s(a);
  p.override = a.divisor_override;
  p.fill([&](int d, int64_t o) {
    const int64_t low = o * s.stride[d] - s.padding[d];
    const int64_t high = std::min(low + s.kernel[d], p.in[d] + s.padding[d]);
    const int64_t first = std::max<int64_t>(low, 0), last = std::min(high, p.in[d]);
    return Window{first, last, 1, a.count_include_pad ? high - low : last - first};
  });
}
void plan_adaptive(Plan& p) {
  p.fill([&](int d, int64_t o) {
    const int64_t first = o * p.in[d] / p.out[d], last = ((o + 1) * p.in[d] + p.out[d] - 1) / p.out[d];
    return Window{first, last, 1, last - first};
  });
}

// Spatial strides, the missing dimensions first.
struct Steps {
  int64_t s[3] = {0, 0, 0};
  explicit Steps(const View& v) {
    for (int i = 2; i < v.rank; ++i) s[3 - v.rank + i] = v.stride[i];
  }
  int64_t at(int64_t a, int64_t b, int64_t c) const { return a * s[0] + b * s[1] + c * s[2]; }
};

bool channels_last(const View& v) { return v.stride[1] == 1 && v.size[1] > 1; }

// Calls task(image, first channel, channels) for blocks of channels. `cost`: elements read for one channel.
template <class F> void for_each_block(const Plan& p, bool dense, int64_t cost, F task) {
  const int64_t width = dense ? kBlock : 1;
  const int64_t blocks = (p.channels + width - 1) / width;
  const int64_t grain = std::max<int64_t>(1, 20000 / std::max<int64_t>(1, cost * width));
  parallel_for(0, p.n * blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t c = i % blocks * width;
      task(i / blocks, c, std::min(width, p.channels - c));
    }
  });
}
// Calls at(number of the output position, its windows) for every output position.
template <class F> void for_each_output(const Plan& p, F at) {
  for (int64_t a = 0; a < p.out[0]; ++a)
    for (int64_t b = 0; b < p.out[1]; ++b)
      for (int64_t c = 0; c < p.out[2]; ++c) at(a, b, c, p.dim(0)[a], p.dim(1)[b], p.dim(2)[c]);
}
// Calls at(a, b, c) for every input position of a window.
template <class F> void for_each_input(const Window& u, const Window& v, const Window& w, F at) {
  for (int64_t a = u.first; a < u.last; a += u.step)
    for (int64_t b = v.first; b < v.last; b += v.step)
      for (int64_t c = w.first; c < w.last; c += w.step) at(a, b, c);
}

// PyTorch's rule: the first of equals; of several NaN the last; a window of -inf yields its first position.
template <class T, bool Dense> void max_block(const Plan& p, const View& x, const View& y, const View& at, int64_t n,
                                              int64_t c0, int64_t channels) {
  using A = compute_t<T>;
  const Steps sx(x), sy(y), sat(at);
  const T* from = x.as<T>() + n * x.stride[0] + c0 * x.stride[1];
  T* to = y.as<T>() + n * y.stride[0] + c0 * y.stride[1];
  int64_t* index = at.as<int64_t>() + n * at.stride[0] + c0 * at.stride[1];
  for_each_output(p, [&](int64_t i, int64_t j, int64_t k, const Window& u, const Window& v, const Window& w) {
    A best[kBlock];
    int32_t where[kBlock];
    const auto start = int32_t((u.first * p.in[1] + v.first) * p.in[2] + w.first);
    for (int64_t c = 0; c < channels; ++c) {
      best[c] = -std::numeric_limits<A>::infinity();
      where[c] = start;
    }
    for_each_input(u, v, w, [&](int64_t a, int64_t b, int64_t d) {
      const T* px = from + sx.at(a, b, d);
      const auto here = int32_t((a * p.in[1] + b) * p.in[2] + d);
      for (int64_t c = 0; c < (Dense ? channels : 1); ++c) {
        const A value = A(px[c]);
        const bool take = value > best[c] || value != value;
        best[c] = take ? value : best[c];
        where[c] = take ? here : where[c];
      }
    });
    const int64_t py = sy.at(i, j, k), pi = sat.at(i, j, k);
    for (int64_t c = 0; c < channels; ++c) {
      to[py + c * y.stride[1]] = T(best[c]);
      index[pi + c * at.stride[1]] = where[c];
    }
  });
}

template <class T> Decline max_with(const Plan& p, const Launch& l) {
  const View &x = *l.in[0], &y = *l.out[0], &at = *l.out[1];
  if (p.in_points() > std::numeric_limits<int32_t>::max()) return "more than 2^31 positions";
  const bool dense = channels_last(x);
  for_each_block(p, dense, p.in_points(), [&](int64_t n, int64_t c, int64_t channels) {
    dense ? max_block<T, true>(p, x, y, at, n, c, channels) : max_block<T, false>(p, x, y, at, n, c, channels);
  });
  return kRan;
}

template <class T> Decline avg_with(const Plan& p, const Launch& l) {
  using A = compute_t<T>;
  const View &x = *l.in[0], &y = *l.out[0];
  const Steps sx(x), sy(y);
  const bool dense = channels_last(x);
  for_each_block(p, dense, p.in_points(), [&](int64_t n, int64_t c0, int64_t channels) {
    const T* from = x.as<T>() + n * x.stride[0] + c0 * x.stride[1];
    T* to = y.as<T>() + n * y.stride[0] + c0 * y.stride[1];
    for_each_output(p, [&](int64_t i, int64_t j, int64_t k, const Window& u, const Window& v, const Window& w) {
      A sum[kBlock] = {};
      for_each_input(u, v, w, [&](int64_t a, int64_t b, int64_t d) {
        const T* px = from + sx.at(a, b, d);
        if (dense)
          for (int64_t c = 0; c < channels; ++c) sum[c] += A(px[c]);
        else
          sum[0] += A(*px);
      });
      const bool empty = u.first >= u.last || v.first >= v.last || w.first >= w.last;
      const A divisor = empty ? A(1) : A(p.divisor(u, v, w));
      for (int64_t c = 0; c < channels; ++c) to[sy.at(i, j, k) + c * y.stride[1]] = T(sum[c] / divisor);
    });
  });
  return kRan;
}

// Gradients are summed over the windows in a block of the input's size, then stored. `add` is called for every output
// position and channel of the block.
template <class T, class F> void scatter(const Plan& p, const View& g, const View& dx, F add) {
  using A = compute_t<T>;
  const bool dense = channels_last(dx) && channels_last(g);
  const Steps sdx(dx);
  for_each_block(p, dense, p.in_points(), [&](int64_t n, int64_t c0, int64_t channels) {
    const Scratch<A> sum(p.in_points() * channels);
    std::fill_n(sum.get(), p.in_points() * channels, A(0));
    add(sum.get(), n, c0, channels);
    T* to = dx.as<T>() + n * dx.stride[0] + c0 * dx.stride[1];
    const A* s = sum.get();
    for (int64_t a = 0; a < p.in[0]; ++a)
      for (int64_t b = 0; b < p.in[1]; ++b)
        for (int64_t d = 0; d < p.in[2]; ++d, s += channels)
          for (int64_t c = 0; c < channels; ++c) to[sdx.at(a, b, d) + c * dx.stride[1]] = T(s[c]);
  });
}

template <class T> Decline max_pool_backward(const Launch& l) {
  using A = compute_t<T>;
  const View &g = *l.in[0], &at = *l.in[1], &dx = *l.out[0];
  const Plan p(dx, g);
  const Steps sg(g), sat(at);
  scatter<T>(p, g, dx, [&](A* sum, int64_t n, int64_t c0, int64_t channels) {
    const T* from = g.as<T>() + n * g.stride[0] + c0 * g.stride[1];
    const int64_t* index = at.as<int64_t>() + n * at.stride[0] + c0 * at.stride[1];
    for (int64_t i = 0; i < p.out[0]; ++i)
      for (int64_t j = 0; j < p.out[1]; ++j)
        for (int64_t k = 0; k < p.out[2]; ++k)
          for (int64_t c = 0; c < channels; ++c)
            sum[index[sat.at(i, j, k) + c * at.stride[1]] * channels + c] += A(from[sg.at(i, j, k) + c * g.stride[1]]);
  });
  return kRan;
}

template <class T> Decline avg_backward_with(const Plan& p, const Launch& l) {
  using A = compute_t<T>;
  const View &g = *l.in[0], &dx = *l.out[0];
  const Steps sg(g);
  scatter<T>(p, g, dx, [&](A* sum, int64_t n, int64_t c0, int64_t channels) {
    const T* from = g.as<T>() + n * g.stride[0] + c0 * g.stride[1];
    for_each_output(p, [&](int64_t i, int64_t j, int64_t k, const Window& u, const Window& v, const Window& w) {
      A part[kBlock];
      const A divisor = A(p.divisor(u, v, w));
      for (int64_t c = 0; c < channels; ++c) part[c] = A(from[sg.at(i, j, k) + c * g.stride[1]]) / divisor;
      for_each_input(u, v, w, [&](int64_t a, int64_t b, int64_t d) {
        A* to = sum + ((a * p.in[1] + b) * p.in[2] + d) * channels;
        for (int64_t c = 0; c < channels; ++c) to[c] += part[c];
      });
    });
  });
  return kRan;
}

template <class T> Decline max_pool(const Launch& l) {
  Plan p(*l.in[0], *l.out[0]);
  plan_max(p, l.attrs_as<PoolAttrs>());
  return max_with<T>(p, l);
}
template <class T> Decline avg_pool(const Launch& l) {
  Plan p(*l.in[0], *l.out[0]);
  plan_avg(p, l.attrs_as<PoolAttrs>());
  return avg_with<T>(p, l);
}
template <class T> Decline avg_pool_backward(const Launch& l) {
  Plan p(*l.out[0], *l.in[0]);
  plan_avg(p, l.attrs_as<PoolAttrs>());
  return avg_backward_with<T>(p, l);
}
template <class T> Decline adaptive_max_pool(const Launch& l) {
  Plan p(*l.in[0], *l.out[0]);
  plan_adaptive(p);
  return max_with<T>(p, l);
}
template <class T> Decline adaptive_avg_pool(const Launch& l) {
  Plan p(*l.in[0], *l.out[0]);
  plan_adaptive(p);
  return avg_with<T>(p, l);
}
template <class T> Decline adaptive_avg_pool_backward(const Launch& l) {
  Plan p(*l.out[0], *l.in[0]);
  plan_adaptive(p);
  return avg_backward_with<T>(p, l);
}

}  // namespace

void register_pool_cpu() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    const auto add = [](const char* op, Kernel k) { add_kernel(op, Device::cpu, dtype_v<T>, "windows", k); };
    add("max_pool", max_pool<T>);
    add("max_pool_backward", max_pool_backward<T>);
    add("avg_pool", avg_pool<T>);
    add("avg_pool_backward", avg_pool_backward<T>);
    add("adaptive_max_pool", adaptive_max_pool<T>);
    add("adaptive_avg_pool", adaptive_avg_pool<T>);
    add("adaptive_avg_pool_backward", adaptive_avg_pool_backward<T>);
  });
}

}  // namespace graft

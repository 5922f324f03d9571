// Batch norm on cuda, and its derivative: statistics and gradients of channels first, then one pass that writes. Neighbours of a
// channel, or neighbouring channels of what is channels last, go 16 bytes at a time.
#include "graft/kernels/cuda/compat.h"

#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/moments.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/cuda/shares.h"
#include "graft/kernels/norm/attrs.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

constexpr Decline kLayout = "x is neither contiguous nor channels last, or an operand lies in another order";

struct ChannelSet {  // x as [n][channels][length], or, by columns, as [n * length][channels]
  unsigned count, channels, length;  // count: elements of a channel
  bool columns;
  Divider by_length, by_channels;

  ChannelSet() = default;
  ChannelSet(int64_t n, int64_t c, int64_t l, bool by_columns)
      : count(unsigned(n * l)), channels(unsigned(c)), length(unsigned(l)), columns(by_columns),
        by_length(unsigned(std::max<int64_t>(l, 1))), by_channels(unsigned(std::max<int64_t>(c, 1))) {}
  ChannelSet in_packs(unsigned n) const { return {count / std::max(length, 1U), channels, length / n, columns}; }
  __device__ size_t at(unsigned c, unsigned i) const {  // element i of a channel
    if (columns) return size_t(i) * channels + c;
    const unsigned n = by_length.divide(i);
    return (size_t(n) * channels + c) * length + (i - n * length);
  }
  __device__ unsigned channel_of(unsigned element) const {
    const unsigned row = columns ? element : by_length.divide(element);
    return row - by_channels.divide(row) * channels;
  }
};
bool same_strides(const View& a, const View& b) {
  if (a.contiguous && b.contiguous) return true;
  for (int d = 0; d < a.rank; ++d)
    if (a.size[d] != 1 && a.stride[d] != b.stride[d]) return false;
  return true;
}
Decline channels_of(const View& x, std::initializer_list<const View*> alike, ChannelSet& s) {
  if (x.numel > INT32_MAX) return "2^31 elements or more";
  int64_t length = 1;
  for (int d = 2; d < x.rank; ++d) length *= x.size[d];
  const bool columns = !x.contiguous || length == 1;
  bool fits = !columns || (x.contiguous || x.size[1] == 1 ? is_dense(x) : x.stride[1] == 1 && is_dense(x));
  for (const View* v : alike) fits = fits && same_strides(x, *v);
  if (!fits) return kLayout;
  s = {x.size[0], x.size[1], length, columns};
  return kRan;
}
// Whether elements go in packs: of neighbours in a channel or, by columns, of neighbouring channels.
template <class T> bool in_packs(const ChannelSet& s, std::initializer_list<const View*> operands) {
  bool fits = (s.columns ? s.channels : s.length) % unsigned(kPerPack<T>) == 0;
  for (const View* v : operands) fits = fits && is_aligned(v->data, 16);
  return fits;
}

// ---- statistics ------------------------------------------------------------------------------------------------

template <class C> struct WriteMoments {
  using Acc = Moments<C>;
  C *means, *vars;
  GRAFT_HD static Acc start() { return {}; }
  GRAFT_HD static Acc join(const Acc& a, const Acc& b) { return join_moments(a, b); }
  __device__ void write(const Acc& all, unsigned c) const {
    const C var = all.squares / all.n;
    means[c] = all.mean;
    vars[c] = var < C(0) ? C(0) : var;
  }
};
// Two passes over the share of a block, the second over what the first has brought into the cache.
template <class T, int n>
__global__ __launch_bounds__(kThreads) void channel_statistics(const T* x, ChannelSet s, Groups g, WriteMoments<compute_t<T>> f,
                                                               Moments<compute_t<T>>* shares) {
  using C = compute_t<T>;
  using Acc = Moments<C>;
  GRAFT_SHARED(Acc, part, [kThreads]);
  const unsigned c = blockIdx.x * g.outputs + g.group();
  const bool mine = c < s.channels;
  const Share share(s.count);
  const auto visit = [&](auto see) {
    for (unsigned i = share.first + g.place(); mine && i < share.end; i += g.along) {
      const auto some = reinterpret_cast<const Pack<T, n>*>(x)[s.at(c, i)];
#pragma unroll
      for (int e = 0; e < n; ++e) see(convert_element<C>(some.of[e]));
    }
  };
  C sum = C(0), squares = C(0), rest = C(0);
  visit([&](C v) { sum += v; });
  const C count = C(share.end > share.first ? (share.end - share.first) * n : 0);
  const C mean = join_group(g, part, Acc{C(0), sum, C(0)}, [](const Acc& a, const Acc& b) { return Acc{C(0), a.mean + b.mean, C(0)}; }).mean / count;
  visit([&](C v) {
    squares += (v - mean) * (v - mean);
    rest += v - mean;
  });
  // The threads agree on the mean, but for what rounding left of it.
  const Acc both = join_group(g, part, Acc{C(0), rest, squares}, [](const Acc& a, const Acc& b) {
    return Acc{C(0), a.mean + b.mean, a.squares + b.squares};
  });
  const C left = both.mean / count;
  if (g.place() == 0 && mine) leave(f, Acc{count, mean + left, both.squares - left * both.mean}, c, shares);
}

template <class T, int n>
__global__ __launch_bounds__(kThreads) void normalize_channels(T* y, const T* x, const compute_t<T>* means, const compute_t<T>* vars,
                                                               const compute_t<T>* weight, const compute_t<T>* bias, ChannelSet s,
                                                               double eps) {
  using C = compute_t<T>;
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= s.count * s.channels / n) return;
  auto some = reinterpret_cast<const Pack<T, n>*>(x)[i];
  unsigned c = s.channel_of(i * n);
  C mean = C(0), scale = C(0), shift = C(0);
#pragma unroll
  for (int e = 0; e < n; ++e) {
    if (e == 0 || s.columns) {
      mean = means[c];
      scale = C((weight ? double(weight[c]) : 1.0) / sqrt(double(vars[c]) + eps));
      shift = bias ? bias[c] : C(0);
      ++c;
    }
    const C v = (convert_element<C>(some.of[e]) - mean) * scale;
    some.of[e] = convert_element<T>(bias ? v + shift : v);
  }
  reinterpret_cast<Pack<T, n>*>(y)[i] = some;
}

// ---- derivative ------------------------------------------------------------------------------------------------

template <class C> struct WriteWeights {  // from sums of g (x - mean), and of g
  struct Acc { C slope, sum; };
  C *dw, *db;
  const C* vars;
  double eps;
  GRAFT_HD static Acc start() { return {C(0), C(0)}; }
  GRAFT_HD static Acc join(const Acc& a, const Acc& b) { return {a.slope + b.slope, a.sum + b.sum}; }
  __device__ void write(const Acc& all, unsigned c) const {
    dw[c] = C(double(all.slope) / sqrt(double(vars[c]) + eps));
    db[c] = all.sum;
  }
};
template <class T, int n>
__global__ __launch_bounds__(kThreads) void channel_weights_grad(const T* x, const T* grad, const compute_t<T>* means, ChannelSet s, Groups g,
                                                                 WriteWeights<compute_t<T>> f, typename WriteWeights<compute_t<T>>::Acc* shares) {
  using C = compute_t<T>;
  using Acc = typename WriteWeights<C>::Acc;
  GRAFT_SHARED(Acc, part, [kThreads]);
  const unsigned c = blockIdx.x * g.outputs + g.group();
  const Share share(s.count);
  Acc sums{C(0), C(0)};
  if (c < s.channels) {
    const C mean = means[c];
    for (unsigned i = share.first + g.place(); i < share.end; i += g.along) {
      const size_t at = s.at(c, i);
      const auto values = reinterpret_cast<const Pack<T, n>*>(x)[at], slopes = reinterpret_cast<const Pack<T, n>*>(grad)[at];
#pragma unroll
      for (int e = 0; e < n; ++e) {
        const C v = convert_element<C>(slopes.of[e]);
        sums.slope += v * (convert_element<C>(values.of[e]) - mean);
        sums.sum += v;
      }
    }
  }
  sums = join_threads<WriteWeights<C>>(g, part, sums);
  if (g.place() == 0 && c < s.channels) leave(f, sums, c, shares);
}

// dx = w rstd (g - mean(g) - xhat mean(g xhat)), from dw and db.
template <class T, int n>
__global__ __launch_bounds__(kThreads) void channels_grad(T* dx, const T* x, const T* grad, const compute_t<T>* means,
                                                          const compute_t<T>* vars, const compute_t<T>* weight, const compute_t<T>* dw,
                                                          const compute_t<T>* db, ChannelSet s, double eps) {
  using C = compute_t<T>;
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= s.count * s.channels / n) return;
  auto some = reinterpret_cast<const Pack<T, n>*>(x)[i];
  const auto slopes = reinterpret_cast<const Pack<T, n>*>(grad)[i];
  unsigned c = s.channel_of(i * n);
  C mean = C(0), scale = C(0), slope = C(0), shift = C(0);
#pragma unroll
  for (int e = 0; e < n; ++e) {
    if (e == 0 || s.columns) {
      const double rstd = 1 / sqrt(double(vars[c]) + eps);
      mean = means[c];
      scale = C(weight ? rstd * double(weight[c]) : rstd);
      slope = C(double(dw[c]) * rstd / double(s.count));
      shift = db[c] / C(s.count);
      ++c;
    }
    const C d = convert_element<C>(some.of[e]) - mean;
    some.of[e] = convert_element<T>(scale * (convert_element<C>(slopes.of[e]) - shift - d * slope));
  }
  reinterpret_cast<Pack<T, n>*>(dx)[i] = some;
}

// ---- launches --------------------------------------------------------------------------------------------------

template <class T> void write_normalized(const Launch& l, const ChannelSet& s, const View& mean, const View& var, size_t affine) {
  using C = compute_t<T>;
  const auto& a = l.attrs_as<BatchNormAttrs>();
  const View &x = *l.in[0], &y = *l.out[0];
  if (x.numel == 0) return;
  const C* weight = a.weight ? l.in[affine]->as<C>() : nullptr;
  const C* bias = a.bias ? l.in[affine + a.weight]->as<C>() : nullptr;
  const bool packs = in_packs<T>(s, {&x, &y});
  launch(packs ? normalize_channels<T, kPerPack<T>> : normalize_channels<T, 1>, blocks_for(x.numel / (packs ? kPerPack<T> : 1)), kThreads, 0,
         l.stream, y.as<T>(), x.as<T>(), mean.as<C>(), var.as<C>(), weight, bias, s, a.eps);
}
template <class T> Decline batch_norm(const Launch& l) {
  using C = compute_t<T>;
  const View& x = *l.in[0];
  ChannelSet s;
  if (const Decline why = channels_of(x, {l.out[0]}, s)) return why;
  if (s.channels == 0) return kRan;
  const bool packs = !s.columns && in_packs<T>(s, {&x});
  const ChannelSet read = packs ? s.in_packs(kPerPack<T>) : s;
  const Groups g(read.count, s.columns);
  const WriteMoments<C> f{l.out[1]->as<C>(), l.out[2]->as<C>()};
  launch_shared(x, f, s.channels, read.count, g, l.stream, [&](dim3 grid, Moments<C>* shares) {
    launch(packs ? channel_statistics<T, kPerPack<T>> : channel_statistics<T, 1>, grid, kThreads, 0, l.stream, x.as<T>(), read, g, f, shares);
  });
  write_normalized<T>(l, s, *l.out[1], *l.out[2], 1);
  return kRan;
}
template <class T> Decline batch_norm_eval(const Launch& l) {
  ChannelSet s;
  if (const Decline why = channels_of(*l.in[0], {l.out[0]}, s)) return why;
  write_normalized<T>(l, s, *l.in[1], *l.in[2], 3);
  return kRan;
}
template <class T> Decline batch_norm_grad(const Launch& l) {
  using C = compute_t<T>;
  const auto& a = l.attrs_as<BatchNormAttrs>();
  const View &x = *l.in[0], &grad = *l.in[1], &dx = *l.out[0];
  ChannelSet s;
  if (const Decline why = channels_of(x, {&grad, &dx}, s)) return why;
  if (s.channels == 0) return kRan;
  const C *mean = l.in[2]->as<C>(), *var = l.in[3]->as<C>(), *weight = a.weight ? l.in[4]->as<C>() : nullptr;
  C *dw = l.out[1]->as<C>(), *db = l.out[2]->as<C>();
  const bool packs = in_packs<T>(s, {&x, &grad, &dx});
  const ChannelSet read = packs && !s.columns ? s.in_packs(kPerPack<T>) : s;
  const Groups g(read.count, s.columns);
  const WriteWeights<C> f{dw, db, var, a.eps};
  launch_shared(x, f, s.channels, read.count, g, l.stream, [&](dim3 grid, typename WriteWeights<C>::Acc* shares) {
    launch(packs && !s.columns ? channel_weights_grad<T, kPerPack<T>> : channel_weights_grad<T, 1>, grid, kThreads, 0, l.stream, x.as<T>(),
           grad.as<T>(), mean, read, g, f, shares);
  });
  if (x.numel > 0)
    launch(packs ? channels_grad<T, kPerPack<T>> : channels_grad<T, 1>, blocks_for(x.numel / (packs ? kPerPack<T> : 1)), kThreads, 0, l.stream,
           dx.as<T>(), x.as<T>(), grad.as<T>(), mean, var, weight, dw, db, s, a.eps);
  return kRan;
}

template <class T> void add_norms() {
  constexpr DType t = dtype_v<T>;
  add_kernel("batch_norm", Device::cuda, t, "channels", batch_norm<T>);
  add_kernel("batch_norm_eval", Device::cuda, t, "channels", batch_norm_eval<T>);
  add_kernel("batch_norm_grad", Device::cuda, t, "channels", batch_norm_grad<T>);
}

}  // namespace

void register_batch_norm_cuda() {
  for_each_type(FloatTypes{}, [](auto tag) { add_norms<typename decltype(tag)::type>(); });
}

}  // namespace graft

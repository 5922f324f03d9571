// Convolutions of few channels in a group on cuda, depthwise ones above all: as a product most of a tile would be empty. A thread
// has a result; of a gradient of weights, a group of threads has one, and parts of the positions are summed apart.
#include "graft/kernels/cuda/compat.h"

#include <numeric>
#include "graft/kernels/conv/cuda_product.h"
#include "graft/kernels/cuda/group.h"
#include "graft/kernels/cuda/image.h"
#include "graft/kernels/cuda/register.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;
using cuda::conv::Kind;
using cuda::conv::Task;

struct Direct {
  Image x, w, y, residual;
  Places results;
  unsigned cig, cog;
  Divider by_cig, by_cog, stride[3];
  int in[3], out[3], k[3], pad[3], dilation[3], tap_step[3];  // tap_step: of backward_data, between taps that meet a position
  const std::byte* bias = nullptr;
  int64_t bias_step = 1;
  gemm::Activation activation = gemm::Activation::none;

  template <class C> __device__ void finish(const Image& to, const ImagePlace& at, C sum) const {
    if (bias) sum += load_own<C>(bias + at.channel * bias_step * to.bytes, to.dtype);
    if (residual.data) sum += load_own<C>(residual.element(at), to.dtype);
    store_own(to.element(at), to.dtype, gemm::activate(sum, activation));
  }
};
struct Range { int first, last, step; };  // of taps

template <class C> __global__ __launch_bounds__(kThreads, 2) void convolve(const __grid_constant__ Direct d) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= d.results.count) return;
  const ImagePlace at = d.results.place(i);
  int base[3];
  Range r[3];
#pragma unroll
  for (int j = 0; j < 3; ++j) {
    base[j] = at.at[j] * int(d.stride[j].divisor) - d.pad[j];
    const int last = (d.in[j] - base[j] + d.dilation[j] - 1) / d.dilation[j];
    r[j] = {base[j] < 0 ? (d.dilation[j] - 1 - base[j]) / d.dilation[j] : 0, last < d.k[j] ? last : d.k[j], 1};
  }
  const unsigned first = d.by_cog.divide(at.channel) * d.cig;
  C sum = C(0);
  for (unsigned c = 0; c < d.cig; ++c) {
    const std::byte *x = d.x.plane(at.image, first + c), *w = d.w.plane(at.channel, c);
    for (int a = r[0].first; a < r[0].last; ++a)
      for (int b = r[1].first; b < r[1].last; ++b)
        for (int e = r[2].first; e < r[2].last; ++e)
          sum += load_own<C>(x + d.x.at(base[0] + a * d.dilation[0], base[1] + b * d.dilation[1], base[2] + e * d.dilation[2]), d.x.dtype) *
                 load_own<C>(w + d.w.at(a, b, e), d.w.dtype);
  }
  d.finish(d.y, at, sum);
}

template <class C> __global__ __launch_bounds__(kThreads, 2) void convolve_back(const __grid_constant__ Direct d) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= d.results.count) return;
  const ImagePlace at = d.results.place(i);
  int high[3];
  Range r[3];
#pragma unroll
  for (int j = 0; j < 3; ++j) {  // output position high - tap * dilation, in strides
    high[j] = at.at[j] + d.pad[j];
    const int reach = high[j] / d.dilation[j] + 1;
    r[j] = {0, reach < d.k[j] ? reach : d.k[j], d.tap_step[j]};
    const auto meets = [&](int tap) {
      const int u = high[j] - tap * d.dilation[j];
      return int(d.stride[j].divide(unsigned(u)) * d.stride[j].divisor) == u;
    };
    while (r[j].first < r[j].last && r[j].first < r[j].step && !meets(r[j].first)) ++r[j].first;
    if (r[j].first == r[j].step) r[j].first = r[j].last;  // none
  }
  const auto position = [&](int j, int tap) { return int(d.stride[j].divide(unsigned(high[j] - tap * d.dilation[j]))); };
  const unsigned group = d.by_cig.divide(at.channel), channel = at.channel - group * d.cig;
  C sum = C(0);
  for (unsigned o = group * d.cog; o < (group + 1) * d.cog; ++o) {
    const std::byte *y = d.y.plane(at.image, o), *w = d.w.plane(o, channel);
    for (int a = r[0].first; a < r[0].last; a += r[0].step) {
      const int p = position(0, a);
      for (int b = r[1].first; b < r[1].last && p < d.out[0]; b += r[1].step) {
        const int q = position(1, b);
        for (int e = r[2].first; e < r[2].last && q < d.out[1]; e += r[2].step) {
          const int s = position(2, e);
          if (s < d.out[2]) sum += load_own<C>(y + d.y.at(p, q, s), d.y.dtype) * load_own<C>(w + d.w.at(a, b, e), d.w.dtype);
        }
      }
    }
  }
  d.finish(d.x, at, sum);
}

// The weights in an order in which neighbouring threads read neighbours: of the positions, or of the output channels.
struct Filters {
  unsigned count, positions, per_part;  // positions: of all images
  Divider channels, out_channels, taps, k[3], out[3];
  bool outputs_inside;

  struct Place {
    unsigned o, c;
    int tap[3];
  };
  __device__ Place place(unsigned i) const {
    Place p;
    unsigned tap;
    if (outputs_inside) {  // [tap][c][o]
      const unsigned rest = out_channels.divide(i);
      p.o = i - rest * out_channels.divisor;
      tap = channels.divide(rest);
      p.c = rest - tap * channels.divisor;
    } else {
      const unsigned rest = taps.divide(i);
      tap = i - rest * taps.divisor;
      p.o = channels.divide(rest);
      p.c = rest - p.o * channels.divisor;
    }
    const unsigned line = k[2].divide(tap), plane = k[1].divide(line);
    p.tap[0] = int(plane), p.tap[1] = int(line - plane * k[1].divisor), p.tap[2] = int(tap - line * k[2].divisor);
    return p;
  }
};
template <class C>
__global__ __launch_bounds__(kThreads, 2) void convolve_weights(const __grid_constant__ Direct d, const __grid_constant__ Filters f, Groups g,
                                                                C* parts) {
  GRAFT_SHARED(C, part, [kThreads]);
  const unsigned i = blockIdx.x * g.outputs + g.group(), first = blockIdx.y * f.per_part;
  const unsigned last = f.positions - first < f.per_part ? f.positions : first + f.per_part;
  const bool mine = i < f.count;
  const Filters::Place at = f.place(mine ? i : 0);
  const unsigned channel = d.by_cog.divide(at.o) * d.cig + at.c;
  int shift[3];
#pragma unroll
  for (int j = 0; j < 3; ++j) shift[j] = at.tap[j] * d.dilation[j] - d.pad[j];
  C sum = C(0);
  if (mine)
    for (unsigned n = first + g.place(); n < last; n += g.along) {
      const unsigned line = f.out[2].divide(n), plane = f.out[1].divide(line), image = f.out[0].divide(plane);
      const int p = int(plane - image * f.out[0].divisor), q = int(line - plane * f.out[1].divisor), s = int(n - line * f.out[2].divisor);
      const int a = p * int(d.stride[0].divisor) + shift[0], b = q * int(d.stride[1].divisor) + shift[1], e = s * int(d.stride[2].divisor) + shift[2];
      if (a < 0 || b < 0 || e < 0 || a >= d.in[0] || b >= d.in[1] || e >= d.in[2]) continue;
      sum += load_own<C>(d.x.plane(image, channel) + d.x.at(a, b, e), d.x.dtype) * load_own<C>(d.y.plane(image, at.o) + d.y.at(p, q, s), d.y.dtype);
    }
  sum = join_group(g, part, sum, [](const C& a, const C& b) { return a + b; });
  if (!mine || g.place() != 0) return;
  if (parts) parts[size_t(blockIdx.y) * f.count + i] = sum;
  else store_own(d.w.plane(at.o, at.c) + d.w.at(at.tap[0], at.tap[1], at.tap[2]), d.w.dtype, sum);
}
template <class C>
__global__ __launch_bounds__(kThreads) void join_weight_parts(const __grid_constant__ Direct d, const __grid_constant__ Filters f, const C* parts,
                                                              unsigned n) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= f.count) return;
  C sum = C(0);
  for (unsigned k = 0; k < n; ++k) sum += parts[size_t(k) * f.count + i];
  const Filters::Place at = f.place(i);
  store_own(d.w.plane(at.o, at.c) + d.w.at(at.tap[0], at.tap[1], at.tap[2]), d.w.dtype, sum);
}

// ---- launching -------------------------------------------------------------------------------------------------

Direct direct_of(const Task& t) {
  Direct d;
  d.x = Image(*t.x.view), d.w = Image(*t.w.view), d.y = Image(*t.y.view);
  d.cig = unsigned(t.cig()), d.cog = unsigned(t.cog());
  d.by_cig = cuda::conv::divider(t.cig()), d.by_cog = cuda::conv::divider(t.cog());
  for (int i = 0; i < 3; ++i) {
    d.in[i] = int(t.g.in[i]), d.out[i] = int(t.g.out[i]), d.k[i] = int(t.g.k[i]);
    d.pad[i] = int(t.g.pad[i]), d.dilation[i] = int(t.g.dilation[i]);
    d.stride[i] = Divider(unsigned(t.g.stride[i]));
    d.tap_step[i] = int(t.g.stride[i] / std::gcd(t.g.stride[i], t.g.dilation[i]));
  }
  if (t.bias) d.bias = t.bias->data, d.bias_step = t.bias->stride[0];
  if (t.residual) d.residual = Image(*t.residual);
  d.activation = t.activation;
  return d;
}
template <class C> void weights(const Task& t, void* stream) {
  Filters f;
  f.count = unsigned(t.out().numel), f.positions = unsigned(t.g.n * t.g.out_points());
  f.channels = cuda::conv::divider(t.cig()), f.taps = cuda::conv::divider(t.g.taps()), f.out_channels = cuda::conv::divider(t.g.co);
  for (int i = 0; i < 3; ++i) f.k[i] = cuda::conv::divider(t.g.k[i]), f.out[i] = cuda::conv::divider(t.g.out[i]);
  f.outputs_inside = cuda::conv::channels_inside(t.y, t.g.co);
  const Groups g(f.positions, f.outputs_inside);
  const unsigned blocks = blocks_for(f.count, g.outputs), busy = 4U * unsigned(runtime::multiprocessors(t.out().device.index));
  unsigned parts = std::min({(busy + blocks - 1) / blocks, f.positions / (g.along * 16) + 1, 64U});
  const Workspace sums(t.out(), parts > 1 ? size_t(parts) * f.count * sizeof(C) : 0);
  if (!sums.get()) parts = 1;
  f.per_part = (f.positions + parts - 1) / parts;
  parts = std::max(1U, f.per_part ? (f.positions + f.per_part - 1) / f.per_part : 1);
  auto* memory = reinterpret_cast<C*>(sums.get());
  const Direct d = direct_of(t);
  launch(convolve_weights<C>, dim3(blocks, parts), kThreads, 0, stream, d, f, g, memory);
  if (memory) launch(join_weight_parts<C>, blocks_for(f.count), kThreads, 0, stream, d, f, static_cast<const C*>(memory), parts);
}
template <class C> Decline direct(const Task& t, void* stream) {
  if (t.out().numel == 0) return kRan;
  if (const Decline why = cuda::conv::check_sizes(t)) return why;
  const int64_t columns = t.kind == Kind::forward ? t.cog() : t.kind == Kind::data ? t.cig() : std::min(t.cog(), t.cig() * t.g.taps());
  if (columns >= 8) return "8 channels in a group, or more";
  if (t.kind == Kind::weight) return weights<C>(t, stream), kRan;
  Direct d = direct_of(t);
  d.results = Places(t.out());
  const bool forward = t.kind == Kind::forward;
  const bool fits = for_each_image_part(t.out(), [&](int64_t first, unsigned count) {
    Direct part = d;
    part.results.count = count;
    for (Image* m : {&part.x, &part.y, &part.residual}) m->data += m->data ? first * m->n * m->bytes : 0;
    launch(forward ? convolve<C> : convolve_back<C>, blocks_for(count), kThreads, 0, stream, part);
  });
  return fits ? kRan : "2^31 elements or more in an image";
}
template <class C> void add_direct(DType t) {
  add_kernel("conv_forward", Device::cuda, t, "direct", [](const Launch& l) { return direct<C>(cuda::conv::forward_task(l), l.stream); });
  add_kernel("conv_backward_data", Device::cuda, t, "direct",
             [](const Launch& l) { return direct<C>(cuda::conv::backward_data_task(l), l.stream); });
  add_kernel("conv_backward_weight", Device::cuda, t, "direct",
             [](const Launch& l) { return direct<C>(cuda::conv::backward_weight_task(l), l.stream); });
}

}  // namespace

void register_conv_direct_cuda() {
  for (const DType t : {f32, f16, bf16}) add_direct<float>(t);
  add_direct<double>(f64);
  add_direct<int64_t>(i64);
}

}  // namespace graft

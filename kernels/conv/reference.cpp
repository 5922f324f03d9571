// The convolutions as their definition reads, a row of the result at a time.
#include <algorithm>
#include <type_traits>
#include "graft/kernels/conv/conv.h"
#include "graft/kernels/dtype.h"
#include "graft/kernels/parallel.h"

namespace graft::inline v1::conv {
namespace {

constexpr int64_t kBlock = 64;  // elements of a row that are accumulated at a time

int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

template <class A> A activate(A v, Activation f) {
  if constexpr (!is_complex_v<A>) {
    if (f != Activation::none && v < A(0)) v = A(0);  // NaN stays
    if (f == Activation::relu6 && v > A(6)) v = A(6);
  }
  return v;
}

// One row of a result: channel c of image n at spatial position (d, h), all w.
struct Row { int64_t n, c, d, h; };
Row row_of(int64_t i, int64_t channels, const int64_t* size) {
  Row r{};
  r.h = i % size[1];
  i /= size[1];
  r.d = i % size[0];
  i /= size[0];
  r.c = i % channels;
  r.n = i / channels;
  return r;
}
template <class T> T* row(const Image<T>& v, const Row& r) {
  const Strides& s = v.stride;
  return v.data + r.n * s.n + r.c * s.c + r.d * s.s[0] + r.h * s.s[1];
}

template <class T, class A>
void store(const A* sum, int64_t first, int64_t count, const Row& r, const Image<T>& y, const Epilogue<T>& e) {
  T* to = row(y, r) + first * y.stride.s[2];
  const A bias = e.bias ? A(e.bias[r.c * e.bias_step]) : A(0);
  const T* residual = e.residual.data ? row(e.residual, r) + first * e.residual.stride.s[2] : nullptr;
  for (int64_t i = 0; i < count; ++i) {
    A v = sum[i] + bias;
    if (residual) v += A(residual[i * e.residual.stride.s[2]]);
    to[i * y.stride.s[2]] = T(activate(v, e.activation));
  }
}

// Rows that one thread takes at least, for some 20,000 multiplications.
int64_t grain(int64_t row_cost) { return std::max<int64_t>(1, 20000 / std::max<int64_t>(1, row_cost)); }

// The positions p of one output dimension, within [first, last), for which tap k lies inside the input.
struct Span { int64_t first, last; };
Span inside(const Geometry& g, int d, int64_t k, int64_t first, int64_t last) {
  const int64_t shift = g.pad[d] - k * g.dilation[d];
  return {std::max(first, ceil_div(shift, g.stride[d])), std::min(last, ceil_div(g.in[d] + shift, g.stride[d]))};
}

}  // namespace

template <class T>
void forward_reference(const Geometry& g, Image<const T> x, Image<const T> w, Image<T> y, const Epilogue<T>& e) {
  using A = compute_t<T>;
  const int64_t cig = g.ci / g.groups, cog = g.co / g.groups;
  parallel_for(0, g.n * g.co * g.out[0] * g.out[1], grain(g.out[2] * cig * g.taps()), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Row r = row_of(i, g.co, g.out);
      for (int64_t block = 0; block < g.out[2]; block += kBlock) {
        const int64_t stop = std::min(g.out[2], block + kBlock);
        A sum[kBlock] = {};
        for (int64_t c = 0; c < cig; ++c)
          for (int64_t a = 0; a < g.k[0]; ++a)
            for (int64_t b = 0; b < g.k[1]; ++b) {
              const int64_t d = r.d * g.stride[0] - g.pad[0] + a * g.dilation[0];
              const int64_t h = r.h * g.stride[1] - g.pad[1] + b * g.dilation[1];
              if (d < 0 || d >= g.in[0] || h < 0 || h >= g.in[1]) continue;
              const T* from = row(x, Row{r.n, r.c / cog * cig + c, d, h});
              const T* weight = w.data + r.c * w.stride.n + c * w.stride.c + a * w.stride.s[0] + b * w.stride.s[1];
              for (int64_t k = 0; k < g.k[2]; ++k) {
                const Span span = inside(g, 2, k, block, stop);
                const A f = A(weight[k * w.stride.s[2]]);
                const int64_t step = g.stride[2] * x.stride.s[2];
                const T* p = from + (k * g.dilation[2] - g.pad[2]) * x.stride.s[2];
                for (int64_t o = span.first; o < span.last; ++o) sum[o - block] += f * A(p[o * step]);
              }
            }
        store(sum, block, stop - block, r, y, e);
      }
    }
  });
}

template <class T>
void backward_data_reference(const Geometry& g, Image<const T> y, Image<const T> w, Image<T> x, const Epilogue<T>& e) {
  using A = compute_t<T>;
  const int64_t cig = g.ci / g.groups, cog = g.co / g.groups;
  parallel_for(0, g.n * g.ci * g.in[0] * g.in[1], grain(g.in[2] * cog * g.taps()), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Row r = row_of(i, g.ci, g.in);
      for (int64_t block = 0; block < g.in[2]; block += kBlock) {
        const int64_t stop = std::min(g.in[2], block + kBlock);
        A sum[kBlock] = {};
        for (int64_t o = 0; o < cog; ++o)
          for (int64_t a = 0; a < g.k[0]; ++a)
            for (int64_t b = 0; b < g.k[1]; ++b) {
              const int64_t d = r.d + g.pad[0] - a * g.dilation[0], h = r.h + g.pad[1] - b * g.dilation[1];
              if (d < 0 || h < 0 || d % g.stride[0] || h % g.stride[1]) continue;
              if (d / g.stride[0] >= g.out[0] || h / g.stride[1] >= g.out[1]) continue;
              const int64_t co = r.c / cig * cog + o;
              const T* from = row(y, Row{r.n, co, d / g.stride[0], h / g.stride[1]});
              const T* weight =
                  w.data + co * w.stride.n + r.c % cig * w.stride.c + a * w.stride.s[0] + b * w.stride.s[1];
              for (int64_t k = 0; k < g.k[2]; ++k) {
                const A f = A(weight[k * w.stride.s[2]]);
                const int64_t shift = k * g.dilation[2] - g.pad[2] - block;  // position in the block of output 0
                const int64_t first = std::max<int64_t>(0, ceil_div(-shift, g.stride[2]));
                const int64_t last = std::min(g.out[2], ceil_div(stop - block - shift, g.stride[2]));
                for (int64_t p = first; p < last; ++p) sum[p * g.stride[2] + shift] += f * A(from[p * y.stride.s[2]]);
              }
            }
        store(sum, block, stop - block, r, x, e);
      }
    }
  });
}

template <class T> void backward_weight_reference(const Geometry& g, Image<const T> x, Image<const T> y, Image<T> w) {
  using A = compute_t<T>;
  using Wide = std::conditional_t<is_complex_v<A>, std::complex<double>, std::conditional_t<std::is_integral_v<A>, A, double>>;
  const int64_t cig = g.ci / g.groups, cog = g.co / g.groups;
  parallel_for(0, g.co * cig, grain(g.n * g.out_points() * g.taps()), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t o = i / cig, c = i % cig;
      for (int64_t tap = 0; tap < g.taps(); ++tap) {
        const int64_t k = tap % g.k[2], b = tap / g.k[2] % g.k[1], a = tap / g.k[2] / g.k[1];
        const Span span = inside(g, 2, k, 0, g.out[2]);
        Wide total = 0;
        for (int64_t n = 0; n < g.n; ++n)
          for (int64_t p = 0; p < g.out[0]; ++p)
            for (int64_t q = 0; q < g.out[1]; ++q) {
              const int64_t d = p * g.stride[0] - g.pad[0] + a * g.dilation[0];
              const int64_t h = q * g.stride[1] - g.pad[1] + b * g.dilation[1];
              if (d < 0 || d >= g.in[0] || h < 0 || h >= g.in[1]) continue;
              const T* px = row(x, Row{n, o / cog * cig + c, d, h}) + (k * g.dilation[2] - g.pad[2]) * x.stride.s[2];
              const T* py = row(y, Row{n, o, p, q});
              const int64_t step = g.stride[2] * x.stride.s[2];
              A part[4] = {};  // four chains: an addition takes four cycles
              int64_t j = span.first;
              for (; j + 4 <= span.last; j += 4)
                for (int u = 0; u < 4; ++u) part[u] += A(px[(j + u) * step]) * A(py[(j + u) * y.stride.s[2]]);
              for (; j < span.last; ++j) part[0] += A(px[j * step]) * A(py[j * y.stride.s[2]]);
              total += Wide((part[0] + part[1]) + (part[2] + part[3]));
            }
        w.data[o * w.stride.n + c * w.stride.c + a * w.stride.s[0] + b * w.stride.s[1] + k * w.stride.s[2]] =
            T(static_cast<A>(total));
      }
    }
  });
}

#define INSTANTIATE(T)                                                                                              \
  template void forward_reference<T>(const Geometry&, Image<const T>, Image<const T>, Image<T>, const Epilogue<T>&); \
  template void backward_data_reference<T>(const Geometry&, Image<const T>, Image<const T>, Image<T>,               \
                                           const Epilogue<T>&);                                                     \
  template void backward_weight_reference<T>(const Geometry&, Image<const T>, Image<const T>, Image<T>);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(Half)
INSTANTIATE(BFloat16)
INSTANTIATE(int64_t)
INSTANTIATE(std::complex<float>)
INSTANTIATE(std::complex<double>)
#undef INSTANTIATE

}  // namespace graft::conv

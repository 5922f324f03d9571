// Elements placed elsewhere on cuda: flip, roll, triangles, padding; and the sequences arange and linspace.
#include "graft/kernels/cuda/compat.h"

#include <algorithm>
#include <cmath>
#include "graft/kernels/cuda/bits.h"
#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/cuda/strided.h"
#include "graft/kernels/move/cuda.h"
#include "graft/kernels/rearrange/parts.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

Decline flip(const Launch& l) { return copy_into(*l.out[0], flipped(*l.in[0], l.attrs_as<FlipAttrs>().dims), l.stream); }

Decline roll(const Launch& l) {
  each_part_of_roll(l, [&](const View& to, const View& from) { copy_into(to, from, l.stream); });
  return kRan;
}

// Calls run(first, n) for parts [first, first + n) of the outermost dimension, of at most 2^31 - 1 elements of y.
template <class Run> void each_part(const View& y, int64_t outermost, Run run) {
  const int64_t at_once = std::max<int64_t>(1, INT32_MAX / (y.numel / outermost));
  for (int64_t first = 0; first < outermost; first += at_once) run(first, std::min(at_once, outermost - first));
}

// ---- triangles: a thread has an element --------------------------------------------------------------------------

struct Triangle {
  Divider rows, columns;  // the two innermost dimensions
  int64_t diagonal, first_row;
  bool upper, in_place;
};
template <class E>
__global__ __launch_bounds__(kThreads) void cut_triangles(const __grid_constant__ Strided<2> s, const __grid_constant__ Triangle t) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= s.count) return;
  const unsigned line = t.columns.divide(i), column = i - line * t.columns.divisor, row = line - t.rows.divide(line) * t.rows.divisor;
  const int64_t above = int64_t(column) - int64_t(row) - t.first_row;
  const bool kept = t.upper ? above >= t.diagonal : above <= t.diagonal;
  if (kept && t.in_place) return;
  int64_t at[2];
  s.offsets(i, at);
  E value{};
  if (kept) value = *reinterpret_cast<const E*>(s.data[1] + at[1]);
  *reinterpret_cast<E*>(s.data[0] + at[0]) = value;
}
template <class E> Decline triangle(const Launch& l) {
  View x = *l.in[0], y = *l.out[0];
  if (y.numel == 0) return kRan;
  auto [diagonal, upper] = l.attrs_as<TriangleAttrs>();
  const int row = y.rank - 2, column = y.rank - 1;
  if (std::abs(y.stride[row]) < std::abs(y.stride[column])) {  // neighbouring threads take neighbours in memory
    for (View* v : {&x, &y}) std::swap(v->size[row], v->size[column]), std::swap(v->stride[row], v->stride[column]);
    diagonal = -diagonal;
    upper = !upper;
  }
  Strided<2> s;
  s.rank = y.rank;
  for (int d = 0; d < y.rank; ++d) {
    s.size[d] = Divider(unsigned(y.size[d]));
    s.step[d][0] = y.stride[d] * int64_t(sizeof(E));
    s.step[d][1] = x.stride[d] * int64_t(sizeof(E));
  }
  each_part(y, y.size[0], [&](int64_t first, int64_t n) {
    s.data[0] = y.data + first * s.step[0][0];
    s.data[1] = x.data + first * s.step[0][1];
    s.count = unsigned(n * (y.numel / y.size[0]));
    const Triangle t{Divider(unsigned(y.size[row])), Divider(unsigned(y.size[column])), diagonal, row == 0 ? first : 0, upper, y.data == x.data};
    launch(cut_triangles<E>, blocks_for(s.count), kThreads, 0, l.stream, s, t);
  });
  return kRan;
}

// ---- padding: a thread has an element of the result ----------------------------------------------------------------

struct Frame {
  int rank;
  unsigned count;
  Divider size[kMaxRank];                                      // of the result
  int64_t before[kMaxRank], inside[kMaxRank], step[kMaxRank];  // sizes and steps, in bytes, of the input
};
template <class E> __global__ __launch_bounds__(kThreads) void pad_elements(E* y, const std::byte* x, const __grid_constant__ Frame f, E value) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= f.count) return;
  unsigned rest = i;
  int64_t from = 0;
  bool inside = true;
  for (int d = f.rank - 1; d >= 0; --d) {
    const unsigned next = d ? f.size[d].divide(rest) : 0;
    const int64_t j = int64_t(rest - next * f.size[d].divisor) - f.before[d];
    inside = inside && j >= 0 && j < f.inside[d];
    from += j * f.step[d];
    rest = next;
  }
  if (inside) value = *reinterpret_cast<const E*>(x + from);
  y[i] = value;
}
template <class T> Decline pad(const Launch& l) {
  using E = Bits<sizeof(T)>;
  const auto& a = l.attrs_as<PadAttrs>();
  const View &x = *l.in[0], &y = *l.out[0];
  if (y.numel == 0) return kRan;
  const T value = a.value.to<T>();
  E bits;
  std::memcpy(&bits, &value, sizeof(E));
  Frame f;
  f.rank = y.rank;
  for (int d = 0; d < y.rank; ++d) {
    f.size[d] = Divider(unsigned(y.size[d]));
    f.before[d] = a.before[d];
    f.inside[d] = x.size[d];
    f.step[d] = x.stride[d] * int64_t(sizeof(E));
  }
  const int64_t outermost = y.rank ? y.size[0] : 1, inner = y.numel / outermost;
  each_part(y, outermost, [&](int64_t first, int64_t n) {
    f.count = unsigned(n * inner);
    f.before[0] = a.before[0] - first;
    launch(pad_elements<E>, blocks_for(f.count), kThreads, 0, l.stream, y.as<E>() + first * inner, x.data, f, bits);
  });
  return kRan;
}

// ---- sequences: rounded as on cpu, so that no product is fused with a sum ---------------------------------------------

GRAFT_HD inline double line(double from, double by, double i) {
#ifdef __CUDA_ARCH__
  return __dadd_rn(from, __dmul_rn(by, i));
#else
  return from + by * i;
#endif
}
GRAFT_HD inline Complex<double> line(Complex<double> from, Complex<double> by, double i) {
  return {line(from.re, by.re, i), line(from.im, by.im, i)};
}
template <class C> struct Sequence {
  int64_t n;
  C start, end, step;
  double base;
};
template <class T> __global__ __launch_bounds__(kThreads) void count_integers(T* y, int64_t n, uint64_t start, uint64_t step) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i < n) y[i] = T(int64_t(start + uint64_t(i) * step));
}
template <class T> __global__ __launch_bounds__(kThreads) void count_up(T* y, int64_t n, double start, double step) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i < n) y[i] = convert_element<T>(line(start, step, double(i)));
}
template <class T, class C> __global__ __launch_bounds__(kThreads) void divide_interval(T* y, const __grid_constant__ Sequence<C> s) {
  using std::pow;
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= s.n) return;
  C value = i < s.n / 2 || s.n == 1 ? line(s.start, s.step, double(i)) : line(s.end, -s.step, double(s.n - 1 - i));
  if (s.base != 0) value = pow(C(s.base), value);
  y[i] = convert_element<T>(value);
}

template <class T> Decline arange(const Launch& l) {
  const auto& a = l.attrs_as<SequenceAttrs>();
  if (a.n == 0) return kRan;
  T* y = l.out[0]->as<T>();
  if constexpr (std::is_integral_v<T>) {
    if (a.start.kind() <= Scalar::Kind::integer && a.step.kind() <= Scalar::Kind::integer) {
      launch(count_integers<T>, blocks_for(a.n), kThreads, 0, l.stream, y, a.n, uint64_t(a.start.to<int64_t>()), uint64_t(a.step.to<int64_t>()));
      return kRan;
    }
  }
  launch(count_up<T>, blocks_for(a.n), kThreads, 0, l.stream, y, a.n, a.start.value(), a.step.value());
  return kRan;
}
template <class T> Decline linspace(const Launch& l) {  // from both ends, so that both are met exactly
  using C = std::conditional_t<is_complex_v<T>, Complex<double>, double>;
  const auto& a = l.attrs_as<SequenceAttrs>();
  if (a.n == 0) return kRan;
  const C start = a.start.to<C>(), end = a.end.to<C>(), step = a.n > 1 ? (end - start) / double(a.n - 1) : C(0);
  launch(divide_interval<T, C>, blocks_for(a.n), kThreads, 0, l.stream, l.out[0]->as<T>(), Sequence<C>{a.n, start, end, step, a.base});
  return kRan;
}

}  // namespace

void register_rearrange_cuda() {
  for_each_type(AllTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr DType t = dtype_v<T>;
    add_kernel("flip", Device::cuda, t, "strided", flip);
    add_kernel("roll", Device::cuda, t, "strided", roll);
    for (const char* op : {"tril", "triu"}) add_kernel(op, Device::cuda, t, "elements", triangle<Bits<sizeof(T)>>);
    add_kernel("pad", Device::cuda, t, "elements", pad<T>);
    if constexpr (!std::is_same_v<T, bool>) add_kernel("linspace", Device::cuda, t, "elements", linspace<in_kernels_t<T>>);
    if constexpr (!std::is_same_v<T, bool> && !is_complex_v<T>) add_kernel("arange", Device::cuda, t, "elements", arange<T>);
  });
}

}  // namespace graft

// Layer, group and RMS norm on cuda, and their derivatives. Sums are joined in a fixed order; a variance comes from a
// second pass, over registers where a row fits into them, else over what the first has just brought into the cache.
#include "graft/kernels/cuda/compat.h"

#include <algorithm>
#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/group.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/cuda/row.h"
#include "graft/kernels/norm/attrs.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

template <class C> struct Two { C a, b; };
template <class C> __device__ inline Two<C> sum_of_two(const Groups& g, Two<C>* part, Two<C> own) {
  return join_group(g, part, own, [](const Two<C>& x, const Two<C>& y) { return Two<C>{x.a + y.a, x.b + y.b}; });
}

// ---- rows: layer, group, RMS norm ------------------------------------------------------------------------------

struct RowSet {
  unsigned rows, length, groups, inner;
  DType dtype;
  unsigned bytes;
  bool center;
  double eps;
  __device__ unsigned weight_of(unsigned r, unsigned j) const { return r % groups * (length / inner) + j / inner; }
};

template <class C>
__global__ __launch_bounds__(kThreads) void normalize_rows(std::byte* y, C* means, C* rstds, std::byte* total, const std::byte* x,
                                                           const std::byte* residual, const C* weight, const C* bias, RowSet s, Groups g) {
  using Sums = Two<C>;
  GRAFT_SHARED(Sums, part, [kThreads]);
  const unsigned r = blockIdx.x * g.outputs + g.group();
  const bool mine = r < s.rows;
  const size_t start = size_t(mine ? r : 0) * s.length;
  if (residual) {  // a thread reads again only what it has written
    for (unsigned j = g.place(); mine && j < s.length; j += g.along) {
      const size_t at = (start + j) * s.bytes;
      store_own(total + at, s.dtype, load_own<C>(x + at, s.dtype) + load_own<C>(residual + at, s.dtype));
    }
    x = total;
  }
  const auto value = [&](unsigned j) { return load_own<C>(x + (start + j) * s.bytes, s.dtype); };
  Sums sums{C(0), C(0)};
  if (mine && s.center)
    for (unsigned j = g.place(); j < s.length; j += g.along) sums.a += value(j);
  sums = sum_of_two(g, part, sums);
  const C mean = s.center ? sums.a / C(s.length) : C(0);
  sums = Sums{C(0), C(0)};
  if (mine)
    for (unsigned j = g.place(); j < s.length; j += g.along) {
      const C d = value(j) - mean;
      sums.a += d * d;
    }
  sums = sum_of_two(g, part, sums);
  if (!mine) return;
  const C rstd = C(1 / sqrt(double(sums.a) / double(s.length) + s.eps));
  if (g.place() == 0) means[r] = mean, rstds[r] = rstd;
  for (unsigned j = g.place(); j < s.length; j += g.along) {
    C v = (value(j) - mean) * rstd;
    if (weight) v *= weight[s.weight_of(r, j)];
    if (bias) v += bias[s.weight_of(r, j)];
    store_own(y + (start + j) * s.bytes, s.dtype, v);
  }
}

// Layer and RMS norm of rows that fit into registers: x and the residual are read once.
template <class T, class C> __device__ inline void read_pack(C (&to)[kPerPack<T>], const C* from, unsigned pack) {
  constexpr int each = kPerPack<C>, parts = kPerPack<T> / each;
#pragma unroll
  for (int i = 0; i < parts; ++i) {
    const auto some = reinterpret_cast<const Pack<C, each>*>(from)[pack * parts + i];
#pragma unroll
    for (int e = 0; e < each; ++e) to[i * each + e] = some.of[e];
  }
}
template <class T, class C>
__global__ __launch_bounds__(kThreads) void normalize_rows_in_registers(T* y, C* means, C* rstds, T* total, const T* x, const T* residual,
                                                                        const C* weight, const C* bias, RowSet s, Groups g) {
  GRAFT_SHARED(C, part, [kThreads]);
  constexpr unsigned n = RowInRegisters<T>::n;
  const unsigned r = blockIdx.x * g.outputs + g.group(), own = r < s.rows ? s.length / n : 0;
  const size_t start = size_t(own ? r : 0) * s.length;
  const auto sum = [&](C v) { return join_group(g, part, v, [](const C& a, const C& b) { return a + b; }); };
  RowInRegisters<T> row;
  row.read(x + start, own, g);
  if (residual) {
    row.each(own, g, [&](Pack<T, n>& pack, unsigned j) {
      const auto added = reinterpret_cast<const Pack<T, n>*>(residual + start)[j];
#pragma unroll
      for (unsigned e = 0; e < n; ++e) pack.of[e] = convert_element<T>(convert_element<C>(pack.of[e]) + convert_element<C>(added.of[e]));
    });
    row.write(total + start, own, g);
  }
  C mean = C(0), squares = C(0);
  if (s.center) {
    row.visit(own, g, [&](C v) { mean += v; });
    mean = sum(mean) / C(s.length);
  }
  row.visit(own, g, [&](C v) { squares += (v - mean) * (v - mean); });
  const C rstd = C(1 / sqrt(double(sum(squares)) / double(s.length) + s.eps));
  if (own && g.place() == 0) means[r] = mean, rstds[r] = rstd;
  row.each(own, g, [&](Pack<T, n>& pack, unsigned j) {
    C scale[n], shift[n];
    if (weight) read_pack<T>(scale, weight, j);
    if (bias) read_pack<T>(shift, bias, j);
#pragma unroll
    for (unsigned e = 0; e < n; ++e) {
      C v = (convert_element<C>(pack.of[e]) - mean) * rstd;
      if (weight) v *= scale[e];
      if (bias) v += shift[e];
      pack.of[e] = convert_element<T>(v);
    }
  });
  row.write(y + start, own, g);
}

// With xhat = (x - mean) rstd and h = g w: dx = rstd (h - mean(h) - xhat mean(h xhat)).
template <class C>
__global__ __launch_bounds__(kThreads) void rows_grad(std::byte* dx, const std::byte* x, const std::byte* grad, const C* means,
                                                      const C* rstds, const C* weight, RowSet s, Groups g) {
  using Sums = Two<C>;
  GRAFT_SHARED(Sums, part, [kThreads]);
  const unsigned r = blockIdx.x * g.outputs + g.group();
  const bool mine = r < s.rows;
  const size_t start = size_t(mine ? r : 0) * s.length;
  const C mean = mine ? means[r] : C(0), rstd = mine ? rstds[r] : C(0);
  const auto distance = [&](unsigned j) { return load_own<C>(x + (start + j) * s.bytes, s.dtype) - mean; };
  const auto h = [&](unsigned j) {
    const C v = load_own<C>(grad + (start + j) * s.bytes, s.dtype);
    return weight ? v * weight[s.weight_of(r, j)] : v;
  };
  Sums sums{C(0), C(0)};
  if (mine)
    for (unsigned j = g.place(); j < s.length; j += g.along) {
      const C v = h(j);
      sums.a += v;
      sums.b += v * distance(j);
    }
  sums = sum_of_two(g, part, sums);
  if (!mine) return;
  const C shift = s.center ? sums.a / C(s.length) : C(0), slope = sums.b / C(s.length) * rstd * rstd;
  for (unsigned j = g.place(); j < s.length; j += g.along)
    store_own(dx + (start + j) * s.bytes, s.dtype, rstd * (h(j) - shift - distance(j) * slope));
}

// The same of rows that fit into registers: x and g are read once.
template <class T, class C>
__global__ __launch_bounds__(kThreads) void rows_grad_in_registers(T* dx, const T* x, const T* grad, const C* means, const C* rstds,
                                                                   const C* weight, RowSet s, Groups g) {
  GRAFT_SHARED(C, part, [kThreads]);
  constexpr unsigned n = RowInRegisters<T>::n;
  const unsigned r = blockIdx.x * g.outputs + g.group(), own = r < s.rows ? s.length / n : 0;
  const size_t start = size_t(own ? r : 0) * s.length;
  const C mean = own ? means[r] : C(0), rstd = own ? rstds[r] : C(0);
  RowInRegisters<T> row, h;  // h keeps g: rounded to T, g w would lose digits
  row.read(x + start, own, g);
  h.read(grad + start, own, g);
  const auto each = [&](auto f) {  // of both rows
#pragma unroll
    for (unsigned k = 0; k < kPacksOfThread; ++k) {
      const unsigned j = g.place() + k * g.along;
      if (j >= own) continue;
      C scale[n];
      if (weight) read_pack<T>(scale, weight, j);
#pragma unroll
      for (unsigned e = 0; e < n; ++e) {
        const C v = convert_element<C>(h.pack[k].of[e]);
        f(row.pack[k].of[e], convert_element<C>(row.pack[k].of[e]) - mean, weight ? v * scale[e] : v);
      }
    }
  };
  const auto sum = [&](C v) { return join_group(g, part, v, [](const C& a, const C& b) { return a + b; }); };
  C all = C(0), product = C(0);
  each([&](T&, C distance, C v) {
    all += v;
    product += v * distance;
  });
  const C shift = s.center ? sum(all) / C(s.length) : C(0), slope = sum(product) / C(s.length) * rstd * rstd;
  each([&](T& out, C distance, C v) { out = convert_element<T>(rstd * (v - shift - distance * slope)); });
  row.write(dx + start, own, g);
}

// dw = sum(g xhat), db = sum(g), over all that one weight belongs to.
template <class C>
__global__ __launch_bounds__(kThreads) void row_weights_grad(C* dw, C* db, const std::byte* x, const std::byte* grad, const C* means,
                                                             const C* rstds, RowSet s, Divider inner, Groups g) {
  using Sums = Two<C>;
  GRAFT_SHARED(Sums, part, [kThreads]);
  const unsigned each = s.length / s.inner, k = blockIdx.x * g.outputs + g.group();
  const bool mine = k < each * s.groups;
  Sums sums{C(0), C(0)};
  if (mine)
    for (unsigned i = g.place(); i < s.rows / s.groups * s.inner; i += g.along) {
      const unsigned nth = inner.divide(i), r = nth * s.groups + k / each;
      const size_t at = (size_t(r) * s.length + k % each * s.inner + (i - nth * s.inner)) * s.bytes;
      const C v = load_own<C>(grad + at, s.dtype);
      sums.a += v * (load_own<C>(x + at, s.dtype) - means[r]) * rstds[r];
      sums.b += v;
    }
  sums = sum_of_two(g, part, sums);
  if (mine && g.place() == 0) dw[k] = sums.a, db[k] = sums.b;
}

constexpr Decline kLarge = "2^31 elements or more";

Decline rows_of(const Launch& l, int64_t rows, RowSet& s) {
  const auto& a = l.attrs_as<RowNormAttrs>();
  const View& x = *l.in[0];
  if (x.numel > INT32_MAX) return kLarge;
  s = {unsigned(rows), unsigned(a.length), unsigned(a.groups), unsigned(a.inner), x.dtype, unsigned(size_of(x.dtype)), a.center, a.eps};
  return kRan;
}
template <class T, bool adds> Decline row_norm(const Launch& l) {
  using C = compute_t<T>;
  const auto& a = l.attrs_as<RowNormAttrs>();
  if (!l.in[0]->contiguous || (adds && !l.in[1]->contiguous)) return "x or the residual is not contiguous";
  RowSet s;
  if (const Decline why = rows_of(l, l.out[1]->numel, s)) return why;
  if (s.rows == 0) return kRan;
  const std::span<const View* const> affine = l.in.subspan(adds ? 2 : 1);
  const C* weight = a.weight ? affine[0]->as<C>() : nullptr;
  const C* bias = a.bias ? affine[a.weight ? 1 : 0]->as<C>() : nullptr;
  Groups g(s.length, false);
  const View& x = *l.in[0];
  const bool one_weight_each = s.groups == 1 && s.inner == 1 && is_aligned(weight, 16) && is_aligned(bias, 16);
  if (one_weight_each && fit_registers<T>({x.data, adds ? l.in[1]->data : x.data, l.out[0]->data, adds ? l.out[3]->data : x.data}, s.length, g)) {
    launch(normalize_rows_in_registers<T, C>, blocks_for(s.rows, g.outputs), kThreads, 0, l.stream, l.out[0]->as<T>(), l.out[1]->as<C>(),
           l.out[2]->as<C>(), adds ? l.out[3]->as<T>() : nullptr, x.as<T>(), adds ? l.in[1]->as<T>() : nullptr, weight, bias, s, g);
    return kRan;
  }
  launch(normalize_rows<C>, blocks_for(s.rows, g.outputs), kThreads, 0, l.stream, l.out[0]->data, l.out[1]->as<C>(), l.out[2]->as<C>(),
         adds ? l.out[3]->data : nullptr, static_cast<const std::byte*>(l.in[0]->data),
         adds ? static_cast<const std::byte*>(l.in[1]->data) : nullptr, weight, bias, s, g);
  return kRan;
}
template <class T> Decline row_norm_grad(const Launch& l) {
  using C = compute_t<T>;
  const auto& a = l.attrs_as<RowNormAttrs>();
  if (!l.in[0]->contiguous || !l.in[1]->contiguous) return "x or g is not contiguous";
  RowSet s;
  if (const Decline why = rows_of(l, l.in[2]->numel, s)) return why;
  const C *means = l.in[2]->as<C>(), *rstds = l.in[3]->as<C>(), *weight = a.weight ? l.in[4]->as<C>() : nullptr;
  if (s.rows > 0) {
    Groups g(s.length, false);
    const bool one_weight_each = s.groups == 1 && s.inner == 1 && is_aligned(weight, 16);
    if (one_weight_each && fit_registers<T>({l.out[0]->data, l.in[0]->data, l.in[1]->data}, s.length, g))
      launch(rows_grad_in_registers<T, C>, blocks_for(s.rows, g.outputs), kThreads, 0, l.stream, l.out[0]->as<T>(), l.in[0]->as<T>(),
             l.in[1]->as<T>(), means, rstds, weight, s, g);
    else
      launch(rows_grad<C>, blocks_for(s.rows, g.outputs), kThreads, 0, l.stream, l.out[0]->data, l.in[0]->data, l.in[1]->data, means, rstds,
             weight, s, g);
  }
  if (l.out.size() < 2 || l.out[1]->numel == 0) return kRan;
  const Groups g(int64_t(s.rows / s.groups) * s.inner, s.inner == 1);
  launch(row_weights_grad<C>, blocks_for(l.out[1]->numel, g.outputs), kThreads, 0, l.stream, l.out[1]->as<C>(), l.out[2]->as<C>(),
         l.in[0]->data, l.in[1]->data, means, rstds, s, Divider(s.inner), g);
  return kRan;
}

template <class T> void add_norms() {
  constexpr DType t = dtype_v<T>;
  add_kernel("row_norm", Device::cuda, t, "rows", row_norm<T, false>);
  add_kernel("add_row_norm", Device::cuda, t, "rows", row_norm<T, true>);
  add_kernel("row_norm_grad", Device::cuda, t, "rows", row_norm_grad<T>);
}

}  // namespace

void register_norm_cuda() {
  for_each_type(FloatTypes{}, [](auto tag) { add_norms<typename decltype(tag)::type>(); });
}

}  // namespace graft

// matmul and linear on cpu in f32 by the packed product; f16 and bf16 through f32 copies of their operands.
#include <algorithm>
#include "graft/kernels/gemm/gemm.h"
#include "graft/kernels/isa.h"
#include "graft/kernels/matmul/columns.h"
#include "graft/kernels/packed.h"
#include "graft/kernels/parallel.h"
#include "graft/kernels/scratch.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

using gemm::Matrix;
using gemm::Result;

// A dense f32 copy of a matrix of 16-bit numbers.
template <class T> struct Operand {
  Scratch<float> copy;
  Matrix m;
  Operand(const T* data, int64_t rows, int64_t cols, int64_t row, int64_t col) : copy(rows * cols), m{copy.get(), cols, 1} {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < cols; ++j) copy[i * cols + j] = float(data[i * row + j * col]);
  }
};

template <class T>
void product(int64_t m, int64_t n, int64_t k, const T* a, const Matrix& as, const T* b, const Matrix& bs, const float* bias, T* c,
             int64_t c_row, int64_t c_col) {
  gemm::Epilogue e;
  e.column_bias = bias;
  if constexpr (std::is_same_v<T, float>) {
    gemm::multiply(m, n, k, {a, as.row, as.col}, {b, bs.row, bs.col}, {c, c_row, c_col}, e);
  } else {
    const Operand<T> x(a, m, k, as.row, as.col), y(b, k, n, bs.row, bs.col);
    const Scratch<float> sums(m * n);
    gemm::multiply(m, n, k, x.m, y.m, {sums.get(), n, 1}, e);
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) c[i * c_row + j * c_col] = T(sums[i * n + j]);
  }
}

// Where matrix number i of the output's batch lies in an operand whose batch dimensions may broadcast.
int64_t batch_offset(const View& v, const View& out, int64_t i) {
  int64_t at = 0;
  for (int d = out.rank - 3; d >= 0; --d) {
    const int own = d - (out.rank - v.rank);
    if (own >= 0 && v.size[own] != 1) at += i % out.size[d] * v.stride[own];
    i /= out.size[d];
  }
  return at;
}
// The strides of the last two dimensions.
Matrix strides(const View& v) { return {nullptr, v.stride[v.rank - 2], v.stride[v.rank - 1]}; }

template <class T> Decline matmul(const Launch& l) {
  const View &a = *l.in[0], &b = *l.in[1], &c = *l.out[0];
  const int64_t m = a.size[a.rank - 2], k = a.size[a.rank - 1], n = b.size[b.rank - 1];
  const int64_t batches = m * n > 0 ? c.numel / (m * n) : 0;
  const auto one = [&](int64_t i) {
    product<T>(m, n, k, a.as<T>() + batch_offset(a, c, i), strides(a), b.as<T>() + batch_offset(b, c, i), strides(b),
               nullptr, c.as<T>() + batch_offset(c, c, i), c.stride[c.rank - 2], c.stride[c.rank - 1]);
  };
  if (batches == 1) return one(0), kRan;
  const int64_t grain = std::max<int64_t>(1, (1 << 17) / std::max<int64_t>(1, m * n * k));
  parallel_for(0, batches, grain, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) one(i);
  });
  return kRan;
}

// With the weight as packed by an earlier call; false where packing pays less than it costs.
bool linear_packed(Packs& packs, const View& w, const float* x, Matrix xs, const float* bias, Result y, int64_t numel) {
  const int64_t in = w.size[1], out = w.size[0], rows = out ? numel / out : 0;
  if (rows < 2 || in * out < 1024) return false;
  const Matrix b = Matrix{w.as<float>(), w.stride[0], w.stride[1]}.transposed();
  const PackKey key{int64_t('l'), int64_t(cpu::isa()), reinterpret_cast<int64_t>(w.data), in, out, b.row, b.col, 0};
  const float* weight = packed(packs, key, gemm::packed_size(in, out), [&](float* to) { gemm::pack(in, out, b, to); });
  if (!weight) return false;
  xs.data = x;
  gemm::Epilogue e;
  e.column_bias = bias;
  gemm::multiply_packed(rows, out, in, xs, weight, y, e);
  return true;
}

// x[..., in] weight[out, in] (bias[out])
template <class T> Decline linear(const Launch& l) {
  const View &x = *l.in[0], &w = *l.in[1], &y = *l.out[0];
  const int64_t in = w.size[1], out = w.size[0];
  Matrix xs{nullptr, in, 1}, ys{nullptr, out, 1};
  if (x.rank == 2) {
    xs = strides(x);
    ys = strides(y);
  } else if (!x.contiguous || !y.contiguous) {
    return "x or y is strided and not a matrix";
  }
  const View* bias = l.in.size() > 2 ? l.in[2] : nullptr;
  const bool in_place = bias && std::is_same_v<T, float> && (bias->stride[0] == 1 || out == 1);
  const Scratch<float> copy(bias && !in_place ? out : 0);
  if (copy.get())
    for (int64_t j = 0; j < out; ++j) copy[j] = float(bias->as<T>()[j * bias->stride[0]]);
  const float* added = !bias ? nullptr : in_place ? bias->as<float>() : copy.get();
  if constexpr (std::is_same_v<T, float>)
    if (l.packs && ys.col == 1 && linear_packed(*l.packs[1], w, x.as<float>(), xs, added, {y.as<float>(), ys.row, 1}, y.numel))
      return kRan;
  const int64_t rows = x.rank == 2 ? x.size[0] : out ? y.numel / out : 0;
  product<T>(rows, out, in, x.as<T>(), xs, w.as<T>(), strides(w).transposed(), added, y.as<T>(),
             ys.row, ys.col);
  return kRan;
}

// g[n, out] x[n, in] -> weight[out, in], bias[out] where asked for
template <class T> Decline linear_grad(const Launch& l) {
  const View &g = *l.in[0], &x = *l.in[1];
  const int64_t in = x.size[1];
  product<T>(g.size[1], in, g.size[0], g.as<T>(), strides(g).transposed(), x.as<T>(), strides(x), nullptr, l.out[0]->as<T>(), in, 1);
  if (l.out.size() > 1) sum_columns(g, l.out[1]->as<T>());
  return kRan;
}

}  // namespace

void register_gemm_cpu() {
  const auto add = [](auto tag) {
    using T = typename decltype(tag)::type;
    add_kernel("matmul", Device::cpu, dtype_v<T>, "packed", matmul<T>);
    add_kernel("linear", Device::cpu, dtype_v<T>, "packed", linear<T>);
    add_kernel("linear_grad", Device::cpu, dtype_v<T>, "packed", linear_grad<T>);
  };
  for_each_type(TypeList<float, Half, BFloat16>{}, add);
}

}  // namespace graft

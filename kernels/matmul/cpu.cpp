// Matrix products on cpu, reference: any strides, batches that broadcast. The packed kernels are earlier candidates.
#include <algorithm>
#include "graft/kernels/gemm/attrs.h"
#include "graft/kernels/matmul/columns.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

struct Matrix { int64_t rows, cols, row_step, col_step; };

Matrix matrix(const View& v) {
  const int r = v.rank;
  return {v.size[r - 2], v.size[r - 1], v.stride[r - 2], v.stride[r - 1]};
}
Matrix transposed(const Matrix& m) { return {m.cols, m.rows, m.col_step, m.row_step}; }

// Several chains, because an addition takes four cycles.
template <class T> compute_t<T> dot(const T* a, int64_t sa, const T* b, int64_t sb, int64_t n) {
  using C = compute_t<T>;
  C part[4] = {};
  int64_t k = 0;
  for (; k + 4 <= n; k += 4)
    for (int j = 0; j < 4; ++j) part[j] += C(a[(k + j) * sa]) * C(b[(k + j) * sb]);
  for (; k < n; ++k) part[0] += C(a[k * sa]) * C(b[k * sb]);
  return (part[0] + part[1]) + (part[2] + part[3]);
}
template <class T> compute_t<T> dot(const T* a, const T* b, int64_t n) {
  using C = compute_t<T>;
  constexpr int kChains = 8;
  C part[kChains] = {};
  int64_t k = 0;
  for (; k + kChains <= n; k += kChains)
    for (int j = 0; j < kChains; ++j) part[j] += C(a[k + j]) * C(b[k + j]);
  for (; k < n; ++k) part[0] += C(a[k]) * C(b[k]);
  for (int j = 0; j < 4; ++j) part[j] += part[j + 4];
  return (part[0] + part[1]) + (part[2] + part[3]);
}

// One row of c, when the rows of b are contiguous: 16 columns at a time stay in registers.
template <class T>
void row_product(const T* a, const Matrix& am, const T* b, const Matrix& bm, const T* bias, int64_t bias_step, T* c) {
  using C = compute_t<T>;
  constexpr int64_t kWidth = 16;
  int64_t n = 0;
  for (; n + kWidth <= bm.cols; n += kWidth) {
    C sum[kWidth] = {};
    for (int64_t k = 0; k < am.cols; ++k) {
      const C x = C(a[k * am.col_step]);
      for (int64_t j = 0; j < kWidth; ++j) sum[j] += x * C(b[k * bm.row_step + n + j]);
    }
    for (int64_t j = 0; j < kWidth; ++j) c[n + j] = T(sum[j] + (bias ? C(bias[(n + j) * bias_step]) : C(0)));
  }
  for (; n < bm.cols; ++n)
    c[n] = T(dot(a, am.col_step, b + n, bm.row_step, am.cols) + (bias ? C(bias[n * bias_step]) : C(0)));
}

// c[m,n] = a[m,k] b[k,n] + bias[n]; c is contiguous.
template <class T>
void product(const T* a, const Matrix& am, const T* b, const Matrix& bm, const T* bias, int64_t bias_step, T* c) {
  using C = compute_t<T>;
  for (int64_t m = 0; m < am.rows; ++m, c += bm.cols, a += am.row_step) {
    if (bm.col_step == 1 && bm.cols > 1) {
      row_product(a, am, b, bm, bias, bias_step, c);
      continue;
    }
    const bool unit = am.col_step == 1 && bm.row_step == 1;
    for (int64_t n = 0; n < bm.cols; ++n) {
      const T* column = b + n * bm.col_step;
      const C sum = unit ? dot(a, column, am.cols) : dot(a, am.col_step, column, bm.row_step, am.cols);
      c[n] = T(sum + (bias ? C(bias[n * bias_step]) : C(0)));
    }
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

template <class T> Decline matmul(const Launch& l) {
  const View &a = *l.in[0], &b = *l.in[1], &c = *l.out[0];
  const Matrix am = matrix(a), bm = matrix(b);
  const int64_t each = am.rows * bm.cols;
  if (c.rank == 2) return product<T>(a.as<T>(), am, b.as<T>(), bm, nullptr, 0, c.as<T>()), kRan;
  for (int64_t i = 0; each > 0 && i < c.numel / each; ++i)
    product<T>(a.as<T>() + batch_offset(a, c, i), am, b.as<T>() + batch_offset(b, c, i), bm, nullptr, 0,
               c.as<T>() + i * each);
  return kRan;
}

// x[..., in] weight[out, in] (bias[out]); x is contiguous unless it is a matrix.
template <class T> Decline linear(const Launch& l) {
  const View &x = *l.in[0], &w = *l.in[1];
  const bool biased = l.in.size() > 2;
  const int64_t in = x.size[x.rank - 1];
  Matrix xm{in ? x.numel / in : 1, in, in, 1};
  if (x.rank == 2) xm = matrix(x);
  else if (!x.contiguous) return "x is strided and not a matrix";
  else if (in == 0) xm.rows = w.size[0] ? l.out[0]->numel / w.size[0] : 0;
  product<T>(x.as<T>(), xm, w.as<T>(), transposed(matrix(w)), biased ? l.in[2]->as<T>() : nullptr,
             biased ? l.in[2]->stride[0] : 0, l.out[0]->as<T>());
  return kRan;
}

// g[n, out] x[n, in] -> weight[out, in], bias[out] where asked for
template <class T> Decline linear_grad(const Launch& l) {
  const View &g = *l.in[0], &x = *l.in[1];
  product<T>(g.as<T>(), transposed(matrix(g)), x.as<T>(), matrix(x), nullptr, 0, l.out[0]->as<T>());
  if (l.out.size() > 1) sum_columns(g, l.out[1]->as<T>());
  return kRan;
}

// By the kernels of linear and, over its result, of the activation.
Decline linear_act(const Launch& l) {
  static const OpEntry &product = intern("linear"), &relu = intern("relu"), &gelu = intern("gelu"), &gelu_tanh = intern("gelu_tanh");
  const auto run = [](const OpEntry& op, const Launch& launch) {
    Decline why = "no kernel";
    for (const Candidate* c = op.first(Device::cpu, launch.out[0]->dtype); c && why; c = c->next) why = c->run(launch);
    return why;
  };
  if (const Decline why = run(product, l)) return why;
  const LinearActivation f = l.attrs_as<LinearActAttrs>().activation;
  return run(f == LinearActivation::relu ? relu : f == LinearActivation::gelu ? gelu : gelu_tanh, {.in = l.out, .out = l.out});
}

}  // namespace

void register_matmul_cpu() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add_kernel("linear_grad", Device::cpu, dtype_v<T>, "reference", linear_grad<T>);
  });
  const auto add = [](auto tag) {
    using T = typename decltype(tag)::type;
    add_kernel("matmul", Device::cpu, dtype_v<T>, "reference", matmul<T>);
    add_kernel("linear", Device::cpu, dtype_v<T>, "reference", linear<T>);
  };
  for_each_type(FloatTypes{}, add);
  for (const DType t : {f32, f64, f16, bf16}) add_kernel("linear_act", Device::cpu, t, "linear, then the activation", linear_act);
  for_each_type(IntTypes{}, add);
  for_each_type(ComplexTypes{}, add);
}

}  // namespace graft

// Matrix products on cpu, reference: any strides. Small sizes only; the packed kernels are other candidates.
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

struct Matrix { int64_t rows, cols, row_step, col_step; };

template <class T> T dot(const T* a, int64_t sa, const T* b, int64_t sb, int64_t n) {
  T part[4] = {};  // four chains: an addition takes four cycles
  int64_t k = 0;
  for (; k + 4 <= n; k += 4)
    for (int j = 0; j < 4; ++j) part[j] += a[(k + j) * sa] * b[(k + j) * sb];
  for (; k < n; ++k) part[0] += a[k * sa] * b[k * sb];
  return (part[0] + part[1]) + (part[2] + part[3]);
}

// c[m,n] = a[m,k] b[k,n] + bias[n]; c is contiguous.
template <class T>
void product(const T* a, Matrix am, const T* b, Matrix bm, const T* bias, int64_t bias_step, T* c) {
  for (int64_t m = 0; m < am.rows; ++m, c += bm.cols, a += am.row_step) {
    if (bm.row_step == 1 || bm.col_step != 1) {
      for (int64_t n = 0; n < bm.cols; ++n)
        c[n] = dot(a, am.col_step, b + n * bm.col_step, bm.row_step, am.cols) + (bias ? bias[n * bias_step] : T(0));
      continue;
    }
    for (int64_t n = 0; n < bm.cols; ++n) c[n] = bias ? bias[n * bias_step] : T(0);
    for (int64_t k = 0; k < am.cols; ++k) {
      const T x = a[k * am.col_step];
      const T* row = b + k * bm.row_step;
      for (int64_t n = 0; n < bm.cols; ++n) c[n] += x * row[n];
    }
  }
}

Matrix matrix(const View& v) { return {v.size[0], v.size[1], v.stride[0], v.stride[1]}; }
Matrix transposed(const View& v) { return {v.size[1], v.size[0], v.stride[1], v.stride[0]}; }

template <class T> Decline matmul(const Launch& l) {
  const View &a = *l.in[0], &b = *l.in[1];
  product<T>(a.as<T>(), matrix(a), b.as<T>(), matrix(b), nullptr, 0, l.out[0]->as<T>());
  return kRan;
}
template <class T> Decline linear(const Launch& l) {
  const View &x = *l.in[0], &w = *l.in[1], &bias = *l.in[2];
  product<T>(x.as<T>(), matrix(x), w.as<T>(), transposed(w), bias.as<T>(), bias.stride[0], l.out[0]->as<T>());
  return kRan;
}

}  // namespace

void register_matmul_cpu() {
  add_kernel("matmul", Device::cpu, DType::f32, "reference", matmul<float>);
  add_kernel("matmul", Device::cpu, DType::f64, "reference", matmul<double>);
  add_kernel("linear", Device::cpu, DType::f32, "reference", linear<float>);
  add_kernel("linear", Device::cpu, DType::f64, "reference", linear<double>);
}

}  // namespace graft

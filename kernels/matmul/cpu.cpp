// Matrix products on cpu, reference: any strides. Small sizes only; the packed kernels are other candidates.
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

struct Matrix { int64_t rows, cols, row_step, col_step; };

template <class T> compute_t<T> dot(const T* a, int64_t sa, const T* b, int64_t sb, int64_t n) {
  using C = compute_t<T>;
  C part[4] = {};  // four chains: an addition takes four cycles
  int64_t k = 0;
  for (; k + 4 <= n; k += 4)
    for (int j = 0; j < 4; ++j) part[j] += C(a[(k + j) * sa]) * C(b[(k + j) * sb]);
  for (; k < n; ++k) part[0] += C(a[k * sa]) * C(b[k * sb]);
  return (part[0] + part[1]) + (part[2] + part[3]);
}

// c[m,n] = a[m,k] b[k,n] + bias[n]; c is contiguous.
template <class T>
void product(const T* a, Matrix am, const T* b, Matrix bm, const T* bias, int64_t bias_step, T* c) {
  using C = compute_t<T>;
  for (int64_t m = 0; m < am.rows; ++m, c += bm.cols, a += am.row_step)
    for (int64_t n = 0; n < bm.cols; ++n)
      c[n] = T(dot(a, am.col_step, b + n * bm.col_step, bm.row_step, am.cols) + (bias ? C(bias[n * bias_step]) : C(0)));
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
  const auto add = [](auto tag) {
    using T = typename decltype(tag)::type;
    add_kernel("matmul", Device::cpu, dtype_v<T>, "reference", matmul<T>);
    add_kernel("linear", Device::cpu, dtype_v<T>, "reference", linear<T>);
  };
  for_each_type(FloatTypes{}, add);
  for_each_type(IntTypes{}, add);
  for_each_type(ComplexTypes{}, add);
}

}  // namespace graft

// The products that matmul and linear are. A kernel of either is a function of the product, the output and the stream.
#pragma once
#include "graft/kernels/gemm/attrs.h"
#include "graft/kernels/gemm/cuda_product.h"
#include "graft/kernels/reduce/attrs.h"
#include "graft/kernels/table.h"

namespace graft::inline v1::cuda::gemm {

struct MatmulProduct {
  Product<Matrix> product;
  int64_t batches = 1;
};

inline Decline set_sizes(Product<Matrix>& p, int64_t m, int64_t n, int64_t k) {
  if (m > INT32_MAX || n > INT32_MAX || k > INT32_MAX || m * n > INT32_MAX) return "2^31 elements or more in a matrix";
  p.m = unsigned(m), p.n = unsigned(n), p.k = unsigned(k);
  return kRan;
}
inline Matrix matrix_of(const View& v, int64_t row_step, int64_t k_step) {
  Matrix x;
  x.take(v);
  x.row_step = row_step, x.k_step = k_step;
  return x;
}
inline void choose_access(MatmulProduct& it, bool aligned_a, bool aligned_b, bool aligned_out) {
  Product<Matrix>& p = it.product;
  p.a.choose(p.m, p.k, aligned_a);
  p.b.choose(p.n, p.k, aligned_b);
  p.out.choose(p.m, p.n, aligned_out);
  p.out_packs = p.out.packs && p.out.along_k && p.out.dtype == f32;
}

template <class Run> Decline matmul(const Launch& l, Run run) {
  const View &a = *l.in[0], &b = *l.in[1], &c = *l.out[0];
  if (c.numel == 0) return kRan;
  MatmulProduct it;
  Product<Matrix>& p = it.product;
  const int64_t m = a.size[a.rank - 2], k = a.size[a.rank - 1], n = b.size[b.rank - 1];
  if (const Decline why = set_sizes(p, m, n, k)) return why;
  p.a = matrix_of(a, a.stride[a.rank - 2], a.stride[a.rank - 1]);
  p.b = matrix_of(b, b.stride[b.rank - 1], b.stride[b.rank - 2]);
  p.out = matrix_of(c, c.stride[c.rank - 2], c.stride[c.rank - 1]);
  bool aligned[3] = {true, true, true};
  const View* operand[3] = {&a, &b, &c};
  Batches& batches = p.batches;
  batches.rank = c.rank - 2;
  for (int d = 0; d < batches.rank; ++d) {
    if (c.size[d] > INT32_MAX) return "2^31 products or more";
    batches.size[d] = Divider(unsigned(c.size[d]));
    it.batches *= c.size[d];
    for (int i = 0; i < 3; ++i) {
      const View& v = *operand[i];
      const int own = d - (c.rank - v.rank);
      batches.step[d][i] = own >= 0 && v.size[own] != 1 ? v.stride[own] : 0;
      aligned[i] = aligned[i] && batches.step[d][i] * size_of(v.dtype) % 16 == 0;
    }
    batches.step[d][3] = 0;
  }
  if (it.batches > INT32_MAX) return "2^31 products or more";
  choose_access(it, aligned[0], aligned[1], aligned[2]);
  return run(it, c, l.stream);
}

// x[..., in] weight[out, in] (bias[out])
template <class Run> Decline linear(const Launch& l, Run run, Activation activation = Activation::none) {
  const View &x = *l.in[0], &w = *l.in[1], &y = *l.out[0];
  if (y.numel == 0) return kRan;
  const int64_t in = w.size[1], out = w.size[0];
  if (x.rank != 2 && (!x.contiguous || !y.contiguous)) return "x or y is strided and not a matrix";
  MatmulProduct it;
  Product<Matrix>& p = it.product;
  if (const Decline why = set_sizes(p, y.numel / out, out, in)) return why;
  p.a = x.rank == 2 ? matrix_of(x, x.stride[0], x.stride[1]) : matrix_of(x, in, 1);
  p.b = matrix_of(w, w.stride[0], w.stride[1]);
  p.out = x.rank == 2 ? matrix_of(y, y.stride[0], y.stride[1]) : matrix_of(y, out, 1);
  if (l.in.size() > 2) {
    p.bias = l.in[2]->data;
    p.bias_step = l.in[2]->stride[0];
  }
  p.activation = activation;
  choose_access(it, true, true, true);
  return run(it, y, l.stream);
}

// g[n, out] x[n, in] -> weight[out, in], bias[out] where asked for: a product, and the kernel of sum.
template <class Run> Decline linear_grad(const Launch& l, Run run) {
  const View& g = *l.in[0];
  View turned = g;
  std::swap(turned.size[0], turned.size[1]);
  std::swap(turned.stride[0], turned.stride[1]);
  const View* operands[] = {&turned, l.in[1]};
  if (const Decline why = matmul(Launch{operands, l.out.first(1), nullptr, l.stream}, run)) return why;
  if (l.out.size() == 1) return kRan;
  static const OpEntry& sum = intern("sum");
  const ReduceAttrs rows{1, 0};
  return sum.first(Device::cuda, g.dtype)->run({l.in.first(1), l.out.subspan(1), &rows, l.stream});
}

template <class Run> Decline linear_act(const Launch& l, Run run) {
  const LinearActivation f = l.attrs_as<LinearActAttrs>().activation;
  return linear(l, run, f == LinearActivation::relu ? Activation::relu : f == LinearActivation::gelu ? Activation::gelu : Activation::gelu_tanh);
}

}  // namespace graft::cuda::gemm

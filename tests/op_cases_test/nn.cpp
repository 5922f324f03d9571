// Cases of matrix products, softmax and what layers are made of.
#include "op_case.h"

namespace graft::cases {

static Tensor naive_matmul(const Tensors& t) {
  const std::vector<double> a = elements(t[0]), b = elements(t[1]);
  const int64_t m = t[0].size(0), k = t[0].size(1), n = t[1].size(1);
  const Tensor y = zeros({m, n}, f64);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j)
      for (int64_t l = 0; l < k; ++l) y.mutable_data<double>()[i * n + j] += a[size_t(i * k + l)] * b[size_t(l * n + j)];
  return y;
}

OpCases nn_cases() {
  const Tensor a = ramp({3, 4});
  return {
      {.op = "matmul", .in = {a, ramp({4, 2})}, .fn = [](const Tensors& t) { return matmul(t[0], t[1]); },
       .expected = naive_matmul, .pointwise = false, .tolerance = 4},
      {.op = "linear", .in = {a, ramp({2, 4}), ramp({2}, 0.3)}, .fn = [](const Tensors& t) { return linear(t[0], t[1], t[2]); },
       .expected = [](const Tensors& t) {
         const Tensor y = naive_matmul({t[0], t[1].transpose(0, 1)});
         const std::vector<double> bias = elements(t[2]);
         for (int64_t i = 0; i < y.numel(); ++i) y.mutable_data<double>()[i] += bias[size_t(i % 2)];
         return y;
       },
       .pointwise = false, .tolerance = 4},
      {.op = "softmax", .in = {a}, .fn = [](const Tensors& t) { return softmax(t[0], 1); },
       .expected = [](const Tensors& t) {
         std::vector<double> v = elements(t[0]);
         for (size_t r = 0; r < 3; ++r) {
           double total = 0;
           for (size_t i = 0; i < 4; ++i) total += v[r * 4 + i] = std::exp(v[r * 4 + i]);
           for (size_t i = 0; i < 4; ++i) v[r * 4 + i] /= total;
         }
         return tensor(std::span<const double>(v), {3, 4}, f64);
       },
       .pointwise = false},
  };
}

}  // namespace graft::cases

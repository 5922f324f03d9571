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

// A batch of products: the batch dimensions [2, 3] are expanded before.
static Tensor naive_batches(const Tensors& t) {
  const int64_t m = t[0].size(-2), k = t[0].size(-1), n = t[1].size(-1);
  const Tensor a = t[0].expand({2, 3, m, k}).reshape({6, m, k}), b = t[1].expand({2, 3, k, n}).reshape({6, k, n});
  Tensors products;
  for (int64_t i = 0; i < 6; ++i)
    products.push_back(naive_matmul({a.narrow(0, i, 1).reshape({m, k}), b.narrow(0, i, 1).reshape({k, n})}));
  return cat(products, 0).reshape({2, 3, m, n});
}
static Tensor naive_linear(const Tensors& t) { return naive_matmul({t[0], t[1].transpose(0, 1)}); }

// q [2, 3, 4, 5], k [2, 1, 6, 5] and v [6, 3], whose leading dimensions broadcast; sees(i, j): key j takes part in query i; what is
// added to the score is added(i, j).
template <class Sees, class Added> static Tensor naive_attention(const Tensors& t, double scale, Sees sees, Added added) {
  const Tensor q = t[0], k = t[1].expand({2, 3, 6, 5}), v = t[2].expand({2, 3, 6, 3}), y = zeros({2, 3, 4, 3}, f64);
  double* out = y.mutable_data<double>();
  for (int64_t z = 0; z < 6; ++z)
    for (int64_t i = 0; i < 4; ++i, out += 3) {
      double total = 0;
      for (int64_t j = 0; j < 6; ++j) {
        if (!sees(i, j)) continue;
        double s = added(i, j);
        for (int64_t e = 0; e < 5; ++e) s += scale * q.at({z / 3, z % 3, i, e}) * k.at({z / 3, z % 3, j, e});
        total += std::exp(s);
        for (int64_t c = 0; c < 3; ++c) out[c] += std::exp(s) * v.at({z / 3, z % 3, j, c});
      }
      for (int64_t c = 0; total > 0 && c < 3; ++c) out[c] /= total;
    }
  return y;
}
static bool always(int64_t, int64_t) { return true; }
static double nothing(int64_t, int64_t) { return 0; }

OpCases nn_cases() {
  const Tensor a = ramp({3, 4});
  const Tensor q = ramp({2, 3, 4, 5}, -1.3, 0.02), k = ramp({2, 1, 6, 5}, 0.9, -0.03), v = ramp({6, 3}, -0.4, 0.11);
  return {
      {.op = "scaled_dot_product_attention", .name = "leading dimensions that broadcast", .in = {q, k, v},
       .fn = [](const Tensors& t) { return scaled_dot_product_attention(t[0], t[1], t[2]); },
       .expected = [](const Tensors& t) { return naive_attention(t, 1 / std::sqrt(5.0), always, nothing); },
       .pointwise = false, .tolerance = 8},
      {.op = "scaled_dot_product_attention", .name = "causal", .in = {q, k, v},
       .fn = [](const Tensors& t) { return scaled_dot_product_attention(t[0], t[1], t[2], {}, true, 0.7); },
       .expected = [](const Tensors& t) { return naive_attention(t, 0.7, [](int64_t i, int64_t j) { return j <= i; }, nothing); },
       .pointwise = false, .tolerance = 8},
      {.op = "scaled_dot_product_attention", .name = "a bool mask, a query that sees nothing", .in = {q, k, v, gt(ramp({4, 1}), -1.0)},
       .fn = [](const Tensors& t) { return scaled_dot_product_attention(t[0], t[1], t[2], t[3]); },
       .expected = [](const Tensors& t) { return naive_attention(t, 1 / std::sqrt(5.0), [](int64_t i, int64_t) { return i > 0; }, nothing); },
       .pointwise = false, .strided = false, .tolerance = 8},
      {.op = "scaled_dot_product_attention", .name = "a mask that is added", .in = {q, k, v, ramp({3, 1, 6}, 0.5, -0.2)},
       .fn = [](const Tensors& t) { return scaled_dot_product_attention(t[0], t[1], t[2], t[3].narrow(0, 1, 1)); },
       .expected = [](const Tensors& t) {
         const std::vector<double> mask = elements(t[3]);
         return naive_attention(t, 1 / std::sqrt(5.0), always, [&](int64_t, int64_t j) { return mask[size_t(6 + j)]; });
       },
       .pointwise = false, .strided = false, .tolerance = 8},
      {.op = "matmul", .name = "batches that broadcast", .in = {ramp({2, 1, 2, 3}), ramp({3, 3, 17}, 0.3, 0.1)},
       .fn = [](const Tensors& t) { return matmul(t[0], t[1]); }, .expected = naive_batches, .pointwise = false, .tolerance = 8},
      {.op = "matmul", .name = "a batch and one matrix", .in = {ramp({2, 3, 2, 3}), ramp({3, 2})},
       .fn = [](const Tensors& t) { return matmul(t[0], t[1]); }, .expected = naive_batches, .pointwise = false, .tolerance = 4},
      {.op = "matmul", .name = "two vectors", .in = {ramp({9}), ramp({9}, 0.2)},
       .fn = [](const Tensors& t) { return dot(t[0], t[1]); },
       .expected = [](const Tensors& t) { return naive_matmul({t[0].reshape({1, 9}), t[1].reshape({9, 1})}).reshape({}); },
       .pointwise = false, .tolerance = 8},
      {.op = "matmul", .name = "mv", .in = {a, ramp({4}, 0.2)}, .fn = [](const Tensors& t) { return mv(t[0], t[1]); },
       .expected = [](const Tensors& t) { return naive_matmul({t[0], t[1].reshape({4, 1})}).reshape({3}); },
       .pointwise = false, .tolerance = 4},
      {.op = "matmul", .name = "a vector and a batch", .in = {ramp({3}, 0.2), ramp({2, 3, 3, 2})},
       .fn = [](const Tensors& t) { return matmul(t[0], t[1]); },
       .expected = [](const Tensors& t) { return naive_batches({t[0].reshape({1, 3}), t[1]}).reshape({2, 3, 2}); },
       .pointwise = false, .tolerance = 8},
      {.op = "matmul", .name = "addmm", .in = {ramp({2}), a, ramp({4, 2})},
       .fn = [](const Tensors& t) { return addmm(t[0], t[1], t[2], 0.5, -2.0); },
       .expected = [](const Tensors& t) { return t[0] * 0.5 + naive_matmul({t[1], t[2]}) * -2.0; },
       .pointwise = false, .tolerance = 16},
      {.op = "linear_act", .name = "gelu", .in = {a, ramp({5, 4}), ramp({5}, 0.3)},
       .fn = [](const Tensors& t) { return linear_act(t[0], t[1], t[2], LinearActivation::gelu); },
       .expected = [](const Tensors& t) { return gelu(naive_linear(t) + t[2]); }, .pointwise = false, .grad = false, .tolerance = 8},
      {.op = "linear_act", .name = "gelu by tanh, no bias", .in = {ramp({2, 3, 11}, -1.3, 0.05), ramp({7, 11}, -0.4, 0.02)},
       .fn = [](const Tensors& t) { return linear_act(t[0], t[1], {}, LinearActivation::gelu_tanh); },
       .expected = [](const Tensors& t) { return gelu(naive_linear({t[0].reshape({6, 11}), t[1]}), "tanh").reshape({2, 3, 7}); },
       .pointwise = false, .grad = false, .tolerance = 16},
      {.op = "linear_act", .name = "relu", .in = {a, ramp({5, 4}), ramp({5}, 0.3)},
       .fn = [](const Tensors& t) { return linear_act(t[0], t[1], t[2], LinearActivation::relu); },
       .expected = [](const Tensors& t) { return relu(naive_linear(t) + t[2]); }, .pointwise = false, .grad = false, .tolerance = 8},
      {.op = "linear", .name = "no bias", .in = {a, ramp({5, 4})}, .fn = [](const Tensors& t) { return linear(t[0], t[1]); },
       .expected = naive_linear, .pointwise = false, .tolerance = 4},
      {.op = "linear", .name = "leading dimensions", .in = {ramp({2, 3, 11}), ramp({2, 11})},
       .fn = [](const Tensors& t) { return linear(t[0], t[1]); },
       .expected = [](const Tensors& t) { return naive_linear({t[0].reshape({6, 11}), t[1]}).reshape({2, 3, 2}); },
       .pointwise = false, .tolerance = 16},
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

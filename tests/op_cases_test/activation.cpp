// Cases of the pointwise activations.
#include "op_case.h"

namespace graft::cases {

static double sig(double x) { return 1 / (1 + std::exp(-x)); }
static double soft(double x) { return std::log1p(std::exp(x)); }

OpCases activation_cases() {
  const Tensor a = ramp({3, 4}), wide = ramp({3, 4}, -4.3, 0.97);
  return {
      {.op = "relu", .in = {a}, .fn = [](const Tensors& x) { return relu(x[0]); },
       .element = [](const double* x) { return x[0] > 0 ? x[0] : 0.; },
       .in_place = [](const Tensors& x) -> const Tensor& { return x[0].relu_(); }, .also = {i64, i32, u8}},
      {.op = "clamp", .name = "relu6", .in = {wide}, .fn = [](const Tensors& x) { return relu6(x[0]); },
       .element = [](const double* x) { return std::min(std::max(x[0], 0.), 6.); }},
      {.op = "clamp", .name = "hardtanh", .in = {a}, .fn = [](const Tensors& x) { return hardtanh(x[0]); },
       .element = [](const double* x) { return std::min(std::max(x[0], -1.), 1.); }},
      {.op = "leaky_relu", .in = {a}, .fn = [](const Tensors& x) { return leaky_relu(x[0], 0.2); },
       .element = [](const double* x) { return x[0] > 0 ? x[0] : 0.2 * x[0]; }},
      {.op = "prelu", .in = {a, ramp({4}, 0.2, 0.1)}, .fn = [](const Tensors& x) { return prelu(x[0], x[1]); },
       .element = [](const double* x) { return x[0] > 0 ? x[0] : x[1] * x[0]; }, .pointwise = false},
      {.op = "prelu", .name = "one slope", .in = {a, ramp({1}, 0.2)}, .fn = [](const Tensors& x) { return prelu(x[0], x[1]); },
       .element = [](const double* x) { return x[0] > 0 ? x[0] : x[1] * x[0]; }},
      {.op = "elu", .in = {a}, .fn = [](const Tensors& x) { return elu(x[0], 1.3); },
       .element = [](const double* x) { return x[0] > 0 ? x[0] : 1.3 * (std::exp(x[0]) - 1); }},
      {.op = "elu", .name = "selu", .in = {a}, .fn = [](const Tensors& x) { return selu(x[0]); },
       .element = [](const double* x) { return 1.0507009873554805 * (x[0] > 0 ? x[0] : 1.6732632423543772 * (std::exp(x[0]) - 1)); }},
      {.op = "elu", .name = "celu", .in = {a}, .fn = [](const Tensors& x) { return celu(x[0], 1.3); },
       .element = [](const double* x) { return x[0] > 0 ? x[0] : 1.3 * (std::exp(x[0] / 1.3) - 1); }},
      {.op = "gelu", .in = {a}, .fn = [](const Tensors& x) { return gelu(x[0]); },
       .element = [](const double* x) { return 0.5 * x[0] * (1 + std::erf(x[0] / std::sqrt(2.))); }},
      {.op = "gelu_tanh", .in = {a}, .fn = [](const Tensors& x) { return gelu(x[0], "tanh"); },
       .element = [](const double* x) {
         return 0.5 * x[0] * (1 + std::tanh(std::sqrt(2 / M_PI) * (x[0] + 0.044715 * x[0] * x[0] * x[0])));
       }},
      {.op = "silu", .in = {a}, .fn = [](const Tensors& x) { return silu(x[0]); }, .element = [](const double* x) { return x[0] * sig(x[0]); }},
      {.op = "mish", .in = {a}, .fn = [](const Tensors& x) { return mish(x[0]); },
       .element = [](const double* x) { return x[0] * std::tanh(soft(x[0])); }},
      {.op = "log_sigmoid", .in = {wide}, .fn = [](const Tensors& x) { return log_sigmoid(x[0]); },
       .element = [](const double* x) { return std::log(sig(x[0])); }},
      {.op = "softplus", .in = {wide}, .fn = [](const Tensors& x) { return softplus(x[0]); },
       .element = [](const double* x) { return soft(x[0]); }},
      {.op = "softplus", .name = "with a threshold", .in = {wide}, .fn = [](const Tensors& x) { return softplus(x[0], 1.5, 3); },
       .element = [](const double* x) { return 1.5 * x[0] > 3 ? x[0] : soft(1.5 * x[0]) / 1.5; }},
      {.op = "hardsigmoid", .in = {wide}, .fn = [](const Tensors& x) { return hardsigmoid(x[0]); },
       .element = [](const double* x) { return std::min(std::max(x[0] + 3, 0.), 6.) / 6; }},
      {.op = "hardswish", .in = {wide}, .fn = [](const Tensors& x) { return hardswish(x[0]); },
       .element = [](const double* x) { return x[0] * std::min(std::max(x[0] + 3, 0.), 6.) / 6; }},
      {.op = "hardshrink", .in = {a}, .fn = [](const Tensors& x) { return hardshrink(x[0], 0.7); },
       .element = [](const double* x) { return std::abs(x[0]) > 0.7 ? x[0] : 0.; }},
      {.op = "softshrink", .in = {a}, .fn = [](const Tensors& x) { return softshrink(x[0], 0.7); },
       .element = [](const double* x) { return x[0] > 0.7 ? x[0] - 0.7 : x[0] < -0.7 ? x[0] + 0.7 : 0.; }},
      {.op = "tanhshrink", .in = {a}, .fn = [](const Tensors& x) { return tanhshrink(x[0]); },
       .element = [](const double* x) { return x[0] - std::tanh(x[0]); }},
      {.op = "softsign", .in = {a}, .fn = [](const Tensors& x) { return softsign(x[0]); },
       .element = [](const double* x) { return x[0] / (1 + std::abs(x[0])); }},
      {.op = "threshold", .in = {a}, .fn = [](const Tensors& x) { return threshold(x[0], 0.3, -2); },
       .element = [](const double* x) { return x[0] > 0.3 ? x[0] : -2.; }, .also = {i64, i32}},
  };
}

}  // namespace graft::cases

// Cases of the pointwise activations.
#include "op_case.h"

namespace graft::cases {

OpCases activation_cases() {
  const Tensor a = ramp({3, 4});
  return {
      {.op = "relu", .in = {a}, .fn = [](const Tensors& x) { return relu(x[0]); },
       .element = [](const double* x) { return x[0] > 0 ? x[0] : 0.; },
       .in_place = [](const Tensors& x) -> const Tensor& { return x[0].relu_(); }},
      {.op = "gelu", .in = {a}, .fn = [](const Tensors& x) { return gelu(x[0]); },
       .element = [](const double* x) { return 0.5 * x[0] * (1 + std::erf(x[0] / std::sqrt(2.))); }},
  };
}

}  // namespace graft::cases

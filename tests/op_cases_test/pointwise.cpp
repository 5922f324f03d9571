// Cases of the pointwise ops: arithmetic, functions, comparisons, selections.
#include "op_case.h"

namespace graft::cases {

OpCases pointwise_cases() {
  const Tensor a = ramp({3, 4}), b = ramp({3, 4}, 0.6, 0.21), row = ramp({4}, 0.5), col = ramp({3, 1}, 0.7);
  return {
      {.op = "add", .in = {a, row}, .fn = [](const Tensors& x) { return x[0] + x[1]; },
       .element = [](const double* x) { return x[0] + x[1]; },
       .in_place = [](const Tensors& x) -> const Tensor& { return x[0].add_(x[1]); }},
      {.op = "add_scaled", .in = {a, row}, .fn = [](const Tensors& x) { const Tensor y = x[0] * 1; y.add_(x[1], 0.3); return y; },
       .element = [](const double* x) { return x[0] + 0.3 * x[1]; }},
      {.op = "sub", .in = {row, a}, .fn = [](const Tensors& x) { return x[0] - x[1]; },
       .element = [](const double* x) { return x[0] - x[1]; }},
      {.op = "mul", .in = {col, row}, .fn = [](const Tensors& x) { return x[0] * x[1]; },
       .element = [](const double* x) { return x[0] * x[1]; }},
      {.op = "div", .in = {a, b}, .fn = [](const Tensors& x) { return x[0] / x[1]; },
       .element = [](const double* x) { return x[0] / x[1]; }},
      {.op = "gt", .in = {a, row}, .fn = [](const Tensors& x) { return gt(x[0], x[1]); },
       .element = [](const double* x) { return double(x[0] > x[1]); }},
      {.op = "neg", .in = {a}, .fn = [](const Tensors& x) { return -x[0]; }, .element = [](const double* x) { return -x[0]; }},
      {.op = "exp", .in = {a}, .fn = [](const Tensors& x) { return exp(x[0]); },
       .element = [](const double* x) { return std::exp(x[0]); }},
      {.op = "erf", .in = {a}, .fn = [](const Tensors& x) { return erf(x[0]); },
       .element = [](const double* x) { return std::erf(x[0]); }},
      {.op = "affine", .in = {a}, .fn = [](const Tensors& x) { return affine(x[0], 3, 1); },
       .element = [](const double* x) { return 3 * x[0] + 1; }},
  };
}

}  // namespace graft::cases

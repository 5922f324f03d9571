// Cases of the reductions.
#include "op_case.h"

namespace graft::cases {

OpCases reduce_cases() {
  const Tensor x = ramp({2, 3, 2});
  return {
      {.op = "sum", .in = {x}, .fn = [](const Tensors& t) { return sum(t[0]); },
       .expected = [](const Tensors& t) {
         double s = 0;
         for (const double v : elements(t[0])) s += v;
         return full({}, s, f64);
       },
       .pointwise = false},
      {.op = "max", .name = "values", .in = {tensor({1., 5., 2., 4., 3., -1.}, {2, 3}, f64)},
       .fn = [](const Tensors& t) { return max(t[0], 1).values; }, .values = {5, 4}, .pointwise = false, .strided = false},
  };
}

}  // namespace graft::cases

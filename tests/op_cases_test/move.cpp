// Cases of the ops that move or convert elements.
#include "op_case.h"

namespace graft::cases {

static Tensor same(const Tensors& t) { return t[0]; }

OpCases move_cases() {
  const Tensor x = ramp({2, 3});
  return {
      {.op = "clone", .in = {x}, .fn = [](const Tensors& t) { return t[0].clone(); }, .expected = same},
      {.op = "to", .in = {x}, .fn = [](const Tensors& t) { return t[0].to(t[0].dtype() == f32 ? f64 : f32); },
       .expected = [](const Tensors& t) {
         std::vector<double> v = elements(t[0]);
         for (double& e : v) e = float(e);
         return tensor(std::span<const double>(v), {2, 3}, f64);
       },
       .grad = false},
      {.op = "copy", .in = {x, ramp({3}, 0.3)}, .fn = [](const Tensors& t) { const Tensor y = t[0] * 1; y.copy_(t[1]); return y; },
       .element = [](const double* v) { return v[1]; }},
      {.op = "full", .in = {}, .fn = [](const Tensors&) { return full({2}, 1.5); }, .values = {1.5, 1.5}, .pointwise = false,
       .meta = false},
      {.op = "cat", .in = {x, ramp({2, 1})}, .fn = [](const Tensors& t) { return cat({t[0], t[1]}, 1); },
       .expected = [](const Tensors& t) {
         const std::vector<double> v = elements(t[0]), w = elements(t[1]);
         return tensor({v[0], v[1], v[2], w[0], v[3], v[4], v[5], w[1]}, {2, 4}, f64);
       },
       .pointwise = false},
      {.op = "embed", .in = {ramp({2})},
       .fn = [](const Tensors& t) { return embed(t[0], Region{.rank = 1, .size = {2}, .stride = {2}, .offset = 1}, {4}); },
       .expected = [](const Tensors& t) {
         const std::vector<double> v = elements(t[0]);
         return tensor({0., v[0], 0., v[1]}, {4}, f64);
       },
       .pointwise = false},
      {.op = "overwrite", .in = {ramp({4}), ramp({2}, 0.3)},
       .fn = [](const Tensors& t) { return overwrite(t[0], t[1], Region{.rank = 1, .size = {2}, .stride = {2}, .offset = 1}); },
       .expected = [](const Tensors& t) {
         const std::vector<double> v = elements(t[0]), w = elements(t[1]);
         return tensor({v[0], w[0], v[2], w[1]}, {4}, f64);
       },
       .pointwise = false},
      {.op = "gather", .in = {x, tensor({0, 2, 2, 1}, {2, 2})}, .fn = [](const Tensors& t) { return gather(t[0], 1, t[1]); },
       .expected = [](const Tensors& t) {
         const std::vector<double> v = elements(t[0]), i = elements(t[1]);
         return tensor({v[size_t(i[0])], v[size_t(i[1])], v[3 + size_t(i[2])], v[3 + size_t(i[3])]}, {2, 2}, f64);
       },
       .pointwise = false, .strided = false},
  };
}

}  // namespace graft::cases

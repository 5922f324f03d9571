// Cases of the views: ops without a kernel, whose outputs share the memory of their input.
#include "op_case.h"

namespace graft::cases {

OpCases view_cases() {
  const Tensor x = ramp({2, 3});
  return {
      {.op = "transpose", .in = {x}, .fn = [](const Tensors& t) { return t[0].transpose(0, 1); },
       .expected = [](const Tensors& t) {
         const std::vector<double> v = elements(t[0]);
         return tensor({v[0], v[3], v[1], v[4], v[2], v[5]}, {3, 2}, f64);
       },
       .pointwise = false},
      {.op = "narrow", .in = {x}, .fn = [](const Tensors& t) { return t[0].narrow(1, 1, 1); },
       .expected = [](const Tensors& t) {
         const std::vector<double> v = elements(t[0]);
         return tensor({v[1], v[4]}, {2, 1}, f64);
       },
       .pointwise = false},
      {.op = "split", .in = {x}, .fn = [](const Tensors& t) { return t[0].split(2, 1)[1]; },
       .expected = [](const Tensors& t) {
         const std::vector<double> v = elements(t[0]);
         return tensor({v[2], v[5]}, {2, 1}, f64);
       },
       .pointwise = false},
      {.op = "expand", .in = {x}, .fn = [](const Tensors& t) { return t[0].expand({2, 2, 3}); },
       .expected = [](const Tensors& t) {
         std::vector<double> v = elements(t[0]);
         v.insert(v.end(), v.begin(), v.begin() + 6);
         return tensor(std::span<const double>(v), {2, 2, 3}, f64);
       },
       .pointwise = false},
      {.op = "reshape", .in = {x}, .fn = [](const Tensors& t) { return t[0].reshape({3, 2}); },
       .expected = [](const Tensors& t) {
         const std::vector<double> v = elements(t[0]);
         return tensor(std::span<const double>(v), {3, 2}, f64);
       },
       .pointwise = false},
      {.op = "as_strided", .in = {ramp({8})},
       .fn = [](const Tensors& t) { return as_strided(t[0], Region{.rank = 2, .size = {3, 2}, .stride = {2, 1}, .offset = 1}); },
       .expected = [](const Tensors& t) {
         const std::vector<double> v = elements(t[0]);
         return tensor({v[1], v[2], v[3], v[4], v[5], v[6]}, {3, 2}, f64);
       },
       .pointwise = false},
  };
}

}  // namespace graft::cases

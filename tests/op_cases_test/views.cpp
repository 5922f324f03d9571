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
      {.op = "view", .in = {x}, .fn = [](const Tensors& t) { return t[0].reshape({3, 2}); },
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
      {.op = "t", .in = {ramp({2, 3})},
       .fn = [](const Tensors& t) { return t[0].t(); },
       .values = {-1.3, 2.4300000000000002, 1.2999999999999998, 0.95999999999999974, -0.17000000000000018, -0.51000000000000001},
       .pointwise = false},
      {.op = "permute", .in = {ramp({2, 3, 4})},
       .fn = [](const Tensors& t) { return t[0].permute({2, 0, 1}); },
       .values = {-1.3, 0.95999999999999974, -0.85000000000000009, 1.4099999999999997, -0.40000000000000002, 1.8599999999999999, 1.2999999999999998, -0.51000000000000001, 1.75, -0.060000000000000164, 2.2000000000000002, 0.3899999999999999, -0.17000000000000018, 2.0900000000000003, 0.27999999999999992, 2.5400000000000005, 0.72999999999999998, -1.0800000000000001, 2.4300000000000002, 0.62000000000000011, -1.1899999999999999, 1.0699999999999996, -0.73999999999999999, 1.5199999999999998},
       .pointwise = false},
      {.op = "squeeze", .in = {ramp({2, 1, 3})},
       .fn = [](const Tensors& t) { return t[0].squeeze(1); },
       .values = {-1.3, 1.2999999999999998, -0.17000000000000018, 2.4300000000000002, 0.95999999999999974, -0.51000000000000001},
       .pointwise = false, .strided = false},
      {.op = "unsqueeze", .in = {ramp({2, 3})},
       .fn = [](const Tensors& t) { return t[0].unsqueeze(1); },
       .values = {-1.3, 1.2999999999999998, -0.17000000000000018, 2.4300000000000002, 0.95999999999999974, -0.51000000000000001},
       .pointwise = false},
      {.op = "slice", .in = {ramp({2, 3, 4})},
       .fn = [](const Tensors& t) { return t[0].slice(2, 1, {}, 2); },
       .values = {1.2999999999999998, 2.4300000000000002, -0.51000000000000001, 0.62000000000000011, 1.75, -1.1899999999999999, -0.060000000000000164, 1.0699999999999996, 2.2000000000000002, -0.73999999999999999, 0.3899999999999999, 1.5199999999999998},
       .pointwise = false},
      {.op = "select", .in = {ramp({2, 3, 4})},
       .fn = [](const Tensors& t) { return t[0].select(1, -1); },
       .values = {-0.85000000000000009, 1.75, 0.27999999999999992, -1.1899999999999999, 1.8599999999999999, 0.3899999999999999, -1.0800000000000001, 1.5199999999999998},
       .pointwise = false},
      {.op = "diagonal", .in = {ramp({2, 3, 4})},
       .fn = [](const Tensors& t) { return t[0].diagonal(1, 1, 2); },
       .values = {1.2999999999999998, 2.0900000000000003, -1.1899999999999999, -0.060000000000000164, 0.72999999999999998, 1.5199999999999998},
       .pointwise = false},
      {.op = "unfold", .in = {ramp({3, 4})},
       .fn = [](const Tensors& t) { return t[0].unfold(1, 2, 1); },
       .values = {-1.3, 1.2999999999999998, 1.2999999999999998, -0.17000000000000018, -0.17000000000000018, 2.4300000000000002, 0.95999999999999974, -0.51000000000000001, -0.51000000000000001, 2.0900000000000003, 2.0900000000000003, 0.62000000000000011, -0.85000000000000009, 1.75, 1.75, 0.27999999999999992, 0.27999999999999992, -1.1899999999999999},
       .pointwise = false},
      {.op = "unbind", .in = {ramp({2, 3, 4})},
       .fn = [](const Tensors& t) { return t[0].unbind(1)[2]; },
       .values = {-0.85000000000000009, 1.75, 0.27999999999999992, -1.1899999999999999, 1.8599999999999999, 0.3899999999999999, -1.0800000000000001, 1.5199999999999998},
       .pointwise = false},
      {.op = "view_as_real", .in = {ramp({3, 2})},
       .fn = [](const Tensors& t) { return view_as_real(view_as_complex(t[0])); },
       .expected = [](const Tensors& t) { return t[0]; }, .pointwise = false, .floats = false, .strided = false},
      {.op = "view_as_complex", .in = {ramp({3, 2})},
       .fn = [](const Tensors& t) { return view_as_real(view_as_complex(t[0])); },
       .expected = [](const Tensors& t) { return t[0]; }, .pointwise = false, .floats = false, .strided = false},
  };
}

}  // namespace graft::cases

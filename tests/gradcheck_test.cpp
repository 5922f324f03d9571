// gradcheck accepts right derivatives and names the place of a wrong one.
#include <gtest/gtest.h>
#include "graft/core/autograd.h"
#include "graft/core/function.h"
#include "graft/core/gradcheck.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"

using namespace graft;

namespace {

Tensor leaf(const Shape& shape, DType t = f64, uint64_t seed = 1) {
  Generator g(seed);
  return randn(shape, t, &g).requires_grad_();
}

TEST(Gradcheck, accepts_right_derivatives_of_several_inputs_and_outputs) {
  const TensorFn f = [](const Tensors& x) -> Tensors { return {x[0] * x[1], exp(x[1]), sum(x[0])}; };
  const Tensors in{leaf({2, 3}), leaf({3}, f64, 2)};
  const GradcheckReport report = gradcheck(f, in);
  EXPECT_TRUE(report);
  EXPECT_EQ(report.compared, (6 + 3) * (6 + 3 + 1));
  EXPECT_TRUE(gradgradcheck(f, in));
}

TEST(Gradcheck, inputs_may_be_strided_and_are_as_before_afterwards) {
  const Tensor storage = leaf({4, 3}).detach(), x = storage.transpose(0, 1).narrow(1, 1, 2).detach().requires_grad_();
  const Tensor before = storage.clone();
  const TensorFn f = [](const Tensors& in) -> Tensors { return {in[0] * in[0] * in[0]}; };
  EXPECT_EQ(gradcheck(f, {x}).compared, 36);
  EXPECT_TRUE(gradgradcheck(f, {x}));
  for (int64_t i = 0; i < 12; ++i) EXPECT_EQ(storage.data<double>()[i], before.data<double>()[i]);
}

// x^3 with a derivative that is wrong in one element.
Tensors almost_cube(const Tensors& in) {
  return autograd::custom(
      in, [](const Tensors& x) -> Tensors { return {x[0] * x[0] * x[0]}; },
      [](Backward& b, const Tensors& g) -> Tensors {
        const Tensor wrong = tensor({3.0, 3.0, 2.9, 3.0}, Shape({2, 2}), f64);
        return {g[0] * b.input(0) * b.input(0) * wrong};
      });
}

TEST(Gradcheck, names_the_elements_of_a_wrong_derivative) {
  const Tensor x = tensor({1.0, 2.0, 3.0, 4.0}, Shape({2, 2}), f64).requires_grad_();
  const GradcheckReport report = gradcheck(almost_cube, {x}, {.raise = false});
  EXPECT_FALSE(report);
  EXPECT_EQ(report.input, 0);
  EXPECT_EQ(report.input_element, 2);
  EXPECT_EQ(report.output_element, 2);
  EXPECT_NEAR(report.analytic, 26.1, 1e-9);
  EXPECT_NEAR(report.numeric, 27, 1e-6);
  try {
    gradcheck(almost_cube, {x});
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::autograd);
    EXPECT_NE(std::string(e.what()).find("output 0 at [1,0] of f64[2,2]@cpu by input 0 at [1,0] of f64[2,2]@cpu: analytic 26.1"),
              std::string::npos)
        << e.what();
  }
}

TEST(Gradcheck, notices_a_derivative_that_is_constant_where_it_should_not_be) {
  const TensorFn f = [](const Tensors& in) -> Tensors { return {in[0] * in[0].detach()}; };  // d/dx = x, not 2 x
  const Tensor x = leaf({3});
  EXPECT_FALSE(gradcheck(f, {x}, {.raise = false}));
  const TensorFn first_order_only = [](const Tensors& in) {
    return autograd::custom(
        in, [](const Tensors& v) -> Tensors { return {v[0] * v[0] * v[0]}; },
        [](Backward& b, const Tensors& g) -> Tensors { return {g[0] * (b.input(0) * b.input(0) * 3).detach()}; });
  };
  EXPECT_TRUE(gradcheck(first_order_only, {x}));
  EXPECT_FALSE(gradgradcheck(first_order_only, {x}, {}, {.raise = false}));
}

TEST(Gradcheck, refuses_what_it_cannot_check) {
  const TensorFn f = [](const Tensors& in) -> Tensors { return {in[0] * 2}; };
  EXPECT_THROW(gradcheck(f, {leaf({2}).detach()}), Error);
  EXPECT_THROW(gradcheck(f, {leaf({2}, f32)}), Error);
  EXPECT_THROW(gradcheck(f, {leaf({2}).detach().expand({3, 2}).detach().requires_grad_()}), Error);
}

}  // namespace

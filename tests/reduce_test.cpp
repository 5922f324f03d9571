// Reductions: sizes that the table of cases does not reach, empty tensors, NaN, errors.
#include <cmath>
#include <limits>
#include <gtest/gtest.h>
#include "graft/core/autograd.h"
#include "graft/core/ops.h"

using namespace graft;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(Reduce, sums_of_many_elements_are_exact_where_f64_is_and_do_not_depend_on_threads) {
  const Tensor x = ones({3, 1 << 20});
  x.narrow(1, 7, 1).fill_(0.5);
  EXPECT_EQ(sum(x).item<float>(), 3 * (1 << 20) - 1.5F);
  EXPECT_EQ(sum(x, 1).at({2}), (1 << 20) - 0.5);
  EXPECT_EQ(sum(x, 0).at({7}), 1.5);
  EXPECT_EQ(sum(x.transpose(0, 1), 0).at({1}), (1 << 20) - 0.5);
  EXPECT_EQ(mean(ones({1 << 18}, f16)).item<float>(), 1.0F);  // the sum itself exceeds f16
}

TEST(Reduce, empty_tensors_give_the_neutral_element_or_an_error) {
  const Tensor none = empty({0}), rows = empty({2, 0});
  EXPECT_EQ(sum(none).item<double>(), 0);
  EXPECT_EQ(prod(none).item<double>(), 1);
  EXPECT_TRUE(std::isnan(mean(none).item<double>()));
  EXPECT_FALSE(any(none).item<bool>());
  EXPECT_TRUE(graft::all(none).item<bool>());
  EXPECT_EQ(sum(rows, 1).shape(), Shape({2}));
  EXPECT_EQ(logsumexp(none, 0).item<double>(), -std::numeric_limits<double>::infinity());
  EXPECT_EQ(logsumexp(empty({0, 3}), 1, true).shape(), Shape({0, 1}));
  EXPECT_EQ(logsumexp(full({}, 2.5), 0).item<double>(), 2.5);
  EXPECT_THROW(amax(none), Error);
  EXPECT_THROW(max(rows, 1), Error);
  EXPECT_THROW(argmax(rows, 1), Error);
  EXPECT_EQ(argmax(rows, 0).shape(), Shape({0}));
  EXPECT_TRUE(std::isnan(var(ones({1})).item<double>()));
}

TEST(Reduce, NaN_wins_in_extremes_and_its_index_is_found) {
  const Tensor x = tensor({1., kNan, 3., kNan});
  EXPECT_TRUE(std::isnan(amax(x).item<double>()) && std::isnan(amin(x).item<double>()));
  EXPECT_EQ(argmax(x).item<int64_t>(), 1);
  EXPECT_EQ(min(x, 0).indices.item<int64_t>(), 1);
}

TEST(Reduce, equal_extremes_share_the_gradient_in_amax_the_first_takes_it_in_max_over_a_dimension) {
  const Tensor x = tensor({2., 1., 2.}).requires_grad_();
  const Tensor g = grad({amax(x)}, {x})[0], h = grad({max(x, 0).values}, {x})[0];
  EXPECT_EQ(g.at({0}), 0.5);
  EXPECT_EQ(g.at({2}), 0.5);
  EXPECT_EQ(h.at({0}), 1);
  EXPECT_EQ(h.at({2}), 0);
  const Tensor zero = zeros({2}).requires_grad_();
  EXPECT_EQ(grad({norm(zero)}, {zero})[0].at({0}), 0);  // a subgradient, not NaN
}

TEST(Reduce, dimensions_are_checked_and_dtypes_follow_PyTorch) {
  const Tensor x = ones({2, 2});
  EXPECT_THROW(sum(x, {0, 0}), Error);
  EXPECT_THROW(sum(x, 2), Error);
  EXPECT_THROW(mean(ones({2}, i64)), Error);
  EXPECT_EQ(sum(ones({2}, u8)).dtype(), i64);
  EXPECT_EQ(sum(ones({2}, i64), {}, false, f32).dtype(), f32);
  EXPECT_EQ(any(ones({2}, u8)).dtype(), u8);
  EXPECT_EQ(cumsum(ones({2}, boolean), 0).at({1}), 2);
  EXPECT_EQ(sum(full({2}, 1.5, c64)).item<std::complex<float>>(), 3.0F);
}

}  // namespace

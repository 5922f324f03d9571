// Ready-made surgeries: what recorded cases do not hold already. Values are held against closed forms.
#include <gtest/gtest.h>

#include <cmath>
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/nn/activation.h"
#include "graft/nn/containers.h"
#include "graft/nn/linear.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/dropout.h"
#include "graft/surgery/factorize.h"
#include "graft/surgery/ghost_batchnorm.h"
#include "graft/surgery/low_rank.h"
#include "graft/surgery/plan.h"
#include "graft/surgery/squeeze_excite.h"
#include "graft/surgery/weight_standardization.h"
#include "refused.h"

namespace {

using namespace graft;
using nn::Conv2d;
using nn::Conv2dOptions;
using nn::Linear;
using nn::make;
using nn::Sequential;

double difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape(), b.shape());
  return a.numel() == 0 ? 0 : max(abs(a - b)).item<double>();
}
Tensor wave(const Shape& shape) {  // of full rank
  const Tensor i = arange(int64_t(numel_of(shape)), f64);
  return sin(i * i * 0.37 + 0.3).reshape(shape);
}
Tensor eye_like(int64_t n) { return diag(ones({n}, f64)); }

// ---- matrices ----------------------------------------------------------------------------------------------------

TEST(LowRank, a_singular_value_decomposition_is_orthogonal_and_gives_the_matrix_back) {
  for (const auto& [m, n] : {std::pair(7, 4), std::pair(4, 7), std::pair(5, 5), std::pair(1, 3), std::pair(3, 1)}) {
    const Tensor a = wave({m, n});
    const auto d = surgery::svd(a);
    const int64_t k = std::min(m, n);
    ASSERT_EQ(d.u.shape(), Shape({m, k}));
    ASSERT_EQ(d.v.shape(), Shape({n, k}));
    EXPECT_LE(difference(matmul(d.u * d.s, d.v.t()), a), 1e-13);
    EXPECT_LE(difference(matmul(d.v.t(), d.v), eye_like(k)), 1e-13);
    for (int64_t i = 1; i < k; ++i) EXPECT_GE(d.s.at({i - 1}), d.s.at({i}));
  }
}

TEST(LowRank, singular_values_of_a_known_matrix_and_of_a_graded_one) {
  const auto d = surgery::svd(tensor({3.0, 0.0, 4.0, 5.0}, {2, 2}, f64));  // sqrt(45), sqrt(5)
  EXPECT_NEAR(d.s.at({0}), std::sqrt(45.0), 1e-13);
  EXPECT_NEAR(d.s.at({1}), std::sqrt(5.0), 1e-13);
  const auto graded = surgery::svd(diag(tensor({1e-12, 1.0, 1e-6}, {3}, f64)));
  EXPECT_NEAR(graded.s.at({2}) / 1e-12, 1, 1e-12);
  EXPECT_EQ(surgery::svd(zeros({3, 2}, f64)).s.at({0}), 0);
  EXPECT_REFUSED("svd: the matrix is not finite", surgery::svd(full({2, 2}, NAN, f64)));
}

TEST(LowRank, least_squares_solves_projects_and_is_of_least_norm) {
  const Tensor a = wave({6, 3}), x = wave({3, 2});
  EXPECT_LE(difference(surgery::least_squares(a, matmul(a, x)), x), 1e-12);
  const Tensor b = cos(wave({6, 2})), left = b - matmul(a, surgery::least_squares(a, b));
  EXPECT_LE(difference(matmul(a.t(), left), zeros({3, 2}, f64)), 1e-12);  // the rest is orthogonal to a
  const Tensor twice = cat({a, a}, 1), half = surgery::least_squares(twice, matmul(a, x));
  EXPECT_LE(difference(half, cat({x, x}, 0) * 0.5), 1e-12);
}

TEST(LowRank, truncation_has_the_error_of_what_it_leaves_out_and_ranks_are_the_smallest) {
  const Tensor a = wave({8, 6}) + eye_like(8).narrow(1, 0, 6);
  const auto d = surgery::svd(a);
  for (int64_t r = 1; r <= 6; ++r) {
    const auto f = surgery::truncate(d, r);
    const Tensor off = a - matmul(f.a, f.b), rest = d.s.narrow(0, r, 6 - r);
    EXPECT_NEAR(sum(off * off).item<double>(), sum(rest * rest).item<double>(), 1e-12) << r;
    const double kept = 1 - (sum(off * off) / sum(a * a)).item<double>();
    EXPECT_EQ(surgery::rank_for_energy(d, kept - 1e-9), r);
    EXPECT_EQ(surgery::rank_for_error(d, std::sqrt(std::max(0.0, 1 - kept)) + 1e-7), r);
  }
  EXPECT_REFUSED("the rank is 1 to 6, not 7", surgery::truncate(d, 7));
}

// ---- surgeries ---------------------------------------------------------------------------------------------------

TEST(ReadyMade, A4_a_layer_of_low_rank_is_factorized_exactly) {
  auto net = make<Sequential>(
      make<Conv2d>(6, 8, 3, Conv2dOptions{.stride = 2, .padding = 1, .padding_mode = "reflect"}), make<nn::ReLU>(),
      make<Conv2d>(8, 8, 3, Conv2dOptions{.groups = 2}), make<Conv2d>(8, 8, 1, Conv2dOptions{.bias = false}));
  net->float64();
  {
    const NoGrad quiet;
    net->get_parameter("0.weight").detach().copy_(matmul(wave({8, 2}), wave({2, 54})).reshape({8, 6, 3, 3}));
    net->get_parameter("3.weight").detach().copy_(matmul(wave({8, 2}), wave({2, 8})).reshape({8, 8, 1, 1}));
  }
  const Tensor x = wave({2, 6, 9, 9}), y = (*net)(x);
  optim::SGD sgd(net->parameters());
  auto plan =
      surgery::plan(*net, surgery::factorize({.min_channels = 6, .latent_channels = 2}), {.optimizers = {&sgd}});
  EXPECT_LT(plan.parameters_after(), plan.parameters_before());
  auto edit = plan.apply();
  ASSERT_EQ(edit.changes().size(), 2U);  // the grouped one stays
  EXPECT_LE(difference((*net)(x), y), 1e-12);
  EXPECT_EQ(sgd.params().size(), net->parameters().size());
  EXPECT_TRUE(surgery::plan(*net, surgery::factorize({.min_channels = 2, .latent_channels = 1})).changes().empty());
  edit.undo();
  EXPECT_EQ(difference((*net)(x), y), 0);
}

TEST(ReadyMade, A4_the_rank_may_follow_from_the_energy_and_too_high_a_one_changes_nothing) {
  auto net = make<Sequential>(make<Linear>(8, 8));
  net->float64();
  const NoGrad quiet;
  net->get_parameter("0.weight").detach().copy_(matmul(wave({8, 3}), wave({3, 8})));
  const Tensor x = wave({4, 8}), y = (*net)(x);
  surgery::replace(*net, surgery::factorize({.min_features = 8, .energy = 1 - 1e-12}));
  EXPECT_EQ((*net)[0].as<surgery::FactorizedLinear>()->module0->out_features, 3);
  EXPECT_LE(difference((*net)(x), y), 1e-10);
  auto full_rank = make<Sequential>(make<Linear>(8, 8));
  EXPECT_TRUE(surgery::plan(*full_rank, surgery::factorize({.min_features = 8, .energy = 1})).empty());
  auto falling = make<Sequential>(make<Linear>(8, 8));  // without the first two singular values a quarter of the norm is left
  falling->get_parameter("0.weight").detach().copy_(diag(tensor({1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.0, 0.0})));
  surgery::Edit edit = surgery::replace(*falling, surgery::factorize({.min_features = 8, .error = 0.3}));
  EXPECT_EQ((*falling)[0].as<surgery::FactorizedLinear>()->module0->out_features, 2);
  edit.undo();
  surgery::replace(*falling, surgery::factorize({.min_features = 8, .error = 0.2}));
  EXPECT_EQ((*falling)[0].as<surgery::FactorizedLinear>()->module0->out_features, 3);
  EXPECT_REFUSED("not both", surgery::factorize({.energy = 0.9, .error = 0.1}));
}

TEST(ReadyMade, A2_squeeze_excite_wraps_the_convolution_itself_once) {
  auto net = make<Sequential>(make<Conv2d>(4, 6, 1), make<Conv2d>(6, 2, 1));
  const nn::ModulePtr conv = (*net)[0].module();
  surgery::replace(*net, surgery::squeeze_excite({.latent_channels = 3, .min_channels = 4}));
  auto* wrapped = (*net)[0].as<surgery::SqueezeExciteConv2d>();
  ASSERT_TRUE(wrapped);
  EXPECT_EQ(wrapped->conv.module(), conv);
  EXPECT_TRUE((*net)[1].as<Conv2d>());  // two outputs only
  EXPECT_TRUE(surgery::plan(*net, surgery::squeeze_excite({.latent_channels = 3, .min_channels = 4})).empty());
  EXPECT_EQ((*net)(ones({2, 4, 3, 3})).shape(), Shape({2, 2, 3, 3}));
}

TEST(ReadyMade, A3_one_ghost_batch_is_the_norm_itself) {
  auto plain = make<Sequential>(make<nn::BatchNorm2d>(3)), net = make<Sequential>(make<nn::BatchNorm2d>(3));
  surgery::replace(*net, surgery::ghost_batchnorm(4));
  EXPECT_TRUE(surgery::plan(*net, surgery::ghost_batchnorm(4)).empty());
  const Tensor x = wave({4, 3, 2, 2}).to(f32);
  EXPECT_EQ(difference((*net)(x), (*plain)(x)), 0);
  EXPECT_EQ(difference(net->get_buffer("0.batchnorm.running_var"), plain->get_buffer("0.running_var")), 0);
  dynamic_cast<nn::BatchNorm2d&>(net->get_submodule("0.batchnorm")).momentum.reset();
  EXPECT_REFUSED("needs a momentum", (*net)(x));
}

TEST(ReadyMade, A5_standardized_weights_have_mean_0_and_variance_1_per_output) {
  const Tensor w = surgery::standardized(wave({5, 2, 3, 3})).reshape({5, 18});
  EXPECT_LE(difference(mean(w, 1), zeros({5}, f64)), 1e-14);
  EXPECT_LE(difference(mean(w * w, 1), ones({5}, f64)), 1e-9);
  auto net = make<Sequential>(make<nn::Conv1d>(2, 3, 3), make<nn::Conv1d>(3, 3, 1));
  const Tensor weight = net->get_parameter("0.weight");
  surgery::replace(*net, surgery::weight_standardization());
  EXPECT_TRUE(net->get_parameter("0.weight").is_same(weight));
  EXPECT_EQ((*net)(ones({2, 2, 5})).shape(), Shape({2, 3, 3}));
}

TEST(ReadyMade, A5_the_last_convolutions_may_stay_as_they_are) {
  struct Backwards : nn::Layer {  // what is registered last runs first
    nn::Child<nn::Conv1d> head{this, "head", 3, 2, 1};
    nn::Child<nn::Conv1d> middle{this, "middle", 3, 3, 1};
    nn::Child<nn::Conv1d> first{this, "first", 2, 3, 1};
    Tensor forward(const Tensor& x) override { return head(middle(first(x))); }
  };
  const auto standardized = [](const surgery::WeightStandardizationOptions& o) {
    auto net = make<Backwards>();
    surgery::replace(*net, surgery::weight_standardization(*net, o));
    std::string paths;
    for (const auto& [name, m] : std::as_const(*net).named_children())
      if (dynamic_cast<const surgery::StandardizedConv1d*>(m)) paths += name + " ";
    return paths;
  };
  EXPECT_EQ(standardized({}), "head middle first ");
  EXPECT_EQ(standardized({.n_last_layers_ignore = 1}), "head middle ");
  EXPECT_EQ(standardized({.n_last_layers_ignore = 1, .example = {ones({1, 2, 4})}}), "middle first ");
  EXPECT_EQ(standardized({.n_last_layers_ignore = 2, .example = {ones({1, 2, 4})}}), "first ");
  EXPECT_EQ(standardized({.n_last_layers_ignore = 7}), "");
  EXPECT_REFUSED("must not be negative", standardized({.n_last_layers_ignore = -1}));
}

TEST(ReadyMade, F21_dropout_is_removed_in_any_mode_and_only_the_plain_one) {
  auto net = make<Sequential>(make<nn::Dropout>(0.5), make<nn::Dropout2d>(0.5));
  surgery::replace(*net, surgery::remove_dropout());
  EXPECT_EQ(nn::repr(*net), "Sequential(\n  (0): Identity()\n  (1): Dropout2d(p=0.5, inplace=False)\n)");
  EXPECT_TRUE((*net)[0].module()->training());
}

}  // namespace

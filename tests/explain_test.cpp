// explain: the numbers of one channel are those of the fold, for every kind of layer and on both sides of it.
#include <gtest/gtest.h>

#include <cmath>
#include "graft/core/ops.h"
#include "graft/nn/nn.h"
#include "graft/surgery/explain.h"
#include "graft/surgery/fuse_modules.h"
#include "refused.h"

namespace {

using namespace graft;
using nn::make;
using nn::Module;
using nn::ModulePtr;
using surgery::explain;
using surgery::Explanation;

// Numbers that are not round; variances positive.
template <class M> std::shared_ptr<M> ready(std::shared_ptr<M> m) {
  const NoGrad quiet;
  m->float64().eval();
  double k = 0;
  const auto set = [&](const Tensor& t, double shift) {
    t.copy_(sin(arange(t.numel(), f64) * 1.3 + (k += 0.7)).reshape(t.shape()) * 0.5 + shift);
  };
  for (auto& [name, t] : m->named_parameters()) set(t.detach(), 0.2);
  for (auto& [name, t] : m->named_buffers())
    if (is_floating(t.dtype())) set(t, name.ends_with("var") ? 1.1 : 0.1);
  return m;
}
template <class... M> std::shared_ptr<nn::Sequential> row(const std::shared_ptr<M>&... m) { return ready(make<nn::Sequential>(m...)); }

// Whether what is in the layer now follows from the numbers before.
void check(const Explanation& e, size_t weights, size_t inputs, bool behind) {
  ASSERT_EQ(e.weight.size(), weights);
  ASSERT_EQ(e.folded_weight.size(), weights);
  ASSERT_EQ(e.before.size(), inputs);
  ASSERT_EQ(e.behind.has_value(), behind);
  double bias = e.bias;
  for (size_t i = 0; i < weights; ++i) {
    double w = e.weight[i];
    if (inputs) {
      const auto& n = e.before[i / (weights / inputs)];
      const double scale = n.gamma / std::sqrt(n.var + n.eps);
      bias += w * (n.beta - n.mean * scale);
      w *= scale;
    }
    if (behind) w *= e.behind->gamma / std::sqrt(e.behind->var + e.behind->eps);
    EXPECT_NEAR(e.folded_weight[i], w, 1e-14) << i;
  }
  if (behind) {
    const double scale = e.behind->gamma / std::sqrt(e.behind->var + e.behind->eps);
    bias = bias * scale + e.behind->beta - e.behind->mean * scale;
  }
  EXPECT_NEAR(e.folded_bias, bias, 1e-13);
}

TEST(Explain, the_numbers_of_a_channel_in_a_closed_form) {
  auto conv = make<nn::Conv2d>(1, 2, 1);
  auto bn = make<nn::BatchNorm2d>(2, nn::BatchNormOptions{.eps = 0});
  auto net = make<nn::Sequential>(conv, bn, make<nn::ReLU>());
  {
    const NoGrad quiet;
    conv->weight->copy_(tensor({7., 3.}).reshape({2, 1, 1, 1}));
    conv->bias->copy_(tensor({0., 5.}));
    bn->weight->copy_(tensor({1., 2.}));
    bn->bias->copy_(tensor({0., 0.5}));
    bn->running_mean->copy_(tensor({0., 1.}));
    bn->running_var->copy_(tensor({1., 0.25}));
  }
  net->eval();
  const surgery::Fusion f = surgery::fuse(*net, {ones({1, 1, 2, 2})});
  EXPECT_EQ(concat(explain(f, "0", 1)),
            "0: Conv2d + BatchNorm2d + ReLU -> ConvReLU2d, output channel 1\n"
            "  1        gamma 2, beta 0.5, mean 1, var 0.25, eps 0\n"
            "    scale  gamma / sqrt(var + eps) = 2 / sqrt(0.25 + 0) = 4\n"
            "    shift  beta - mean * scale = 0.5 - 1 * 4 = -3.5\n"
            "  w        3\n"
            "  w'       w * scale = 12\n"
            "  b        5\n"
            "  b'       b * scale + shift = 5 * 4 + (-3.5) = 16.5\n");
  const Explanation e = explain(f, "1", 1);  // by any path of the chain
  EXPECT_EQ(e.path, "0");
  EXPECT_EQ(e.folded_weight, std::vector<double>{12});
  EXPECT_EQ(e.folded_bias, 16.5);
}

TEST(Explain, a_norm_behind_every_kind_of_layer) {
  auto grouped = row(make<nn::Conv2d>(4, 6, 3, nn::Conv2dOptions{.groups = 2, .bias = false}), make<nn::BatchNorm2d>(6));
  auto transposed = row(make<nn::ConvTranspose2d>(4, 6, 3, nn::ConvTranspose2dOptions{.groups = 2}), make<nn::BatchNorm2d>(6));
  auto flat = row(make<nn::Linear>(5, 6), make<nn::BatchNorm1d>(6));
  const surgery::Fusion a = surgery::fuse(*grouped, {ones({1, 4, 5, 5}, f64)}), b = surgery::fuse(*transposed, {ones({1, 4, 5, 5}, f64)}),
                        c = surgery::fuse(*flat, {ones({2, 5}, f64)});
  for (int64_t o = 0; o < 6; ++o) {
    check(explain(a, "0", o), 18, 0, true);
    check(explain(b, "0", o), 18, 0, true);
    check(explain(c, "0", o), 5, 0, true);
  }
  EXPECT_FALSE(explain(a, "0").had_bias);
  EXPECT_TRUE(explain(b, "0").had_bias);
}

TEST(Explain, a_layer_that_takes_up_a_sum_as_well) {
  struct Block : nn::Layer {
    nn::Child<nn::Conv2d> conv{this, "conv", 2, 2, 3, nn::Conv2dOptions{.padding = 1}};
    nn::Child<nn::BatchNorm2d> bn{this, "bn", 2};
    nn::Child<nn::Add> add{this, "add"};
    nn::Child<nn::ReLU> relu{this, "relu"};
    Tensor forward(const Tensor& x) override { return relu(add(bn(conv(x)), x)); }
  };
  auto net = ready(make<Block>());
  const surgery::Fusion f = surgery::fuse(*net, {ones({1, 2, 4, 4}, f64)});
  ASSERT_EQ(f.fused.size(), 1U);
  EXPECT_EQ(f.fused[0].path, "add");
  check(explain(f, "conv", 0), 18, 0, true);
  check(explain(f, "add", 1), 18, 0, true);
}

TEST(Explain, a_norm_before_the_layer_has_numbers_for_each_input_of_the_output) {
  auto grouped = row(make<nn::BatchNorm2d>(4), make<nn::Conv2d>(4, 6, 3, nn::Conv2dOptions{.groups = 2}), make<nn::BatchNorm2d>(6));
  const surgery::Fusion f = surgery::fuse(*grouped, {ones({1, 4, 5, 5}, f64)});
  ASSERT_EQ(f.fused.size(), 1U);
  for (int64_t o = 0; o < 6; ++o) {
    const Explanation e = explain(f, "1", o);
    check(e, 18, 2, true);
    EXPECT_EQ(e.before[0].channel, o < 3 ? 0 : 2);
  }
  const std::string text = concat(explain(f, "1", 5));
  EXPECT_NE(text.find("0 of input 3"), std::string::npos) << text;
  EXPECT_NE(text.find("(b + sum of w * shift of its input) * scale + shift"), std::string::npos) << text;

  auto flat = row(make<nn::BatchNorm1d>(20), make<nn::Linear>(20, 3));
  const surgery::Fusion g = surgery::fuse(*flat, surgery::ModuleNames{"0", "1"});
  check(explain(g, "0", 2), 20, 20, false);
  const std::string shortened = concat(explain(g, "1", 2));
  EXPECT_NE(shortened.find("20 inputs"), std::string::npos) << shortened;
  EXPECT_EQ(shortened.find("input 9"), std::string::npos) << shortened;
}

TEST(Explain, a_norm_without_parameters_and_half_numbers) {
  auto net = row(make<nn::Conv1d>(2, 3, 2), make<nn::BatchNorm1d>(3, nn::BatchNormOptions{.affine = false}));
  net->half();
  const surgery::Fusion f = surgery::fuse(*net, {ones({1, 2, 5}, f16)});
  const Explanation e = explain(f, "0", 2);
  EXPECT_EQ(e.behind->gamma, 1);
  EXPECT_EQ(e.behind->beta, 0);
  for (size_t i = 0; i < e.weight.size(); ++i) EXPECT_NEAR(e.folded_weight[i], e.weight[i] * e.behind->scale(), 1e-3);
}

TEST(Explain, what_was_undone_can_still_be_explained) {
  auto net = row(make<nn::Linear>(2, 3), make<nn::BatchNorm1d>(3));
  surgery::Fusion f = surgery::fuse(*net, {ones({2, 2}, f64)});
  const std::string before = concat(explain(f, "0", 1));
  f.edit.undo();
  EXPECT_EQ(concat(explain(f, "0", 1)), before);
}

TEST(Explain, what_has_no_explanation_is_an_error) {
  auto net = row(make<nn::Conv2d>(1, 2, 3), make<nn::BatchNorm2d>(2), make<nn::Conv2d>(2, 2, 3), make<nn::ReLU>());
  const surgery::Fusion f = surgery::fuse(*net, {ones({1, 1, 8, 8}, f64)});
  EXPECT_CODE(key_error, explain(f, "2"));
  EXPECT_REFUSED("fused: 0", explain(f, "2"));
  EXPECT_CODE(index_out_of_range, explain(f, "0", 2));
  EXPECT_REFUSED("output channels 0 to 1, not -1", explain(f, "0", -1));
  const surgery::Fusion plain = surgery::fuse(*net, surgery::ModuleNames{"2", "3"});
  EXPECT_CODE(type_error, explain(plain, "2"));
  EXPECT_REFUSED("no norm was folded into a layer at '2': Conv2d + ReLU -> ConvReLU2d", explain(plain, "3"));
}

}  // namespace

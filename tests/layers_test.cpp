// Layers as PyTorch's: how they print, their options by name and by position, batch norm's statistics.
#include <gtest/gtest.h>

#include <cmath>

#include "graft/core/ops.h"
#include "graft/nn/nn.h"
#include "refused.h"

namespace graft::inline v1::nn {

TEST(Layers, N22_batch_norm_normalises_with_the_biased_variance_and_tracks_the_unbiased_one) {
  BatchNorm1d norm(1, {.eps = 0.0, .momentum = 0.25, .options = f64});
  const Tensor y = norm(tensor({1.0, 2.0, 6.0}, f64).reshape({3, 1}));
  // mean 3; squares of deviations 4 + 1 + 9 = 14: 14/3 of the population, 7 of the sample
  EXPECT_NEAR(y.at({0, 0}), -2 / std::sqrt(14.0 / 3), 1e-12);
  EXPECT_NEAR(y.at({2, 0}), 3 / std::sqrt(14.0 / 3), 1e-12);
  EXPECT_NEAR(norm.running_mean->at({0}), 0.25 * 3, 1e-12);
  EXPECT_NEAR(norm.running_var->at({0}), 0.75 + 0.25 * 7, 1e-12);
  EXPECT_EQ(norm.num_batches_tracked->item<int64_t>(), 1);
}

TEST(Layers, N22_batch_norm_without_momentum_tracks_the_mean_of_all_batches) {
  BatchNorm1d norm(1, {.momentum = std::nullopt, .options = f64});
  norm(tensor({1.0, 3.0}, f64).reshape({2, 1}));
  norm(tensor({4.0, 8.0}, f64).reshape({2, 1}));
  EXPECT_NEAR(norm.running_mean->at({0}), (2 + 6) / 2.0, 1e-12);
  EXPECT_NEAR(norm.running_var->at({0}), (2 + 8) / 2.0, 1e-12);
}

TEST(Layers, norms_without_a_bias_have_a_weight_and_say_so) {
  for (const char* name : {"BatchNorm2d", "InstanceNorm2d"}) {
    const ModulePtr m = build(name, {{"num_features", 4}, {"affine", true}, {"bias", false}});
    EXPECT_EQ(m->parameters().size(), 1u) << name;
    EXPECT_NE(repr(*m).find("affine=True, bias=False"), std::string::npos) << repr(*m);
  }
  const ModulePtr m = build("GroupNorm", {2, 4, {"bias", false}});
  EXPECT_EQ(repr(*m), "GroupNorm(2, 4, eps=1e-05, affine=True, bias=False)");
  EXPECT_EQ(m->parameters().size(), 1u);
}

TEST(Layers, N21_layers_print_as_PyTorch_prints_them) {
  const std::vector<ModulePtr> layers{
      build("Linear", {1, 2, {"bias", false}}),
      build("Conv1d", {1, 2, 3}),
      build("Conv2d", {2, 4, Values{3, 5}, {"stride", 2}, {"padding", Values{1, 2}}, {"dilation", 2}, {"groups", 2}, {"bias", false}}),
      build("Conv3d", {1, 1, 1}),
      build("Conv2d", {1, 1, 3, {"padding", 1}, {"padding_mode", "reflect"}}),
      build("ConvTranspose2d", {2, 2, 3, {"stride", 2}, {"output_padding", 1}}),
      build("BatchNorm2d", {3, {"eps", 1e-3}, {"momentum", 0.2}}),
      build("BatchNorm1d", {3, {"affine", false}, {"track_running_stats", false}}),
      build("LayerNorm", {4}),
      build("GroupNorm", {2, 4}),
      build("Dropout", {0.3}),
      build("MaxPool2d", {2}),
      build("MaxPool2d", {Values{2, 3}, {"stride", Values{1, 2}}, {"padding", 1}, {"ceil_mode", true}}),
      build("AvgPool2d", {2}),
      build("AdaptiveAvgPool2d", {1}),
      build("Flatten"),
      build("Embedding", {5, 3}),
      build("Embedding", {5, 3, {"padding_idx", 0}}),
      build("GELU"),
      build("ReLU", {{"inplace", true}}),
      build("LeakyReLU", {0.2}),
      build("Sigmoid"),
      build("Tanh"),
      build("Softmax", {{"dim", 1}}),
      build("Identity"),
      build("SiLU"),
      build("Bilinear", {1, 2, 3})};
  const std::vector<std::string> expected{
      R"(Linear(in_features=1, out_features=2, bias=False))",
      R"(Conv1d(1, 2, kernel_size=(3,), stride=(1,)))",
      R"(Conv2d(2, 4, kernel_size=(3, 5), stride=(2, 2), padding=(1, 2), dilation=(2, 2), groups=2, bias=False))",
      R"(Conv3d(1, 1, kernel_size=(1, 1, 1), stride=(1, 1, 1)))",
      R"(Conv2d(1, 1, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), padding_mode=reflect))",
      R"(ConvTranspose2d(2, 2, kernel_size=(3, 3), stride=(2, 2), output_padding=(1, 1)))",
      R"(BatchNorm2d(3, eps=0.001, momentum=0.2, affine=True, bias=True, track_running_stats=True))",
      R"(BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=False, bias=False, track_running_stats=False))",
      R"(LayerNorm((4,), eps=1e-05, elementwise_affine=True, bias=True))",
      R"(GroupNorm(2, 4, eps=1e-05, affine=True, bias=True))",
      R"(Dropout(p=0.3, inplace=False))",
      R"(MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False))",
      R"(MaxPool2d(kernel_size=(2, 3), stride=(1, 2), padding=1, dilation=1, ceil_mode=True))",
      R"(AvgPool2d(kernel_size=2, stride=2, padding=0))",
      R"(AdaptiveAvgPool2d(output_size=1))",
      R"(Flatten(start_dim=1, end_dim=-1))",
      R"(Embedding(5, 3))",
      R"(Embedding(5, 3, padding_idx=0))",
      R"(GELU(approximate='none'))",
      R"(ReLU(inplace=True))",
      R"(LeakyReLU(negative_slope=0.2))",
      R"(Sigmoid())",
      R"(Tanh())",
      R"(Softmax(dim=1))",
      R"(Identity())",
      R"(SiLU())",
      R"(Bilinear(in1_features=1, in2_features=2, out_features=3, bias=True))",
  };
  ASSERT_EQ(layers.size(), expected.size());
  for (size_t i = 0; i < layers.size(); ++i) EXPECT_EQ(repr(*layers[i]), expected[i]);
}

TEST(Layers, activations_that_write_into_their_input_train_as_the_others_do) {
  const Tensor values = tensor({-4.0, -1.5, -0.3, 0.0, 0.2, 0.9, 2.0, 7.0}, f64), slopes = tensor({1.0, -2.0, 3.0, 0.5, -1.0, 2.0, 0.25, 4.0}, f64);
  for (const char* name : {"ReLU", "ReLU6", "SELU", "SiLU", "Mish", "Hardsigmoid", "Hardswish", "LeakyReLU", "ELU", "CELU", "Threshold", "Hardtanh"}) {
    SCOPED_TRACE(name);
    Tensors results, gradients;
    for (const bool inplace : {false, true}) {
      Args args{{"inplace", inplace}};
      if (std::string_view(name) == "Threshold") args = {0.1, 20.0, {"inplace", inplace}};
      const auto layer = build_as<Layer>(name, args);
      const Tensor leaf = values.clone().requires_grad_(), x = leaf * 1.0, y = (*layer)(x);
      EXPECT_EQ(x.data<double>() == y.data<double>(), inplace);
      sum(y * slopes).backward();
      results.push_back(y.detach());
      gradients.push_back(leaf.grad());
    }
    EXPECT_TRUE(all(eq(results[1], results[0])).item<bool>());
    EXPECT_TRUE(all(eq(gradients[1], gradients[0])).item<bool>()) << gradients[1] << " and not " << gradients[0];
  }
}

TEST(Layers, sequences_take_pools_and_transposed_convolutions_and_a_pool_may_return_indices) {
  auto net = make<Sequential>(make<MaxPool2d>(2), make<ConvTranspose2d>(1, 1, 2, 2), make<AdaptiveMaxPool2d>(3));
  EXPECT_EQ((*net)(ones({1, 1, 8, 8})).shape(), Shape({1, 1, 3, 3}));
  const Value both = build("MaxPool2d", {2, {"return_indices", true}})->call({tensor({1.0, 4.0, 3.0, 2.0}, {1, 2, 2})});
  EXPECT_EQ(both.list().at(0).tensor().at({0, 0, 0}), 4);
  EXPECT_EQ(both.list().at(1).tensor().at({0, 0, 0}), 1);
}

}  // namespace graft

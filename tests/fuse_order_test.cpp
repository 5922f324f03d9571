// The pitch tracker CREPE (Kim et al. 2018), in the order in which torchcrepe 0.0.24 runs its layers: convolution, ReLU, norm,
// pool. A norm behind an activation cannot go into the convolution before it, and fusion says so.
#include <gtest/gtest.h>
#include "graft/core/ops.h"
#include "graft/nn/functional.h"
#include "graft/nn/nn.h"
#include "graft/surgery/fuse.h"

namespace {

using namespace graft;

struct Stage : nn::Layer {
  nn::Child<nn::Conv2d> conv;
  nn::Child<nn::BatchNorm2d> norm;
  int64_t above, below;
  Stage(int64_t in, int64_t out, bool first)
      : conv(this, "conv", in, out, nn::Sizes<2>{first ? 512 : 64, 1}, nn::Conv2dOptions{.stride = nn::Sizes<2>{first ? 4 : 1, 1}}),
        norm(this, "norm", out), above(first ? 254 : 31), below(first ? 254 : 32) {}
  Tensor forward(const Tensor& x) override {
    const Tensor y = norm(relu(conv(pad(x, {0, 0, above, below}))));
    return nn::functional::max_pool2d(y, {2, 1}, {.stride = nn::Sizes<2>{2, 1}});
  }
};
struct Crepe : nn::Layer {  // the "tiny" one
  nn::Child<nn::Sequential> stages{this, "stages"};
  nn::Child<nn::Linear> classifier{this, "classifier", 256, 360};
  Crepe() {
    constexpr int64_t channels[] = {1, 128, 16, 16, 16, 32, 64};
    for (int i = 0; i < 6; ++i) stages->append(nn::make<Stage>(channels[i], channels[i + 1], i == 0));
  }
  Tensor forward(const Tensor& input) override {  // [n, 1024]
    const Tensor x = stages(input.unsqueeze(1).unsqueeze(3));
    return sigmoid(classifier(x.permute({0, 2, 1, 3}).reshape({x.size(0), -1})));
  }
};

TEST(FuseOrder, of_crepe_nothing_is_fused_and_every_refusal_names_the_activation) {
  const auto net = nn::make<Crepe>();
  net->eval();
  const Tensor x = randn({1, 1024});
  const Tensor before = (*net)(x);
  EXPECT_EQ(before.shape(), (Shape{1, 360}));
  const surgery::Fusion f = surgery::fuse(*net, {x});
  EXPECT_TRUE(f.fused.empty());
  ASSERT_EQ(f.refused.size(), 6);
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(f.refused[i].path, concat("stages.", i, ".norm"));
    EXPECT_EQ(f.refused[i].code, surgery::Reason::activation_between) << f.refused[i].reason;
    EXPECT_EQ(f.refused[i].reason, concat("a ReLU is between 'stages.", i, ".conv' and it"));
  }
  EXPECT_TRUE(all(eq((*net)(x), before)).item<bool>());
}

}  // namespace

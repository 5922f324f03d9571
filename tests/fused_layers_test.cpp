// What fusion leaves behind: layers of one kernel, which know what they were made of; and copies that share the rest.
#include <gtest/gtest.h>

#include <sstream>
#include "fingerprint.h"
#include "graft/core/random.h"
#include "graft/core/ops.h"
#include "graft/nn/architecture.h"
#include "graft/nn/intrinsic.h"
#include "graft/nn/summary.h"
#include "graft/surgery/fuse_modules.h"
#include "graft/surgery/trace.h"

namespace {

using namespace graft;
using graft_test::fingerprint;
using nn::BatchNorm1d;
using nn::BatchNorm2d;
using nn::Conv2d;
using nn::Linear;
using nn::make;
using nn::Module;
using nn::ReLU;
using nn::Sequential;

std::shared_ptr<Sequential> conv_net() {
  manual_seed(3);
  auto net = make<Sequential>(make<Conv2d>(2, 3, 3), make<BatchNorm2d>(3), make<ReLU>(), make<Conv2d>(3, 2, 1));
  net->eval();
  return net;
}
Tensor image() { return cos(arange(2 * 2 * 5 * 4, f32) * 0.21).reshape({2, 2, 5, 4}); }

TEST(FusedLayers, a_fused_module_names_what_it_was_made_of) {
  auto net = conv_net();
  const std::string before = fingerprint(*net);
  surgery::Fusion f = surgery::fuse(*net, {image()});
  EXPECT_EQ(net->get_submodule("0").made_of(), "0, 1, 2");
  EXPECT_EQ(net->get_submodule("1").made_of(), "");
  EXPECT_EQ(net->clone()->get_submodule("0").made_of(), "0, 1, 2");
  std::ostringstream table;
  table << nn::summary(*net);
  EXPECT_NE(table.str().find("0 ConvReLU2d (made of 0, 1, 2)"), std::string::npos) << table.str();
  // It stays with a model that is written as text, and does not count as structure.
  const nn::ModulePtr built = nn::from_architecture(nn::architecture(*net));
  EXPECT_EQ(built->get_submodule("0").made_of(), "0, 1, 2");
  const uint64_t structure = nn::architecture_hash(*net);
  net->get_submodule("0").set_made_of("");
  EXPECT_EQ(nn::architecture_hash(*net), structure);
  f.edit.undo();
  EXPECT_EQ(fingerprint(*net), before);
  for (const Module* m : std::as_const(*net).modules()) EXPECT_EQ(m->made_of(), "");

  const auto named = surgery::fuse_modules(net, {"0", "1"});
  EXPECT_EQ(named->get_submodule("0").made_of(), "0, 1");
  EXPECT_EQ(net->get_submodule("0").made_of(), "");
}

TEST(FusedLayers, linear_and_relu_are_one_kernel_in_eval_mode_and_their_parts_else) {
  manual_seed(4);
  for (const bool bias : {true, false}) {
    auto linear = make<Linear>(6, 5, nn::LinearOptions{.bias = bias});
    auto both = make<nn::LinearReLU>(linear, make<ReLU>());
    both->eval();
    const Tensor x = sin(arange(4 * 3 * 6, f32)).reshape({4, 3, 6});
    const Tensor expected = relu((*linear)(x));
    {
      const NoGrad quiet;
      EXPECT_TRUE(all(eq((*both)(x), expected)).item<bool>());
      const surgery::Trace t = surgery::trace(*both, {x});
      ASSERT_EQ(t.ops.size(), 1u);
      EXPECT_EQ(t.ops[0].name, "linear_act");
    }
    sum((*both)(x) * sum(x, -1, true)).backward();
    const Tensor gradient = linear->weight->grad();
    linear->zero_grad();
    sum(relu((*linear)(x)) * sum(x, -1, true)).backward();
    EXPECT_TRUE(all(eq(gradient, linear->weight->grad())).item<bool>());
    int calls = 0;
    auto handle = linear->register_forward_hook([&](Module&, const nn::Values&, nn::Value&) { ++calls; });
    EXPECT_TRUE(all(eq((*both)(x), expected)).item<bool>());
    EXPECT_EQ(calls, 1);
    handle.remove();
    (*both)[1] = make<nn::Tanh>();
    EXPECT_TRUE(all(eq((*both)(x), tanh((*linear)(x)))).item<bool>());
  }
}

TEST(FusedLayers, a_copy_may_share_what_no_fusion_touches) {
  auto net = conv_net();
  const Tensor x = image(), y = (*net)(x);
  const std::string before = nn::repr(*net);
  const auto copy = surgery::fuse_modules(net, {"0", "1", "2"}, {.share_parameters = true});
  EXPECT_EQ(nn::repr(*net), before);
  EXPECT_LE(max(abs((*copy)(x) - y)).item<float>(), 1e-5f);
  EXPECT_TRUE(copy->get_parameter("3.weight").is_same(net->get_parameter("3.weight")));
  EXPECT_FALSE(copy->get_parameter("0.0.weight").is_same(net->get_parameter("0.weight")));
  const auto apart = surgery::fuse_modules(net, {"0", "1", "2"});
  EXPECT_FALSE(apart->get_parameter("3.weight").is_same(net->get_parameter("3.weight")));

  // Chains that are found by tracing: the same through a copy that shares its parameters.
  const auto traced = net->clone_sharing_parameters();
  EXPECT_EQ(surgery::fuse(*traced, {x}).fused.size(), 1u);
  EXPECT_TRUE(traced->get_parameter("3.weight").is_same(net->get_parameter("3.weight")));
  EXPECT_EQ(nn::repr(*net), before);
  EXPECT_TRUE(all(eq((*net)(x), y)).item<bool>());
}

}  // namespace

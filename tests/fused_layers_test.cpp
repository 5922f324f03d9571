// What fusion leaves behind: layers of one kernel, which know what they were made of; and copies that share the rest.
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include "fingerprint.h"
#include "graft/core/random.h"
#include "graft/core/ops.h"
#include "graft/nn/architecture.h"
#include "graft/nn/intrinsic.h"
#include "graft/nn/summary.h"
#include "graft/surgery/recipe.h"
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

// ---- a residual block: the sum is part of the convolution --------------------------------------------------------------

struct Residual : nn::Layer {
  explicit Residual(bool shortcut_first = false, bool in_place = false) : shortcut_first(shortcut_first), in_place(in_place) {}
  Tensor forward(const Tensor& x) override {
    Tensor z = x * 1.0;
    const Tensor y = bn(conv(z));
    if (in_place) z.mul_(2.0);
    const Tensor s = shortcut_bn(shortcut(z));
    return act(shortcut_first ? add(s, y) : add(y, s));
  }
  nn::Child<Conv2d> conv{this, "conv", 2, 3, 3, nn::Conv2dOptions{.stride = 2, .padding = 1, .bias = false}};
  nn::Child<BatchNorm2d> bn{this, "bn", 3};
  nn::Child<Conv2d> shortcut{this, "shortcut", 2, 3, 1, nn::Conv2dOptions{.stride = 2}};
  nn::Child<BatchNorm2d> shortcut_bn{this, "shortcut_bn", 3};
  nn::Child<nn::Add> add{this, "add"};
  nn::Child<ReLU> act{this, "act"};
  bool shortcut_first, in_place;
};
std::shared_ptr<Residual> residual(bool shortcut_first = false, bool in_place = false) {
  manual_seed(5);
  auto net = make<Residual>(shortcut_first, in_place);
  {
    const NoGrad quiet;
    for (auto& [name, t] : net->named_buffers())
      if (is_floating(t.dtype())) t.copy_(rand(t.shape()) + 0.5);
  }
  net->eval();
  return net;
}
double apart(const Tensor& a, const Tensor& b) { return max(abs(a - b)).item<float>(); }

TEST(FusedLayers, a_sum_and_the_relu_behind_it_become_part_of_a_convolution) {
  for (const bool first : {false, true}) {
    auto net = residual(first);
    const Tensor x = image(), y = (*net)(x);
    const std::string before = fingerprint(*net);
    surgery::Fusion f = surgery::fuse(*net, {x});
    ASSERT_EQ(f.fused.size(), 2u) << concat(f);
    EXPECT_EQ(f.fused[0].path, "add");
    EXPECT_EQ(f.fused[0].what, "Conv2d + BatchNorm2d + Add + ReLU -> ConvAddReLU2d");
    EXPECT_EQ(f.fused[1].path, "shortcut");  // an Add takes one of the two
    EXPECT_EQ(net->get_submodule("add").made_of(), "conv, bn, add, act");
    EXPECT_EQ(nn::type_name(net->get_submodule("conv")), "Identity");
    EXPECT_EQ(dynamic_cast<nn::ConvAddReLU2d&>(net->get_submodule("add")).residual_first, first);
    EXPECT_LE(apart((*net)(x), y), 1e-5);
    {
      const NoGrad quiet;
      const surgery::Trace t = surgery::trace(*net, {x});
      EXPECT_EQ(std::ranges::count(t.ops, "add", &surgery::Trace::Op::name), 0);
      EXPECT_EQ(std::ranges::count(t.ops, "relu", &surgery::Trace::Op::name), 0);
    }
    const nn::ModulePtr sum = net->get_submodule("add").clone();
    const nn::ModulePtr built = nn::from_architecture(nn::architecture(*sum));
    built->load_state_dict(sum->state_dict());
    const Tensor r = ones({2, 3, 3, 2});
    const nn::Values args = first ? nn::Values{r, x} : nn::Values{x, r};
    EXPECT_TRUE(all(eq(built->call(args).as<Tensor>(), sum->call(args).as<Tensor>())).item<bool>());
    f.edit.undo();
    EXPECT_EQ(fingerprint(*net), before);
    EXPECT_TRUE(all(eq((*net)(x), y)).item<bool>());
  }
}

TEST(FusedLayers, a_fused_sum_is_recorded_replayed_and_old_checkpoints_fit_it) {
  auto net = residual(true), other = residual(true);
  const Tensor x = image();
  const nn::StateDict old = net->state_dict();
  surgery::Fusion f = surgery::fuse(*net, {x});
  const surgery::Recipe recipe = surgery::Recipe::parse(f.edit.recipe().json());
  EXPECT_EQ(recipe, f.edit.recipe());
  recipe.replay(*other);
  EXPECT_TRUE(all(eq((*other)(x), (*net)(x))).item<bool>());
  for (auto& [name, p] : other->named_parameters()) {
    const NoGrad quiet;
    p.detach().fill_(0);
  }
  other->load_state_dict(recipe.migrate(old));
  EXPECT_TRUE(all(eq((*other)(x), (*net)(x))).item<bool>());
}

TEST(FusedLayers, a_sum_stays_where_fusing_it_would_change_something) {
  const Tensor x = image();
  const auto fused = [&](const std::shared_ptr<Residual>& net, const surgery::FuseOptions& o = {}) {
    const Tensor y = (*net)(x);
    const surgery::Fusion f = surgery::fuse(*net, {x}, o);
    EXPECT_EQ(f.fused.size(), 2u);
    EXPECT_LE(apart((*net)(x), y), 1e-5);
    return nn::type_name(net->get_submodule("add"));
  };
  EXPECT_EQ(fused(residual()), "ConvAddReLU2d");
  EXPECT_EQ(fused(residual(), {.add = false}), "Add");
  // The input of conv is overwritten before the sum is made: that of the shortcut is not, so it takes the Add.
  auto overwritten = residual(false, true);
  EXPECT_EQ(fused(overwritten), "ConvAddReLU2d");
  EXPECT_EQ(overwritten->get_submodule("add").made_of(), "shortcut, shortcut_bn, add, act");
  auto hooked = residual();
  int calls = 0;
  hooked->add->register_forward_hook([&](Module&, const nn::Values&, nn::Value&) { ++calls; });
  EXPECT_EQ(fused(hooked), "Add");
  EXPECT_EQ(calls, 2);
}

TEST(FusedLayers, a_sum_that_broadcasts_or_has_other_parts_is_made_of_the_parts) {
  manual_seed(6);
  auto conv = make<Conv2d>(2, 3, 3, nn::Conv2dOptions{.padding = 1});
  auto sum = make<nn::ConvAddReLU2d>(conv, make<nn::Add>(), make<ReLU>());
  sum->eval();
  const Tensor x = image(), y = (*conv)(x);
  const auto expect = [&](const Tensor& residual) {
    EXPECT_LE(apart((*sum)(x, residual), relu(y + residual)), 1e-6) << concat(residual.shape());
  };
  expect(y * 0.5);
  expect(ones({3, 1, 1}));
  expect(ones({2, 3, 1, 4}));
  expect(y.transpose(2, 3).contiguous().transpose(2, 3));
  EXPECT_LE(apart((*sum)(x.select(0, 0), y.select(0, 0) * 0.5), relu(y.select(0, 0) * 1.5)), 1e-6);  // without a batch
  auto same = make<nn::ConvAddReLU2d>(make<Conv2d>(2, 3, 4, nn::Conv2dOptions{.padding = "same"}), make<nn::Add>(), nullptr);
  same->eval();
  const Tensor z = same->conv(x);
  EXPECT_LE(apart((*same)(x, z), z * 2.0), 1e-6);
  Tensor r = (y * 0.5).detach().requires_grad_();
  sum->zero_grad();
  graft::sum((*sum)(x, r)).backward();
  EXPECT_TRUE(all(eq(r.grad(), gt(y + r, 0).to(f32))).item<bool>());
}

}  // namespace

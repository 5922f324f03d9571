// Hooks on the calls of every module: order, what they may change, handles.
#include <gtest/gtest.h>

#include "graft/core/ops.h"
#include "graft/nn/containers.h"
#include "graft/nn/conv.h"
#include "graft/nn/intrinsic.h"
#include "graft/nn/linear.h"

namespace {

using namespace graft;
using nn::Linear;
using nn::make;
using nn::Module;
using nn::Sequential;
using nn::Value;
using nn::Values;

struct Log {
  std::string text;
  auto pre(std::string name) {
    return [this, name](Module& m, Values&) { text += name + ":" + nn::type_name(m) + " "; };
  }
  auto post(std::string name) {
    return [this, name](Module& m, const Values&, Value&) { text += name + ":" + nn::type_name(m) + " "; };
  }
};

TEST(HooksOfAllModules, they_run_on_every_call_before_the_modules_own) {
  auto net = make<Sequential>(make<Linear>(2, 2));
  Log log;
  auto own = net->register_forward_pre_hook(log.pre("own"));
  auto own_after = net->register_forward_hook(log.post("own_after"));
  auto all = nn::register_module_forward_pre_hook(log.pre("all"));
  auto all_after = nn::register_module_forward_hook(log.post("all_after"));
  (*net)(ones({1, 2}));
  EXPECT_EQ(log.text,
            "all:Sequential own:Sequential all:Linear all_after:Linear all_after:Sequential own_after:Sequential ");
  log.text.clear();
  all.remove();
  all_after.remove();
  (*net)(ones({1, 2}));
  EXPECT_EQ(log.text, "own:Sequential own_after:Sequential ");
  log.text.clear();
  own.remove();
  own_after.remove();
  (*net)(ones({1, 2}));
  EXPECT_EQ(log.text, "");
}

TEST(HooksOfAllModules, they_may_replace_arguments_and_outputs) {
  auto net = make<nn::Identity>();
  auto pre = nn::register_module_forward_pre_hook([](Module&, Values& args) { return Value(args[0].as<Tensor>() * 3.0); });
  auto post = nn::register_module_forward_hook([](Module&, const Values&, Value& out) { out = out.as<Tensor>() + 1.0; });
  EXPECT_EQ((*net)(ones({})).item<float>(), 4);
  pre.remove();
  EXPECT_EQ((*net)(ones({})).item<float>(), 2);
  post.remove();
  EXPECT_EQ((*net)(ones({})).item<float>(), 1);
}

TEST(HooksOfAllModules, always_call_runs_where_forward_fails) {
  auto net = make<Linear>(2, 2);
  int always = 0, only_after = 0;
  auto a = nn::register_module_forward_hook([&](Module&, const Values&, Value&) { ++always; }, {.always_call = true});
  auto b = nn::register_module_forward_hook([&](Module&, const Values&, Value&) { ++only_after; });
  EXPECT_THROW((*net)(ones({1, 3})), Error);
  EXPECT_EQ(always, 1);
  EXPECT_EQ(only_after, 0);
  a.remove();
  b.remove();
}

TEST(HooksOfAllModules, backward_hooks_see_and_change_gradients) {
  auto net = make<Sequential>(make<Linear>(2, 3), make<Linear>(3, 1));
  std::string order;
  auto pre = nn::register_module_full_backward_pre_hook([&](Module& m, Tensors& g) {
    order += "pre:" + nn::type_name(m) + " ";
    if (nn::type_name(m) == "Sequential") g[0] = g[0] * 2.0;
  });
  auto post = nn::register_module_full_backward_hook(
      [&](Module& m, Tensors&, const Tensors&) { order += "post:" + nn::type_name(m) + " "; });
  Tensor x = ones({1, 2}).requires_grad_();
  sum((*net)(x)).backward();
  const Tensor doubled = x.grad();
  EXPECT_EQ(order, "pre:Sequential pre:Linear post:Linear pre:Linear post:Linear post:Sequential ");
  pre.remove();
  post.remove();
  x.set_grad({});
  sum((*net)(x)).backward();
  EXPECT_TRUE(all(eq(doubled, x.grad() * 2.0)).item<bool>());
}

TEST(HooksOfAllModules, layers_of_one_kernel_call_their_parts_for_them) {
  auto both = make<nn::ConvReLU2d>(make<nn::Conv2d>(1, 1, 1), make<nn::ReLU>());
  both->eval();
  Log log;
  auto handle = nn::register_module_forward_pre_hook(log.pre("all"));
  (*both)(ones({1, 1, 2, 2}));
  EXPECT_EQ(log.text, "all:ConvReLU2d all:Conv2d all:ReLU ");
  handle.remove();
}

}  // namespace

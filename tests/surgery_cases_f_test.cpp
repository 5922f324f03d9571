// The recorded programs of section F (fusion) in which graft does something else than torch.ao and torch.fx: each test
// holds what it does, in the words of the case's `graft` field.
#include "fingerprint.h"
#include "graft/nn/call.h"
#include "graft/nn/intrinsic.h"
#include "graft/surgery/fuse.h"
#include "graft/surgery/fuse_modules.h"
#include "refused.h"
#include "surgery_case.h"

namespace {

using namespace graft;
using namespace graft_test;
using nn::BatchNorm1d;
using nn::BatchNorm2d;
using nn::BatchNormOptions;
using nn::Child;
using nn::Conv2d;
using nn::Conv2dOptions;
using nn::ConvTranspose2d;
using nn::Linear;
using nn::make;
using nn::Module;
using nn::ModulePtr;
using nn::ReLU;
using surgery::fuse_modules;
using surgery::Reason;

// Children in order, as the programs' Net called M.
struct M : nn::Layer {
  explicit M(const std::vector<std::pair<std::string, ModulePtr>>& children) {
    for (const auto& [name, m] : children) add_module(name, m);
  }
  Tensor forward(const Tensor& input) override {
    Tensor x = input;
    for (const auto& e : child_entries()) {
      const nn::CallScope scope(*e->module, e.get());
      x = e->module->call({x}).tensor();
    }
    return x;
  }
};
std::shared_ptr<M> net(const std::vector<std::pair<std::string, ModulePtr>>& children, double base = 0) {
  auto m = built(make<M>(children), base);
  m->eval();
  return m;
}
std::vector<bool> training(const Module& m) {
  std::vector<bool> list;
  for (const Module* part : m.modules()) list.push_back(part->training());
  return list;
}
void expect_parameters(const Module& m, const Json& recorded) {
  for (const auto& [name, want] : recorded.items()) expect_close(m.get_parameter(name), to_tensor(want));
  EXPECT_EQ(m.named_parameters().size(), recorded.size());
}
// The values of the field: what the original should have made.
void expect_values(const Case& c, nn::Layer& fused, const std::string& layer, const Tensor& x, const Tensor& unfused) {
  expect_close(fused.get_parameter(layer + ".weight"), c.value(layer + ".weight"));
  expect_close(fused.get_parameter(layer + ".bias"), c.value(layer + ".bias"));
  expect_close(fused(x), c.value("y"));
  expect_close(fused(x), unfused);
}

TEST(SurgeryCase, F_02) {
  const Case c("F-02", "fused bias requires grad like the weight");
  auto m = net({{"conv", make<Conv2d>(2, 3, 3, Conv2dOptions{.bias = false})}, {"bn", make<BatchNorm2d>(3)}});
  const Tensor x = input({1, 2, 4, 4});
  expect_close((*m)(x), c.y(3));
  const auto f = fuse_modules(m, {"conv", "bn"});
  EXPECT_NE(f, m);
  EXPECT_EQ(nn::repr(*f), c.expect(4).at("repr").get<std::string>());
  EXPECT_TRUE(f->get_parameter("conv.weight").requires_grad());
  EXPECT_TRUE(f->get_parameter("conv.bias").requires_grad());
  expect_close((*f)(x), c.y(5));
  EXPECT_EQ(training(*f), std::vector<bool>(3, false));
  expect_parameters(*f, c.expect(6).at("param_values"));
}

TEST(SurgeryCase, F_05) {
  const Case c("F-05", "wrapper training flag = false; bias requires grad");
  auto m = net({{"conv", make<Conv2d>(3, 3, 3, Conv2dOptions{.padding = 1, .groups = 3, .bias = false})},
                {"bn", make<BatchNorm2d>(3)},
                {"relu", make<ReLU>()}});
  const Tensor x = input({1, 3, 3, 3});
  expect_close((*m)(x), c.y(3));
  const auto f = fuse_modules(m, {"conv", "bn", "relu"});
  EXPECT_EQ(nn::repr(*f), c.expect(4).at("repr").get<std::string>());
  EXPECT_TRUE(f->get_parameter("conv.0.bias").requires_grad());
  expect_close((*f)(x), c.y(5));
  EXPECT_EQ(training(*f), std::vector<bool>(6, false));
  expect_parameters(*f, c.expect(6).at("param_values"));
}

TEST(SurgeryCase, F_13) {
  const Case c("F-13", "fuse correctly");
  auto m = net({{"conv", make<ConvTranspose2d>(4, 6, 2, nn::ConvTranspose2dOptions{.groups = 2})},
                {"bn", make<BatchNorm2d>(6)}});
  const Tensor x = input({1, 4, 2, 2});
  expect_close((*m)(x), c.y(3));
  expect_values(c, *fuse_modules(m, {"conv", "bn"}), "conv", x, (*m)(x));
}

TEST(SurgeryCase, F_14) {
  const Case c("F-14", "fuse correctly");
  auto m = net({{"conv", make<ConvTranspose2d>(3, 3, 2, nn::ConvTranspose2dOptions{.groups = 3})},
                {"bn", make<BatchNorm2d>(3)}});
  const Tensor x = input({1, 3, 2, 2});
  expect_close((*m)(x), c.y(3));
  const auto f = fuse_modules(m, {"conv", "bn"});
  EXPECT_EQ(nn::repr(*f), c.expect(4).at("repr").get<std::string>());
  expect_values(c, *f, "conv", x, (*m)(x));
}

TEST(SurgeryCase, F_17) {
  const Case c("F-17", "fuse correctly");
  auto m = net({{"fc", make<Linear>(3, 4)}, {"bn", make<BatchNorm1d>(4, BatchNormOptions{.affine = false})}});
  const Tensor x = input({2, 3});
  expect_close((*m)(x), c.y(3));
  expect_values(c, *fuse_modules(m, {"fc", "bn"}), "fc", x, (*m)(x));
}

// A list of names says nothing about ranks: an example does, by name and by trace.
TEST(SurgeryCase, F_18) {
  const Case c("F-18", "refuse when the BN input is (or may be) 3-D, or y of fused = unfused y");
  auto m = net({{"fc", make<Linear>(3, 3)}, {"bn", make<BatchNorm1d>(3)}});
  const Tensor x = input({2, 3, 3});
  expect_close((*m)(x), c.y(3));
  const std::string before = fingerprint(*m);
  EXPECT_REFUSED("'bn' normalises dimension 1 of 3", fuse_modules(m, {"fc", "bn"}, {.inplace = true, .example = {x}}));
  const auto f = surgery::fuse(*m, {x});
  ASSERT_EQ(f.refused.size(), 1U);
  EXPECT_EQ(f.refused[0].code, Reason::wrong_rank);
  EXPECT_EQ(fingerprint(*m), before);
  const Tensor rows = input({2, 3});
  expect_close((*fuse_modules(m, {"fc", "bn"}, {.example = {rows}}))(rows), (*m)(rows));
}

TEST(SurgeryCase, F_31) {
  const Case c(
      "F-31",
      "linear-bn-relu, bn1d-relu and bn-conv1x1 are known fusers of graft and fuse; the other sequences are refused "
      "with a code.");
  struct SubLinear : Linear {
    using Linear::Linear;
  };
  auto m = net({{"fc", make<Linear>(3, 3)},
                {"bn1", make<BatchNorm1d>(3)},
                {"relu", make<ReLU>()},
                {"conv", make<Conv2d>(1, 1, 1)},
                {"bn2", make<BatchNorm2d>(1)},
                {"sub", make<SubLinear>(3, 3)}});
  const auto part = [](Module& of, const char* name) -> nn::Layer& {
    return dynamic_cast<nn::Layer&>(of.get_submodule(name));
  };
  const Tensor x = input({2, 3}), image = input({2, 1, 2, 2});

  auto f = fuse_modules(m, {"fc", "bn1", "relu"});
  EXPECT_EQ(nn::type_name(f->get_submodule("fc")), "LinearReLU");
  expect_close(part(*f, "fc")(x), part(*m, "relu")(part(*m, "bn1")(part(*m, "fc")(x))));
  f = fuse_modules(m, {"bn1", "relu"});
  EXPECT_EQ(nn::type_name(f->get_submodule("bn1")), "BNReLU1d");
  expect_close(part(*f, "bn1")(x), part(*m, "relu")(part(*m, "bn1")(x)));
  f = fuse_modules(m, {"bn2", "conv"});
  EXPECT_EQ(nn::type_name(f->get_submodule("bn2")), "Conv2d");
  expect_close(part(*f, "bn2")(image), part(*m, "conv")(part(*m, "bn2")(image)));

  const std::string before = fingerprint(*m);
  const surgery::FuseModulesOptions inplace{.inplace = true};
  EXPECT_REFUSED("did not find fuser method for: (Conv2d, BatchNorm1d)", fuse_modules(m, {"conv", "bn1"}, inplace));
  EXPECT_REFUSED("did not find fuser method for: (SubLinear, ReLU)", fuse_modules(m, {"sub", "relu"}, inplace));
  EXPECT_REFUSED("did not find fuser method for: (Conv2d)", fuse_modules(m, std::vector<std::string>{"conv"}, inplace));
  EXPECT_CODE(not_implemented, fuse_modules(m, {"conv", "bn1"}, inplace));
  EXPECT_CODE(invalid_argument, fuse_modules(m, std::vector<std::string>(), inplace));
  EXPECT_CODE(key_error, fuse_modules(m, {"nope", "relu"}, inplace));
  // A list that mixes names and lists of names, the last step, is not a value of C++.
  EXPECT_EQ(fingerprint(*m), before);
}

TEST(SurgeryCase, F_32) {
  const Case c("F-32", "conv.training=false");
  auto m = net({{"conv", make<Conv2d>(1, 2, 2)}, {"bn", make<BatchNorm2d>(2)}, {"relu", make<ReLU>()}});
  const auto f = fuse_modules(m, {"conv", "bn", "relu"});
  EXPECT_EQ(nn::repr(*f), c.expect(3).at("repr").get<std::string>());
  EXPECT_FALSE(f->get_submodule("conv").training());
  EXPECT_EQ(training(*f), std::vector<bool>(6, false));
}

// By trace the ReLU stays for its other use; lists of names are refused where an example shows that it has one.
TEST(SurgeryCase, F_34) {
  const Case c("F-34", "refuse or keep the relu for its other use: fused output must equal the unfused y");
  struct Blk : nn::Layer {
    Child<Conv2d> conv1{this, "conv1", 1, 1, 2, Conv2dOptions{.padding = 1}};
    Child<BatchNorm2d> bn1{this, "bn1", 1};
    Child<ReLU> relu{this, "relu"};
    Child<Conv2d> conv2{this, "conv2", 1, 1, 2};
    Child<BatchNorm2d> bn2{this, "bn2", 1};
    Tensor forward(const Tensor& x) override { return relu(bn2(conv2(relu(bn1(conv1(x))))) + x); }
  };
  auto m = built(make<Blk>());
  m->eval();
  const Tensor x = input({1, 1, 3, 3}, 2.5);
  expect_close((*m)(x), c.y(3));
  const std::string before = fingerprint(*m);
  const surgery::FuseModulesOptions checked{.inplace = true, .example = {x}};
  EXPECT_REFUSED("'relu' (ReLU) is called 2 times; fusing would lose one",
                 fuse_modules(m, {{"conv1", "bn1", "relu"}, {"conv2", "bn2"}}, checked));
  EXPECT_REFUSED("'relu' is named twice",
                 fuse_modules(m, {{"conv1", "bn1", "relu"}, {"conv2", "bn2", "relu"}}, {.inplace = true}));
  EXPECT_EQ(fingerprint(*m), before);
  const auto f = surgery::fuse(*m, {x});
  EXPECT_EQ(f.fused.size(), 2U);
  ASSERT_EQ(f.refused.size(), 1U);
  EXPECT_EQ(f.refused[0].code, Reason::relu_called_again);
  expect_close((*m)(x), c.y(3));
}

// ---- hooks
// -------------------------------------------------------------------------------------------------------------

struct Hooks {
  Lines log;
  void pre(Module& m, const std::string& name, double scale = 1) {
    m.register_forward_pre_hook([this, name, scale](Module&, nn::Values& args) {
      log.push_back(name);
      if (scale != 1) args[0] = args[0].tensor() * scale;
    });
  }
  void post(Module& m, const std::string& name) {
    m.register_forward_hook([this, name](Module&, const nn::Values&, nn::Value&) { log.push_back(name); });
  }
  Tensor run(nn::Layer& m, const Tensor& x) {
    log.clear();
    return m(x);
  }
};

TEST(SurgeryCase, F_36) {
  const Case c(
      "F-36",
      "each hook at most once: pre_conv once, post_bn once; post_conv/pre_bn reported as dropped; y must equal the "
      "unfused y");
  auto m = net({{"conv", make<Conv2d>(1, 1, 1)}, {"bn", make<BatchNorm2d>(1)}}, 1);
  Hooks hooks;
  hooks.pre(m->get_submodule("conv"), "pre_conv", 2);
  hooks.post(m->get_submodule("conv"), "post_conv");
  hooks.pre(m->get_submodule("bn"), "pre_bn");
  hooks.post(m->get_submodule("bn"), "post_bn");
  const Tensor x = input({1, 1, 1, 2});
  expect_close(hooks.run(*m, x), c.y(7));
  EXPECT_EQ(Json(hooks.log), c.expect(7).at("log"));
  Lines dropped;
  const auto f = fuse_modules(m, {"conv", "bn"}, {.dropped_hooks = &dropped});
  EXPECT_EQ(dropped, Lines({"conv: 1 forward hook", "bn: 1 forward pre-hook"}));
  EXPECT_EQ(nn::repr(*f), c.expect(8).at("repr").get<std::string>());
  expect_close(hooks.run(*f, x), c.y(7));
  EXPECT_EQ(hooks.log, Lines({"pre_conv", "post_bn"}));
}

TEST(SurgeryCase, F_37) {
  const Case c("F-37", "as F-36");
  auto m = net({{"conv", make<Conv2d>(1, 1, 1)}, {"bn", make<BatchNorm2d>(1)}, {"relu", make<ReLU>()}}, 1);
  Hooks hooks;
  hooks.pre(m->get_submodule("conv"), "pre_conv");
  hooks.post(m->get_submodule("conv"), "post_conv");
  hooks.post(m->get_submodule("bn"), "post_bn");
  hooks.post(m->get_submodule("relu"), "post_relu");
  const Tensor x = input({1, 1, 1, 2});
  expect_close(hooks.run(*m, x), c.y(7));
  EXPECT_EQ(Json(hooks.log), c.expect(7).at("log"));
  Lines dropped;
  const auto f = fuse_modules(m, {"conv", "bn", "relu"}, {.dropped_hooks = &dropped});
  EXPECT_EQ(dropped, Lines({"conv: 1 forward hook", "bn: 1 forward hook"}));
  EXPECT_EQ(nn::repr(*f), c.expect(8).at("repr").get<std::string>());
  expect_close(hooks.run(*f, x), c.y(7));
  EXPECT_EQ(hooks.log, Lines({"pre_conv", "post_relu"}));
}

// ---- by trace
// ----------------------------------------------------------------------------------------------------------

TEST(SurgeryCase, F_44) {
  const Case c("F-44", "skip or error, configurable");
  auto m = net({{"conv", make<Conv2d>(1, 2, 2)}, {"bn", make<BatchNorm2d>(2)}});
  m->train();
  const std::string before = fingerprint(*m);
  const auto f = surgery::fuse(*m, {input({1, 1, 3, 3})});
  ASSERT_EQ(f.refused.size(), 1U);
  EXPECT_EQ(f.refused[0].code, Reason::training_mode);
  EXPECT_REFUSED("bn (BatchNorm2d): fusion: training_mode: the norm is in training mode",
                 surgery::fuse(*m, {input({1, 1, 3, 3})}, {.refusals_are_errors = true}));
  EXPECT_EQ(fingerprint(*m), before);
}

TEST(SurgeryCase, F_45) {
  const Case c("F-45", "do not fold a layer that has several call sites; output = unfused y");
  struct Net : nn::Layer {
    Child<Conv2d> conv{this, "conv", 1, 1, 1};
    Child<BatchNorm2d> bn1{this, "bn1", 1}, bn2{this, "bn2", 1};
    Tensor forward(const Tensor& x) override { return bn2(conv(bn1(conv(x)))); }
  };
  auto m = built(make<Net>(), 1);
  m->eval();
  const Tensor x = input({1, 1, 1, 2});
  expect_close((*m)(x), c.y(3));
  const std::string before = fingerprint(*m);
  const auto f = surgery::fuse(*m, {x});
  EXPECT_TRUE(f.fused.empty());
  ASSERT_EQ(f.refused.size(), 2U);
  for (const auto& r : f.refused) EXPECT_EQ(r.code, Reason::layer_called_again);
  EXPECT_EQ(fingerprint(*m), before);
  expect_close((*m)(x), c.y(3));
}

TEST(SurgeryCase, F_49) {
  const Case c("F-49", "model unchanged on error");
  auto m = net({{"conv", make<Conv2d>(1, 2, 2)},
                {"relu", make<ReLU>()},
                {"c2", make<Conv2d>(2, 2, 1)},
                {"bn2", make<BatchNorm2d>(2, BatchNormOptions{.track_running_stats = false})}});
  const std::string before = fingerprint(*m);
  EXPECT_REFUSED("c2 (Conv2d): fusion: running_mean and running_var of BatchNorm2d must not be None",
                 fuse_modules(m, {{"conv", "relu"}, {"c2", "bn2"}}, {.inplace = true}));
  EXPECT_EQ(fingerprint(*m), before);
}

TEST(SurgeryCase, F_51) {
  const Case c("F-51", "linear with affine=False fuses");
  auto m = net({{"fc", make<Linear>(2, 2)}, {"bn", make<BatchNorm1d>(2, BatchNormOptions{.affine = false})}});
  auto n = net({{"conv", make<Conv2d>(1, 2, 2)}, {"bn", make<BatchNorm2d>(2, BatchNormOptions{.affine = false})}});
  for (const auto& [model, x] : {std::pair(m, input({3, 2})), std::pair(n, input({1, 1, 3, 3}))}) {
    const Tensor y = (*model)(x);
    const auto f = surgery::fuse(*model, {x});
    ASSERT_EQ(f.fused.size(), 1U);
    EXPECT_TRUE(f.refused.empty());
    EXPECT_EQ(nn::type_name(model->get_submodule("bn")), "Identity");
    expect_close((*model)(x), y);
  }
}

TEST(SurgeryCase, F_52) {
  const Case c("F-52", "refuse or fuse both uses knowingly");
  struct Net : nn::Layer {
    Child<Conv2d> conv{this, "conv", 1, 1, 1};
    Child<BatchNorm2d> bn{this, "bn", 1};
    Child<Conv2d> again{this, "again", 1, 1, 1};
    Net() { again = conv; }
    Tensor forward(const Tensor& x) override { return again(bn(conv(x))); }
  };
  auto m = built(make<Net>(), 1);
  m->eval();
  const Tensor x = input({1, 1, 1, 2});
  expect_close((*m)(x), c.y(3));
  const std::string before = fingerprint(*m);
  EXPECT_REFUSED("'conv' (Conv2d) is shared with 'again', which would lose it",
                 fuse_modules(m, {"conv", "bn"}, {.inplace = true}));
  const auto f = surgery::fuse(*m, {x});
  EXPECT_TRUE(f.fused.empty());
  ASSERT_EQ(f.refused.size(), 1U);
  EXPECT_EQ(f.refused[0].code, Reason::layer_called_again);
  EXPECT_EQ(fingerprint(*m), before);
}

}  // namespace

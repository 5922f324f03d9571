// Fusion by names: rules F1 to F20 of torch.ao's fuse_modules with their defects mended.
#include <gtest/gtest.h>

#include "fingerprint.h"
#include "graft/core/ops.h"
#include "graft/core/warning.h"
#include "graft/nn/intrinsic.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/fuse_modules.h"
#include "refused.h"

namespace {

using namespace graft;
using graft_test::fingerprint;
using nn::BatchNorm1d;
using nn::BatchNorm2d;
using nn::Child;
using nn::Conv2d;
using nn::Conv2dOptions;
using nn::Linear;
using nn::make;
using nn::Module;
using nn::ModulePtr;
using nn::ReLU;
using nn::Sequential;
using surgery::fuse_modules;
using surgery::fuse_modules_qat;

template <class M>
std::shared_ptr<M> ready(std::shared_ptr<M> m) {
  m->float64().eval();
  const NoGrad quiet;
  double k = 0.3;
  const auto set = [&](const Tensor& t, double scale, double shift) {
    if (is_floating(t.dtype()))
      t.copy_((sin(arange(t.numel(), f64) * 1.7 + (k += 0.9)) * scale + shift).reshape(t.shape()).to(t.dtype()));
  };
  for (auto& [name, t] : m->named_parameters()) set(t.detach(), 0.5, 0.2);
  for (auto& [name, t] : m->named_buffers()) set(t, 0.4, name.find("var") != std::string::npos ? 1.1 : 0.2);
  return m;
}
std::shared_ptr<Sequential> chain(std::vector<ModulePtr> modules) { return ready(make<Sequential>(modules)); }
Tensor wave(const Shape& shape) { return cos(arange(int64_t(numel_of(shape)), f64) * 0.21).reshape(shape); }
double difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape(), b.shape());
  return max(abs(a - b)).item<double>();
}
const Shape kImage{2, 2, 5, 4};

TEST(FuseModules, F1_F18_a_copy_is_fused_unless_in_place) {
  auto net = chain({make<Conv2d>(2, 3, 3), make<BatchNorm2d>(3), make<ReLU>()});
  const Tensor x = wave(kImage), y = (*net)(x);
  const std::string before = fingerprint(*net);
  const auto copy = fuse_modules(net, {"0", "1", "2"});
  EXPECT_NE(copy, net);
  EXPECT_EQ(fingerprint(*net), before);
  EXPECT_LE(difference((*copy)(x), y), 1e-12);
  EXPECT_EQ(fuse_modules(net, {"0", "1", "2"}, {.inplace = true}), net);
  EXPECT_LE(difference((*net)(x), y), 1e-12);
  EXPECT_EQ(nn::repr(*net), nn::repr(*copy));
  EXPECT_EQ(net->named_parameters()[0].first, "0.0.weight");
}

TEST(FuseModules, F3_F5_modes_and_requires_grad_are_those_of_the_layer) {
  auto net = chain({make<Conv2d>(2, 3, 3, Conv2dOptions{.bias = false}), make<BatchNorm2d>(3), make<ReLU>()});
  const auto fused = fuse_modules(net, {"0", "1", "2"});
  for (const Module* m : std::as_const(*fused).modules()) EXPECT_FALSE(m->training()) << nn::type_name(*m);
  EXPECT_TRUE(fused->get_parameter("0.0.bias").requires_grad());
  net->get_parameter("0.weight").requires_grad_(false);
  EXPECT_FALSE(fuse_modules(net, {"0", "1"})->get_parameter("0.bias").requires_grad());
}

TEST(FuseModules, F4_F30_modes_must_agree_and_statistics_be_there) {
  auto net = chain({make<Conv2d>(2, 3, 3), make<BatchNorm2d>(3)});
  net->train();
  EXPECT_REFUSED("Fusion only for eval!", fuse_modules(net, {"0", "1"}));
  (*net)[0].module()->eval();
  EXPECT_REFUSED("0 (Conv2d): fusion: Conv2d and BatchNorm2d must be in the same mode", fuse_modules(net, {"0", "1"}));
  EXPECT_REFUSED("running_var of BatchNorm2d must not be None",
                 fuse_modules(chain({make<Conv2d>(2, 3, 3),
                                     make<BatchNorm2d>(3, nn::BatchNormOptions{.track_running_stats = false})}),
                              {"0", "1"}));
}

TEST(FuseModules, F8_F9_F47_features_are_the_layers_or_one) {
  const Tensor x = wave({4, 3});
  for (const bool affine : {true, false}) {
    auto net = chain({make<Linear>(3, 5), make<BatchNorm1d>(5, nn::BatchNormOptions{.affine = affine}), make<ReLU>()});
    EXPECT_LE(difference((*fuse_modules(net, {"0", "1", "2"}))(x), (*net)(x)), 1e-12);
  }
  EXPECT_REFUSED("num_features", fuse_modules(chain({make<Linear>(3, 5), make<BatchNorm1d>(4)}), {"0", "1"}));
  for (const bool bias : {true, false})
    EXPECT_EQ(
        fuse_modules(chain({make<Conv2d>(1, 3, 2, Conv2dOptions{.bias = bias}), make<BatchNorm2d>(1)}), {"0", "1"})
            ->get_parameter("0.bias")
            .numel(),
        3);
}

TEST(FuseModules, F11_pairs_with_relu_hold_the_same_modules_in_any_mode) {
  auto net = chain({make<BatchNorm2d>(2), make<ReLU>()});
  net->train();
  const ModulePtr bn = (*net)[0].module();
  fuse_modules(net, {"0", "1"}, {.inplace = true});
  auto* both = (*net)[0].as<nn::BNReLU2d>();
  ASSERT_TRUE(both);
  EXPECT_EQ((*both)[0].module(), bn);
  EXPECT_TRUE(both->training());
  EXPECT_EQ(nn::type_name(*fuse_modules(chain({make<BatchNorm1d>(2), make<ReLU>()}), {"0", "1"})), "Sequential");
}

TEST(FuseModules, F12_F13_qat_keeps_the_layers_and_refuses_what_it_cannot_train) {
  auto net = chain({make<Conv2d>(2, 3, 3), make<BatchNorm2d>(3), make<ReLU>()});
  net->train();
  optim::SGD sgd(net->parameters(), {.lr = 0.1});
  const ModulePtr conv = (*net)[0].module(), bn = (*net)[1].module();
  fuse_modules_qat(net, {"0", "1", "2"}, {.inplace = true});
  auto* all = (*net)[0].as<nn::ConvBnReLU2d>();
  ASSERT_TRUE(all);
  EXPECT_EQ((*all)[0].module(), conv);
  EXPECT_EQ((*all)[1].module(), bn);
  EXPECT_EQ(bn->path(), "0.1");
  sum((*net)(wave(kImage))).backward();
  sgd.step();  // nothing has left the model

  EXPECT_REFUSED("Fusing ConvTranspose+BatchNorm not yet supported in QAT.",
                 fuse_modules_qat(chain({make<nn::ConvTranspose2d>(2, 3, 2), make<BatchNorm2d>(3)}), {"0", "1"}));
  EXPECT_REFUSED(
      "Only support fusing BatchNorm2d with affine set to True",
      fuse_modules_qat(chain({make<Conv2d>(2, 3, 2), make<BatchNorm2d>(3, nn::BatchNormOptions{.affine = false})}),
                       {"0", "1"}));
  EXPECT_REFUSED("Only support fusing BatchNorm2d with tracking_running_stats set to True",
                 fuse_modules_qat(chain({make<Conv2d>(2, 3, 2),
                                         make<BatchNorm2d>(3, nn::BatchNormOptions{.track_running_stats = false})}),
                                  {"0", "1"}));
  EXPECT_REFUSED("Output channel of Conv2d must match num_features of BatchNorm2d",
                 fuse_modules_qat(chain({make<Conv2d>(2, 3, 2), make<BatchNorm2d>(4)}), {"0", "1"}));
}

TEST(FuseModules, F14_F31_sequences_count_by_exact_types) {
  struct MyConv : Conv2d {
    using Conv2d::Conv2d;
  };
  EXPECT_CODE(not_implemented, fuse_modules(chain({make<MyConv>(2, 2, 1), make<BatchNorm2d>(2)}), {"0", "1"}));
  EXPECT_REFUSED("did not find fuser method for: (Conv2d, BatchNorm1d)",
                 fuse_modules(chain({make<Conv2d>(2, 2, 1), make<BatchNorm1d>(2)}), {"0", "1"}));
  EXPECT_CODE(not_implemented, fuse_modules(chain({make<Conv2d>(2, 2, 1)}), {"0"}));
  EXPECT_REFUSED("a group is empty", fuse_modules(chain({make<Conv2d>(2, 2, 1)}), surgery::ModuleNames{{}}));
  EXPECT_CODE(key_error, fuse_modules(chain({make<Conv2d>(2, 2, 1)}), {"0", "missing"}));
  auto net = chain({make<BatchNorm2d>(2), make<Conv2d>(2, 3, 1)});
  const auto fused = fuse_modules(net, {"0", "1"});
  EXPECT_LE(difference((*fused)(wave(kImage)), (*net)(wave(kImage))), 1e-12);
  EXPECT_EQ(nn::type_name(*(*fused)[0].module()), "Conv2d");
  EXPECT_REFUSED(
      "pads with zeros",
      fuse_modules(chain({make<BatchNorm2d>(2), make<Conv2d>(2, 3, 3, Conv2dOptions{.padding = 1})}), {"0", "1"}));
}

TEST(FuseModules, Z7_sequences_beyond_torchs_own_are_folded) {
  for (const int64_t groups : {1, 2}) {
    auto net = chain({make<nn::ConvTranspose2d>(2, 4, 3, nn::ConvTranspose2dOptions{.stride = 2, .groups = groups}),
                      make<BatchNorm2d>(4), make<ReLU>()});
    const auto fused = fuse_modules(net, {"0", "1", "2"});
    EXPECT_LE(difference((*fused)(wave(kImage)), (*net)(wave(kImage))), 1e-12);
    EXPECT_EQ(nn::type_name(*(*fused)[0].module()), "ConvTransposeReLU2d");
    EXPECT_CODE(not_implemented, fuse_modules_qat(net, {"0", "1", "2"}));
  }
  auto net = chain({make<BatchNorm1d>(3), make<Linear>(3, 5), make<ReLU>()});
  const auto fused = fuse_modules(net, {"0", "1"});
  EXPECT_LE(difference((*fused)(wave({4, 3})), (*net)(wave({4, 3}))), 1e-12);
  EXPECT_EQ(nn::type_name(*(*fused)[0].module()), "Linear");
  EXPECT_REFUSED("4 features are normalised, 3 are read",
                 fuse_modules(chain({make<BatchNorm1d>(4), make<Linear>(3, 5)}), {"0", "1"}));
}

TEST(FuseModules, Z7_a_convolution_takes_in_one_of_1x1_behind_it_and_a_linear_layer_another) {
  for (const bool first : {true, false})
    for (const bool second : {true, false})
      for (const char* mode : {"zeros", "reflect"}) {
        auto net =
            chain({make<Conv2d>(2, 5, 3, Conv2dOptions{.stride = 2, .padding = 1, .bias = first, .padding_mode = mode}),
                   make<Conv2d>(5, 3, 1, Conv2dOptions{.bias = second})});
        const auto fused = fuse_modules(net, {"0", "1"});
        EXPECT_LE(difference((*fused)(wave(kImage)), (*net)(wave(kImage))), 1e-12);
        EXPECT_EQ((*fused)[0].as<Conv2d>()->out_channels, 3);
        EXPECT_EQ(bool((*fused)[0].as<Conv2d>()->bias), first || second);
      }
  auto net = chain({make<Linear>(3, 5), make<Linear>(5, 2)});
  const auto fused = fuse_modules(net, {"0", "1"});
  EXPECT_LE(difference((*fused)(wave({4, 3})), (*net)(wave({4, 3}))), 1e-12);
  EXPECT_EQ(nn::repr(*(*fused)[0].module()), "Linear(in_features=3, out_features=2, bias=True)");
  const auto refused = [](const Conv2dOptions& a, int64_t kernel, const Conv2dOptions& b) {
    EXPECT_CODE(plan_refused,
                fuse_modules(chain({make<Conv2d>(2, 4, 3, a), make<Conv2d>(4, 4, kernel, b)}), {"0", "1"}));
  };
  refused({}, 3, {});
  refused({}, 1, {.stride = 2});
  refused({}, 1, {.padding = 1});
  refused({}, 1, {.groups = 2});
  refused({.groups = 2}, 1, {});
  EXPECT_CODE(shape_mismatch, fuse_modules(chain({make<Conv2d>(2, 4, 3), make<Conv2d>(3, 4, 1)}), {"0", "1"}));
}

TEST(FuseModules, Z1_named_groups_are_an_edit_that_optimizers_follow_and_that_is_undone_bitwise) {
  auto net = chain({make<Conv2d>(2, 3, 3), make<BatchNorm2d>(3), make<ReLU>(), make<Conv2d>(3, 2, 1)});
  optim::SGD sgd(net->parameters(), {.lr = 0.1, .momentum = 0.9});
  sum((*net)(wave(kImage))).backward();
  sgd.step();
  net->zero_grad();
  (*net)[0].module()->register_forward_pre_hook([](Module&, const nn::Values&) {});
  const Tensor y = (*net)(wave(kImage));
  const std::string before = fingerprint(*net, {&sgd});
  auto f = surgery::fuse(*net, surgery::ModuleNames{"0", "1", "2"}, {.optimizers = {&sgd}});
  ASSERT_EQ(f.fused.size(), 1U);
  EXPECT_EQ(f.fused[0].what, "Conv2d + BatchNorm2d + ReLU -> ConvReLU2d");
  EXPECT_EQ(f.edit.changes().size(), 3U);
  ASSERT_EQ(sgd.params().size(), 4U);
  for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(sgd.params()[i].is_same(net->parameters()[i])) << i;
  EXPECT_LE(difference((*net)(wave(kImage)), y), 1e-12);
  sum((*net)(wave(kImage))).backward();
  f.edit.undo();
  net->zero_grad();
  EXPECT_EQ(fingerprint(*net, {&sgd}), before);
  EXPECT_REFUSED("undone already", f.edit.undo());
}

TEST(FuseModules, F16_F49_an_error_in_a_later_group_changes_nothing) {
  auto net = chain({make<Conv2d>(2, 3, 1), make<BatchNorm2d>(3), make<Conv2d>(3, 3, 1), make<BatchNorm2d>(4)});
  (*net)[0].module()->register_forward_pre_hook([](Module&, const nn::Values&) {});
  const std::string before = fingerprint(*net);
  EXPECT_REFUSED("2 (Conv2d): To fuse", fuse_modules(net, {{"0", "1"}, {"2", "3"}}, {.inplace = true}));
  EXPECT_EQ(fingerprint(*net), before);
}

TEST(FuseModules, F17_F34_F52_a_module_with_other_uses_is_refused) {
  struct Block : nn::Layer {
    Child<Conv2d> conv1{this, "conv1", 2, 2, 1}, conv2{this, "conv2", 2, 2, 1};
    Child<BatchNorm2d> bn1{this, "bn1", 2}, bn2{this, "bn2", 2};
    Child<ReLU> relu{this, "relu"};
    Tensor forward(const Tensor& x) override { return relu(bn2(conv2(relu(bn1(conv1(x))))) + x); }
  };
  auto net = ready(make<Block>());
  EXPECT_REFUSED("'relu' is named twice", fuse_modules(net, {{"conv1", "bn1", "relu"}, {"conv2", "bn2", "relu"}}));
  EXPECT_REFUSED("'relu' (ReLU) is called 2 times; fusing would lose one",
                 fuse_modules(net, surgery::ModuleNames{{"conv1", "bn1", "relu"}}, {.example = {wave(kImage)}}));
  auto conv = make<Conv2d>(2, 2, 1);
  auto shared = chain({conv, make<BatchNorm2d>(2), conv});
  EXPECT_REFUSED("'0' (Conv2d) is shared with '2'", fuse_modules(shared, {"0", "1"}, {.inplace = true}));
}

TEST(FuseModules, F19_F20_F36_each_hook_runs_once_or_is_reported) {
  auto net = chain({make<Conv2d>(2, 2, 1), make<BatchNorm2d>(2)});
  std::vector<std::string> log;
  const auto pre = [&](const char* name) {
    return [&log, name](Module&, const nn::Values& v) {
      log.push_back(name);
      return nn::Value(v[0].tensor() * 2.0);
    };
  };
  const auto post = [&](const char* name) {
    return [&log, name](Module&, const nn::Values&, nn::Value&) { log.push_back(name); };
  };
  auto handle = (*net)[0].module()->register_forward_pre_hook(pre("pre_conv"));
  (*net)[0].module()->register_forward_hook(post("post_conv"));
  (*net)[1].module()->register_forward_pre_hook([&log](Module&, const nn::Values&) { log.push_back("pre_bn"); });
  (*net)[1].module()->register_forward_hook(post("post_bn"));
  const Tensor x = wave(kImage), y = (*net)(x);
  log.clear();
  std::vector<std::string> dropped, heard;
  const auto outer = set_warning_handler([&](const std::string& text) { heard.push_back(text); });
  fuse_modules(net, {"0", "1"}, {.inplace = true, .dropped_hooks = &dropped});
  set_warning_handler(outer);
  EXPECT_EQ(dropped, std::vector<std::string>({"0: 1 forward hook", "1: 1 forward pre-hook"}));
  EXPECT_EQ(heard.size(), 2U);
  EXPECT_LE(difference((*net)(x), y), 1e-12);
  EXPECT_EQ(log, std::vector<std::string>({"pre_conv", "post_bn"}));
  handle.remove();
  log.clear();
  (*net)(x);
  EXPECT_EQ(log, std::vector<std::string>({"post_bn"}));
}

TEST(FuseModules, F35_F38_hooks_of_layers_that_stay_run_once) {
  auto net = chain({make<Conv2d>(2, 2, 1), make<BatchNorm2d>(2)});
  net->train();
  std::vector<std::string> log;
  for (const int i : {0, 1}) {
    (*net)[i].module()->register_forward_pre_hook(
        [&log, i](Module&, const nn::Values&) { log.push_back("pre" + std::to_string(i)); });
    (*net)[i].module()->register_forward_hook(
        [&log, i](Module&, const nn::Values&, nn::Value&) { log.push_back("post" + std::to_string(i)); });
  }
  std::vector<std::string> dropped;
  fuse_modules_qat(net, {"0", "1"}, {.inplace = true, .dropped_hooks = &dropped});
  EXPECT_TRUE(dropped.empty());
  (*net)(wave(kImage));
  EXPECT_EQ(log, std::vector<std::string>({"pre0", "post0", "pre1", "post1"}));
}

TEST(FuseModules, F25_F55_an_optimizer_from_before_finds_out) {
  auto net = chain({make<Conv2d>(2, 3, 1), make<BatchNorm2d>(3)});
  optim::SGD sgd(net->parameters(), {.lr = 0.1});
  fuse_modules(net, {"0", "1"}, {.inplace = true});
  EXPECT_CODE(stale_parameter, sgd.step());
}

TEST(FuseModules, F53_weights_keep_their_dtype_under_a_wider_norm) {
  auto net = chain({make<Conv2d>(1, 2, 1), make<BatchNorm2d>(2)});
  const Tensor exact = fuse_modules(net, {"0", "1"})->get_parameter("0.weight");
  (*net)[0].module()->float32();
  const Tensor weight = fuse_modules(net, {"0", "1"})->get_parameter("0.weight");
  EXPECT_EQ(weight.dtype(), f32);
  EXPECT_LE(difference(weight.to(f64).detach(), exact.detach()), 1e-7);
}

}  // namespace

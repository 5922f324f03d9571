// Fusion by trace: the faults KF of the contract, the law that a fused model computes what the model did, hooks, undo,
// what the report says.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include "fingerprint.h"
#include "graft/core/autograd.h"
#include "graft/nn/intrinsic.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/fuse.h"
#include "graft/surgery/trace.h"
#include "refused.h"

namespace {

using namespace graft;
using graft_test::fingerprint;
using nn::BatchNorm1d;
using nn::BatchNorm2d;
using nn::Child;
using nn::Conv2d;
using nn::Conv2dOptions;
using nn::Identity;
using nn::Linear;
using nn::make;
using nn::Module;
using nn::ModulePtr;
using nn::ReLU;
using nn::Sequential;
using surgery::Reason;

// Numbers that are not round: parameters, running statistics (variances positive), and so on.
void fill(Module& m, double seed = 0.3) {
  const NoGrad quiet;
  double k = seed;
  const auto set = [&](const Tensor& t, double scale, double shift) {
    if (!t.defined() || !is_floating(t.dtype())) return;
    Tensor flat = arange(t.numel(), f64).reshape(t.shape());
    t.copy_((sin(flat * 1.7 + (k += 0.9)) * scale + shift).to(t.dtype()));
  };
  for (auto& [name, t] : m.named_parameters()) set(t.detach(), 0.5, name.find("bn") != std::string::npos ? 0.9 : 0.1);
  for (auto& [name, t] : m.named_buffers()) set(t, 0.4, name.find("var") != std::string::npos ? 1.1 : 0.2);
}
Tensor wave(const Shape& shape, DType t = f64) {
  int64_t n = 1;
  for (const int64_t s : shape) n *= s;
  return cos(arange(n, f64) * 0.21).reshape(shape).to(t);
}
double difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape(), b.shape());
  return max(abs((a - b).to(f64))).item<double>();
}
double largest(const Tensor& a) { return max(abs(a.to(f64))).item<double>(); }
template <class M> std::shared_ptr<M> ready(std::shared_ptr<M> m) {
  m->float64().eval();
  fill(*m);
  return m;
}
std::shared_ptr<Sequential> chain(std::vector<ModulePtr> modules) { return ready(make<Sequential>(modules)); }
surgery::Fusion fuse(Module& m, const Tensor& x, const surgery::FuseOptions& o = {}) {
  return surgery::fuse(m, {x}, o);
}
using Reasons = std::vector<Reason>;
Reasons reasons(const surgery::Fusion& f) {
  Reasons list;
  for (const auto& r : f.refused) list.push_back(r.code);
  return list;
}
// Fuses and holds the output against the unfused one.
surgery::Fusion fused_equal(nn::Layer& m, const Tensor& x, const surgery::FuseOptions& o = {}) {
  const NoGrad quiet;
  const Tensor y = m(x);
  auto f = fuse(m, x, o);
  EXPECT_LE(difference(m(x), y), 1e-12 * (1 + largest(y)));
  return f;
}
void refused_unchanged(nn::Layer& m, const Tensor& x, const Reasons& expected, const surgery::FuseOptions& o = {}) {
  const std::string before = fingerprint(m, o.optimizers);
  const auto f = fuse(m, x, o);
  EXPECT_TRUE(f.fused.empty());
  EXPECT_EQ(reasons(f), expected) << concat(f);
  EXPECT_EQ(fingerprint(m, o.optimizers), before);
}

struct ConvBn : nn::Layer {
  Child<Conv2d> conv{this, "conv", 2, 3, 3};
  Child<BatchNorm2d> bn{this, "bn", 3};
  Tensor forward(const Tensor& x) override { return bn(conv(x)); }
};
struct ConvBnRelu : nn::Layer {
  Child<ReLU> relu{this, "relu", true};
  Child<BatchNorm2d> bn{this, "bn", 3};  // registered in another order than they run
  Child<Conv2d> conv{this, "conv", 2, 3, 3};
  Tensor forward(const Tensor& x) override { return relu(bn(conv(x))); }
};
const Shape kImage{2, 2, 6, 5};

// ---- the trace ---------------------------------------------------------------------------------------------------

TEST(Trace, it_knows_calls_values_and_who_reads_them) {
  auto net = ready(make<ConvBnRelu>());
  const std::string before = fingerprint(*net);
  const auto t = surgery::trace(*net, {wave(kImage)});
  EXPECT_EQ(fingerprint(*net), before);
  EXPECT_FALSE(t.on_values);
  ASSERT_EQ(t.calls_of.at(net->conv.module().get()).size(), 1U);
  const auto& conv = t.calls[t.calls_of.at(net->conv.module().get())[0]];
  const auto& bn = t.calls[t.calls_of.at(net->bn.module().get())[0]];
  const size_t relu = t.calls_of.at(net->relu.module().get())[0];
  ASSERT_EQ(conv.out.size(), 1U);
  EXPECT_EQ(t.only_consumer(conv.out[0]), t.calls_of.at(net->bn.module().get())[0]);
  EXPECT_EQ(t.only_consumer(bn.out.at(0)), relu);
  EXPECT_TRUE(t.values[t.calls[relu].out.at(0)].output);  // the in-place op has made a new value
  EXPECT_EQ(t.values[conv.out[0]].tensor.shape(), Shape({2, 3, 4, 3}));
}

TEST(Trace, what_depends_on_values_is_traced_on_values) {
  struct Net : nn::Layer {
    Child<ConvBn> part{this, "part"};
    Tensor forward(const Tensor& x) override { return sum(x).item<double>() > 1e9 ? x : part(x); }
  };
  auto net = ready(make<Net>());
  EXPECT_TRUE(surgery::trace(*net, {wave(kImage)}).on_values);
  EXPECT_EQ(fused_equal(*net, wave(kImage)).fused.size(), 1U);
  auto other = ready(make<Net>());
  other->train();
  EXPECT_CODE(data_dependent, surgery::trace(*other, {wave(kImage)}));
}

// ---- the contract ------------------------------------------------------------------------------------------------

TEST(Contract, KF1_a_conv_output_that_is_used_twice_is_refused) {
  struct Net : ConvBn {
    Tensor forward(const Tensor& x) override {
      const Tensor y = conv(x);
      return bn(y) + y;
    }
  };
  refused_unchanged(*ready(make<Net>()), wave(kImage), {Reason::several_consumers});
  struct Detached : ConvBn {  // no op reads it, the memory is read all the same
    Tensor forward(const Tensor& x) override {
      const Tensor y = conv(x), same = y.detach();
      return bn(y) + same;
    }
  };
  refused_unchanged(*ready(make<Detached>()), wave(kImage), {Reason::several_consumers});
  struct Kept : ConvBn {
    Tensor features;
    Tensor forward(const Tensor& x) override { return bn(features = conv(x)); }
  };
  refused_unchanged(*ready(make<Kept>()), wave(kImage), {Reason::several_consumers});
}

TEST(Contract, KF2_a_conv_that_is_called_twice_is_refused) {
  struct Net : nn::Layer {
    Child<Conv2d> conv{this, "conv", 2, 2, 1};
    Child<BatchNorm2d> bn{this, "bn", 2};
    Tensor forward(const Tensor& x) override { return conv(bn(conv(x))); }
  };
  refused_unchanged(*ready(make<Net>()), wave(kImage), {Reason::layer_called_again});
  struct Direct : ConvBn {  // the second call goes past the slot, its weights are read all the same
    Tensor forward(const Tensor& x) override { return bn(conv(x)) + conv->forward(x); }
  };
  refused_unchanged(*ready(make<Direct>()), wave(kImage), {Reason::tied});
}

TEST(Contract, KF3_a_norm_that_two_convs_share_is_refused) {
  struct Net : nn::Layer {
    Child<Conv2d> a{this, "a", 2, 2, 1}, b{this, "b", 2, 2, 1};
    Child<BatchNorm2d> bn{this, "bn", 2};
    Tensor forward(const Tensor& x) override { return bn(a(x)) + bn(b(x)); }
  };
  refused_unchanged(*ready(make<Net>()), wave(kImage), {Reason::norm_called_again});
}

TEST(Contract, KF4_conv_relu_norm_is_refused) {
  auto net = chain({make<Conv2d>(2, 3, 3), make<ReLU>(), make<BatchNorm2d>(3)});
  refused_unchanged(*net, wave(kImage), {Reason::activation_between});
  EXPECT_EQ(fuse(*net, wave(kImage)).refused[0].reason, "a ReLU is between '0' and it");
}

TEST(Contract, KF5_execution_counts_not_registration) {
  auto net = ready(make<ConvBnRelu>());
  const auto f = fused_equal(*net, wave(kImage));
  ASSERT_EQ(f.fused.size(), 1U);
  EXPECT_EQ(f.fused[0].chain, std::vector<std::string>({"conv", "bn", "relu"}));
  EXPECT_TRUE(net->conv.as<nn::ConvReLU2d>());
  EXPECT_TRUE(net->bn.as<Identity>());
  EXPECT_EQ(net->named_parameters()[0].first, "conv.0.weight");
}

TEST(Contract, KF6_a_norm_in_training_mode_is_refused) {
  auto net = ready(make<ConvBn>());
  net->bn->train();
  refused_unchanged(*net, wave(kImage), {Reason::training_mode});
  net->eval();
  net->conv->train();
  refused_unchanged(*net, wave(kImage), {Reason::training_mode});
}

TEST(Contract, KF7_a_norm_without_running_statistics_is_refused) {
  auto net = chain({make<Conv2d>(2, 3, 3), make<BatchNorm2d>(3, nn::BatchNormOptions{.track_running_stats = false})});
  refused_unchanged(*net, wave(kImage), {Reason::no_running_statistics});
}

TEST(Contract, KF8_a_norm_without_weight_and_bias_is_folded) {
  EXPECT_EQ(fused_equal(*chain({make<Conv2d>(2, 3, 3), make<BatchNorm2d>(3, nn::BatchNormOptions{.affine = false})}),
                        wave(kImage))
                .fused.size(),
            1U);
  EXPECT_EQ(fused_equal(*chain({make<Linear>(4, 3), make<BatchNorm1d>(3, nn::BatchNormOptions{.affine = false})}),
                        wave({5, 4}))
                .fused.size(),
            1U);
}

TEST(Contract, KF9_channels_that_do_not_fit_are_an_error_with_the_path) {
  auto net = chain({make<Conv2d>(2, 3, 3), make<BatchNorm2d>(4)});
  const std::string before = fingerprint(*net);
  EXPECT_REFUSED("1 (BatchNorm2d): ", fuse(*net, wave(kImage)));
  EXPECT_EQ(fingerprint(*net), before);
}

TEST(Contract, KF10_grouped_depthwise_and_transposed_convolutions_fold_along_the_right_axis) {
  for (const bool bias : {true, false}) {
    auto grouped = chain(
        {make<Conv2d>(4, 6, 3, Conv2dOptions{.stride = 2, .padding = 2, .dilation = 2, .groups = 2, .bias = bias}),
         make<BatchNorm2d>(6)});
    EXPECT_EQ(fused_equal(*grouped, wave({2, 4, 7, 6})).fused.size(), 1U);
    auto depthwise =
        chain({make<Conv2d>(4, 4, 3, Conv2dOptions{.groups = 4, .bias = bias}), make<BatchNorm2d>(4), make<ReLU>()});
    EXPECT_EQ(fused_equal(*depthwise, wave({2, 4, 7, 6})).fused.size(), 1U);
    for (const int64_t groups : {1, 2, 4}) {
      auto transposed = chain(
          {make<nn::ConvTranspose2d>(
               4, 8, 3, nn::ConvTranspose2dOptions{.stride = 2, .output_padding = 1, .groups = groups, .bias = bias}),
           make<BatchNorm2d>(8), make<ReLU>()});
      const auto f = fused_equal(*transposed, wave({2, 4, 3, 4}));
      ASSERT_EQ(f.fused.size(), 1U) << groups;
      EXPECT_EQ(f.fused[0].what, "ConvTranspose2d + BatchNorm2d + ReLU -> ConvTransposeReLU2d");
    }
  }
}

TEST(Contract, KF11_a_conv_without_bias_gets_one_that_learns_as_its_weight_does) {
  for (const bool learns : {true, false}) {
    auto net = chain({make<Conv2d>(2, 3, 3, Conv2dOptions{.bias = false}), make<BatchNorm2d>(3)});
    net->requires_grad_(learns);
    EXPECT_EQ(fused_equal(*net, wave(kImage)).fused.size(), 1U);
    EXPECT_EQ(net->get_parameter("0.bias").requires_grad(), learns);
    EXPECT_EQ(nn::repr(*net),
              "Sequential(\n  (0): Conv2d(2, 3, kernel_size=(3, 3), stride=(1, 1))\n  (1): Identity()\n)");
  }
}

TEST(Contract, KF12_extreme_variances_are_exact_in_f64_or_refused) {
  const auto with_variance = [](double var, double eps) {
    auto net = make<Sequential>(make<Conv2d>(1, 1, 1), make<BatchNorm2d>(1, nn::BatchNormOptions{.eps = eps}));
    net->eval();
    const NoGrad quiet;
    net->get_buffer("1.running_var").copy_(full({1}, var));
    net->get_parameter("0.weight").detach().copy_(full({1, 1, 1, 1}, 2.0));
    return net;
  };
  const Tensor x = wave({1, 1, 2, 2}, f32);
  const double inf = std::numeric_limits<double>::infinity();
  for (const double var : {0.0, 6e-45, 1e-30, inf}) {
    auto net = with_variance(var, 1e-5);
    ASSERT_EQ(fuse(*net, x).fused.size(), 1U) << var;
    const double expected = 2 / std::sqrt(double(float(var)) + 1e-5);
    EXPECT_EQ(net->get_parameter("0.weight").at({0, 0, 0, 0}), double(float(expected))) << var;
  }
  EXPECT_EQ(reasons(fuse(*with_variance(0, 0), x)), Reasons{Reason::not_finite});
  EXPECT_EQ(reasons(fuse(*with_variance(-1, 1e-5), x)), Reasons{Reason::not_finite});
  EXPECT_EQ(reasons(fuse(*with_variance(std::nan(""), 1e-5), x)), Reasons{Reason::not_finite});
  EXPECT_EQ(fuse(*with_variance(6e-45, 0), x).fused.size(), 1U);  // 1 / sqrt(denormal) is large, and finite
}

TEST(Contract, KF13_gamma_of_zero_or_below_is_exact) {
  for (const double gamma : {0.0, -1.5}) {
    auto net = ready(make<ConvBn>());
    const NoGrad quiet;
    net->bn->weight.leaf().detach().copy_(full({3}, gamma, f64));
    EXPECT_EQ(fused_equal(*net, wave(kImage)).fused.size(), 1U);
  }
}

TEST(Contract, KF14_a_folded_weight_that_overflows_f16_is_refused) {
  auto net = make<ConvBn>();
  net->half().eval();
  const NoGrad quiet;
  net->bn->weight.leaf().detach().copy_(full({3}, 60000.0, f16));
  net->bn->running_var.value().copy_(full({3}, 1e-3, f16));
  refused_unchanged(*net, wave(kImage, f16), {Reason::overflow});
}

TEST(Contract, KF15_hooks_are_refused_unless_they_may_move_and_then_run_once_each) {
  for (const char* where : {"bn", "conv"}) {
    auto net = ready(make<ConvBn>());
    net->get_submodule(where).register_forward_hook([](Module&, const nn::Values&, nn::Value&) {});
    refused_unchanged(*net, wave(kImage), {Reason::hooked});
  }
  auto net = ready(make<ConvBnRelu>());
  std::vector<std::string> log;
  const auto pre = [&](const char* name) { return [&log, name](Module&, const nn::Values&) { log.push_back(name); }; };
  const auto post = [&](const char* name) {
    return [&log, name](Module&, const nn::Values&, nn::Value&) { log.push_back(name); };
  };
  net->conv->register_forward_pre_hook(pre("pre_conv"));
  net->conv->register_forward_hook(post("post_conv"));
  net->bn->register_forward_pre_hook(pre("pre_bn"));
  auto handle = net->relu->register_forward_hook(post("post_relu"));
  const Tensor x = wave(kImage), y = (*net)(x);
  EXPECT_EQ(log, std::vector<std::string>({"pre_conv", "post_conv", "pre_bn", "post_relu"}));
  const std::string before = fingerprint(*net);

  auto f = fuse(*net, x, {.move_hooks = true});
  ASSERT_EQ(f.fused.size(), 1U);
  EXPECT_EQ(f.fused[0].dropped_hooks, std::vector<std::string>({"conv: 1 hook", "bn: 1 hook"}));
  log.clear();
  EXPECT_LE(difference((*net)(x), y), 1e-12);
  EXPECT_EQ(log, std::vector<std::string>({"pre_conv", "post_relu"}));
  handle.remove();  // handles follow their hooks
  log.clear();
  (*net)(x);
  EXPECT_EQ(log, std::vector<std::string>({"pre_conv"}));
  f.edit.undo();
  log.clear();
  (*net)(x);
  EXPECT_EQ(log, std::vector<std::string>({"pre_conv", "post_conv", "pre_bn"}));  // what was removed stays so
}

TEST(Contract, KF16_what_an_optimizer_trains_is_fused_only_for_inference) {
  auto net = ready(make<ConvBn>());
  optim::SGD sgd(net->parameters());
  refused_unchanged(*net, wave(kImage), {Reason::optimized}, {.optimizers = {&sgd}});
  const auto f = fused_equal(*net, wave(kImage), {.optimizers = {&sgd}, .for_inference = true});
  EXPECT_EQ(f.fused.size(), 1U);
  EXPECT_EQ(sgd.params().size(), 2U);
  EXPECT_TRUE(sgd.params()[0].is_same(net->get_parameter("conv.weight")));
}

TEST(Contract, KF17_a_tied_weight_is_refused) {
  struct Net : ConvBn {
    Child<Conv2d> other{this, "other", 2, 3, 3};
    Net() { other->weight = conv->weight; }
    Tensor forward(const Tensor& x) override { return bn(conv(x)) + other(x); }
  };
  refused_unchanged(*ready(make<Net>()), wave(kImage), {Reason::tied});
}

TEST(Contract, KF18_a_second_fusion_changes_nothing) {
  auto net = ready(make<ConvBnRelu>());
  EXPECT_EQ(fuse(*net, wave(kImage)).fused.size(), 1U);
  refused_unchanged(*net, wave(kImage), {});
}

TEST(Contract, KF19_reflect_padding_is_exact_and_a_norm_before_zero_padding_is_refused) {
  for (const char* mode : {"reflect", "replicate", "circular"}) {
    auto behind =
        chain({make<Conv2d>(2, 3, 3, Conv2dOptions{.padding = 1, .padding_mode = mode}), make<BatchNorm2d>(3)});
    EXPECT_EQ(fused_equal(*behind, wave(kImage)).fused.size(), 1U) << mode;
    auto before = chain({make<BatchNorm2d>(2), make<Conv2d>(2, 4, 3, Conv2dOptions{.padding = 1, .padding_mode = mode}),
                         make<BatchNorm2d>(4), make<ReLU>()});
    const auto f = fused_equal(*before, wave(kImage));
    ASSERT_EQ(f.fused.size(), 1U) << mode;
    EXPECT_EQ(f.fused[0].what, "BatchNorm2d + Conv2d + BatchNorm2d + ReLU -> ConvReLU2d");
  }
  refused_unchanged(*chain({make<BatchNorm2d>(2), make<Conv2d>(2, 3, 3, Conv2dOptions{.padding = 1})}), wave(kImage),
                    {Reason::zero_padding});
  EXPECT_EQ(
      fused_equal(*chain({make<BatchNorm2d>(4), make<Conv2d>(4, 6, 3, Conv2dOptions{.groups = 2})}), wave({2, 4, 5, 5}))
          .fused.size(),
      1U);
}

// ---- the law -----------------------------------------------------------------------------------------------------

template <int N> struct Kinds;
template <>
struct Kinds<1> {
  using Conv = nn::Conv1d;
  using Transpose = nn::ConvTranspose1d;
  using Norm = BatchNorm1d;
};
template <>
struct Kinds<2> {
  using Conv = nn::Conv2d;
  using Transpose = nn::ConvTranspose2d;
  using Norm = BatchNorm2d;
};
template <>
struct Kinds<3> {
  using Conv = nn::Conv3d;
  using Transpose = nn::ConvTranspose3d;
  using Norm = nn::BatchNorm3d;
};

template <int N> void law() {
  using K = Kinds<N>;
  Shape shape{2, 4};
  for (int d = 0; d < N; ++d) shape.push_back(6 + d);
  const Tensor x = wave(shape);
  for (const int64_t groups : {1, 2, 4})
    for (const bool bias : {true, false})
      for (const bool affine : {true, false})
        for (const int64_t dilation : {1, 2})
          for (const char* mode : {"zeros", "reflect"}) {
            auto net =
                chain({make<typename K::Conv>(4, 8, 3,
                                              nn::ConvLayerOptions<N>{.stride = 2,
                                                                      .padding = 2,
                                                                      .dilation = dilation,
                                                                      .groups = groups,
                                                                      .bias = bias,
                                                                      .padding_mode = mode}),
                       make<typename K::Norm>(8, nn::BatchNormOptions{.eps = 1e-3, .affine = affine}), make<ReLU>()});
            EXPECT_EQ(fused_equal(*net, x).fused.size(), 1U) << N << groups << bias << affine << dilation << mode;
          }
  for (const int64_t groups : {1, 2, 4}) {
    auto net = chain(
        {make<typename K::Transpose>(
             4, 4, 3, nn::ConvTransposeLayerOptions<N>{.stride = 2, .padding = 1, .groups = groups, .dilation = 2}),
         make<typename K::Norm>(4)});
    EXPECT_EQ(fused_equal(*net, x).fused.size(), 1U) << N << groups;
  }
}
TEST(Fuse, F23_a_fused_model_computes_what_the_model_did_1d) { law<1>(); }
TEST(Fuse, F23_a_fused_model_computes_what_the_model_did_2d) { law<2>(); }
TEST(Fuse, F23_a_fused_model_computes_what_the_model_did_3d) { law<3>(); }

TEST(Fuse, F8_F10_linear_with_a_norm_folds_on_rows_and_not_on_sequences) {
  for (const bool bias : {true, false}) {
    auto net = chain({make<Linear>(4, 3, bias), make<BatchNorm1d>(3), make<ReLU>()});
    const auto f = fused_equal(*net, wave({5, 4}));
    ASSERT_EQ(f.fused.size(), 1U);
    EXPECT_EQ(f.fused[0].what, "Linear + BatchNorm1d + ReLU -> LinearReLU");
  }
  refused_unchanged(*chain({make<Linear>(4, 3), make<BatchNorm1d>(3)}), wave({2, 3, 4}), {Reason::wrong_rank});
}

TEST(Fuse, F23_gradients_of_input_and_weight_follow_the_chain_rule) {
  auto net = ready(make<ConvBn>()), fused = ready(make<ConvBn>());
  fuse(*fused, wave(kImage));
  const Tensor x = wave(kImage).requires_grad_(), z = wave(kImage).requires_grad_();
  const Tensor y = (*net)(x), w = (*fused)(z);
  sum(y * y).backward();
  sum(w * w).backward();
  EXPECT_LE(difference(x.grad(), z.grad()), 1e-11);
  const Tensor scale =
      (net->bn->weight.value() * rsqrt(net->bn->running_var.value() + 1e-5)).detach().reshape({3, 1, 1, 1});
  EXPECT_LE(difference(net->conv->weight->grad(), fused->conv->weight->grad() * scale), 1e-10);
}

// ---- what stays --------------------------------------------------------------------------------------------------

TEST(Fuse, a_relu_with_other_uses_stays_and_the_norm_is_folded) {
  struct Block : nn::Layer {
    Child<Conv2d> conv1{this, "conv1", 2, 2, 1}, conv2{this, "conv2", 2, 2, 1};
    Child<BatchNorm2d> bn1{this, "bn1", 2}, bn2{this, "bn2", 2};
    Child<ReLU> relu{this, "relu", true};
    Tensor forward(const Tensor& x) override { return relu(bn2(conv2(relu(bn1(conv1(x))))) + x); }
  };
  auto net = ready(make<Block>());
  const auto f = fused_equal(*net, wave(kImage));
  EXPECT_EQ(f.fused.size(), 2U);
  EXPECT_EQ(reasons(f), Reasons{Reason::relu_called_again});
  EXPECT_TRUE(net->relu.as<ReLU>());
}

TEST(Fuse, a_relu_function_stays_and_is_reported) {
  struct Net : ConvBn {
    Tensor forward(const Tensor& x) override { return relu(bn(conv(x))); }
  };
  auto net = ready(make<Net>());
  const auto f = fused_equal(*net, wave(kImage));
  EXPECT_EQ(f.fused.size(), 1U);
  EXPECT_EQ(reasons(f), Reasons{Reason::relu_is_a_function});
}

TEST(Fuse, a_subclass_and_a_norm_alone_are_refused) {
  struct Doubled : Conv2d {
    using Conv2d::Conv2d;
    Tensor forward(const Tensor& x) override { return Conv2d::forward(x) * 2; }
  };
  refused_unchanged(*chain({make<Doubled>(2, 3, 3), make<BatchNorm2d>(3)}), wave(kImage), {Reason::subclass});
  refused_unchanged(*chain({make<BatchNorm2d>(2), make<ReLU>()}), wave(kImage), {Reason::no_layer});
}

TEST(Fuse, an_edited_parameter_is_refused) {
  auto net = ready(make<ConvBn>());
  net->conv->weight.entry().make_editable();
  net->conv->weight *= 2.0;
  EXPECT_EQ(reasons(fuse(*net, wave(kImage))), Reasons{Reason::edited});
}

// ---- undo, report ------------------------------------------------------------------------------------------------

TEST(Fuse, undo_is_bitwise) {
  auto net = ready(make<ConvBnRelu>());
  const Tensor x = wave(kImage), y = (*net)(x);
  const std::string before = fingerprint(*net);
  auto f = fuse(*net, x);
  EXPECT_NE(fingerprint(*net), before);
  f.edit.undo();
  EXPECT_EQ(fingerprint(*net), before);
  EXPECT_EQ(difference((*net)(x), y), 0);
}

TEST(Fuse, the_fused_layer_works_as_its_parts_when_they_are_hooked_or_replaced) {
  auto net = ready(make<ConvBnRelu>());
  fuse(*net, wave(kImage));
  const Tensor y = (*net)(wave(kImage));
  auto& both = *net->conv.as<nn::ConvReLU2d>();
  int calls = 0;
  both[0].module()->register_forward_hook([&](Module&, const nn::Values&, nn::Value&) { ++calls; });
  EXPECT_LE(difference((*net)(wave(kImage)), y), 1e-13);
  EXPECT_EQ(calls, 1);
  both[1] = make<Identity>();
  EXPECT_GT(difference((*net)(wave(kImage)), y), 0.01);
  EXPECT_EQ(calls, 2);
}

TEST(Fuse, the_report_is_a_table) {
  auto net = chain({make<Conv2d>(2, 3, 3), make<BatchNorm2d>(3), make<ReLU>(), make<BatchNorm2d>(3)});
  EXPECT_EQ(concat(fuse(*net, wave(kImage))),
            "fused: 1; refused: 1\n"
            "  path  chain    fused\n"
            "  0     0, 1, 2  Conv2d + BatchNorm2d + ReLU -> ConvReLU2d\n"
            "  path  refused   reason\n"
            "  3     no_layer  neither what it follows nor what follows it is a layer that can take it up\n");
}

}  // namespace

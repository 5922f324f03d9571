// Ready-made surgeries of training and research: adapters, stochastic depth, norms, activations, checkpointing,
// intermediates. Values are held against closed forms and against the model without them.
#include <gtest/gtest.h>

#include <sstream>
#include "graft/core/autograd.h"
#include "graft/core/memory.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"
#include "graft/nn/containers.h"
#include "graft/nn/shape.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/surgery.h"
#include "refused.h"

namespace {

using namespace graft;
using nn::Conv2d;
using nn::Conv2dOptions;
using nn::Linear;
using nn::make;
using nn::Sequential;
using surgery::select;

double off(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape(), b.shape());
  return a.numel() == 0 ? 0 : max(abs(a - b)).item<double>();
}
Tensor wave(const Shape& shape) {
  const Tensor i = arange(int64_t(numel_of(shape)), f64);
  return sin(i * i * 0.37 + 0.3).reshape(shape);
}
std::string text(const surgery::Plan& plan) {
  std::ostringstream out;
  out << plan;
  return out.str();
}
std::shared_ptr<Sequential> small_net() {
  auto net = make<Sequential>(make<Conv2d>(2, 4, 3, Conv2dOptions{.stride = 2, .padding = 1, .padding_mode = "reflect"}),
                              make<nn::ReLU>(), make<nn::Flatten>(), make<Linear>(4 * 3 * 3, 5));
  net->float64();
  return net;
}
void fill_adapters(const nn::Module& net) {
  const NoGrad quiet;
  for (const Tensor& p : surgery::lora_parameters(net)) p.detach().copy_(wave(p.shape()));
}

// ---- LoRA --------------------------------------------------------------------------------------------------------

TEST(LoRA, changes_nothing_until_it_is_trained_and_only_it_is_trained) {
  auto net = small_net();
  const Tensor x = wave({3, 2, 6, 6}), y = (*net)(x);
  const auto edit = surgery::replace(*net, surgery::lora({.r = 2, .alpha = 3}));
  EXPECT_EQ(off((*net)(x), y), 0);
  surgery::mark_only_lora_as_trainable(*net);
  const auto status = surgery::lora_status(*net);
  ASSERT_EQ(status.adapters.size(), 2U);
  EXPECT_EQ(status.adapters[0].path, "0");
  EXPECT_EQ(status.adapters[0].type, "LoRAConv2d");
  EXPECT_EQ(status.adapters[0].parameters, 2 * 2 * 9 + 4 * 2);
  EXPECT_EQ(status.trainable, (2 * 2 * 9 + 4 * 2) + (36 * 2 + 2 * 5));
  const Tensor before = net->get_parameter("3.base.weight").detach().clone();
  optim::SGD sgd(surgery::lora_parameters(*net), {.lr = 0.1});
  double first = 0, last = 0;
  for (int step = 0; step < 100; ++step) {
    sgd.zero_grad();
    const Tensor loss = mean(square((*net)(x) - 1));
    loss.backward();
    sgd.step();
    (step ? last : first) = loss.item<double>();
  }
  EXPECT_LT(last, 0.5 * first);
  EXPECT_EQ(off(net->get_parameter("3.base.weight"), before), 0);
}

TEST(LoRA, adds_the_product_of_its_factors_scaled) {
  auto net = make<Sequential>(make<Linear>(3, 2));
  net->float64();
  const Tensor x = wave({4, 3}), y = (*net)(x);
  surgery::replace(*net, surgery::lora({.r = 1, .alpha = 0.5}));
  fill_adapters(*net);
  const Tensor a = net->get_parameter("0.lora_A.weight"), b = net->get_parameter("0.lora_B.weight");
  EXPECT_LE(off((*net)(x), y + matmul(matmul(x, a.t()), b.t()) * 0.5), 1e-14);
}

TEST(LoRA, merged_computes_the_same_unmerged_is_as_before_bitwise_and_removed_leaves_plain_layers) {
  auto net = small_net();
  surgery::replace(*net, surgery::lora({.r = 2, .dropout = 0.5}));
  EXPECT_TRUE(surgery::plan(*net, surgery::lora()).empty());  // neither base nor factors get adapters of their own
  fill_adapters(*net);
  net->eval();
  const Tensor x = wave({3, 2, 6, 6}), y = (*net)(x), weight = net->get_parameter("0.base.weight").detach().clone();
  surgery::merge_lora(*net);
  surgery::merge_lora(*net);
  EXPECT_LE(off((*net)(x), y), 1e-12);
  EXPECT_GT(off(net->get_parameter("0.base.weight"), weight), 0.1);
  EXPECT_TRUE(surgery::lora_status(*net).adapters[1].merged);
  surgery::unmerge_lora(*net);
  EXPECT_EQ(off(net->get_parameter("0.base.weight"), weight), 0);
  EXPECT_EQ(off((*net)(x), y), 0);
  surgery::merge_lora(*net);
  surgery::replace(*net, surgery::remove_lora());
  EXPECT_EQ(nn::repr(*net), nn::repr(*small_net()));
  EXPECT_LE(off((*net)(x), y), 1e-12);
}

TEST(LoRA, refuses_what_it_cannot_do) {
  auto net = make<Sequential>(make<Conv2d>(4, 4, 3, Conv2dOptions{.groups = 2}));
  const auto plan = surgery::plan(*net, surgery::lora());
  EXPECT_TRUE(plan.empty());
  EXPECT_NE(text(plan).find("grouped"), std::string::npos) << text(plan);
  EXPECT_REFUSED("the rank r must be positive", surgery::lora({.r = 0}));
  EXPECT_REFUSED("a probability below 1", surgery::lora({.dropout = 1}));
  auto written = small_net();
  surgery::replace(*written, surgery::lora({.r = 2}));
  surgery::merge_lora(*written);
  const NoGrad quiet;
  written->get_parameter("3.base.weight").detach().add_(full({}, 1, f64));
  EXPECT_REFUSED("3.base: the weight has been written since", surgery::unmerge_lora(*written));
}

// ---- stochastic depth --------------------------------------------------------------------------------------------

struct Residual : nn::Layer {
  nn::Child<Linear> branch{this, "branch", 4, 4};
  Tensor forward(const Tensor& x) override { return x + branch(x); }
};

TEST(StochasticDepth, A7_rates_grow_linearly_and_evaluation_scales_the_branch) {
  auto net = make<Sequential>(make<Residual>(), make<Residual>());
  net->float64();
  const Tensor x = wave({5, 4});
  const Tensor b0 = dynamic_cast<Residual&>(net->get_submodule("0")).branch(x), mid = x + b0 * 0.8;
  const Tensor expected = mid + dynamic_cast<Residual&>(net->get_submodule("1")).branch(mid) * 0.6;
  surgery::replace(*net, {surgery::stochastic_depth(select(*net).at("*.branch").expect(2), {.drop_rate = 0.4})});
  net->eval();
  EXPECT_LE(off((*net)(x), expected), 1e-14);
}

TEST(StochasticDepth, A7_training_drops_whole_branches_or_single_samples_as_often_as_it_says) {
  for (const auto by : {surgery::DropBy::block, surgery::DropBy::sample}) {
    auto net = make<Sequential>(make<Residual>());
    net->float64();
    const Tensor x = wave({8, 4}), whole = (*net)(x);
    surgery::replace(*net, {surgery::stochastic_depth(select(*net).at("0.branch"), {.drop_rate = 0.3, .by = by, .linear = false})});
    Generator numbers(7);
    const UseGenerator use(numbers);
    int dropped = 0, mixed = 0;
    const int runs = 500;
    for (int i = 0; i < runs; ++i) {
      const Tensor y = (*net)(x);
      int rows = 0;
      for (int64_t n = 0; n < 8; ++n) {
        const bool gone = off(y.select(0, n), x.select(0, n)) == 0;
        EXPECT_LE(gone ? 0 : off(y.select(0, n), whole.select(0, n)), 1e-14);
        rows += gone;
      }
      dropped += rows;
      mixed += rows > 0 && rows < 8;
    }
    EXPECT_NEAR(dropped / (8.0 * runs), 0.3, 0.07);  // by block: three standard deviations
    EXPECT_EQ(mixed > 0, by == surgery::DropBy::sample);
  }
  EXPECT_REFUSED("drop_rate is a probability", surgery::stochastic_depth(select(*make<Residual>()).at("branch"), {.drop_rate = 2}));
}

// ---- norms and activations ---------------------------------------------------------------------------------------

TEST(ReadyMade, batch_norm_becomes_group_norm_with_its_parameters) {
  auto net = make<Sequential>(make<nn::BatchNorm2d>(12), make<nn::BatchNorm1d>(7, nn::BatchNormOptions{.affine = false}));
  const Tensor weight = net->get_parameter("0.weight");
  optim::SGD sgd(net->parameters());
  surgery::replace(*net, surgery::batchnorm_to_groupnorm(8), {.optimizers = {&sgd}});
  EXPECT_EQ(nn::repr(*net), nn::repr(Sequential(make<nn::GroupNorm>(6, 12), make<nn::GroupNorm>(7, 7, nn::GroupNormOptions{.affine = false, .bias = false}))));
  EXPECT_TRUE(net->get_parameter("0.weight").is_same(weight));
  EXPECT_EQ(sgd.params().size(), 2U);
}

TEST(ReadyMade, a_frozen_batch_norm_is_the_norm_in_eval_mode_whatever_the_mode) {
  auto net = make<Sequential>(make<nn::BatchNorm2d>(3), make<nn::BatchNorm2d>(3, nn::BatchNormOptions{.affine = false}));
  net->float64();
  for (int i = 0; i < 3; ++i) (*net)(wave({4, 3, 5, 5}) * 3 + i);
  net->eval();
  const Tensor x = wave({2, 3, 4, 4}), y = (*net)(x);
  net->train();
  surgery::replace(*net, surgery::freeze_batchnorm());
  EXPECT_LE(off((*net)(x), y), 1e-13);
  EXPECT_TRUE(net->parameters().empty());
  EXPECT_EQ(net->state_dict().size(), 8U);
  auto bare = make<Sequential>(make<nn::BatchNorm1d>(2, nn::BatchNormOptions{.track_running_stats = false}));
  EXPECT_NE(text(surgery::plan(*bare, surgery::freeze_batchnorm())).find("no_statistics"), std::string::npos);
}

TEST(ReadyMade, every_relu_becomes_a_clone_of_the_prototype) {
  auto net = make<Sequential>(make<nn::ReLU>(), make<nn::ReLU6>(), make<nn::ReLU>());
  surgery::replace(*net, surgery::replace_activation<nn::ReLU>(make<nn::PReLU>(1, 0.5)));
  EXPECT_EQ(surgery::count_module_instances<nn::PReLU>(*net), 2);
  EXPECT_EQ(surgery::count_module_instances<nn::ReLU6>(*net), 1);
  EXPECT_FALSE(net->get_parameter("0.weight").is_same(net->get_parameter("2.weight")));
}

// ---- checkpointing -----------------------------------------------------------------------------------------------

TEST(Checkpointing, gradients_random_numbers_and_running_statistics_are_those_without_it) {
  const auto block = [] { return make<Sequential>(make<Linear>(4, 6), make<nn::BatchNorm1d>(6), make<nn::Dropout>(0.4), make<nn::Tanh>()); };
  auto plain = make<Sequential>(block());
  plain->float64();
  const nn::ModulePtr copy = plain->clone();
  auto& net = dynamic_cast<Sequential&>(*copy);
  surgery::replace(net, {surgery::checkpoint_activations(select(net).at("0"))});
  const Tensor x0 = wave({5, 4}).requires_grad_(), x1 = wave({5, 4}).requires_grad_();
  const auto loss_of = [](nn::Module& m, const Tensor& x) {
    Generator numbers(3);
    const UseGenerator use(numbers);
    const Tensor y = m.get_submodule("0").call({x}).tensor();
    const Tensor noise = rand(y.shape(), f64);  // the numbers behind the block are the same, too
    sum(square(y) * noise).backward();
  };
  loss_of(*plain, x0);
  loss_of(net, x1);
  EXPECT_LE(off(x0.grad(), x1.grad()), 1e-14);
  EXPECT_LE(off(plain->get_parameter("0.0.weight").grad(), net.get_parameter("0.module.0.weight").grad()), 1e-14);
  EXPECT_LE(off(plain->get_parameter("0.1.bias").grad(), net.get_parameter("0.module.1.bias").grad()), 1e-14);
  EXPECT_EQ(off(plain->get_buffer("0.1.running_var"), net.get_buffer("0.module.1.running_var")), 0);
  EXPECT_EQ(net.get_buffer("0.module.1.num_batches_tracked").item<int64_t>(), 1);
  const Tensor y = net.get_submodule("0").call({x1}).tensor();
  EXPECT_REFUSED("no gradients of gradients", grad({sum(y)}, {x1}, {.create_graph = true}));
}

TEST(Checkpointing, keeps_less_memory_until_the_backward_pass) {
  auto deep = make<Sequential>();
  for (int i = 0; i < 8; ++i) deep->append(make<nn::Tanh>());
  auto net = make<Sequential>(deep);
  const Tensor x = ones({1 << 16}).requires_grad_();
  const auto held = [&] {
    const auto before = memory::stats().in_use;
    const Tensor y = (*net)(x);
    return memory::stats().in_use - before;
  };
  const auto without = held();
  surgery::replace(*net, {surgery::checkpoint_activations(select(*net).at("0"))});
  EXPECT_LT(held(), without / 4);
}

// ---- research ----------------------------------------------------------------------------------------------------

TEST(Intermediates, are_recorded_while_it_lives_and_no_longer) {
  auto net = small_net();
  const Tensor x = wave({1, 2, 6, 6});
  {
    surgery::Intermediates seen(select(*net).where<Conv2d, Linear>());
    const Tensor y = (*net)(x);
    ASSERT_EQ(seen.calls().size(), 2U);
    EXPECT_TRUE(seen.output("3").is_same(y));
    EXPECT_EQ(off(seen.output("0"), (*net)[0].as<Conv2d>()->forward(x)), 0);
    EXPECT_REFUSED("no call of '2' was recorded", seen.output("2"));
    seen.clear();
    EXPECT_TRUE(seen.calls().empty());
  }
  EXPECT_FALSE((*net)[0].module()->hooked());
}

TEST(Intermediates, an_isolated_module_repeats_its_first_call_apart_from_the_model) {
  auto net = small_net();
  const auto alone = surgery::isolate(*net, "3", {wave({2, 2, 6, 6})});
  EXPECT_EQ(alone.inputs[0].tensor().shape(), Shape({2, 36}));
  EXPECT_EQ(off(alone.run().tensor(), alone.output.tensor()), 0);
  EXPECT_FALSE(alone.module->get_parameter("weight").is_same(net->get_parameter("3.weight")));
  EXPECT_FALSE((*net)[3].module()->hooked());
}

TEST(Intermediates, a_knocked_out_branch_carries_nothing_and_comes_back) {
  auto net = make<Sequential>(make<Residual>());
  net->float64();
  const Tensor x = wave({3, 4}), y = (*net)(x);
  auto edit = surgery::plan(*net, {surgery::knock_out(select(*net).at("0.branch"))}).apply();
  EXPECT_EQ(off((*net)(x), x), 0);
  edit.undo();
  EXPECT_EQ(off((*net)(x), y), 0);
}

}  // namespace

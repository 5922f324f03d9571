// Layers that train as they will be quantised: against PyTorch's (qat_cases.h), against the layers that they are made of while
// nothing is rounded, in closed form; and the way there and back as surgery.
#include "graft/nn/qat.h"

#include <cmath>
#include <filesystem>

#include "graft/core/random.h"
#include "graft/nn/architecture.h"
#include "graft/nn/intrinsic.h"
#include "graft/nn/nn.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/surgery.h"
#include "qat_cases.h"
#include "refused.h"

namespace {

using namespace graft;
using nn::make;
using nn::ModulePtr;
using nn::Sequential;
namespace qat = nn::qat;

TEST(Qat, F24_values_gradients_and_statistics_are_those_of_torch_ao) { graft_test::expect_recorded(Device::cpu); }

TEST(FakeQuantize, rounds_halves_to_even_clamps_and_lets_gradients_through_where_it_did_not) {
  for (const DType t : {f32, f64, f16, bf16}) {
    const Tensor x = tensor({-3.0, -0.75, -0.25, 0.0, 0.25, 0.75, 1.25, 40.0}, t);
    x.requires_grad_();
    const Tensor y = nn::functional::fake_quantize(x, tensor({0.5}), zeros({1}, i32), -4, 3);
    EXPECT_EQ(y.dtype(), t);
    const double expected[] = {-2, -1, 0, 0, 0, 1, 1, 1.5}, passes[] = {0, 1, 1, 1, 1, 1, 1, 0};
    sum(y * 3.0).backward();
    for (int64_t i = 0; i < 8; ++i) {
      EXPECT_EQ(y.to(f64).at({i}), expected[i]) << name_of(t) << i;
      EXPECT_EQ(x.grad().to(f64).at({i}), 3 * passes[i]) << name_of(t) << i;
    }
  }
  const Tensor shifted = nn::functional::fake_quantize(tensor({-1.0, 0.1, 9.0}), tensor({0.25}), full({1}, 3, i32), 0, 15);
  EXPECT_EQ(shifted.at({0}), -0.75);  // 3 steps below zero are all there are
  EXPECT_EQ(shifted.at({1}), 0);
  EXPECT_EQ(shifted.at({2}), 3);      // 12 above
  EXPECT_EQ(nn::functional::fake_quantize(zeros({0, 3}), ones({1}), zeros({1}, i32), 0, 1).shape(), (Shape{0, 3}));
  EXPECT_REFUSED("fake_quantize: real numbers are needed, not i64[2]", nn::functional::fake_quantize(zeros({2}, i64), ones({1}), zeros({1}), 0, 1));
  EXPECT_REFUSED("quant_min 5 must be less than quant_max 5", nn::functional::fake_quantize(zeros({2}), ones({1}), zeros({1}), 5, 5));
}
TEST(FakeQuantize, the_range_moves_holds_zero_and_is_that_of_each_channel) {
  qat::FakeQuantize all({.averaging_constant = 0.25});
  EXPECT_EQ(all(zeros({0})).numel(), 0);
  EXPECT_EQ(all.min_val->at({0}), INFINITY);  // nothing was seen
  all(tensor({1.0, 3.0}));
  EXPECT_EQ(all.min_val->at({0}), 1);
  EXPECT_FLOAT_EQ(float(all.scale->at({0})), 3.0F / 255);  // from zero
  EXPECT_EQ(all.zero_point->at({0}), 0);
  all(tensor({-7.0, 3.0}));
  EXPECT_EQ(all.min_val->at({0}), -1);  // a quarter of the way from 1 to -7
  EXPECT_FLOAT_EQ(float(all.scale->at({0})), 4.0F / 255);
  EXPECT_EQ(all.zero_point->at({0}), 64);
  all.disable_observer();
  all(tensor({100.0}));
  EXPECT_EQ(all.max_val->at({0}), 3);
  all.disable_fake_quant();
  EXPECT_EQ(all(tensor({0.123})).at({0}), 0.123F);
  qat::FakeQuantize each({.quant_min = -128, .quant_max = 127, .symmetric = true, .channels = 2, .options = f64});
  each(tensor({-2.0, 1.0, 0.5, 0.25}, {2, 2}, f64));
  EXPECT_DOUBLE_EQ(each.scale->at({0}), 2 / 127.5);
  EXPECT_DOUBLE_EQ(each.scale->at({1}), 0.5 / 127.5);
  EXPECT_REFUSED("FakeQuantize: 2 slices of dimension 0 are needed, not f32[3,2]", each(zeros({3, 2})));
  EXPECT_REFUSED("averaging_constant must be in (0, 1], but is 0", qat::FakeQuantize({.averaging_constant = 0}));
}

// Without rounding they are the layers that they are made of, also where gamma is 0.
struct Pair { std::shared_ptr<Sequential> plain; ModulePtr made; Shape input; };
std::vector<Pair> pairs() {
  const qat::QConfig none{.activations = false};
  std::vector<Pair> all;
  const auto add = [&](ModulePtr layer, ModulePtr norm, bool relu, ModulePtr made, const Shape& input) {
    auto plain = make<Sequential>(std::vector<ModulePtr>{std::move(layer)});
    if (norm) plain->append(norm);
    if (relu) plain->append(make<nn::ReLU>());
    for (const ModulePtr& m : {ModulePtr(plain), made}) m->to(f64);
    made->apply(qat::disable_fake_quant);
    all.push_back({plain, made, input});
  };
  const auto with = [&]<class Norm>(const ModulePtr& layer, int64_t features, bool relu, const Shape& input) {
    auto norm = make<Norm>(features);
    const NoGrad quiet;
    for (const Tensor& t : {*norm->weight, *norm->bias, *norm->running_mean}) t.detach().uniform_(-1, 1);
    norm->running_var->uniform_(0.5, 2);
    norm->weight->detach().select(0, 1).fill_(0);
    add(layer, norm, relu, make<qat::QuantAware>(*layer->clone(), norm->clone(), relu, none), input);
  };
  with.operator()<nn::BatchNorm1d>(make<nn::Conv1d>(2, 3, 2), 3, false, {3, 2, 5});
  with.operator()<nn::BatchNorm2d>(make<nn::Conv2d>(4, 6, 3, nn::Conv2dOptions{.padding = 1, .groups = 2, .padding_mode = "reflect"}), 6, false, {2, 4, 5, 4});
  with.operator()<nn::BatchNorm3d>(make<nn::Conv3d>(1, 2, 2), 2, false, {2, 1, 3, 2, 3});
  with.operator()<nn::BatchNorm1d>(make<nn::Linear>(3, 4), 4, false, {5, 3});
  with.operator()<nn::BatchNorm1d>(make<nn::Conv1d>(2, 3, 2, nn::Conv1dOptions{.bias = false}), 3, true, {3, 2, 5});
  with.operator()<nn::BatchNorm2d>(make<nn::Conv2d>(2, 3, 2, nn::Conv2dOptions{.stride = 2}), 3, true, {2, 2, 6, 5});
  with.operator()<nn::BatchNorm3d>(make<nn::Conv3d>(1, 2, 2), 2, true, {2, 1, 3, 2, 3});
  const auto without = [&](const ModulePtr& layer, bool relu, const Shape& input) {
    add(layer, nullptr, relu, make<qat::QuantAware>(*layer->clone(), nullptr, relu, none), input);
  };
  without(make<nn::Conv1d>(2, 3, 2), false, {2, 5});
  without(make<nn::Conv2d>(2, 3, 2), true, {2, 2, 5, 4});
  without(make<nn::Conv3d>(2, 3, 2), false, {0, 2, 5, 4, 3});
  without(make<nn::Linear>(3, 4, false), false, {2, 2, 3});
  without(make<nn::Linear>(3, 4), true, {7, 3});
  return all;
}
void expect_near(const Tensor& a, const Tensor& b, double tolerance, const std::string& what) {
  ASSERT_EQ(a.shape(), b.shape()) << what;
  if (a.numel() == 0) return;
  EXPECT_LE(amax(abs(a - b)).item<double>(), tolerance * (1 + amax(abs(b)).item<double>())) << what << '\n' << a << '\n' << b;
}
TEST(Qat, without_rounding_they_are_their_layers_in_both_modes_also_where_gamma_is_0) {
  for (const Pair& p : pairs())
    for (const bool training : {true, false}) {
      const std::string what = nn::type_name(*p.made) + (training ? " training" : "");
      p.plain->train(training);
      p.made->train(training);
      Generator g(5);
      const Tensor x = randn(p.input, f64, &g), other = x.clone();
      x.requires_grad_();
      other.requires_grad_();
      const Tensor y = p.plain->call({x}).tensor(), z = p.made->call({other}).tensor();
      expect_near(z, y, 1e-12, what);
      const Tensor weights = randn(y.shape(), f64, &g);
      sum(y * weights).backward();
      sum(z * weights).backward();
      expect_near(other.grad(), x.grad(), 1e-11, what);
      const auto expected = p.plain->parameters(), there = p.made->parameters();
      ASSERT_EQ(expected.size(), there.size());
      for (size_t i = 0; i < expected.size(); ++i) expect_near(there[i].grad(), expected[i].grad(), 1e-11, what);
      for (const char* name : {"running_mean", "running_var"})
        if (p.made->find_child("bn")->module)
          expect_near(p.made->get_buffer(std::string("bn.") + name), p.plain->get_buffer(std::string("1.") + name), 1e-12, what);
      p.plain->zero_grad();
      p.made->zero_grad();
    }
}
TEST(Qat, weights_are_rounded_to_127_steps_of_what_the_folded_layer_will_have) {
  auto norm = make<nn::BatchNorm1d>(2, nn::BatchNormOptions{.eps = 0});
  nn::Linear linear(2, 2, false);
  const NoGrad quiet;
  linear.weight->copy_(tensor({1.0, 0.3, 0.1, -0.2}, {2, 2}));
  norm->running_var->copy_(tensor({4.0, 0.25}));
  qat::QuantAware layer(linear, norm, false, {.activations = false});
  layer.eval();
  const Tensor y = layer.forward(tensor({1.0, 0.0, 0.0, 1.0}, {2, 2}));  // the weights, as they are
  const auto step = [](double w, double most) { return std::nearbyint(w / (most / 127.5)) * most / 127.5; };
  EXPECT_NEAR(y.at({0, 0}), 0.5 * 127 / 127.5, 1e-6);  // 127.5 steps are one half more than there are
  EXPECT_NEAR(y.at({1, 0}), step(0.15, 0.5), 1e-6);
  EXPECT_NEAR(y.at({0, 1}), step(0.2, 0.4), 1e-6);
  EXPECT_NEAR(y.at({1, 1}), -0.4 * 128 / 127.5, 1e-6);  // and below there are 128
}
TEST(Qat, statistics_are_frozen_until_they_are_not) {
  auto norm = make<nn::BatchNorm1d>(2);
  auto net = make<Sequential>(make<qat::QuantAware>(nn::Linear(3, 2), norm), make<nn::Linear>(2, 1));
  net->apply(qat::freeze_bn_stats);
  net->eval();
  net->train();
  EXPECT_TRUE(net->training());
  EXPECT_FALSE(norm->training());
  (*net)(randn({4, 3}));
  EXPECT_EQ(norm->num_batches_tracked->item<int64_t>(), 0);
  const ModulePtr copy = net->clone();
  EXPECT_FALSE(copy->train().get_submodule("0.bn").training());
  net->apply(qat::update_bn_stats);
  EXPECT_TRUE(norm->training());
  (*net)(randn({4, 3}));
  EXPECT_EQ(norm->num_batches_tracked->item<int64_t>(), 1);
  net->apply(qat::disable_observer);
  const double scale = net->get_buffer("0.weight_fake_quant.scale").at({0});
  {
    const NoGrad quiet;
    net->get_parameter("0.weight").mul_(scalar_tensor(9.0));
  }
  (*net)(randn({4, 3}));
  EXPECT_EQ(net->get_buffer("0.weight_fake_quant.scale").at({0}), scale);
  net->apply(qat::enable_observer);
  (*net)(randn({4, 3}));
  EXPECT_NE(net->get_buffer("0.weight_fake_quant.scale").at({0}), scale);
  EXPECT_REFUSED("an input of 2 dimensions is needed, not f32[4,5,3]", net->get_submodule("0").call({randn({4, 5, 3})}));
  EXPECT_REFUSED("a Conv1d, Conv2d, Conv3d or Linear was expected, not a ReLU", make<qat::QuantAware>(nn::ReLU()));
  net->get_submodule("0").child_entry("bn").put(make<nn::BatchNorm1d>(7));
  EXPECT_REFUSED("of 2 features is needed, not BatchNorm1d(7", (*net)(randn({4, 3})));
}

// ---- there and back ----------------------------------------------------------------------------------------------

std::shared_ptr<Sequential> net_of_all() {
  auto net = make<Sequential>(make<nn::Conv2d>(2, 4, 3), make<nn::BatchNorm2d>(4), make<nn::ReLU>(), make<nn::Conv2d>(4, 4, 1), make<nn::BatchNorm2d>(4),
                              make<nn::Conv2d>(4, 4, 1), make<nn::ReLU>(), make<nn::Flatten>(), make<nn::Linear>(64, 8), make<nn::BatchNorm1d>(8),
                              make<nn::Linear>(8, 3));
  const NoGrad quiet;
  for (const Tensor& b : net->buffers())
    if (b.dtype() == f32) b.uniform_(0.5, 1.5);
  return surgery::fuse_modules_qat(net, {{"0", "1", "2"}, {"3", "4"}, {"5", "6"}, {"8", "9"}});
}
Tensor image() {
  Generator g(3);
  return randn({5, 2, 6, 6}, f32, &g);
}
std::string types(const Sequential& net) {
  std::string text;
  for (const auto& e : net.child_entries())
    if (!dynamic_cast<const nn::Identity*>(e->module.get())) text += (text.empty() ? "" : " ") + nn::type_name(*e->module);
  return text;
}
TEST(PrepareQat, takes_the_places_of_layers_keeps_their_parameters_and_is_undone) {
  auto net = net_of_all();
  net->eval();
  const Tensor before = (*net)(image());
  net->train();
  const std::string architecture = nn::architecture(*net).dump();
  const std::vector<Tensor> parameters = net->parameters();
  optim::SGD sgd(parameters, {.lr = 0.01, .momentum = 0.9});
  surgery::Edit edit = surgery::replace(*net, surgery::prepare_qat(), {.optimizers = {&sgd}});
  EXPECT_EQ(types(*net), "qat.ConvBnReLU2d qat.ConvBn2d qat.ConvReLU2d Flatten qat.LinearBn1d qat.Linear");
  const std::vector<Tensor> now = net->parameters();
  ASSERT_EQ(now.size(), parameters.size());
  for (size_t i = 0; i < now.size(); ++i) EXPECT_TRUE(now[i].is_same(parameters[i]));
  EXPECT_TRUE(net->get_submodule("0").training());
  double first = 0, last = 0;
  const Tensor wanted = tensor({0, 1, 2, 1, 0}, i64);
  for (int i = 0; i < 40; ++i) {
    const Tensor loss = nn::functional::cross_entropy((*net)(image()), wanted);
    (i == 0 ? first : last) = loss.item<double>();
    sgd.zero_grad();
    loss.backward();
    sgd.step();
  }
  EXPECT_LT(last, first / 2);
  edit.undo();
  EXPECT_EQ(nn::architecture(*net).dump(), architecture);
  net->eval();
  EXPECT_FALSE(all(eq((*net)(image()), before)).item<bool>());  // what was trained stays
}
TEST(PrepareQat, records_itself_comes_back_from_files_and_declines_what_it_does_not_know) {
  auto net = net_of_all(), other = net_of_all();
  const surgery::Recipe recipe = surgery::Recipe::parse(surgery::replace(*net, surgery::prepare_qat({.per_channel = false})).recipe().json());
  recipe.replay(*other);
  EXPECT_EQ(nn::architecture(*other), nn::architecture(*net));
  net->apply(qat::freeze_bn_stats);
  (*net)(image());
  const std::string path = testing::TempDir() + "graft-qat-" + std::to_string(getpid()) + ".safetensors";
  surgery::save_model(path, *net, {.recipe = recipe});
  const ModulePtr same = surgery::load_model(path).model;
  EXPECT_EQ(nn::architecture(*same), nn::architecture(*net));
  EXPECT_FALSE(same->train().get_submodule("0.bn").training());
  net->eval().apply(qat::disable_observer);
  same->eval().apply(qat::disable_observer);
  EXPECT_TRUE(all(eq((*net)(image()), same->call({image()}).tensor())).item<bool>());
  std::filesystem::remove(path);

  auto odd = make<nn::ConvBn2d>();
  odd->append(make<nn::Conv2d>(1, 1, 1)), odd->append(make<nn::Identity>());
  auto holder = make<Sequential>(odd);
  const surgery::Plan plan = surgery::plan(*holder, surgery::prepare_qat());
  ASSERT_EQ(plan.declined().size(), 1U);
  EXPECT_EQ(plan.declined()[0].code, "unknown_parts");
  EXPECT_EQ(plan.declined()[0].text, "it does not hold a Conv2d, a BatchNorm, and nothing else");
}
TEST(QatToFloat, folds_norms_answers_as_before_but_for_rounding_and_takes_checkpoints_along) {
  auto net = net_of_all();
  surgery::replace(*net, surgery::prepare_qat());
  (*net)(image());
  net->eval();
  const nn::StateDict trained = net->clone()->state_dict();
  net->apply(qat::disable_observer);
  const Tensor rounded = (*net)(image());
  net->apply(qat::disable_fake_quant);
  const Tensor y = (*net)(image());
  EXPECT_FALSE(all(eq(rounded, y)).item<bool>());
  surgery::Edit edit = surgery::replace(*net, surgery::qat_to_float());
  EXPECT_EQ(types(*net), "ConvReLU2d Conv2d ConvReLU2d Flatten Linear Linear");
  expect_near((*net)(image()), y, 1e-5, "float");
  const surgery::Recipe recipe = surgery::Recipe::parse(edit.recipe().json());
  const nn::StateDict migrated = recipe.migrate(trained), there = net->state_dict();
  EXPECT_EQ(migrated.keys().size(), there.keys().size());
  for (const auto& [key, t] : there) expect_near(migrated.at(key), t, 1e-6, key);
  auto other = net_of_all();
  surgery::replace(*other, surgery::prepare_qat());
  other->load_state_dict(trained);
  other->eval().apply(qat::disable_observer).apply(qat::disable_fake_quant);
  recipe.replay(*other);
  expect_near((*other)(image()), y, 1e-5, "replayed");
  edit.undo();
  EXPECT_TRUE(all(eq((*net)(image()), y)).item<bool>());
}

}  // namespace

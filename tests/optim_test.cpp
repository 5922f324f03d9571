// Optimizers against trajectories recorded from PyTorch (tests/data/optim), schedules against closed forms, and the rules
// of the contract: what is refused, and that a refused or failed step changes nothing.
#include <gtest/gtest.h>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include "graft/core/ops.h"
#include "graft/io/safetensors.h"
#include "graft/optim/adam.h"
#include "graft/optim/scheduler.h"
#include "graft/optim/sgd.h"
#include "refused.h"

using namespace graft;
using namespace graft::optim;

namespace {

using graft_test::message;
double max_difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape(), b.shape());
  const NoGrad quiet;
  const Tensor x = a.to(f64).contiguous(), y = b.to(f64).contiguous();
  double worst = 0;
  for (int64_t i = 0; i < x.numel(); ++i) worst = std::max(worst, std::abs(x.data<double>()[i] - y.data<double>()[i]));
  return worst;
}
Tensor leaf(std::initializer_list<double> values, DType t = f64) {
  return tensor(values, t).requires_grad_();
}

std::unique_ptr<Optimizer> make_optimizer(const std::string& name, const nlohmann::json& kwargs, const Tensors& params) {
  std::unique_ptr<Optimizer> o;
  if (name == "SGD") o = std::make_unique<SGD>(params);
  else if (name == "Adam") o = std::make_unique<Adam>(params);
  else if (name == "AdamW") o = std::make_unique<AdamW>(params);
  else return nullptr;
  std::vector<std::string> order{"lr", "momentum", "dampening", "weight_decay"};
  for (const std::string& key : order)
    if (kwargs.contains(key)) o->set_option(0, key, kwargs[key].get<double>());
  for (const auto& [key, value] : kwargs.items()) {
    if (key == "betas") o->set_option(0, "beta1", value[0]), o->set_option(0, "beta2", value[1]);
    else if (std::ranges::find(order, key) == order.end())
      o->set_option(0, key, value.is_boolean() ? double(value.get<bool>()) : value.get<double>());
  }
  return o;
}

void replay(const std::string& stem, int expected_cases) {
  const std::string base = std::string(GRAFT_TESTS_DIR) + "/data/" + stem;
  const auto file = io::SafetensorsFile::open(base + ".safetensors");
  std::ifstream in(base + ".json");
  int ran = 0;
  const nlohmann::json all = nlohmann::json::parse(in);
  for (const auto& c : all["cases"]) {
    const std::string id = c["id"];
    Tensors params;
    while (file.contains(concat(id, ":p", params.size(), ":0")))
      params.push_back(file.tensor(concat(id, ":p", params.size(), ":0")).requires_grad_());
    const auto optimizer = make_optimizer(c["optimizer"], c["kwargs"], params);
    if (!optimizer) continue;
    ++ran;
    for (int t = 1; t <= 10; ++t) {
      for (size_t j = 0; j < params.size(); ++j) params[j].set_grad(file.tensor(concat(id, ":g", j, ":", t)));
      optimizer->step();
      for (size_t j = 0; j < params.size() && (t == 1 || t == 5 || t == 10); ++j)
        EXPECT_LE(max_difference(params[j], file.tensor(concat(id, ":p", j, ":", t))), params[j].dtype() == f64 ? 1e-12 : 3e-6)
            << id << " parameter " << j << " step " << t;
    }
  }
  EXPECT_EQ(ran, expected_cases);
}

TEST(Optim, O15_SGD_Adam_AdamW_follow_the_recorded_trajectories) {
  replay("optim/trajectories", 17);
  replay("conformance/optim", 4);
}

TEST(Optim, O15_the_first_momentum_step_is_not_dampened_and_a_missing_gradient_skips_all) {
  const Tensor p = leaf({1, 2}), q = leaf({3});
  SGD sgd({p, q}, {.lr = 0.5, .momentum = 0.9, .dampening = 0.25, .weight_decay = 0.1});
  p.set_grad(tensor({1.0, -1.0}, f64));
  sgd.step();
  EXPECT_NEAR(p.at({0}), 1 - 0.5 * 1.1, 1e-15);
  EXPECT_EQ(q.at({0}), 3);  // no decay either
  EXPECT_TRUE(sgd.state(q)->empty());
  EXPECT_EQ(sgd.state(p)->step, 1);
  sgd.step();
  const double x = 1 - 0.5 * 1.1, buf = 0.9 * 1.1 + 0.75 * (1 + 0.1 * x);
  EXPECT_NEAR(p.at({0}), x - 0.5 * buf, 1e-15);
}

TEST(Optim, sixteen_bit_and_strided_parameters_step_like_contiguous_ones) {
  for (const DType t : {f32, f16, bf16}) {
    const Tensor wide = tensor({1.0, 2.0, 3.0, 4.0, 5.0, 6.0}, {2, 3}, t);
    const Tensor turned = wide.transpose(0, 1).detach().requires_grad_(), plain = turned.detach().contiguous().requires_grad_();
    for (const Tensor& p : {turned, plain}) p.set_grad(tensor({1.0, 0.5, -1.0, 2.0, 0.25, -3.0}, {3, 2}, t));
    Adam adam({turned, plain}, {.lr = 0.25});
    adam.step(), adam.step();
    EXPECT_EQ(max_difference(turned, plain), 0) << name_of(t);
    EXPECT_NEAR(plain.at({0, 0}), 0.5, 0.01);  // Adam's first steps have the length of lr
  }
}

TEST(Optim, groups_have_options_of_their_own) {
  const Tensor a = leaf({1}), b = leaf({1});
  SGD sgd({a}, {.lr = 0.1});
  sgd.add_param_group({b}, {.lr = 0.2, .maximize = true});
  for (const Tensor& p : {a, b}) p.set_grad(tensor({1.0}, f64));
  sgd.step();
  EXPECT_NEAR(a.at({0}), 0.9, 1e-15);
  EXPECT_NEAR(b.at({0}), 1.2, 1e-15);
  EXPECT_NE(message([&] { sgd.set_option(1, "momentun", 1); }, ErrorCode::key_error).find("momentum"), std::string::npos);
}

TEST(Contract, KP1_a_parameter_that_its_model_lost_fails_the_step_unless_kept) {
  const Tensor p = leaf({1, 2}), q = leaf({3});
  Adam adam({p, q});
  for (const Tensor& t : {p, q}) t.set_grad(ones(t.shape(), f64));
  mark_stale(q);
  const std::string text = message([&] { adam.step(); }, ErrorCode::stale_parameter);
  EXPECT_NE(text.find("Adam: parameter 1 of group 0 (f64[1]@cpu) is no longer part of its model"), std::string::npos) << text;
  EXPECT_EQ(p.at({0}), 1);
  EXPECT_TRUE(adam.state(p)->empty());
  adam.keep(q);
  adam.step();
  EXPECT_LT(q.at({0}), 3);
}

TEST(Contract, KP2_a_parameter_in_two_groups_is_refused) {
  const Tensor p = leaf({1, 2}), q = leaf({1});
  SGD sgd({p});
  EXPECT_NE(message([&] { sgd.add_param_group({q, p}, {}); }, ErrorCode::invalid_argument).find("appears twice"),
            std::string::npos);
  EXPECT_EQ(sgd.groups(), 1U);
  message([&] { SGD twice({q, q}); }, ErrorCode::invalid_argument);
  message([&] { SGD none(Tensors{}); }, ErrorCode::invalid_argument);
  message([&] { SGD inner({q * 2.0}); }, ErrorCode::invalid_argument);
}

TEST(Contract, KP3_a_gradient_of_another_shape_or_dtype_is_refused_before_any_change) {
  const Tensor p = leaf({1, 2}), q = leaf({3, 4});
  SGD sgd({p, q}, {.lr = 1});
  p.set_grad(ones({2}, f64));
  q.set_grad(ones({2}, f64));
  q.set_data(ones({3}, f64));
  EXPECT_NE(message([&] { sgd.step(); }, ErrorCode::shape_mismatch).find("is f64[3]@cpu but its gradient is f64[2]@cpu"),
            std::string::npos);
  q.set_data(ones({2}, f32));
  message([&] { sgd.step(); }, ErrorCode::dtype_mismatch);
  EXPECT_EQ(p.at({0}), 1);
}

TEST(Optim, the_state_of_a_parameter_follows_it_to_another_dtype) {
  for (const auto& make : {+[](const Tensors& p) -> std::unique_ptr<Optimizer> { return std::make_unique<SGD>(p, SGDOptions{.lr = 0.5, .momentum = 0.5}); },
                           +[](const Tensors& p) -> std::unique_ptr<Optimizer> { return std::make_unique<Adam>(p, AdamOptions{.lr = 0.5}); }}) {
    const Tensor p = leaf({1, 2, 3, 4, 5}, f32), all_f64 = leaf({1, 2, 3, 4, 5});
    const auto changes = make({p}), stays = make({all_f64});
    for (int step = 0; step < 3; ++step) {
      if (step == 1) p.set_data(p.detach().to(f64));
      for (const Tensor& t : {p, all_f64}) t.set_grad(full({5}, 0.5 * (step + 1), t.dtype()));
      changes->step();
      stays->step();
    }
    EXPECT_EQ(changes->state(p)->buffers[0].dtype(), f64);
    EXPECT_LE(max_difference(p, all_f64), 1e-5) << changes->name();  // the first step was made in f32
  }
}
TEST(Optim, a_state_of_another_shape_than_its_parameter_is_refused) {
  const Tensor p = leaf({1, 2}), q = leaf({3});
  SGD sgd({q, p}, {.lr = 1, .momentum = 0.5});
  for (const Tensor& t : {p, q}) t.set_grad(ones(t.shape(), f64));
  sgd.step();
  p.set_data(ones({3}, f64));
  p.set_grad(ones({3}, f64));
  EXPECT_NE(message([&] { sgd.step(); }, ErrorCode::shape_mismatch).find("parameter 1 of group 0 is f64[3]@cpu but its state is f64[2]@cpu"),
            std::string::npos);
  EXPECT_EQ(q.at({0}), 2);
}

TEST(Contract, KP5_hyperparameters_out_of_range_are_refused) {
  const Tensor p = leaf({1});
  const double nan = std::nan("");
  message([&] { SGD s({p}, {.lr = nan}); }, ErrorCode::invalid_argument);
  message([&] { SGD s({p}, {.lr = -1}); }, ErrorCode::invalid_argument);
  message([&] { SGD s({p}, {.momentum = -0.1}); }, ErrorCode::invalid_argument);
  message([&] { SGD s({p}, {.nesterov = true}); }, ErrorCode::invalid_argument);
  message([&] { Adam s({p}, {.beta1 = 1}); }, ErrorCode::invalid_argument);
  message([&] { Adam s({p}, {.beta2 = nan}); }, ErrorCode::invalid_argument);
  message([&] { AdamW s({p}, {.weight_decay = -1}); }, ErrorCode::invalid_argument);
  SGD sgd({p}, {.lr = 0.5});
  message([&] { sgd.set_lr(nan); }, ErrorCode::invalid_argument);
  EXPECT_EQ(sgd.lr(), 0.5);
}

TEST(Optim, a_failed_allocation_anywhere_in_step_changes_nothing) {
  struct Countdown { int left; };
  const Tensor p = leaf({1, 2, 3}), q = leaf({4}, f32);
  for (const Tensor& t : {p, q}) t.set_grad(ones(t.shape(), t.dtype()));
  int failures = 0;
  for (int n = 0;; ++n) {
    Adam adam({p, q});
    Countdown countdown{n};
    memory::set_hook([](size_t, void* c) { if (static_cast<Countdown*>(c)->left-- == 0) throw std::bad_alloc(); }, &countdown);
    try {
      adam.step();
      memory::set_hook(nullptr);
      break;
    } catch (const std::bad_alloc&) {
      memory::set_hook(nullptr);
      ++failures;
      EXPECT_EQ(p.at({0}), 1);
      EXPECT_EQ(q.at({0}), 4);
      EXPECT_TRUE(adam.state(p)->empty() && adam.state(q)->empty());
    }
  }
  EXPECT_GE(failures, 4);  // two buffers for each of two parameters
}

TEST(Optim, a_state_dict_resumes_bit_for_bit_and_a_wrong_one_changes_nothing) {
  const Tensor p = leaf({1, 2}), q = p.detach().clone().requires_grad_();
  AdamW a({p}, {.lr = 0.1}), b({q}, {.lr = 0.9});
  const auto run = [](Optimizer& o, const Tensor& t, int from, int to) {
    for (int i = from; i < to; ++i) t.set_grad(tensor({0.3 * i, -0.2 * i}, f64)), o.step();
  };
  run(a, p, 1, 4);
  b.load_state_dict(a.state_dict());
  q.set_data(p.detach().clone());
  EXPECT_EQ(b.lr(), 0.1);
  run(a, p, 4, 9), run(b, q, 4, 9);
  EXPECT_EQ(max_difference(p, q), 0);
  StateDict wrong = a.state_dict();
  wrong.back().second = ones({3}, f64);
  message([&] { b.load_state_dict(wrong); }, ErrorCode::state_dict);
  wrong = a.state_dict();
  wrong.emplace_back("state.9.exp_avg", ones({2}, f64));
  message([&] { b.load_state_dict(wrong); }, ErrorCode::state_dict);
  wrong = a.state_dict();
  for (auto& [name, t] : wrong)
    if (name == "group.0.beta2") t = scalar_tensor(2.0, f64);
  message([&] { b.load_state_dict(wrong); }, ErrorCode::invalid_argument);
  EXPECT_EQ(b.lr(), 0.1);
  EXPECT_EQ(b.state(q)->step, 8);
}

TEST(Optim, clip_grad_norm_scales_all_gradients_by_one_factor) {
  const Tensor p = leaf({0, 0}), q = leaf({0}), none = leaf({1});
  p.set_grad(tensor({3.0, 0.0}, f64)), q.set_grad(tensor({4.0}, f64));
  EXPECT_NEAR(clip_grad_norm_({p, q, none}, 10).item<double>(), 5, 1e-6);
  EXPECT_EQ(q.grad().at({0}), 4);
  EXPECT_NEAR(clip_grad_norm_({p, q, none}, 1).item<double>(), 5, 1e-6);
  EXPECT_NEAR(q.grad().at({0}), 0.8, 1e-6);
  EXPECT_NEAR(clip_grad_norm_({p, q}, 0.4, std::numeric_limits<double>::infinity()).item<double>(), 0.8, 1e-6);
  EXPECT_NEAR(p.grad().at({0}), 0.3, 1e-6);
  q.set_grad(tensor({std::nan("")}, f64));
  message([&] { clip_grad_norm_({p, q}, 1, 2, true); }, ErrorCode::invalid_argument);
  EXPECT_NEAR(p.grad().at({0}), 0.3, 1e-6);
  EXPECT_EQ(clip_grad_norm_({none}, 1).item<double>(), 0);
}
TEST(Optim, clip_grad_norm_takes_every_floating_dtype_and_counts_a_shared_parameter_once) {
  for (const DType t : {f32, f64, f16, bf16}) {
    const Tensor p = zeros({2}, t).requires_grad_(), q = zeros({0}, t).requires_grad_();
    p.set_grad(tensor({300.0, 400.0}, t)), q.set_grad(zeros({0}, t));  // squares overflow in f16
    EXPECT_NEAR(clip_grad_norm_({p, p, q}, 5).item<double>(), 500, 1) << name_of(t);
    EXPECT_NEAR(p.grad().at({1}), 4, 0.02) << name_of(t);
  }
  const Tensor z = zeros({1}, c64).requires_grad_();
  z.set_grad(tensor({std::complex<float>(3, 4)}));
  EXPECT_NEAR(clip_grad_norm_({z}, 1).item<double>(), 5, 1e-6);
  EXPECT_NEAR(real(z.grad()).item<double>(), 0.6, 1e-6);
}
TEST(Optim, clip_grad_value_bounds_every_element) {
  const Tensor p = leaf({0, 0, 0}), none = leaf({1});
  p.set_grad(tensor({-3.0, 0.25, std::nan("")}, f64));
  clip_grad_value_({p, none}, 0.5);
  EXPECT_EQ(p.grad().at({0}), -0.5);
  EXPECT_EQ(p.grad().at({1}), 0.25);
  EXPECT_TRUE(std::isnan(p.grad().at({2})));
  const Tensor half = zeros({2}, bf16).requires_grad_();
  half.set_grad(tensor({7.0, -7.0}, bf16));
  clip_grad_value_({half}, 2);
  EXPECT_EQ(half.grad().at({0}), 2);
  EXPECT_EQ(half.grad().at({1}), -2);
  message([&] { clip_grad_value_({p}, -1); }, ErrorCode::invalid_argument);
}

// ---- schedules: values of torch.optim.lr_scheduler 2.15 --------------------------------------------------------

std::vector<double> rates(Optimizer& o, LRScheduler& s, int n) {
  std::vector<double> list;
  for (int i = 0; i < n; ++i) list.push_back(o.lr()), s.step();
  return list;
}
void expect_near(const std::vector<double>& got, const std::vector<double>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-12) << i;
}

TEST(Scheduler, schedules_give_the_closed_forms) {
  const Tensor p = leaf({1});
  const auto sgd = [&p] { return SGD({p}, {.lr = 1, .momentum = 0.9}); };
  { auto o = sgd(); StepLR s(o, 2, 0.5); expect_near(rates(o, s, 5), {1, 1, 0.5, 0.5, 0.25}); }
  { auto o = sgd(); MultiStepLR s(o, {1, 3}, 0.1); expect_near(rates(o, s, 5), {1, 0.1, 0.1, 0.01, 0.01}); }
  { auto o = sgd(); ExponentialLR s(o, 0.5); expect_near(rates(o, s, 3), {1, 0.5, 0.25}); }
  { auto o = sgd(); LinearLR s(o, 0.5, 1, 2); expect_near(rates(o, s, 4), {0.5, 0.75, 1, 1}); }
  { auto o = sgd(); CosineAnnealingLR s(o, 4, 0.2); expect_near(rates(o, s, 5), {1, 0.2 + 0.4 * (1 + std::sqrt(0.5)), 0.6, 0.2 + 0.4 * (1 - std::sqrt(0.5)), 0.2}); }
  { auto o = sgd(); LambdaLR s(o, [](int64_t e) { return 1.0 / double(1 + e); }); expect_near(rates(o, s, 3), {1, 0.5, 1.0 / 3}); }
  {
    auto o = sgd();
    std::vector<std::unique_ptr<LRScheduler>> parts;
    parts.push_back(std::make_unique<LinearLR>(o, 0.5, 1, 2));
    o.set_lr(1);
    parts.push_back(std::make_unique<StepLR>(o, 1, 0.5));
    SequentialLR s(o, std::move(parts), {2});
    expect_near(rates(o, s, 5), {0.5, 0.75, 1, 0.5, 0.25});
  }
}

TEST(Scheduler, one_cycle_moves_rate_and_momentum_as_recorded) {
  const Tensor p = leaf({1});
  SGD o({p}, {.lr = 0.1, .momentum = 0.9});
  OneCycleLR s(o, {.max_lr = 1, .total_steps = 10, .pct_start = 0.3});
  std::vector<double> lr, momentum;
  for (int i = 0; i < 10; ++i) {
    lr.push_back(o.lr()), momentum.push_back(o.option(0, "momentum"));
    if (i < 9) s.step();
  }
  expect_near(lr, {0.040000000000000036, 0.52, 1.0, 0.9504846320134737, 0.8117456539497631, 0.6112620219362893, 0.38874197806371075, 0.18825834605023697, 0.049519367986526286, 4e-06});
  expect_near(momentum, {0.95, 0.8999999999999999, 0.85, 0.854951556604879, 0.8688255099070633, 0.8888739533021842, 0.9111260466978157, 0.9311744900929366, 0.945048443395121, 0.95});
  message([&] { s.step(); }, ErrorCode::invalid_argument);
}

TEST(Scheduler, plateau_lowers_the_rate_after_patience_epochs) {
  const Tensor p = leaf({1});
  SGD o({p}, {.lr = 1});
  ReduceLROnPlateau s(o, {.factor = 0.5, .patience = 1, .cooldown = 1, .min_lr = 0.2});
  std::vector<double> lr;
  for (const double metric : {1.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.9, 0.4, 0.5, 0.5, 0.5, 0.5}) s.step(metric), lr.push_back(o.lr());
  expect_near(lr, {1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2, 0.2});
}

TEST(Scheduler, a_state_dict_resumes_a_schedule) {
  const Tensor p = leaf({1});
  SGD a({p}, {.lr = 1}), b({p}, {.lr = 7});
  CosineAnnealingLR s(a, 10), t(b, 10);
  for (int i = 0; i < 4; ++i) s.step();
  t.load_state_dict(s.state_dict());
  EXPECT_EQ(a.lr(), b.lr());
  EXPECT_EQ(t.last_epoch(), 4);
}

}  // namespace

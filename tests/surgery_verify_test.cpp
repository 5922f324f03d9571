// Verification: an edit after which the model answers otherwise is rolled back to the bit, and the first module that
// diverges is named.
#include <gtest/gtest.h>

#include <limits>

#include "fingerprint.h"
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"
#include "graft/nn/nn.h"
#include "graft/optim/adam.h"
#include "graft/surgery/plan.h"
#include "refused.h"

namespace {

using namespace graft;
using graft_test::fingerprint;
using nn::Linear;
using nn::make;
using nn::ModulePtr;
using nn::Sequential;
using surgery::select;

struct Gain : nn::Layer {
  nn::Param gain;
  explicit Gain(double v) : gain(this, "gain", full({}, v)) {}
  Tensor forward(const Tensor& x) override { return x * gain.value(); }
};
surgery::Policy gain_at(const nn::Module& m, const char* path, double v) {
  return surgery::on<Gain>(select(m).at(path), [v](const Gain&) { return make<Gain>(v); });
}
constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(Verify, an_edit_that_computes_the_same_stays_and_says_how_near_it_is) {
  auto net = make<Sequential>(make<Linear>(3, 3), make<nn::ReLU>());
  auto plan = surgery::plan(*net, {surgery::on<Linear>([](const Linear&) { return make<Linear>(3, 3); }, {.carry = surgery::Carry::copy})});
  const auto edit = plan.apply({.verify = {{randn({4, 3})}}});
  EXPECT_TRUE(edit.applied());
  EXPECT_EQ(edit.verified()->ulps, 0);
  auto other = surgery::plan(*net, {}).apply();
  EXPECT_FALSE(other.verified());
}

TEST(Verify, the_tolerance_counts_units_in_the_last_place_at_the_largest_magnitude) {
  auto net = make<Sequential>(make<Gain>(1.0));
  const Tensor x = tensor<float>({1, 2, 4});
  const double eight = 1 + 8 * 0x1p-23;  // exact for powers of two in f32
  auto plan = surgery::plan(*net, {gain_at(*net, "0", eight)});
  EXPECT_REFUSED("at output[2] by", plan.apply({.verify = {{x}, 7.9}}));
  auto edit = plan.apply({.verify = {{x}, 8}});
  EXPECT_EQ(edit.verified()->ulps, 8);
  EXPECT_EQ(edit.verified()->absolute, 4 * 8 * 0x1p-23);
  EXPECT_EQ(edit.verified()->magnitude, 4);
  EXPECT_EQ(edit.verified()->place, "output[2]");
  EXPECT_EQ(edit.verified()->allowed, 8 * 0x1p-23 * 4);
}

TEST(Verify, a_difference_rolls_back_model_optimizer_and_indices_and_names_the_first_module_that_diverges) {
  auto net = make<Sequential>(make<Gain>(1.0), make<Sequential>(make<Gain>(2.0), make<Gain>(3.0)), make<Gain>(4.0));
  optim::Adam adam(net->parameters());
  sum((*net)(ones({2}))).backward();
  adam.step();
  surgery::Indices indices{{typeid(Gain), 7}};
  const std::string before = fingerprint(*net, {&adam});
  auto plan = surgery::plan(*net, {gain_at(*net, "1.1", 3.5), gain_at(*net, "2", 5)}, {.optimizers = {&adam}, .indices = &indices});
  EXPECT_REFUSED("the first module that diverges is '1.1' (Gain), at output[0] by", plan.apply({.verify = {{ones({2})}}}));
  EXPECT_EQ(fingerprint(*net, {&adam}), before);
  EXPECT_EQ(indices.at(typeid(Gain)), 7);
  EXPECT_REFUSED("ulp of f32 at", plan.apply({.verify = {{ones({2})}}}));
  EXPECT_REFUSED("where 256 ulp, ", plan.apply({.verify = {{ones({2})}}}));
  adam.step();  // nothing is stale
  EXPECT_TRUE(plan.apply().applied());
}

TEST(Verify, inside_of_what_is_replaced_by_another_structure_its_place_is_compared) {
  auto net = make<Sequential>(make<Sequential>(make<Gain>(2.0), make<Gain>(3.0)), make<Gain>(1.0));
  const auto policy = surgery::on<Sequential>([](const Sequential&) { return make<Sequential>(make<Gain>(3.0), make<Gain>(3.0)); });
  EXPECT_REFUSED("the first module that diverges is '0' (Sequential)", surgery::plan(*net, {policy}).apply({.verify = {{ones({1})}}}));
  const auto same = surgery::on<Sequential>([](const Sequential&) { return make<Sequential>(make<Gain>(3.0), make<Gain>(2.0)); });
  EXPECT_TRUE(surgery::plan(*net, {same}).apply({.verify = {{ones({1})}}}).applied());
}

TEST(Verify, an_edited_model_that_does_not_run_is_rolled_back) {
  auto net = make<Sequential>(make<Linear>(3, 4), make<Linear>(4, 2));
  const std::string before = fingerprint(*net);
  auto plan = surgery::plan(*net, {surgery::on<Linear>(select(*net).first(), [](const Linear&) { return make<Linear>(3, 5); })});
  EXPECT_REFUSED("the edited model does not run on the inputs, see '1'; it was rolled back", plan.apply({.verify = {{ones({1, 3})}}}));
  EXPECT_EQ(fingerprint(*net), before);
  EXPECT_REFUSED("", plan.apply({.verify = {{ones({1, 4})}}}));  // nor does the model as it is
  EXPECT_EQ(fingerprint(*net), before);
}

TEST(Verify, running_statistics_random_numbers_and_inputs_are_as_before) {
  auto net = make<Sequential>(make<nn::BatchNorm1d>(3), make<nn::Dropout>(0.5), make<nn::ReLU>(true), make<nn::Identity>());
  const Tensor x = randn({8, 3}), copy = x.clone();
  const std::string before = fingerprint(*net);
  const uint64_t offset = default_generator().offset();
  const Tensor buffer = net->get_buffer("0.running_mean");
  auto edit = surgery::plan(*net, {surgery::remove(select(*net).where<nn::Identity>())}).apply({.verify = {{x}}});
  EXPECT_EQ(edit.verified()->ulps, 0);  // the same mask was drawn
  EXPECT_EQ(default_generator().offset(), offset);
  EXPECT_TRUE(net->get_buffer("0.running_mean").is_same(buffer));
  EXPECT_TRUE(all(eq(x, copy)).item<bool>());
  edit.undo();
  EXPECT_EQ(fingerprint(*net), before);
}

TEST(Verify, a_replaced_root_is_verified_through_its_handle) {
  ModulePtr net = make<Gain>(2.0);
  const ModulePtr before = net;
  const auto by = [](double v) { return surgery::on<Gain>([v](const Gain&) { return make<Gain>(v); }); };
  EXPECT_REFUSED("the first module that diverges is the model itself (Gain)",
                 surgery::plan(net, {by(3)}, {.include_root = true}).apply({.verify = {{ones({1})}}}));
  EXPECT_EQ(net, before);
  EXPECT_TRUE(surgery::plan(net, {by(2)}, {.include_root = true}).apply({.verify = {{ones({1})}}}).applied());
  EXPECT_NE(net, before);
}

TEST(Verify, differences_of_values) {
  using surgery::difference;
  const auto ulps = [](const nn::Value& a, const nn::Value& b) { return difference(a, b, 1).ulps; };
  EXPECT_EQ(ulps(full({1}, 1.0, f64), full({1}, 1.0 + 0x1p-52, f64)), 1);
  EXPECT_EQ(ulps(tensor<float>({NAN, INFINITY}), tensor<float>({NAN, INFINITY})), 0);
  EXPECT_EQ(ulps(tensor<float>({NAN}), tensor<float>({1.0F})), kInfinity);
  EXPECT_EQ(ulps(tensor<float>({INFINITY}), tensor<float>({-INFINITY})), kInfinity);
  EXPECT_EQ(ulps(tensor<int64_t>({1, 2}), tensor<int64_t>({1, 3})), kInfinity);
  EXPECT_EQ(ulps(tensor<int64_t>({1, 2}), tensor<int64_t>({1, 2})), 0);
  EXPECT_EQ(ulps(zeros({2}), zeros({2})), 0);
  EXPECT_EQ(ulps(zeros({2}), full({2}, 1e-30)), kInfinity);
  EXPECT_EQ(ulps(full({1}, 1.0, bf16), full({1}, 1.0 + 0x1p-7, bf16)), 1);
  EXPECT_EQ(ulps(nn::Values{nn::Value(1), nn::Value("a")}, nn::Values{nn::Value(1), nn::Value("a")}), 0);
  EXPECT_EQ(ulps(nn::Value(1), nn::Value("a")), kInfinity);
  EXPECT_EQ(difference(zeros({2}), zeros({3}), 1).text, "at output: it was f32[2]@cpu and is f32[3]@cpu");
  EXPECT_EQ(difference(nn::Values{zeros({2}), ones({2, 2})}, nn::Values{zeros({2}), tensor<float>({{1, 1}, {3, 1}})}, 1).place, "output[1][1,0]");
}

}  // namespace

// Mutable modules: rules M of torch-mutable-modules, one truth where the original has two.
#include <gtest/gtest.h>

#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/nn/containers.h"
#include "graft/nn/linear.h"
#include "graft/nn/norm.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/mutable.h"
#include "graft/surgery/plan.h"
#include "refused.h"

namespace {

using namespace graft;
using nn::Child;
using nn::Linear;
using nn::LinearOptions;
using nn::make;
using nn::Sequential;
using surgery::to_mutable_module;

const LinearOptions kDouble{true, f64};
std::shared_ptr<Linear> linear(int64_t in = 2, int64_t out = 2) { return make<Linear>(in, out, kDouble); }
double first(const Tensor& t) { return t.flatten().at({0}); }
double first_grad(const Tensor& t) { return first(t.grad()); }

TEST(Mutable, M1_M17_it_is_the_same_object_of_the_same_type_and_prints_so) {
  auto m = linear();
  const std::shared_ptr<Linear> converted = to_mutable_module(m);
  EXPECT_EQ(converted, m);
  EXPECT_EQ(to_mutable_module(converted), m);
  EXPECT_EQ(nn::repr(*m), "MutableModule(Linear(in_features=2, out_features=2, bias=True))");
  auto net = to_mutable_module(make<Sequential>(linear()));
  EXPECT_EQ(nn::repr(*net), "MutableModule(Sequential(\n  (0): Linear(in_features=2, out_features=2, bias=True)\n))");
  EXPECT_EQ(nn::repr(*net->clone()), nn::repr(*net));
}

TEST(Mutable, M2_M24_the_parameter_itself_is_not_written) {
  auto m = to_mutable_module(linear());
  const Tensor leaf = m->weight.leaf();
  const double w = first(leaf);
  m->weight *= 0.0;
  m->weight.fill_(7);
  EXPECT_EQ(first(leaf), w);
  EXPECT_EQ(first(m->weight.value()), 7);
}

TEST(Mutable, M3_M18_edits_follow_the_chain_rule) {  // ((w * 3 - 1) / 2) + w's own leaf again
  auto m = to_mutable_module(linear());
  const Tensor s = full({2, 2}, 3.0, f64).requires_grad_();
  const double w = first(m->weight.value());
  m->weight *= s;
  m->weight -= 1.0;
  m->weight /= 2.0;
  m->bias = nullptr;
  EXPECT_NEAR(first(m->weight.value()), (3 * w - 1) / 2, 1e-12);
  sum((*m)(ones({1, 2}, f64))).backward();
  EXPECT_NEAR(first_grad(m->weight.leaf()), 1.5, 1e-12);
  EXPECT_NEAR(first_grad(s), w / 2, 1e-12);
}

TEST(Mutable, M3_M20_fill_cuts_what_was_before) {
  auto m = to_mutable_module(linear());
  const Tensor s = full({2, 2}, 3.0, f64).requires_grad_();
  m->weight *= s;
  m->weight.fill_(1.0);
  m->weight *= s;
  sum((*m)(ones({1, 2}, f64))).backward();
  EXPECT_EQ(first_grad(s), 1);
  EXPECT_EQ(first_grad(m->weight.leaf()), 0);
}

TEST(Mutable, M3_M21_a_leaf_of_anothers_that_was_assigned_is_not_edited_in_place) {
  auto m = to_mutable_module(linear());
  const Tensor s = ones({2, 2}, f64).requires_grad_();
  m->weight = s;
  EXPECT_REFUSED("a leaf Variable that requires grad is being used in an in-place operation", m->weight *= 2.0);
  m->weight = s * 1.0;
  m->weight *= 2.0;
  EXPECT_EQ(first(m->weight.value()), 2);
}

TEST(Mutable, M4_M6_frozen_parameters_stay_frozen) {
  auto m = linear();
  m->requires_grad_(false);
  to_mutable_module(m);
  m->weight *= 2.0;
  EXPECT_FALSE(m->weight->requires_grad());
}

TEST(Mutable, M5_M6_an_optimizer_over_its_parameters_trains_what_forward_uses) {
  auto m = to_mutable_module(linear(1, 1));
  optim::SGD sgd(m->parameters(), {.lr = 0.1});
  const double w = first(m->weight.value());
  sum((*m)(ones({1, 1}, f64))).backward();
  sgd.step();
  EXPECT_NEAR(first(m->weight.value()), w - 0.1, 1e-12);
  EXPECT_NEAR(first(m->state_dict().at("weight")), w - 0.1, 1e-12);
}

TEST(Mutable, M5_M27_M28_state_load_and_casts_are_of_the_current_values) {
  auto m = to_mutable_module(linear(1, 1));
  m->weight.fill_(5.0);
  EXPECT_EQ(first(m->state_dict().at("weight")), 5);
  m->float32();
  EXPECT_EQ(m->weight->dtype(), f32);
  EXPECT_EQ((*m)(ones({1, 1})).dtype(), f32);
  m->load_state_dict({{"weight", full({1, 1}, 9.0)}, {"bias", zeros({1})}});
  EXPECT_EQ((*m)(ones({1, 1})).at({0, 0}), 9);
}

TEST(Mutable, M7_M8_M16_children_are_mutable_wherever_they_are_and_shared_ones_once) {
  struct Inner : nn::Layer {
    Child<Linear> fc{this, "fc", 2, 2, kDouble};
    Tensor forward(const Tensor& x) override { return fc(x); }
  };
  struct Outer : nn::Layer {
    Child<Inner> a{this, "a"}, b{this, "b"};
    Outer() { b = a; }
    Tensor forward(const Tensor& x) override { return a(x) + b(x); }
  };
  auto m = to_mutable_module(make<Outer>());
  m->a->fc->weight.fill_(1.0);
  m->b->fc->bias.fill_(0.0);
  EXPECT_EQ((*m)(ones({1, 2}, f64)).at({0, 0}), 4);
  auto seq = to_mutable_module(make<Sequential>(linear()));
  (*seq)[0].as<Linear>()->weight *= 0.0;
  (*seq)[0].as<Linear>()->bias.fill_(3.0);
  EXPECT_EQ((*seq)(ones({1, 2}, f64)).at({0, 0}), 3);
}

TEST(Mutable, M9_a_second_backward_through_a_prediction_needs_its_graph) {
  auto m = to_mutable_module(linear());
  const Tensor z = ones({2, 2}, f64).requires_grad_();
  m->weight = exp(z);
  sum((*m)(ones({1, 2}, f64))).backward();
  EXPECT_NEAR(first_grad(z), std::exp(1.0), 1e-12);
  EXPECT_CODE(autograd, sum((*m)(ones({1, 2}, f64))).backward());
}

TEST(Mutable, M10_M11_each_call_sees_the_weights_of_its_time) {
  auto m = to_mutable_module(linear(1, 1));
  m->bias = nullptr;
  const Tensor a = full({1, 1}, 2.0, f64).requires_grad_(), b = full({1, 1}, 5.0, f64).requires_grad_(),
               x = ones({1, 1}, f64);
  m->weight = a;
  const Tensor first_call = (*m)(x);
  m->weight = b;
  const Tensor second_call = (*m)(x * 3.0);
  EXPECT_EQ(first(first_call), 2);
  EXPECT_EQ(first(second_call), 15);
  sum(first_call + second_call).backward();
  EXPECT_EQ(first_grad(a), 1);
  EXPECT_EQ(first_grad(b), 3);
}

TEST(Mutable, M16_M18_M22_an_edit_after_a_forward_leaves_the_gradient_of_that_forward_right) {
  auto m = to_mutable_module(make<Sequential>(linear(1, 1), linear(1, 1)));
  const Tensor x = ones({1, 1}, f64).requires_grad_();
  const double w0 = first((*m)[0].as<Linear>()->weight.value()), w1 = first((*m)[1].as<Linear>()->weight.value());
  const Tensor y = (*m)(x);
  (*m)[1].as<Linear>()->weight *= 2.0;  // a new value: the weight that the call has used is as it was
  sum(y).backward();
  EXPECT_NEAR(first_grad(x), w0 * w1, 1e-12);
  EXPECT_NEAR(first_grad((*m)[0].as<Linear>()->weight.leaf()), w1, 1e-12);
}

TEST(Mutable, M11_M12_shape_and_dtype_are_checked_at_assignment) {
  auto m = to_mutable_module(linear());
  EXPECT_CODE(shape_mismatch, m->weight = zeros({3, 2}, f64));
  EXPECT_CODE(dtype_mismatch, m->weight = zeros({2, 2}, f32));
  m->weight.assign(zeros({3, 2}, f64), nn::Check::none);
}

TEST(Mutable, M12_M14_methods_that_return_the_module_return_the_mutable_one) {
  auto m = to_mutable_module(linear());
  EXPECT_EQ(&m->eval(), m.get());
  EXPECT_EQ(&m->float64(), m.get());
  m->weight *= 2.0;
}

TEST(Mutable, M13_M15_ties_hold_under_edits_clones_and_casts) {
  struct Tied : nn::Layer {
    Child<Linear> a{this, "a", 2, 2, kDouble}, b{this, "b", 2, 2, kDouble};
    Tied() { b->weight = a->weight; }
    Tensor forward(const Tensor& x) override { return b(a(x)); }
  };
  auto m = to_mutable_module(make<Tied>());
  m->a->weight *= 0.0;
  EXPECT_EQ(first(m->b->weight.value()), 0);
  m->b->weight += 4.0;
  EXPECT_TRUE(m->a->weight->is_same(m->b->weight.value()));
  auto c = nn::clone(*m);
  c->b->weight.fill_(1.0);
  EXPECT_EQ(first(c->a->weight.value()), 1);
  EXPECT_EQ(first(m->a->weight.value()), 4);
  m->float32();
  EXPECT_TRUE(m->a->weight->is_same(m->b->weight.value()));
  surgery::materialize(*m);
  EXPECT_TRUE(m->a->weight.leaf().is_same(m->b->weight.leaf()));
  EXPECT_EQ(m->parameters().size(), 3U);
  EXPECT_EQ(first(m->parameters()[0]), 4);
  m->a->weight.entry().put(nn::parameter(zeros({2, 2})));  // another parameter: the tie ends
  m->a->weight += 1.0;
  EXPECT_EQ(first(m->b->weight.value()), 4);
}

TEST(Mutable, M15_M18_an_assigned_buffer_is_the_buffer) {
  auto m = to_mutable_module(make<nn::BatchNorm1d>(2));
  m->running_mean = full({2}, 3.0);
  EXPECT_EQ(first(m->state_dict().at("running_mean")), 3);
}

TEST(Mutable, M25_M26_submodules_may_be_assigned_and_surgery_works) {
  auto m = to_mutable_module(make<Sequential>(linear(), linear()));
  auto next = linear();
  (*m)[0] = next;
  EXPECT_EQ(m->get_parameter("0.weight").impl(), next->weight.leaf().impl());
  auto edit =
      surgery::replace(*m, {surgery::on<Linear>([](const Linear&, int64_t i) { return i ? nullptr : linear(2, 2); })});
  EXPECT_NE((*m)[0].module(), next);
  edit.undo();
  EXPECT_EQ((*m)[0].module(), next);
}

TEST(Mutable, materialize_keeps_values_and_forgets_how_they_came) {
  auto m = to_mutable_module(linear());
  const Tensor z = ones({2, 2}, f64).requires_grad_();
  m->weight = z * 2.0;
  surgery::materialize(*m);
  EXPECT_EQ(first(m->weight.value()), 2);
  EXPECT_TRUE(m->weight->is_leaf() && m->weight->requires_grad());
  sum((*m)(ones({1, 2}, f64))).backward();
  EXPECT_FALSE(z.grad().defined());
  EXPECT_EQ(first_grad(m->weight.leaf()), 1);
  m->weight *= 3.0;  // still mutable
}

}  // namespace

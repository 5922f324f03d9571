// Replacing modules: rules R and O of the originals with their defects mended, and the faults KM of the contract. Every
// refused or failed operation is held against a fingerprint of model and optimizers.
#include <gtest/gtest.h>

#include "fingerprint.h"
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/nn/containers.h"
#include "graft/nn/linear.h"
#include "graft/optim/adam.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/count.h"
#include "graft/surgery/plan.h"
#include "refused.h"

#define REFUSED(statement, part) EXPECT_REFUSED(part, statement)

namespace {

using namespace graft;
using graft_test::fingerprint;
using nn::Child;
using nn::Identity;
using nn::Linear;
using nn::make;
using nn::Module;
using nn::ModulePtr;
using nn::Sequential;
using surgery::on;

struct Gain : nn::Layer {  // a layer without weight: one bias-like parameter
  nn::Param gain;
  explicit Gain(double v) : gain(this, "gain", full({}, v)) {}
  Tensor forward(const Tensor& x) override { return x * gain.value(); }
};
struct Block : nn::Layer {
  Child<Linear> fc{this, "fc", 4, 4};
  Child<nn::Layer> act{this, "act", ModulePtr(make<Identity>())};
  Tensor forward(const Tensor& x) override { return act(fc(x)); }
};
struct Net : nn::Layer {
  Child<Linear> a{this, "a", 3, 4};
  Child<Block> block{this, "block"};
  Child<Linear> head{this, "head", 4, 2};
  Tensor forward(const Tensor& x) override { return head(block(a(x))); }
};
struct SubLinear : Linear {
  using Linear::Linear;
};

std::vector<std::string> paths(const std::vector<surgery::Change>& changes) {
  std::vector<std::string> list;
  for (const auto& c : changes) list.push_back(c.path);
  return list;
}
using Paths = std::vector<std::string>;
ModulePtr fresh_linear(const Linear& l) { return make<Linear>(l.in_features, l.out_features); }
void train_step(nn::Layer& net, optim::Optimizer& o, int64_t in = 3) {
  o.zero_grad();
  sum(net(ones({2, in}))).backward();
  o.step();
}
// ---- replacing ---------------------------------------------------------------------------------------------------

TEST(Surgery, R2_R3_policies_see_descendants_in_pre_order_and_never_the_root) {
  auto net = make<Net>();
  Paths seen;
  const auto look = on<Module>([&seen](const Module&, const surgery::Site& s) -> ModulePtr { return seen.push_back(s.path()), nullptr; });
  const auto plan = surgery::plan(*net, {look});
  EXPECT_EQ(seen, Paths({"a", "block", "block.fc", "block.act", "head"}));
  EXPECT_TRUE(plan.empty());
}

TEST(Surgery, R4_R5_subclasses_match_and_the_index_counts_visits) {
  auto net = make<Sequential>(make<Linear>(2, 2), make<SubLinear>(2, 2), make<Linear>(2, 2));
  std::vector<int64_t> indices;
  auto edit = surgery::replace(*net, {on<Linear>([&](const Linear& l, int64_t i) -> ModulePtr {
                                 indices.push_back(i);
                                 return i == 1 ? fresh_linear(l) : nullptr;
                               })});
  EXPECT_EQ(indices, std::vector<int64_t>({0, 1, 2}));
  EXPECT_EQ(paths(edit.changes()), Paths({"1"}));
  const nn::Module& second = *(*net)[1].module();
  EXPECT_EQ(typeid(second), typeid(Linear));
}

TEST(Surgery, R5_indices_start_where_the_caller_says_and_move_only_when_the_plan_is_applied) {
  auto net = make<Sequential>(make<Linear>(2, 2), make<Linear>(2, 2));
  surgery::Indices indices{{typeid(Linear), 5}};
  std::vector<int64_t> seen;
  auto plan = surgery::plan(*net, {on<Linear>([&](const Linear& l, int64_t i) { return seen.push_back(i), fresh_linear(l); })},
                            {.indices = &indices});
  EXPECT_EQ(seen, std::vector<int64_t>({5, 6}));
  EXPECT_EQ(indices.at(typeid(Linear)), 5);
  auto edit = plan.apply();
  EXPECT_EQ(indices.at(typeid(Linear)), 7);
  edit.undo();
  EXPECT_EQ(indices.at(typeid(Linear)), 5);
}

TEST(Surgery, R6_a_child_that_was_replaced_is_not_offered_to_later_policies) {
  auto net = make<Sequential>(make<SubLinear>(2, 2));
  int later = 0;
  auto edit = surgery::replace(*net, {on<SubLinear>([](const SubLinear& l) { return fresh_linear(l); }),
                                      on<Linear>([&](const Linear&) -> ModulePtr { return ++later, nullptr; })});
  EXPECT_EQ(later, 0);
  EXPECT_EQ(edit.changes().size(), 1U);
}

TEST(Surgery, R7_R9_recursion_follows_answers_until_policies_decline) {
  auto net = make<Sequential>(make<Gain>(2.0), make<Linear>(8, 3));
  const auto grow = on<Linear>([](const Linear& l) -> ModulePtr { return l.in_features == 16 ? make<Linear>(32, 64) : nullptr; });
  const auto start = on<Gain>([](const Gain&) { return make<Linear>(16, 32); });
  auto edit = surgery::replace(*net, {start, grow}, {.recurse = true});
  EXPECT_EQ(paths(edit.changes()), Paths({"0", "0"}));
  EXPECT_EQ((*net)[0].as<Linear>()->in_features, 32);
  edit.undo();
  EXPECT_TRUE((*net)[0].as<Gain>());
  edit = surgery::replace(*net, {start, grow});
  EXPECT_EQ((*net)[0].as<Linear>()->in_features, 16);
}

TEST(Surgery, R10_a_module_may_be_wrapped_and_is_not_offered_again) {
  auto net = make<Net>();
  const ModulePtr fc = net->block->fc.module();
  int asked = 0;
  auto edit = surgery::replace(*net, {on<Linear>([&](const Linear&, const surgery::Site& s) -> ModulePtr {
                                 ++asked;
                                 if (s.path() != "block.fc") return nullptr;
                                 return make<Sequential>(s.module, ModulePtr(make<Gain>(3.0)));
                               })},
                               {.recurse = true});
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(net->block->fc.as<Sequential>()->child_entries()[0]->module, fc);
  EXPECT_EQ(net->named_parameters()[2].first, "block.fc.0.weight");
}

TEST(Surgery, R14_all_aliases_of_a_shared_module_change_together) {
  auto shared = make<Linear>(2, 2);
  auto net = make<Sequential>(shared, make<Identity>(), shared);
  int asked = 0;
  auto plan = surgery::plan(*net, {on<Linear>([&](const Linear& l) { return ++asked, fresh_linear(l); })});
  EXPECT_EQ(plan.changes().at(0).aliases, Paths({"2"}));
  auto edit = plan.apply();
  EXPECT_EQ(asked, 1);
  EXPECT_EQ((*net)[0].module(), (*net)[2].module());
  EXPECT_NE((*net)[0].module(), shared);
  EXPECT_EQ(surgery::count<Linear>(*net), 1U);
  edit.undo();
  EXPECT_EQ((*net)[2].module(), shared);
}

TEST(Surgery, R15_R20_children_of_a_replaced_module_are_neither_visited_nor_numbered) {
  auto net = make<Net>();
  std::vector<std::string> seen;
  optim::SGD sgd(net->parameters());
  auto edit = surgery::replace(*net,
                               {on<Block>([](const Block&) { return make<Linear>(4, 4); }),
                                on<Linear>([&](const Linear& l, const surgery::Site& s) {
                                  seen.push_back(s.path() + std::to_string(s.index));
                                  return fresh_linear(l);
                                })},
                               {.optimizers = {&sgd}});
  EXPECT_EQ(seen, Paths({"a0", "head1"}));
  EXPECT_EQ(paths(edit.changes()), Paths({"a", "block", "head"}));
  EXPECT_EQ(graft_test::group(*net, sgd), "a.weight a.bias block.weight block.bias head.weight head.bias");
}

TEST(Surgery, R19_O21_one_answer_for_two_modules_becomes_shared_and_enters_the_optimizer_once) {
  auto net = make<Sequential>(make<Linear>(2, 2), make<Linear>(2, 2));
  optim::SGD sgd(net->parameters(), {.lr = 0.1});
  auto one = make<Linear>(2, 2);
  surgery::replace(*net, {on<Linear>([&](const Linear&) -> ModulePtr { return one; })}, {.optimizers = {&sgd}});
  EXPECT_EQ((*net)[0].module(), (*net)[1].module());
  EXPECT_EQ(graft_test::group(*net, sgd), "0.weight 0.bias");
}

TEST(Surgery, include_root_replaces_the_handle) {
  std::shared_ptr<nn::Layer> net = make<Linear>(2, 2);
  const ModulePtr before = net;
  auto edit = surgery::replace(net, {on<Linear>([](const Linear& l) { return fresh_linear(l); })}, {.include_root = true});
  EXPECT_NE(net, before);
  EXPECT_EQ(edit.changes().at(0).path, "");
  edit.undo();
  EXPECT_EQ(net, before);
  REFUSED(surgery::plan(*before, {}, {.include_root = true}), "pass the shared_ptr that holds the model");
}

TEST(Surgery, edit_works_on_a_copy_that_shares_parameters) {
  struct Scaled : Linear {
    double scale = 1;
    using Linear::Linear;
    Tensor forward(const Tensor& x) override { return Linear::forward(x) * scale; }
  };
  auto net = make<Sequential>(make<Scaled>(2, 2));
  optim::SGD sgd(net->parameters());
  const Tensor x = ones({1, 2}), y = (*net)(x), weight = net->parameters()[0];
  auto edit = surgery::replace(*net, {on<Scaled>(surgery::edit([](Scaled& s) { s.scale = 2; }))}, {.optimizers = {&sgd}});
  EXPECT_TRUE(net->parameters()[0].is_same(weight));
  EXPECT_EQ(graft_test::group(*net, sgd), "0.weight 0.bias");
  EXPECT_NEAR((*net)(x).at({0, 0}), 2 * y.at({0, 0}), 1e-6);
  edit.undo();
  EXPECT_EQ((*net)(x).at({0, 0}), y.at({0, 0}));
}

// ---- counting ----------------------------------------------------------------------------------------------------

TEST(Surgery, R12_count_sees_distinct_descendants_of_any_of_the_types) {
  auto shared = make<Linear>(2, 2);
  auto net = make<Sequential>(shared, shared, make<Sequential>(make<SubLinear>(2, 2), make<Identity>()));
  EXPECT_EQ((surgery::count<Linear>(*net)), 2U);
  EXPECT_EQ((surgery::count<Linear, SubLinear>(*net)), 2U);
  EXPECT_EQ((surgery::count<Sequential>(*net)), 1U);  // not the root
  EXPECT_EQ((surgery::count<Identity, Linear>(*net)), 3U);
  EXPECT_EQ(surgery::count<Linear>(*shared), 0U);
  const std::map<std::string, size_t> expected{{"Identity", 1}, {"Linear", 1}, {"Sequential", 1}, {"SubLinear", 1}};
  EXPECT_EQ(surgery::count_by_type(*net), expected);
}

TEST(Surgery, R12_counting_heavily_shared_graphs_is_linear) {
  ModulePtr m = make<Linear>(1, 1);
  for (int i = 0; i < 60; ++i) m = make<Sequential>(std::vector<ModulePtr>{m, m});  // 2^60 paths
  EXPECT_EQ(surgery::count<Linear>(*m), 1U);
  EXPECT_EQ(surgery::count<Sequential>(*m), 59U);
}

// ---- optimizers --------------------------------------------------------------------------------------------------

TEST(Surgery, O1_O4_new_parameters_take_the_places_of_the_old_and_the_rest_keeps_its_state) {
  auto net = make<Net>();
  optim::Adam adam(net->parameters());
  train_step(*net, adam);
  const Tensor kept = net->head->weight.leaf();
  const Tensor before = adam.state(kept)->buffers[0].clone();
  surgery::replace(*net, {on<Block>([](const Block&) { return make<Linear>(4, 4); })}, {.optimizers = {&adam}});
  EXPECT_EQ(graft_test::group(*net, adam), "a.weight a.bias block.weight block.bias head.weight head.bias");
  EXPECT_EQ(adam.state(kept)->buffers[0].at({0, 0}), before.at({0, 0}));
  EXPECT_TRUE(adam.state(net->get_parameter("block.weight"))->empty());
  train_step(*net, adam);
}

TEST(Surgery, O3_a_parameter_that_lives_on_keeps_place_and_state) {
  auto net = make<Sequential>(make<Linear>(2, 2), make<Linear>(2, 2));
  optim::SGD sgd(net->parameters(), {.lr = 0.1, .momentum = 0.9});
  train_step(*net, sgd, 2);
  surgery::replace(*net, {on<Linear>([](const Linear& l, int64_t i) -> ModulePtr {
                     if (i) return nullptr;
                     auto next = make<Linear>(l.in_features, l.out_features);
                     next->bias.entry().put(l.bias.leaf());
                     return next;
                   })},
                   {.optimizers = {&sgd}});
  EXPECT_EQ(graft_test::group(*net, sgd), "0.weight 0.bias 1.weight 1.bias");
  EXPECT_TRUE(sgd.slots(0)[0].state.empty());
  EXPECT_FALSE(sgd.slots(0)[1].state.empty());
}

TEST(Surgery, O6_weight_goes_to_the_group_of_weights_and_bias_to_that_of_biases) {
  auto net = make<Sequential>(make<Linear>(2, 3), make<Linear>(3, 2));
  optim::SGD sgd({net->get_parameter("0.weight"), net->get_parameter("1.weight")}, {.weight_decay = 0.1});
  sgd.add_param_group({net->get_parameter("0.bias"), net->get_parameter("1.bias")}, {});
  surgery::replace(*net, {on<Linear>([](const Linear& l, int64_t i) { return i == 0 ? fresh_linear(l) : nullptr; })},
                   {.optimizers = {&sgd}});
  EXPECT_EQ(graft_test::group(*net, sgd, 0), "0.weight 1.weight");
  EXPECT_EQ(graft_test::group(*net, sgd, 1), "0.bias 1.bias");
}

TEST(Surgery, O7_what_a_wrapper_adds_joins_the_layer_it_wraps) {
  auto net = make<Sequential>(make<Linear>(2, 2), make<Linear>(2, 2));
  optim::SGD sgd((*net)[0].module()->parameters());
  sgd.add_param_group((*net)[1].module()->parameters(), {});
  surgery::replace(*net, {on<Linear>([](const Linear&, const surgery::Site& s) -> ModulePtr {
                     return s.index ? make<Sequential>(s.module, ModulePtr(make<Gain>(1.0))) : nullptr;
                   })},
                   {.optimizers = {&sgd}});
  EXPECT_EQ(graft_test::group(*net, sgd, 1), "1.0.weight 1.0.bias 1.1.gain");
}

TEST(Surgery, O7_an_unclear_group_is_an_error_before_any_change_unless_one_is_named) {
  auto net = make<Sequential>(make<Linear>(2, 2), make<Identity>(), make<Linear>(2, 2));
  optim::SGD sgd((*net)[0].module()->parameters());
  sgd.add_param_group((*net)[2].module()->parameters(), {});
  const std::string before = fingerprint(*net, {&sgd});
  const auto policy = on<Identity>([](const Identity&) { return make<Linear>(2, 2); });
  REFUSED(surgery::plan(*net, {policy}, {.optimizers = {&sgd}}), "1: it is unclear in which parameter group the new 'weight'");
  EXPECT_EQ(fingerprint(*net, {&sgd}), before);
  surgery::replace(*net, {policy}, {.optimizers = {&sgd}, .group = 1});
  EXPECT_EQ(graft_test::group(*net, sgd, 1), "2.weight 2.bias 1.weight 1.bias");
}

TEST(Surgery, a_plan_is_refused_when_one_of_its_optimizers_is_gone) {
  auto net = make<Sequential>(make<Linear>(2, 2));
  auto sgd = std::make_unique<optim::SGD>(net->parameters(), optim::SGDOptions{.lr = 0.1});
  auto plan = surgery::plan(*net, {on<Linear>([](const Linear&) { return make<Linear>(2, 2); })}, {.optimizers = {sgd.get()}});
  const std::string before = fingerprint(*net);
  sgd.reset();
  REFUSED(plan.apply(), "optimizer 0 of the plan is gone");
  EXPECT_EQ(fingerprint(*net), before);
}
TEST(Surgery, O8_O9_what_replaces_a_layer_that_was_not_optimized_is_not_optimized) {
  auto net = make<Sequential>(make<Linear>(2, 2), make<Linear>(2, 2));
  const auto first = on<Linear>([](const Linear& l, int64_t i) { return i == 0 ? fresh_linear(l) : nullptr; });
  optim::SGD one((*net)[1].module()->parameters());
  auto plan = surgery::plan(*net, {first}, {.optimizers = {&one}});
  ASSERT_EQ(plan.notes().size(), 2U);
  EXPECT_EQ(plan.notes()[0].kind, surgery::Note::Kind::not_optimized);
  plan.apply();
  EXPECT_EQ(graft_test::group(*net, one), "1.weight 1.bias");
  optim::SGD two({net->get_parameter("1.weight")});
  two.add_param_group({net->get_parameter("1.bias")}, {});
  REFUSED(surgery::plan(*net, {first}, {.optimizers = {&two}}), "no parameter of what it replaces is in the optimizer");
}

TEST(Surgery, O10_removals_leave_every_group) {
  auto net = make<Sequential>(make<Linear>(2, 2), make<Linear>(2, 2));
  optim::SGD sgd({net->get_parameter("0.weight"), net->get_parameter("1.weight")});
  sgd.add_param_group({net->get_parameter("0.bias"), net->get_parameter("1.bias")}, {});
  surgery::replace(*net, {on<Linear>([](const Linear&, int64_t i) -> ModulePtr { return i ? nullptr : make<Identity>(); })},
                   {.optimizers = {&sgd}});
  EXPECT_EQ(graft_test::group(*net, sgd, 0), "1.weight");
  EXPECT_EQ(graft_test::group(*net, sgd, 1), "1.bias");
}

TEST(Surgery, O11_several_optimizers_each_replace_what_they_own) {
  auto net = make<Sequential>(make<Linear>(2, 2), make<Linear>(2, 2));
  optim::SGD sgd((*net)[0].module()->parameters());
  optim::Adam adam((*net)[1].module()->parameters());
  surgery::replace(*net, {on<Linear>([](const Linear& l) { return fresh_linear(l); })}, {.optimizers = {&sgd, &adam}});
  EXPECT_EQ(graft_test::group(*net, sgd), "0.weight 0.bias");
  EXPECT_EQ(graft_test::group(*net, adam), "1.weight 1.bias");
}

TEST(Surgery, O13_O16_a_tied_parameter_with_another_owner_stays) {
  auto net = make<Net>();
  net->block->fc->bias = net->a->bias;
  optim::SGD sgd(net->parameters());
  surgery::replace(*net, {on<Linear>([](const Linear& l, int64_t i) { return i == 0 ? fresh_linear(l) : nullptr; })},
                   {.optimizers = {&sgd}});
  EXPECT_EQ(graft_test::group(*net, sgd), "a.weight block.fc.bias a.bias block.fc.weight head.weight head.bias");
  EXPECT_EQ(sgd.params().size(), net->parameters().size());
}

TEST(Surgery, carried_state_continues_where_shapes_agree) {
  auto net = make<Sequential>(make<Linear>(2, 2));
  optim::Adam adam(net->parameters());
  train_step(*net, adam, 2);
  const double m = adam.slots(0)[0].state.buffers[0].at({0, 0});
  auto edit = surgery::replace(*net, {on<Linear>([](const Linear& l) { return fresh_linear(l); })},
                               {.optimizers = {&adam}, .carry_state = true});
  EXPECT_EQ(adam.slots(0)[0].state.step, 1);
  EXPECT_EQ(adam.slots(0)[0].state.buffers[0].at({0, 0}), m);
  train_step(*net, adam, 2);
  edit.undo();
  EXPECT_EQ(adam.slots(0)[0].state.step, 1);  // as it was at commit: the state was carried as a copy
  EXPECT_EQ(adam.slots(0)[0].state.buffers[0].at({0, 0}), m);
}

TEST(Contract, KP4_carried_state_is_sliced_to_a_smaller_parameter) {
  auto net = make<Sequential>(make<Linear>(3, 4), make<Linear>(4, 2));
  optim::Adam adam(net->parameters());
  train_step(*net, adam), train_step(*net, adam);
  const optim::State old = *adam.state(net->get_parameter("0.weight"));
  auto edit = surgery::replace(*net, {on<Linear>([](const Linear&, int64_t i) { return i == 0 ? make<Linear>(3, 2) : make<Linear>(2, 3); })},
                               {.optimizers = {&adam}, .carry_state = true});
  const optim::State* state = adam.state(net->get_parameter("0.weight"));
  EXPECT_EQ(state->step, 2);
  for (size_t b = 0; b < 2; ++b)
    for (int64_t i = 0; i < 2; ++i)
      for (int64_t j = 0; j < 3; ++j) EXPECT_EQ(state->buffers[b].at({i, j}), old.buffers[b].at({i, j}));
  const Tensor grown = adam.state(net->get_parameter("1.weight"))->buffers[1];  // [2,4] -> [3,2]
  EXPECT_EQ(grown.shape(), Shape({3, 2}));
  EXPECT_NE(grown.at({1, 1}), 0);
  EXPECT_EQ(grown.at({2, 1}), 0);
  train_step(*net, adam);
}

// ---- undo --------------------------------------------------------------------------------------------------------

TEST(Surgery, undo_is_bitwise_and_the_same_plan_applies_again) {
  auto net = make<Net>();
  optim::Adam adam(net->parameters());
  train_step(*net, adam);
  const std::string before = fingerprint(*net, {&adam});
  auto plan = surgery::plan(*net, {on<Linear>([](const Linear& l) { return fresh_linear(l); })}, {.optimizers = {&adam}});
  EXPECT_EQ(fingerprint(*net, {&adam}), before);
  auto edit = plan.apply();
  const std::string after = fingerprint(*net, {&adam});
  EXPECT_NE(after, before);
  edit.undo();
  EXPECT_FALSE(edit.applied());
  EXPECT_EQ(fingerprint(*net, {&adam}), before);
  REFUSED(edit.undo(), "has been undone already");
  edit = plan.apply();
  EXPECT_EQ(fingerprint(*net, {&adam}), after);
}

TEST(Surgery, undo_keeps_what_was_trained_since_in_parameters_it_did_not_touch) {
  auto net = make<Net>();
  optim::SGD sgd(net->parameters(), {.lr = 0.1, .momentum = 0.9});
  auto edit = surgery::replace(*net, {on<Block>([](const Block&) { return make<Linear>(4, 4); })}, {.optimizers = {&sgd}});
  train_step(*net, sgd);
  const double trained = net->head->bias->at({0});
  edit.undo();
  EXPECT_EQ(net->head->bias->at({0}), trained);
  EXPECT_FALSE(sgd.state(net->head->bias.leaf())->empty());
  EXPECT_TRUE(sgd.state(net->block->fc->weight.leaf())->empty());
  EXPECT_EQ(graft_test::group(*net, sgd), "a.weight a.bias block.fc.weight block.fc.bias head.weight head.bias");
}

TEST(Surgery, an_optimizer_that_is_gone_does_not_stop_an_undo) {
  auto net = make<Net>();
  auto sgd = std::make_unique<optim::SGD>(net->parameters());
  auto edit = surgery::replace(*net, {on<Block>([](const Block&) { return make<Linear>(4, 4); })}, {.optimizers = {sgd.get()}});
  sgd.reset();
  edit.undo();
  EXPECT_TRUE(net->block.as<Block>());
}

// ---- the contract ------------------------------------------------------------------------------------------------

TEST(Contract, KM4_no_answer_is_no_change_and_a_slot_that_takes_no_such_module_refuses) {
  struct Two : nn::ModuleOf<Tensor(const Tensor&, const Tensor&)> {
    Tensor forward(const Tensor& a, const Tensor& b) override { return a + b; }
  };
  auto net = make<Net>();
  const std::string before = fingerprint(*net);
  EXPECT_TRUE(surgery::plan(*net, {on<Linear>([](const Linear&) -> ModulePtr { return nullptr; })}).empty());
  REFUSED(surgery::plan(*net, {on<Linear>([](const Linear&) { return make<Two>(); })}), "cannot hold Two");
  REFUSED(surgery::plan(*net, {}, {.allow_empty = false}), "no policy replaced anything");
  EXPECT_EQ(fingerprint(*net), before);
}

TEST(Contract, KM5_a_module_of_the_tree_or_of_another_model_is_refused) {
  auto net = make<Net>(), other = make<Net>();
  const std::string before = fingerprint(*net);
  REFUSED(surgery::plan(*net, {on<Block>([&](const Block&) { return other->head.module(); })}), "is part of another model, at 'head'");
  REFUSED(surgery::plan(*net, {on<Block>([&](const Block&) { return net->head.module(); })}), "part of the model already");
  REFUSED(surgery::plan(*net, {on<Block>([&](const Block&) -> ModulePtr { return make<Sequential>(ModulePtr(net)); })}),
          "contains the model itself");
  EXPECT_EQ(fingerprint(*net), before);
}

TEST(Contract, KM6_a_policy_that_throws_at_the_kth_module_changes_nothing) {
  auto net = make<Net>();
  optim::Adam adam(net->parameters());
  train_step(*net, adam);
  surgery::Indices indices{{typeid(Linear), 3}};
  const std::string before = fingerprint(*net, {&adam});
  for (int k = 0; k < 3; ++k) {
    int n = 0;
    const auto policy = on<Linear>([&](const Linear& l) -> ModulePtr {
      if (n++ == k) throw std::runtime_error("boom");
      return fresh_linear(l);
    });
    EXPECT_THROW(surgery::replace(*net, {policy}, {.optimizers = {&adam}, .indices = &indices}), std::runtime_error);
    EXPECT_EQ(fingerprint(*net, {&adam}), before) << k;
    EXPECT_EQ(indices.at(typeid(Linear)), 3);
  }
  const auto graft_error = on<Linear>([](const Linear&, const surgery::Site& s) -> ModulePtr {
    return s.path() == "block.fc" ? make<Linear>(1, -1) : nullptr;
  });
  REFUSED(surgery::replace(*net, {graft_error}), "block.fc (Linear): ");
}

TEST(Contract, KM7_a_policy_that_changes_the_tree_it_walks_is_found_out) {
  auto net = make<Net>();
  const std::string before = fingerprint(*net);
  REFUSED(surgery::plan(*net, {on<Block>([&](const Block&) -> ModulePtr {
            net->head = make<Linear>(4, 2);
            return nullptr;
          })}),
          "a policy has changed the model while it was walked, at 'head'");
  EXPECT_EQ(fingerprint(*net), before);
}

TEST(Contract, KM8_a_policy_that_answers_with_the_module_itself_keeps_it) {
  auto net = make<Net>();
  optim::SGD sgd(net->parameters());
  const std::string before = fingerprint(*net, {&sgd});
  int asked = 0;
  auto edit = surgery::replace(*net, {on<Linear>([&](const Linear&, const surgery::Site& s) { return ++asked, s.module; })},
                               {.optimizers = {&sgd}, .recurse = true});
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(fingerprint(*net, {&sgd}), before);
}

TEST(Contract, KM9_recursion_that_never_ends_is_an_error_that_names_the_path) {
  auto net = make<Net>();
  const std::string before = fingerprint(*net);
  const auto again = on<Linear>([](const Linear& l) { return fresh_linear(l); });
  REFUSED(surgery::plan(*net, {again}, {.recurse = true, .max_depth = 5}), "surgery: 'a' (Linear) is the answer to an answer, 5 deep");
  const auto nested = on<Linear>([](const Linear& l) -> ModulePtr { return make<Sequential>(make<Linear>(l.in_features, l.out_features)); });
  REFUSED(surgery::plan(*net, {nested}, {.recurse = true}), "32 deep");
  EXPECT_EQ(fingerprint(*net), before);
}

TEST(Contract, KM10_a_replacement_of_the_wrong_shape_is_found_by_the_dry_run) {
  auto net = make<Net>();
  const std::string before = fingerprint(*net);
  const auto wrong = on<Block>([](const Block&) { return make<Linear>(4, 5); });
  REFUSED(surgery::plan(*net, {wrong}, {.example = {ones({2, 3})}}), "see 'head'");
  EXPECT_EQ(fingerprint(*net), before);
  EXPECT_EQ(surgery::plan(*net, {on<Block>([](const Block&) { return make<Linear>(4, 4); })}, {.example = {ones({2, 3})}}).changes().size(), 1U);
  EXPECT_EQ(fingerprint(*net), before);
}

TEST(Contract, KM11_the_root_is_replaced_through_its_handle) {
  std::shared_ptr<Linear> typed = make<Linear>(2, 2);
  REFUSED(surgery::plan(typed, {on<Linear>([](const Linear&) { return make<Identity>(); })}, {.include_root = true}),
          "the handle cannot hold Identity");
  ModulePtr any = typed;
  surgery::replace(any, {on<Linear>([](const Linear&) { return make<Identity>(); })}, {.include_root = true});
  EXPECT_EQ(nn::type_name(*any), "Identity");
}

TEST(Contract, KM13_a_handle_to_a_removed_module_stays_alive_and_says_that_it_is_detached) {
  auto net = make<Net>();
  std::shared_ptr<Linear> head = std::dynamic_pointer_cast<Linear>(net->head.module());
  const Tensor x = ones({1, 4}), y = (*head)(x);
  auto edit = surgery::replace(*net, {on<Linear>([](const Linear& l, int64_t i) { return i == 2 ? fresh_linear(l) : nullptr; })});
  EXPECT_TRUE(head->detached());
  EXPECT_EQ(head->path(), "(detached)");
  EXPECT_EQ((*head)(x).at({0, 0}), y.at({0, 0}));
  edit.undo();
  EXPECT_EQ(head->path(), "head");
}

TEST(Contract, KM16_surgery_on_ten_thousand_nested_modules_needs_no_deep_stack) {
  ModulePtr m = make<Linear>(1, 1);
  for (int i = 0; i < 10000; ++i) m = make<Sequential>(std::vector<ModulePtr>{m});
  auto edit = surgery::replace(*m, {on<Linear>([](const Linear& l) { return fresh_linear(l); })});
  EXPECT_EQ(edit.changes().size(), 1U);
  edit.undo();
}

TEST(Contract, KM17_device_dtype_and_mode_are_inherited) {
  auto net = make<Net>();
  net->float64().eval();
  const auto policy = on<Block>([](const Block&) { return make<Linear>(4, 4); });
  surgery::replace(*net, {policy});
  EXPECT_EQ(net->get_parameter("block.weight").dtype(), f64);
  EXPECT_FALSE(net->block.module()->training());
  EXPECT_EQ((*net)(ones({1, 3}, f64)).dtype(), f64);
  auto other = make<Net>();
  other->float64().eval();
  surgery::replace(*other, {policy}, {.inherit_dtype = false, .inherit_training = false});
  EXPECT_EQ(other->get_parameter("block.weight").dtype(), f32);
  EXPECT_TRUE(other->block.module()->training());
}

TEST(Contract, KM17_a_wrapped_module_keeps_its_own_mode) {
  auto net = make<Net>();
  net->block->fc.module()->eval();  // a frozen part of a model in training
  const auto wrap = on<Block>([](const Block&, const surgery::Site& s) { return make<Sequential>(s.module); });
  const std::string before = fingerprint(*net);
  auto plan = surgery::plan(*net, {wrap});
  EXPECT_EQ(fingerprint(*net), before);
  plan.apply();
  EXPECT_FALSE(net->get_submodule("block.0.fc").training());
  EXPECT_TRUE(net->get_submodule("block").training());
}

TEST(Contract, KM18_hooks_and_requires_grad_are_listed_and_inherited_when_asked) {
  auto net = make<Sequential>(make<Linear>(2, 2));
  (*net)[0]->requires_grad_(false);
  int calls = 0;
  (*net)[0]->register_forward_hook([&calls](Module&, const nn::Values&, nn::Value&) { ++calls; });
  const auto policy = on<Linear>([](const Linear& l) { return fresh_linear(l); });
  auto plan = surgery::plan(*net, {policy});
  std::vector<surgery::Note::Kind> kinds;
  for (const auto& n : plan.notes()) kinds.push_back(n.kind);
  using Kind = surgery::Note::Kind;
  EXPECT_EQ(kinds, (std::vector<Kind>{Kind::requires_grad_differs, Kind::requires_grad_differs, Kind::hooks_left, Kind::no_optimizer}));
  auto edit = plan.apply();
  (*net)(ones({1, 2}));
  EXPECT_EQ(calls, 0);
  edit.undo();
  surgery::replace(*net, {policy}, {.inherit_requires_grad = true, .inherit_hooks = true});
  (*net)(ones({1, 2}));
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(net->get_parameter("0.weight").requires_grad());
}

TEST(Contract, KM19_undo_after_a_later_edit_lists_the_conflict) {
  auto net = make<Net>();
  auto edit = surgery::replace(*net, {on<Block>([](const Block&) { return make<Linear>(4, 4); })});
  net->block.put(make<Linear>(4, 4));
  REFUSED(edit.undo(), "later edits have changed 'block'");
  EXPECT_TRUE(edit.applied());
}

TEST(Contract, KM20_surgery_during_a_call_is_refused_and_a_plan_for_another_state_too) {
  auto net = make<Net>();
  const auto policy = on<Block>([](const Block&) { return make<Linear>(4, 4); });
  auto plan = surgery::plan(*net, {policy});
  net->block->register_forward_hook([&](Module&, const nn::Values&, nn::Value&) {
    REFUSED(plan.apply(), "surgery");
    REFUSED(surgery::plan(*net, {policy}), "surgery");
  });
  (*net)(ones({1, 3}));
  net->head = make<Linear>(4, 2);
  REFUSED(plan.apply(), "the plan was made for another state of the model");
}

TEST(Contract, KM20_backward_after_a_commit_uses_what_was_saved) {
  auto net = make<Net>();
  const Tensor x = ones({2, 3}), weight = net->block->fc->weight.leaf();
  const Tensor y = sum((*net)(x));
  const Tensors expected = grad({y}, {weight}, {.retain_graph = true});
  surgery::replace(*net, {on<Block>([](const Block&) { return make<Linear>(4, 4); })});
  y.backward();
  EXPECT_EQ(weight.grad().at({1, 2}), expected[0].at({1, 2}));
}

TEST(Surgery, a_plan_prints_as_a_table) {
  auto net = make<Net>();
  optim::SGD sgd(net->parameters());
  const auto plan = surgery::plan(*net, {on<Block>([](const Block&) { return make<Linear>(4, 4, false); })}, {.optimizers = {&sgd}});
  EXPECT_EQ(concat(plan),
            "plan: 1 replacement in Net\n"
            "  path   old             new                                                parameters\n"
            "  block  Block(...)  ->  Linear(in_features=4, out_features=4, bias=False)  -4\n"
            "  parameters 46 -> 42; tensors: 2 leave, 1 enter\n"
            "  SGD group 0: 6 -> 5 parameters\n");
}

}  // namespace

// Operations on selections: insert, wrap, remove, swap, and weights that are carried over. Each is planned, followed by
// optimizers, and undone to the bit.
#include "graft/surgery/operations.h"

#include <gtest/gtest.h>

#include "fingerprint.h"
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"
#include "graft/nn/nn.h"
#include "graft/nn/parallel.h"
#include "graft/optim/adam.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/plan.h"
#include "refused.h"

namespace {

using namespace graft;
using graft_test::fingerprint;
using nn::Child;
using nn::Identity;
using nn::Linear;
using nn::make;
using nn::ModulePtr;
using nn::ReLU;
using nn::Sequential;
using surgery::select;
using Paths = std::vector<std::string>;

struct Gain : nn::Layer {
  nn::Param gain;
  explicit Gain(double v) : gain(this, "gain", full({}, v)) {}
  Tensor forward(const Tensor& x) override { return x * gain.value(); }
};
struct Block : nn::Layer {
  Child<Linear> fc{this, "fc", 4, 4};
  Child<nn::Layer> act{this, "act", ModulePtr(make<ReLU>())};
  Child<nn::Layer> skip{this, "skip", nullptr};
  Tensor forward(const Tensor& x) override {
    Tensor y = act(fc(x));
    return skip ? y + skip(x) : y;
  }
};
std::shared_ptr<Sequential> row(int64_t n) {
  auto s = make<Sequential>();
  for (int64_t i = 0; i < n; ++i) s->append(make<Linear>(4, 4));
  return s;
}
Paths names(const nn::Module& m) {
  Paths list;
  for (const auto& [path, module] : m.named_modules()) list.push_back(path);
  return list;
}
Paths parameters(const nn::Module& m, const optim::Optimizer& o, size_t group = 0) {
  Paths list;
  for (const auto& s : o.slots(group)) {
    list.emplace_back("stale");
    for (const auto& [n, t] : m.named_parameters())
      if (t.is_same(s.param)) list.back() = n;
  }
  return list;
}
bool same(const Tensor& a, const Tensor& b) { return a.shape() == b.shape() && all(eq(a.detach(), b.detach())).item<bool>(); }
void train_step(nn::Layer& net, optim::Optimizer& o) {
  o.zero_grad();
  sum(net(ones({2, 4}))).backward();
  o.step();
}
// Applies, checks that the plan was pure, undoes and applies again; the edit is left applied.
template <class Model> surgery::Edit apply_twice(Model& model, std::vector<surgery::Policy> policies, surgery::Options options = {}) {
  const std::string before = fingerprint(*model, options.optimizers);
  surgery::Plan plan = surgery::plan(*model, std::move(policies), options);
  concat(plan);
  EXPECT_EQ(fingerprint(*model, options.optimizers), before);
  surgery::Edit edit = plan.apply();
  const Paths after = names(*model);
  edit.undo();
  EXPECT_EQ(fingerprint(*model, options.optimizers), before);
  edit = plan.apply();
  EXPECT_EQ(names(*model), after);
  edit.undo();
  EXPECT_EQ(fingerprint(*model, options.optimizers), before);
  return plan.apply();
}

// ---- policies on selections ----------------------------------------------------------------------------------------

TEST(Operations, a_policy_on_a_selection_is_asked_about_its_modules_alone) {
  auto net = row(4);
  std::vector<int64_t> seen;
  const auto chosen = select(*net).where<Linear>().at("[13]");
  auto edit = surgery::replace(*net, {surgery::on<Linear>(chosen, [&](const Linear& l, int64_t i) {
                                 seen.push_back(i);
                                 return make<Linear>(l.in_features, l.out_features, false);
                               })});
  EXPECT_EQ(seen, (std::vector<int64_t>{0, 1}));
  ASSERT_EQ(edit.changes().size(), 2U);
  EXPECT_EQ(edit.changes()[1].path, "3");
  EXPECT_REFUSED("which has changed at '1'; select again", surgery::plan(*net, {surgery::on(chosen, [](const nn::Module&) { return nullptr; })}));
  EXPECT_REFUSED("a policy for ReLU is given '0', which is Linear", surgery::on<ReLU>(select(*net), [](const ReLU&) { return nullptr; }));
  EXPECT_REFUSED("nothing in Sequential matches where<ReLU>",
                 surgery::plan(*net, {surgery::on<ReLU>(select(*net).where<ReLU>(), [](const ReLU&) { return nullptr; })}));
}

TEST(Contract, KM12_what_lies_in_a_replaced_container_is_noted_not_visited) {
  auto net = make<Sequential>(make<Block>());
  const auto both = select(*net).at("0") | select(*net).at("0.fc");
  auto plan = surgery::plan(*net, {surgery::on(both, [](const nn::Module&) { return make<Identity>(); })});
  ASSERT_EQ(plan.changes().size(), 1U);
  EXPECT_EQ(plan.changes()[0].path, "0");
  ASSERT_EQ(plan.notes().size(), 1U);
  EXPECT_EQ(plan.notes()[0].kind, surgery::Note::Kind::inside_replaced);
  EXPECT_EQ(plan.notes()[0].path, "0.fc");
}

// ---- insert ----------------------------------------------------------------------------------------------------------

TEST(Operations, insertion_into_a_sequential_makes_entries_and_numbers_them_anew) {
  auto net = row(3);
  optim::SGD sgd(net->parameters(), {.lr = 0.1, .momentum = 0.9});
  train_step(*net, sgd);
  const Tensor x = randn({2, 4}), weight = net->get_parameter("1.weight");
  const Tensor expected = (*net)[2]((*net)[1]((*net)[0](x) * 2.0) * 3.0);
  const auto second = select(*net).at("1");
  auto edit = apply_twice(net, {surgery::insert_before(second, [] { return make<Gain>(2.0); }),
                                surgery::insert_after(second, [](const nn::Module&, const surgery::Site& s) {
                                  EXPECT_EQ(s.path(), "1");
                                  return make<Gain>(3.0);
                                })},
                          {.optimizers = {&sgd}});
  EXPECT_EQ(names(*net), Paths({"", "0", "1", "2", "3", "4"}));
  EXPECT_TRUE(net->get_parameter("2.weight").is_same(weight));
  EXPECT_TRUE(same((*net)(x), expected));
  EXPECT_EQ(edit.changes()[0].path, "1");
  EXPECT_EQ(edit.changes()[1].path, "3");
  EXPECT_EQ(edit.changes()[0].before, nullptr);
  // What was inserted joined the layer beside it, the others kept place and state.
  EXPECT_EQ(parameters(*net, sgd), Paths({"0.weight", "0.bias", "2.weight", "2.bias", "1.gain", "3.gain", "4.weight", "4.bias"}));
  EXPECT_FALSE(sgd.state(net->get_parameter("4.weight"))->empty());
  train_step(*net, sgd);
}

TEST(Operations, insertion_keeps_names_that_are_no_numbers) {
  auto net = make<Sequential>(std::initializer_list<std::pair<std::string, ModulePtr>>{{"conv", make<Linear>(4, 4)}, {"act", make<ReLU>()}});
  auto edit = apply_twice(net, {surgery::insert_after(select(*net), [] { return make<Identity>(); }),
                                surgery::insert_before(select(*net).first(), [] { return make<Identity>(); })});
  EXPECT_EQ(names(*net), Paths({"", "conv_before", "conv", "conv_after", "act", "act_after"}));
  edit.undo();
  EXPECT_EQ(names(*net), Paths({"", "conv", "act"}));
}

TEST(Operations, insertion_beside_a_member_puts_a_sequential_into_its_slot) {
  auto net = make<Sequential>(make<Block>());
  optim::SGD sgd(net->parameters());
  const Tensor x = randn({2, 4}), expected = (*net)(x) * 2.0;
  auto edit = apply_twice(net, {surgery::insert_after(select(*net).at("0.act"), [] { return make<Gain>(2.0); })}, {.optimizers = {&sgd}});
  EXPECT_EQ(edit.changes()[0].path, "0.act.1");
  EXPECT_TRUE(same((*net)(x), expected));
  EXPECT_EQ(parameters(*net, sgd), Paths({"0.fc.weight", "0.fc.bias", "0.act.1.gain"}));
}

TEST(Operations, insertion_beside_a_shared_module_is_shared_and_the_module_may_be_replaced_too) {
  auto shared = make<Linear>(4, 4);
  auto net = make<Sequential>(shared, make<ReLU>(), shared);
  optim::SGD sgd(net->parameters());
  auto edit = apply_twice(net, {surgery::insert_after(select(*net).where<Linear>(), [] { return make<Gain>(2.0); }),
                                surgery::on<Linear>([](const Linear&) { return make<Linear>(4, 4, false); })},
                          {.optimizers = {&sgd}});
  EXPECT_EQ((*net)[1].module(), (*net)[4].module());
  EXPECT_EQ((*net)[0].module(), (*net)[3].module());
  EXPECT_NE((*net)[0].module(), shared);
  EXPECT_EQ(parameters(*net, sgd), Paths({"0.weight", "1.gain"}));
}

TEST(Operations, a_slot_handed_out_before_stays_valid_over_insertion_removal_and_undo) {
  auto net = row(3);
  const auto last = (*net)[2];
  const ModulePtr module = last.module();
  auto edit = surgery::replace(*net, {surgery::insert_before(select(*net).first(), [] { return make<Identity>(); })});
  EXPECT_EQ(last.entry().path(), "3");
  auto removal = surgery::replace(*net, {surgery::remove(select(*net).last())});
  EXPECT_TRUE(last.entry().removed);
  EXPECT_FALSE(bool(last));
  removal.undo();
  EXPECT_EQ(last.module(), module);
  edit.undo();
  EXPECT_EQ(last.entry().path(), "2");
}

// ---- wrap ------------------------------------------------------------------------------------------------------------

TEST(Operations, wrapping_keeps_the_module_inside) {
  auto net = row(2);
  optim::SGD sgd(net->parameters());
  const ModulePtr inner = (*net)[1].module();
  auto edit = apply_twice(net, {surgery::wrap(select(*net).last(), [](const ModulePtr& m) { return make<Sequential>(m, make<Gain>(2.0)); })},
                          {.optimizers = {&sgd}});
  EXPECT_EQ((*net)[1].as<Sequential>()->child_entries()[0]->module, inner);
  EXPECT_EQ(parameters(*net, sgd), Paths({"0.weight", "0.bias", "1.0.weight", "1.0.bias", "1.1.gain"}));
  EXPECT_REFUSED("0 (Linear): wrap: the Identity does not contain the module that it is to wrap",
                 surgery::plan(*net, {surgery::wrap(select(*net).first(), [](const ModulePtr&) { return make<Identity>(); })}));
}

// ---- remove ----------------------------------------------------------------------------------------------------------

TEST(Operations, removal_takes_the_entry_out_of_a_container_and_its_parameters_out_of_the_optimizer) {
  auto net = row(3);
  optim::Adam adam(net->parameters());
  train_step(*net, adam);
  const Tensor x = randn({2, 4}), expected = (*net)[2]((*net)[0](x));
  auto edit = apply_twice(net, {surgery::remove(select(*net).nth(1))}, {.optimizers = {&adam}});
  EXPECT_EQ(names(*net), Paths({"", "0", "1"}));
  EXPECT_TRUE(same((*net)(x), expected));
  EXPECT_EQ(parameters(*net, adam), Paths({"0.weight", "0.bias", "1.weight", "1.bias"}));
  EXPECT_EQ(edit.changes()[0].after, nullptr);
  train_step(*net, adam);
  edit.undo();
  EXPECT_EQ(parameters(*net, adam), Paths({"0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"}));
}

TEST(Operations, removal_leaves_an_identity_where_code_calls_the_slot_and_empties_one_that_may_be_empty) {
  auto net = make<Sequential>(make<Block>());
  (*net)[0].as<Block>()->skip = make<Linear>(4, 4);
  const Tensor x = randn({2, 4});
  auto edit = apply_twice(net, {surgery::remove(select(*net).at("0.act") | select(*net).at("0.skip"))});
  EXPECT_TRUE((*net)[0].as<Block>()->act.as<Identity>());
  EXPECT_FALSE(bool((*net)[0].as<Block>()->skip));
  EXPECT_TRUE(same((*net)(x), (*net)[0].as<Block>()->fc(x)));
}

TEST(Operations, removal_by_identity_changes_no_other_path) {
  auto net = row(3);
  net->eval();
  auto edit = apply_twice(net, {surgery::remove(select(*net).nth(1), surgery::Removal::identity)});
  EXPECT_EQ(names(*net), Paths({"", "0", "1", "2"}));
  EXPECT_TRUE((*net)[1].as<Identity>());
  EXPECT_FALSE((*net)[1].module()->training());
}

TEST(Operations, a_dict_loses_the_key_and_a_shared_module_all_its_entries) {
  auto shared = make<Linear>(4, 4);
  auto dict = make<nn::ModuleDict>();
  dict->set("a", shared), dict->set("b", make<ReLU>()), dict->set("c", shared);
  auto edit = apply_twice(dict, {surgery::remove(select(*dict).where<Linear>())});
  EXPECT_EQ(dict->keys(), Paths({"b"}));
  EXPECT_EQ(edit.changes()[0].aliases, Paths({"c"}));
}

TEST(Contract, KM15_a_removal_that_breaks_the_shapes_is_found_by_the_dry_run) {
  auto net = make<Sequential>(make<Linear>(4, 8), make<Linear>(8, 2));
  const std::string before = fingerprint(*net);
  EXPECT_REFUSED("the edited model does not take the example", surgery::plan(*net, {surgery::remove(select(*net).first())}, {.example = {ones({1, 4})}}));
  EXPECT_EQ(fingerprint(*net), before);
  EXPECT_EQ(surgery::plan(*row(2), {}, {.example = {ones({1, 4})}}).changes().size(), 0U);
}

TEST(Operations, removal_of_the_root_needs_its_handle) {
  ModulePtr net = make<Linear>(4, 4);
  auto edit = surgery::replace(net, {surgery::remove(select(*net).with_root())}, {.include_root = true});
  EXPECT_EQ(nn::type_name(*net), "Identity");
  edit.undo();
  EXPECT_EQ(nn::type_name(*net), "Linear");
}

// ---- swap ------------------------------------------------------------------------------------------------------------

TEST(Operations, swapping_exchanges_two_modules_with_all_that_is_theirs) {
  auto net = make<Sequential>(make<Block>(), make<Linear>(4, 4), make<Gain>(2.0));
  optim::SGD sgd(net->parameters(), {.lr = 0.1, .momentum = 0.9});
  train_step(*net, sgd);
  const ModulePtr block = (*net)[0].module(), gain = (*net)[2].module();
  auto edit = apply_twice(net, {surgery::swap(select(*net).where<Block>(), select(*net).where<Gain>())}, {.optimizers = {&sgd}});
  EXPECT_EQ((*net)[2].module(), block);
  EXPECT_EQ((*net)[0].module(), gain);
  EXPECT_EQ(sgd.params().size(), net->parameters().size());
  EXPECT_FALSE(sgd.state(net->get_parameter("0.gain"))->empty());
  ASSERT_EQ(edit.changes().size(), 2U);
  EXPECT_EQ(edit.changes()[1].path, "2");
  EXPECT_EQ(edit.changes()[1].after, block);
}

TEST(Operations, swapping_is_refused_where_it_makes_no_sense) {
  auto net = make<Sequential>(make<Block>(), make<Linear>(4, 4));
  const std::string before = fingerprint(*net);
  const auto at = [&](const char* path) { return select(*net).at(path); };
  EXPECT_REFUSED("swap: '0.fc' lies within '0'", surgery::plan(*net, {surgery::swap(at("0"), at("0.fc"))}));
  EXPECT_REFUSED("swap: '0.fc' lies within '0'", surgery::plan(*net, {surgery::swap(at("0.fc"), at("0"))}));
  EXPECT_REFUSED("matches 2 modules, not 1", surgery::swap(at("*"), at("0.fc")));
  EXPECT_REFUSED("has been replaced or removed by the same plan", surgery::plan(*net, {surgery::remove(at("0")), surgery::swap(at("1"), at("0"))}));
  EXPECT_EQ(fingerprint(*net), before);
}

// ---- what a plan would not do ----------------------------------------------------------------------------------------

TEST(Operations, what_is_declined_is_listed_with_its_reason) {
  auto net = make<Sequential>(make<nn::Conv2d>(4, 4, 3, nn::Conv2dOptions{.groups = 2}), make<Linear>(4, 4), make<ReLU>());
  auto plan = surgery::plan(*net, {surgery::in_channels(select(*net), 8)});
  ASSERT_EQ(plan.changes().size(), 1U);
  ASSERT_EQ(plan.declined().size(), 2U);
  EXPECT_EQ(plan.declined()[0].path, "0");
  EXPECT_EQ(plan.declined()[0].code, "grouped");
  EXPECT_EQ(plan.declined()[1].code, "other_type");
}

TEST(Operations, what_does_not_fit_is_an_error_or_is_skipped_and_listed) {
  struct Two : nn::ModuleOf<Tensor(const Tensor&, const Tensor&)> {
    Tensor forward(const Tensor& a, const Tensor& b) override { return a + b; }
  };
  auto net = row(3);
  const auto policy = surgery::on<Linear>([](const Linear&, int64_t i) -> ModulePtr {
    if (i == 1) return make<Two>();
    return make<Identity>();
  });
  const std::string before = fingerprint(*net);
  EXPECT_REFUSED("1 (Linear): slot '1' of Sequential cannot hold Two", surgery::plan(*net, {policy}));
  EXPECT_EQ(fingerprint(*net), before);
  auto plan = surgery::plan(*net, {policy}, {.skip_refused = true});
  EXPECT_EQ(plan.changes().size(), 2U);
  ASSERT_EQ(plan.declined().size(), 1U);
  EXPECT_EQ(plan.declined()[0].code, "type_error");
  plan.apply();
  EXPECT_TRUE((*net)[1].as<Linear>());
}

TEST(Surgery, R17_a_model_that_is_wrapped_for_data_parallelism_is_refused) {
  struct DataParallel : nn::Layer, nn::ParallelWrapper {
    Child<nn::Layer> module;
    explicit DataParallel(const ModulePtr& m) : module(this, "module", m) {}
    Tensor forward(const Tensor& x) override { return module(x); }
  };
  auto net = make<DataParallel>(row(2));
  const std::string before = fingerprint(*net);
  const auto policy = surgery::on<Linear>([](const Linear&) { return make<Identity>(); });
  EXPECT_CODE(type_error, surgery::plan(*net, {policy}));
  EXPECT_REFUSED("not supported after a model is wrapped with DataParallel", surgery::plan(*net, {policy}));
  EXPECT_REFUSED("as at '0'", surgery::plan(*make<Sequential>(ModulePtr(net)), {policy}));
  EXPECT_EQ(fingerprint(*net), before);
}

TEST(Contract, KM20_a_plan_for_other_parameters_dtype_or_mode_is_refused) {
  const auto policy = surgery::on<Linear>([](const Linear&) { return make<Linear>(4, 4); });
  const auto refused_after = [&](void (*change)(nn::Module&)) {
    auto net = row(2);
    auto plan = surgery::plan(*net, {policy});
    change(*net);
    const std::string before = fingerprint(*net);
    EXPECT_REFUSED("another state of the model, which has changed at", plan.apply());
    EXPECT_EQ(fingerprint(*net), before);
  };
  refused_after([](nn::Module& m) { m.param_entry("1.weight").put(nn::parameter(ones({4, 4}))); });
  refused_after([](nn::Module& m) { m.float64(); });
  refused_after([](nn::Module& m) { m.get_submodule("0").eval(); });
  refused_after([](nn::Module& m) { dynamic_cast<Sequential&>(m).append(make<ReLU>()); });
}

// ---- weights ---------------------------------------------------------------------------------------------------------

TEST(Weights, copy_takes_what_has_the_same_name_and_shape) {
  auto net = row(1);
  const Tensor weight = net->get_parameter("0.weight").detach().clone();
  const auto policy = surgery::on<Linear>([](const Linear& l) { return make<Linear>(l.in_features, l.out_features, false); },
                                          {.carry = surgery::Carry::copy});
  auto plan = surgery::plan(*net, {policy});
  const auto& list = plan.changes()[0].weights;
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].path, "0.weight");
  EXPECT_EQ(list[0].how, surgery::Carried::How::copied);
  EXPECT_EQ(list[1].path, "0.bias");
  EXPECT_EQ(list[1].how, surgery::Carried::How::lost);
  plan.apply();
  EXPECT_TRUE(same(net->get_parameter("0.weight"), weight));
}

TEST(Weights, what_was_trained_between_plan_and_apply_is_copied) {
  auto net = row(1);
  optim::SGD sgd(net->parameters(), {.lr = 0.1});
  auto plan = surgery::plan(*net, {surgery::on<Linear>([](const Linear&) { return make<Linear>(4, 4); }, {.carry = surgery::Carry::copy})},
                            {.optimizers = {&sgd}});
  train_step(*net, sgd);
  const Tensor trained = net->get_parameter("0.weight").detach().clone();
  plan.apply();
  EXPECT_TRUE(same(net->get_parameter("0.weight"), trained));
}

TEST(Weights, a_new_head_keeps_the_classes_that_it_has) {
  auto net = make<Sequential>(make<Linear>(4, 3));
  const Tensor x = randn({2, 4}), y = (*net)(x);
  auto edit = apply_twice(net, {surgery::num_classes(select(*net).where<Linear>().last(), 5)});
  EXPECT_EQ((*net)(x).shape(), Shape({2, 5}));
  EXPECT_TRUE(same((*net)(x).narrow(1, 0, 3), y));
  edit.undo();
  edit = surgery::replace(*net, {surgery::num_classes(select(*net).last(), 2)});
  EXPECT_TRUE(same((*net)(x), y.narrow(1, 0, 2)));
  EXPECT_EQ(edit.changes()[0].weights[0].how, surgery::Carried::How::sliced);
}

TEST(Weights, other_input_channels_give_the_same_answer_to_channels_that_are_alike) {
  auto net = make<Sequential>(make<nn::Conv2d>(3, 4, 3));
  net->float64();
  const Tensor grey = randn({2, 1, 6, 6}, f64);
  const Tensor y = (*net)(grey.expand({2, 3, 6, 6}));
  for (const int64_t n : {1, 2, 4, 6, 7}) {
    auto edit = surgery::replace(*net, {surgery::in_channels(select(*net).first(), n)});
    EXPECT_EQ(edit.changes()[0].weights[0].how, surgery::Carried::How::inflated);
    EXPECT_LT(max(abs((*net)(grey.expand({2, n, 6, 6})) - y)).item<double>(), 1e-12) << n;
    edit.undo();
  }
}

TEST(Weights, inflation_by_hand) {
  const Tensor w = tensor<double>({1, 2, 4}).reshape({1, 3});  // one output, three inputs
  const auto to = [&](int64_t n) {
    const Tensor t = surgery::adapted(w, zeros({1, n}, f64), surgery::Carry::inflate);
    std::vector<double> list;
    for (int64_t i = 0; i < n; ++i) list.push_back(t.at({0, i}));
    return list;
  };
  EXPECT_EQ(to(1), (std::vector<double>{7}));
  EXPECT_EQ(to(2), (std::vector<double>{5, 2}));                    // the third joins the first
  EXPECT_EQ(to(4), (std::vector<double>{0.5, 2, 4, 0.5}));          // the first is halved
  EXPECT_EQ(to(6), (std::vector<double>{0.5, 1, 2, 0.5, 1, 2}));
}

TEST(Weights, a_flat_kernel_is_inflated_along_time) {
  auto net = make<Sequential>(make<nn::Conv2d>(2, 3, 3));
  net->float64();
  const Tensor image = randn({1, 2, 5, 5}, f64);
  const Tensor y = (*net)(image);
  ModulePtr video = make<nn::Conv3d>(2, 3, nn::Sizes<3>{4, 3, 3});
  surgery::Plan plan = surgery::plan(*net, {surgery::on<nn::Conv2d>([&](const nn::Conv2d&) { return video; }, {.carry = surgery::Carry::inflate})});
  plan.apply();
  const Tensor still = image.unsqueeze(2).expand({1, 2, 4, 5, 5});  // four equal frames
  EXPECT_LT(max(abs((*net)(still).squeeze(2) - y)).item<double>(), 1e-12);
}

TEST(Weights, batch_norm_buffers_are_carried_too) {
  auto net = make<Sequential>(make<nn::BatchNorm2d>(3));
  (*net)[0].as<nn::BatchNorm2d>()->running_mean.value().fill_(5);
  surgery::replace(*net, {surgery::on<nn::BatchNorm2d>([](const nn::BatchNorm2d&) { return make<nn::BatchNorm2d>(4); },
                                                       {.carry = surgery::Carry::slice})});
  const Tensor now = net->get_buffer("0.running_mean");
  EXPECT_EQ(now.at({2}), 5);
  EXPECT_EQ(now.at({3}), 0);
}

}  // namespace

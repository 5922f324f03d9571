// The recorded programs of section O (optimizers) in which graft does something else than composer: each test holds
// what it does, in the words of the case's `graft` field.
#include "fingerprint.h"
#include "graft/core/autograd.h"
#include "graft/nn/activation.h"
#include "graft/nn/linear.h"
#include "graft/optim/adam.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/replace.h"
#include "refused.h"
#include "surgery_case.h"

namespace {

using namespace graft;
using namespace graft_test;
using nn::Child;
using nn::Linear;
using nn::make;
using nn::ModulePtr;
using nn::ReLU;
using nn::Sequential;
using surgery::Site;

const char* const kSameMembers =
    "Same members per group; graft puts a new parameter in the place of the one it replaces (groups compare as sets).";

ModulePtr linear(int64_t in, int64_t out, bool bias = true) {
  return make<Linear>(in, out, nn::LinearOptions{bias, f64});
}
ModulePtr fresh(const Linear& l, const Site&) { return linear(l.in_features, l.out_features, bool(l.bias)); }

struct Net : nn::Layer {
  Child<nn::Layer> fc1{this, "fc1", linear(3, 4)}, act{this, "act", ModulePtr(make<ReLU>())},
      fc2{this, "fc2", linear(4, 2)};
  Tensor forward(const Tensor& x) override { return fc2(act(fc1(x))); }
};
struct CopyLinear : nn::Layer {  // a layer that is no Linear, with the bias of the one it replaces
  nn::Param weight, bias;
  explicit CopyLinear(const Linear& l)
      : weight(this, "weight", zeros({l.out_features, l.in_features}, f64)), bias(this, "bias", nullptr) {
    bias.entry().put(l.bias.leaf());
  }
  Tensor forward(const Tensor& x) override { return graft::linear(x, weight, bias); }
};

// Replaces the layer that is asked about at `index` by a fresh one.
surgery::Policy replace_at(int64_t index, Lines& calls) {
  return asked<Linear>(calls,
                       [index](const Linear& l, const Site& s) { return s.index == index ? fresh(l, s) : nullptr; });
}
Tensors named(const Net& m, const Lines& names) {
  Tensors params;
  for (const std::string& name : names) params.push_back(m.get_parameter(name));
  return params;
}

TEST(SurgeryCase, O_01) {
  const Case c("O-01", kSameMembers);
  auto m = built(make<Net>());
  optim::SGD sgd(m->parameters(), {.lr = 0.1});
  Lines calls;
  surgery::replace(*m, {replace_at(0, calls)}, {.optimizers = {&sgd}});
  EXPECT_EQ(calls, Lines({"Linear fc1 0", "Linear fc2 1"}));
  EXPECT_EQ(nn::repr(*m), c.expect(3).at("repr_after").get<std::string>());
  EXPECT_EQ(group(*m, sgd), "fc1.weight fc1.bias fc2.weight fc2.bias");
}

TEST(SurgeryCase, O_02) {
  const Case c("O-02", kSameMembers);
  auto m = built(make<Net>());
  optim::SGD sgd(m->parameters(), {.lr = 0.1});
  const Tensor bias = m->get_parameter("fc1.bias");
  Lines calls;
  surgery::replace(*m, {asked<Linear>(calls, [](const Linear& l, const Site&) { return make<CopyLinear>(l); })},
                   {.optimizers = {&sgd}});
  EXPECT_EQ(calls, Lines({"Linear fc1 0", "Linear fc2 1"}));
  EXPECT_EQ(group(*m, sgd), "fc1.weight fc1.bias fc2.weight fc2.bias");
  EXPECT_TRUE(sgd.slots(0)[1].param.is_same(bias));
}

TEST(SurgeryCase, O_03) {
  const Case c("O-03", kSameMembers);
  auto m = built(make<Net>());
  optim::Adam adam(m->parameters(), {.lr = 0.01});
  const Tensor x = input({4, 3});
  const auto step = [&](double expected) {
    const Tensor l = loss((*m)(x));
    EXPECT_NEAR(l.item<double>(), expected, 1e-9);
    l.backward();
    adam.step();
    m->zero_grad();
  };
  step(c.loss(4));
  Lines calls;
  surgery::replace(*m,
                   {asked<Linear>(calls,
                                  [](const Linear& l, const Site& s) -> ModulePtr {
                                    if (s.index != 1) return nullptr;
                                    const Tensor kept = l.bias.value().detach().clone();
                                    auto next = make<CopyLinear>(l);
                                    fill(*next, 50);
                                    next->bias.value().detach().copy_(kept);
                                    return next;
                                  })},
                   {.optimizers = {&adam}});
  EXPECT_EQ(calls, Lines({"Linear fc1 0", "Linear fc2 1"}));
  EXPECT_EQ(group(*m, adam), "fc1.weight fc1.bias fc2.weight fc2.bias");
  for (const char* kept : {"fc1.weight", "fc1.bias", "fc2.bias"})
    EXPECT_FALSE(adam.state(m->get_parameter(kept))->empty()) << kept;
  EXPECT_TRUE(adam.state(m->get_parameter("fc2.weight"))->empty());
  step(c.loss(12));
  for (const auto& [name, want] : c.expect(17).at("param_values").items())
    expect_close(m->get_parameter(name), to_tensor(want));
}

TEST(SurgeryCase, O_06) {
  const Case c(
      "O-06",
      "with role mapping: groups = [[fc2.weight, fc1.weight], [fc2.bias, fc1.bias]] (or same slots); if refused: "
      "nothing changed at all");
  auto m = built(make<Net>());
  optim::SGD sgd(named(*m, {"fc1.weight", "fc2.weight"}), {.lr = 0.1});
  sgd.add_param_group(named(*m, {"fc1.bias", "fc2.bias"}), {.lr = 0.01});
  Lines calls;
  surgery::replace(*m, {replace_at(0, calls)}, {.optimizers = {&sgd}});
  EXPECT_EQ(group(*m, sgd, 0), "fc1.weight fc2.weight");
  EXPECT_EQ(group(*m, sgd, 1), "fc1.bias fc2.bias");
  EXPECT_EQ(sgd.lr(0), 0.1);
  EXPECT_EQ(sgd.lr(1), 0.01);
}

TEST(SurgeryCase, O_07) {
  const Case c("O-07", "explicit target group or default group policy; if refused: nothing changed");
  auto m = built(make<Net>());
  optim::SGD sgd(m->fc1->parameters(), {.lr = 0.5});
  sgd.add_param_group(m->fc2->parameters(), {.lr = 0.5});
  const std::string before = fingerprint(*m, {&sgd});
  Lines calls;
  const auto policy = asked<ReLU>(calls, [](const ReLU&, const Site&) { return linear(4, 4); });
  EXPECT_REFUSED("act: it is unclear in which parameter group the new 'weight' (f64[4,4]@cpu) belongs",
                 surgery::replace(*m, {policy}, {.optimizers = {&sgd}}));
  EXPECT_EQ(calls, Lines({"ReLU act 0"}));
  EXPECT_EQ(fingerprint(*m, {&sgd}), before);
  surgery::replace(*m, {policy}, {.optimizers = {&sgd}, .group = 1});
  EXPECT_EQ(nn::repr(*m), c.expect(2).at("repr_after").get<std::string>());
  EXPECT_EQ(group(*m, sgd, 0), "fc1.weight fc1.bias");
  EXPECT_EQ(group(*m, sgd, 1), "fc2.weight fc2.bias act.weight act.bias");
}

TEST(SurgeryCase, O_08) {
  const Case c("O-08", "error before any change");
  auto m = built(make<Net>());
  optim::SGD sgd(m->fc1->parameters(), {.lr = 0.5});
  sgd.add_param_group(named(*m, {"fc2.weight"}), {.lr = 0.5});
  const std::string before = fingerprint(*m, {&sgd});
  Lines calls;
  EXPECT_REFUSED("fc2: it is unclear in which parameter group the new 'bias' (f64[2]@cpu) belongs",
                 surgery::replace(*m, {replace_at(1, calls)}, {.optimizers = {&sgd}}));
  EXPECT_EQ(calls, Lines({"Linear fc1 0", "Linear fc2 1"}));
  EXPECT_EQ(fingerprint(*m, {&sgd}), before);
}

TEST(SurgeryCase, O_09) {
  const Case c(
      "O-09",
      "report: removed params were not optimized; do not add new ones by default (groups stay [fc2.weight, fc2.bias])");
  auto m = built(make<Net>());
  optim::SGD sgd(m->fc2->parameters(), {.lr = 0.5});
  Lines calls;
  auto plan = surgery::plan(*m, {replace_at(0, calls)}, {.optimizers = {&sgd}});
  ASSERT_EQ(plan.notes().size(), 2U);
  for (const auto& note : plan.notes()) {
    EXPECT_EQ(note.kind, surgery::Note::Kind::not_optimized);
    EXPECT_EQ(note.path, "fc1");
  }
  plan.apply();
  EXPECT_EQ(nn::repr(*m), c.expect(2).at("repr_after").get<std::string>());
  EXPECT_EQ(group(*m, sgd), "fc2.weight fc2.bias");
}

TEST(SurgeryCase, O_10) {
  const Case c("O-10", "groups = [[fc2.weight],[fc2.bias]]");
  auto m = built(make<Net>());
  optim::SGD sgd(named(*m, {"fc1.weight", "fc2.weight"}), {.lr = 0.5});
  sgd.add_param_group(named(*m, {"fc1.bias", "fc2.bias"}), {.lr = 0.5});
  Lines calls;
  surgery::replace(*m,
                   {asked<Linear>(calls,
                                  [](const Linear&, const Site& s) -> ModulePtr {
                                    return s.index == 0 ? make<nn::Identity>() : nullptr;
                                  })},
                   {.optimizers = {&sgd}});
  EXPECT_EQ(nn::repr(*m), c.expect(2).at("repr_after").get<std::string>());
  EXPECT_EQ(group(*m, sgd, 0), "fc2.weight");
  EXPECT_EQ(group(*m, sgd, 1), "fc2.bias");
}

TEST(SurgeryCase, O_11) {
  const Case c("O-11", "support several optimizers: each replaces what it owns");
  auto m = built(make<Net>());
  optim::SGD one(m->parameters(), {.lr = 0.1}), two(m->parameters(), {.lr = 0.1});
  Lines calls;
  surgery::replace(*m, {replace_at(0, calls)}, {.optimizers = {&one, &two}});
  EXPECT_EQ(nn::repr(*m), c.expect(3).at("repr_after").get<std::string>());
  EXPECT_EQ(group(*m, one), "fc1.weight fc1.bias fc2.weight fc2.bias");
  EXPECT_EQ(group(*m, two), "fc1.weight fc1.bias fc2.weight fc2.bias");
  surgery::replace(*m, {replace_at(1, calls)}, {.optimizers = {&one}});
  EXPECT_EQ(group(*m, one), "fc1.weight fc1.bias fc2.weight fc2.bias");
  EXPECT_EQ(group(*m, two), "fc1.weight fc1.bias stale stale");  // it was not passed, and refuses to step
  loss((*m)(input({4, 3}))).backward();
  one.step();
  EXPECT_CODE(stale_parameter, two.step());
}

TEST(SurgeryCase, O_15) {
  const Case c("O-15", kSameMembers);
  auto m = built(make<Sequential>(linear(16, 8), make<ReLU>(), linear(8, 4)));
  optim::SGD sgd(m->parameters(), {.lr = 0.1});
  for (const auto& [in, next, step] : {std::tuple(16, 4, 2), std::tuple(4, 2, 4)}) {
    Lines calls;
    const auto shrink = asked<Linear>(
        calls, [in, next](const Linear& l, const Site&) { return l.in_features == in ? linear(next, 8) : nullptr; });
    const auto edit = surgery::replace(*m, {shrink}, {.optimizers = {&sgd}, .recurse = true});
    EXPECT_EQ(calls, Lines({"Linear 0 0", "Linear 2 1", "Linear 0 2"}));
    EXPECT_EQ(changed(edit.changes()), Lines({"0"}));
    EXPECT_EQ(Json(nn::repr(*m)), c.expect(size_t(step)).at("repr_after"));
    EXPECT_EQ(group(*m, sgd), "0.weight 0.bias 2.weight 2.bias");
  }
}

TEST(SurgeryCase, O_16) {
  const Case c("O-16",
               "optimizer = enc.weight (new) and dec.weight (the old shared one stays because dec still uses it)");
  struct Tied : nn::Layer {
    Child<Linear> enc{this, "enc", 3, 3, nn::LinearOptions{false, f64}},
        dec{this, "dec", 3, 3, nn::LinearOptions{false, f64}};
    Tied() { dec->weight = enc->weight; }
    Tensor forward(const Tensor& x) override { return dec(relu(enc(x))); }
  };
  auto m = built(make<Tied>());
  const Tensor shared = m->enc->weight.leaf();
  EXPECT_EQ(parameter_names(*m), Lines({"enc.weight"}));
  EXPECT_EQ(m->state_dict().keys(), Lines({"enc.weight", "dec.weight"}));
  optim::SGD sgd(m->parameters(), {.lr = 0.1});
  Lines calls;
  surgery::replace(*m, {replace_at(0, calls)}, {.optimizers = {&sgd}});
  EXPECT_EQ(parameter_names(*m), Lines({"enc.weight", "dec.weight"}));
  EXPECT_EQ(group(*m, sgd), "dec.weight enc.weight");
  EXPECT_TRUE(sgd.slots(0)[0].param.is_same(shared));
}

TEST(SurgeryCase, O_17) {
  const Case c("O-17",
               "warn/err when a live optimizer registered on the model keeps stale params (optional audit call)");
  auto m = built(make<Net>());
  optim::SGD sgd(m->parameters(), {.lr = 0.1});
  Lines calls;
  auto plan = surgery::plan(*m, {replace_at(0, calls)});
  ASSERT_EQ(plan.notes().size(), 1U);
  EXPECT_EQ(plan.notes()[0].kind, surgery::Note::Kind::no_optimizer);
  plan.apply();
  fill(*m->fc1, 50);
  EXPECT_EQ(group(*m, sgd), "stale stale fc2.weight fc2.bias");
  const Tensor l = loss((*m)(input({4, 3})));
  EXPECT_NEAR(l.item<double>(), c.loss(6), 1e-9);
  l.backward();
  const std::string before = fingerprint(*m, {&sgd});
  EXPECT_CODE(stale_parameter, sgd.step());
  EXPECT_EQ(fingerprint(*m, {&sgd}), before);
}

TEST(SurgeryCase, O_21) {
  const Case c("O-21", "each parameter once per optimizer: groups = [0.weight, 0.bias], stepped once");
  auto m = built(make<Sequential>(linear(2, 2), make<ReLU>(), linear(2, 2)));
  auto v = built(make<Linear>(2, 2), 60);
  const Tensor start = v->weight.value().detach().clone(), start_bias = v->bias.value().detach().clone();
  optim::SGD sgd(m->parameters(), {.lr = 0.1});
  Lines calls;
  const auto edit = surgery::replace(*m, {asked<Linear>(calls, [&](const Linear&, const Site&) { return v; })},
                                     {.optimizers = {&sgd}});
  EXPECT_EQ(calls, Lines({"Linear 0 0", "Linear 2 1"}));
  EXPECT_EQ(changed(edit.changes()), Lines({"0", "2"}));
  EXPECT_EQ((*m)[0].module(), (*m)[2].module());
  EXPECT_EQ(group(*m, sgd), "0.weight 0.bias");
  const Tensor l = loss((*m)(input({1, 2})));
  EXPECT_NEAR(l.item<double>(), c.loss(8), 1e-9);
  l.backward();
  sgd.step();
  // The original took the same step twice: once is half of its way.
  const Json& twice = c.expect(12).at("param_values");
  expect_close(m->get_parameter("0.weight"), (start + to_tensor(twice.at("0.weight"))) / 2.0);
  expect_close(m->get_parameter("0.bias"), (start_bias + to_tensor(twice.at("0.bias"))) / 2.0);
}

TEST(SurgeryCase, O_23) {
  const Case c("O-23", "length mismatch is an error before any change");
  auto m = built(make<Net>()), n = built(make<Net>(), 7);
  optim::SGD sgd(m->parameters(), {.lr = 0.5});
  const std::string before = fingerprint(*m, {&sgd});
  EXPECT_REFUSED("must have the same length, not 2 and 4",
                 surgery::replace_params_in_optimizer(m->fc1->parameters(), n->parameters(), {&sgd}));
  EXPECT_REFUSED("must have the same length, not 2 and 1",
                 surgery::replace_params_in_optimizer(m->fc2->parameters(), {n->get_parameter("fc2.weight")}, {&sgd}));
  EXPECT_EQ(fingerprint(*m, {&sgd}), before);
  EXPECT_EQ(group(*m, sgd), "fc1.weight fc1.bias fc2.weight fc2.bias");
}

}  // namespace

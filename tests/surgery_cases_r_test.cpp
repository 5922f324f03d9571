// The recorded programs of section R (replacement, counting) in which graft does something else than composer: each
// test holds what it does, in the words of the case's `graft` field.
#include "fingerprint.h"
#include "graft/nn/activation.h"
#include "graft/nn/linear.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/count.h"
#include "refused.h"
#include "surgery_case.h"

namespace {

using namespace graft;
using namespace graft_test;
using nn::Linear;
using nn::make;
using nn::ModulePtr;
using nn::ReLU;
using nn::Sequential;
using surgery::Note;
using surgery::Site;

const nn::LinearOptions kDouble{true, f64};
struct SubLinear : Linear {
  using Linear::Linear;
};
ModulePtr linear(int64_t in, int64_t out) { return make<Linear>(in, out, kDouble); }
ModulePtr fresh(const Linear& l, const Site&) { return linear(l.in_features, l.out_features); }
ModulePtr none(const Linear&, const Site&) { return nullptr; }
std::shared_ptr<Sequential> linear_relu() { return built(make<Sequential>(linear(2, 2), make<ReLU>())); }

TEST(SurgeryCase, R_08) {
  const Case c(
      "R-08",
      "stop offering the module to further policies after the first replacement (or report a conflict before any "
      "change): no partial edit");
  auto m = built(make<Sequential>(make<SubLinear>(2, 3), make<ReLU>()));
  Lines calls;
  surgery::Indices indices{{typeid(SubLinear), 0}, {typeid(Linear), 0}};
  const auto edit =
      surgery::replace(*m,
                       {asked<SubLinear>(calls, [](const SubLinear&, const Site&) { return linear(2, 3); }),
                        asked<Linear>(calls, [](const Linear&, const Site&) { return linear(2, 4); })},
                       {.indices = &indices});
  EXPECT_EQ(calls, Lines({"SubLinear 0 0"}));
  EXPECT_EQ(changed(edit.changes()), Lines({"0"}));
  EXPECT_EQ(nn::repr(*m), c.expect(1).at("repr_after").get<std::string>());
  EXPECT_EQ(indices, (surgery::Indices{{typeid(SubLinear), 1}, {typeid(Linear), 0}}));
}

TEST(SurgeryCase, R_09) {
  const Case c(
      "R-09",
      "A child that a policy has replaced is not offered to later policies: Linear is called once, with index 0.");
  auto m = built(make<Sequential>(make<SubLinear>(2, 3), linear(3, 2)));
  Lines calls;
  surgery::Indices indices{{typeid(SubLinear), 0}, {typeid(Linear), 0}};
  const auto edit = surgery::replace(
      *m,
      {asked<SubLinear>(calls, [](const SubLinear&, const Site&) { return linear(2, 3); }), asked<Linear>(calls, none)},
      {.indices = &indices});
  EXPECT_EQ(calls, Lines({"SubLinear 0 0", "Linear 1 0"}));
  EXPECT_EQ(changed(edit.changes()), Lines({"0"}));
  EXPECT_EQ(nn::repr(*m), c.expect(1).at("repr_after").get<std::string>());
  EXPECT_EQ(indices, (surgery::Indices{{typeid(SubLinear), 1}, {typeid(Linear), 1}}));
}

TEST(SurgeryCase, R_10) {
  const Case c("R-10", "unknown policies start at index 0, or a named error before any change");
  auto m = built(make<Sequential>(linear(2, 2)));
  Lines calls;
  surgery::Indices indices{{typeid(ReLU), 0}};
  surgery::replace(*m, {asked<Linear>(calls, none)}, {.indices = &indices});
  EXPECT_EQ(calls, Lines({"Linear 0 0"}));
  EXPECT_EQ(indices, (surgery::Indices{{typeid(ReLU), 0}, {typeid(Linear), 1}}));
  EXPECT_EQ(nn::repr(*m), c.expect(2).at("repr").get<std::string>());
}

TEST(SurgeryCase, R_13) {
  const Case c(
      "R-13",
      "bounded: error naming policy and path after a limit (default e.g. depth 32 / visits 10x module count); model "
      "and optimizer unchanged");
  auto m = linear_relu();
  optim::SGD sgd(m->parameters());
  surgery::Indices indices;
  const std::string before = fingerprint(*m, {&sgd});
  Lines calls;
  EXPECT_REFUSED(
      "'0' (Linear) is the answer to an answer, 32 deep, and the policy for Linear replaces it again",
      surgery::plan(*m, {asked<Linear>(calls, fresh)}, {.optimizers = {&sgd}, .recurse = true, .indices = &indices}));
  EXPECT_EQ(calls.size(), 33U);
  EXPECT_EQ(calls.at(1), "Linear 0 1");
  EXPECT_EQ(fingerprint(*m, {&sgd}), before);
  EXPECT_TRUE(indices.empty());
}

TEST(SurgeryCase, R_14) {
  const Case c(
      "R-14",
      "do not re-offer the wrapped original: result is one wrapper, no error; at least: model unchanged on error");
  auto m = linear_relu();
  const ModulePtr original = (*m)[0].module();
  Lines calls;
  const auto wrap = [](const Linear&, const Site& s) -> ModulePtr { return make<Sequential>(s.module, make<ReLU>()); };
  surgery::replace(*m, {asked<Linear>(calls, wrap)}, {.recurse = true});
  EXPECT_EQ(calls, Lines({"Linear 0 0"}));
  EXPECT_EQ(nn::repr(*m), c.expect(1).at("repr_after").get<std::string>());
  EXPECT_EQ((*(*m)[0].as<Sequential>())[0].module(), original);
}

TEST(SurgeryCase, R_17) {
  const Case c("R-17", "same object returned = in-place edit, visited once, no error");
  auto m = linear_relu();
  const std::string before = fingerprint(*m);
  Lines calls;
  const auto edit = surgery::replace(*m, {asked<Linear>(calls, [](const Linear&, const Site& s) { return s.module; })},
                                     {.recurse = true});
  EXPECT_EQ(calls, Lines({"Linear 0 0"}));
  EXPECT_EQ(changed(edit.changes()), Lines({"0"}));
  EXPECT_EQ(edit.changes()[0].before, edit.changes()[0].after);
  EXPECT_EQ(fingerprint(*m), before);
}

TEST(SurgeryCase, R_19) {
  const Case c("R-19", "same(0,2) is true, count Linear = 1, named_parameters = 0.weight, 0.bias only");
  const ModulePtr shared = linear(2, 2);
  auto m = built(make<Sequential>(shared, make<ReLU>(), shared));
  Lines calls;
  const auto edit = surgery::replace(*m, {asked<Linear>(calls, fresh)});
  EXPECT_EQ(calls, Lines({"Linear 0 0"}));
  EXPECT_EQ(edit.changes().at(0).aliases, Lines({"2"}));
  EXPECT_EQ(nn::repr(*m), c.expect(1).at("repr_after").get<std::string>());
  EXPECT_EQ((*m)[0].module(), (*m)[2].module());
  EXPECT_NE((*m)[0].module(), shared);
  EXPECT_EQ(surgery::count_module_instances<Linear>(*m), 1U);
  EXPECT_EQ(parameter_names(*m), Lines({"0.weight", "0.bias"}));
}

TEST(SurgeryCase, R_20) {
  const Case c(
      "R-20",
      "pairs = blk, head only; optimizer params = blk.weight, blk.bias, head.weight, head.bias; Linear index passed to "
      "head = 0 or documented");
  struct Net : nn::Layer {
    nn::Child<nn::Layer> blk{this, "blk", make<Sequential>(linear(2, 3), make<ReLU>(), linear(3, 2))};
    nn::Child<nn::Layer> head{this, "head", linear(2, 2)};
    Tensor forward(const Tensor& x) override { return head(blk(x)); }
  };
  auto m = built(make<Net>());
  optim::SGD sgd(m->parameters(), {.lr = 0.1});
  Lines calls;
  surgery::Indices indices{{typeid(Sequential), 0}, {typeid(Linear), 0}};
  const auto edit =
      surgery::replace(*m,
                       {asked<Sequential>(calls, [](const Sequential&, const Site&) { return linear(2, 2); }),
                        asked<Linear>(calls, fresh)},
                       {.optimizers = {&sgd}, .indices = &indices});
  EXPECT_EQ(calls, Lines({"Sequential blk 0", "Linear head 0"}));
  EXPECT_EQ(changed(edit.changes()), Lines({"blk", "head"}));
  EXPECT_EQ(nn::repr(*m), c.expect(2).at("repr_after").get<std::string>());
  EXPECT_EQ(indices, (surgery::Indices{{typeid(Sequential), 1}, {typeid(Linear), 1}}));
  EXPECT_EQ(group(*m, sgd), "blk.weight blk.bias head.weight head.bias");
  EXPECT_EQ(parameter_names(*m), Lines({"blk.weight", "blk.bias", "head.weight", "head.bias"}));
}

// What is frozen stays with what was replaced: requires_grad is inherited when asked, as hooks are, and the plan lists
// both. To carry a frozen flag over to weights that were made anew is a decision that is the caller's.
TEST(SurgeryCase, R_22) {
  const Case c(
      "R-22",
      "training flag false for the new layer; requires_grad copied where parameter names agree (opt-out); hooks moved "
      "on request");
  for (const bool inherit : {false, true}) {
    auto m = linear_relu();
    (*m)[0].module()->requires_grad_(false);
    int ran = 0;
    (*m)[0].module()->register_forward_hook([&](nn::Module&, const nn::Values&, nn::Value&) { ++ran; });
    m->eval();
    Lines calls;
    auto plan =
        surgery::plan(*m, {asked<Linear>(calls, fresh)}, {.inherit_requires_grad = inherit, .inherit_hooks = inherit});
    std::vector<Note::Kind> notes;
    for (const Note& n : plan.notes()) notes.push_back(n.kind);
    std::vector<Note::Kind> expected{Note::Kind::no_optimizer};
    if (!inherit)
      expected = {Note::Kind::requires_grad_differs, Note::Kind::requires_grad_differs, Note::Kind::hooks_left,
                  Note::Kind::no_optimizer};
    EXPECT_EQ(notes, expected);
    plan.apply();
    EXPECT_EQ(calls, Lines({"Linear 0 0"}));
    EXPECT_EQ(nn::repr(*m), c.expect(4).at("repr_after").get<std::string>());
    EXPECT_FALSE((*m)[0].module()->training());
    EXPECT_EQ(m->get_parameter("0.weight").requires_grad(), !inherit);
    EXPECT_EQ(m->get_parameter("0.bias").requires_grad(), !inherit);
    (*m)(input({1, 2}));
    EXPECT_EQ(ran, int(inherit));
  }
}

TEST(SurgeryCase, R_24) {
  const Case c("R-24", "dtypes float32 for 0.weight, 0.bias");
  auto m = linear_relu();
  m->float32();
  Lines calls;
  surgery::replace(*m, {asked<Linear>(calls, fresh)});
  EXPECT_EQ(calls, Lines({"Linear 0 0"}));
  EXPECT_EQ(nn::repr(*m), c.expect(2).at("repr_after").get<std::string>());
  EXPECT_EQ(m->state_dict().at("0.weight").dtype(), f32);
  EXPECT_EQ(m->state_dict().at("0.bias").dtype(), f32);
  EXPECT_EQ((*m)(ones({1, 2})).dtype(), f32);
}

}  // namespace

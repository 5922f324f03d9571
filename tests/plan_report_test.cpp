// What a plan says: table, tree and JSON, with costs counted by hand; and that saying it changes nothing.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include "fingerprint.h"
#include "graft/core/ops.h"
#include "graft/nn/nn.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/plan.h"
#include "refused.h"

namespace {

using namespace graft;
using graft_test::fingerprint;
using nn::Child;
using nn::Linear;
using nn::make;
using nn::ModulePtr;
using nn::ReLU;
using nn::Sequential;
using surgery::select;

struct Net : nn::Layer {
  Child<Sequential> body{this, "body", ModulePtr(make<Sequential>(make<Linear>(4, 8), make<ReLU>(), make<Linear>(8, 8), make<ReLU>()))};
  Child<Linear> head{this, "head", 8, 2};
  Tensor forward(const Tensor& x) override { return head(body(x)); }
};

surgery::Plan example_plan(Net& net, optim::Optimizer& sgd) {
  return surgery::plan(net,
                       {surgery::remove(select(net).at("body.1")),
                        surgery::on<Linear>(select(net).at("body.2"), [](const Linear&) { return make<Sequential>(make<Linear>(8, 8, false)); }),
                        surgery::num_classes(select(net).at("head"), 3)},
                       {.optimizers = {&sgd}, .example = {ones({5, 4})}});
}

TEST(PlanReport, table_with_shapes_multiply_adds_memory_weights_and_what_is_refused) {
  auto net = make<Net>();
  optim::SGD sgd(net->parameters());
  const std::string before = fingerprint(*net, {&sgd});
  auto plan = surgery::plan(*net,
                            {surgery::num_classes(select(*net).at("head"), 3),
                             surgery::on<ReLU>([](const ReLU&) { return surgery::Answer::declined("kept", "as it was"); })},
                            {.optimizers = {&sgd}, .example = {ones({5, 4})}});
  EXPECT_EQ(concat(plan),
            "plan: 1 replacement in Net\n"
            "  path  old                                                   new                                               parameters  output          multiply-adds\n"
            "  head  Linear(in_features=8, out_features=2, bias=True)  ->  Linear(in_features=8, out_features=3, bias=True)  +9          [5,2] -> [5,3]  80 -> 120\n"
            "  parameters 130 -> 139; tensors: 2 leave, 2 enter\n"
            "  SGD group 0: 6 -> 6 parameters\n"
            "  output [5,2] -> [5,3]; multiply-adds 560 -> 600; memory at the peak 920 -> 956 bytes, of which parameters and buffers 520 -> 556\n"
            "  weights: sliced head.weight [2,8] -> [3,8], head.bias [2] -> [3]\n"
            "  refused (kept) body.1: as it was\n"
            "  refused (kept) body.3: as it was\n");
  EXPECT_EQ(fingerprint(*net, {&sgd}), before);
}

TEST(PlanReport, tree_shows_what_goes_and_what_comes_and_closes_what_stays) {
  auto net = make<Net>();
  optim::SGD sgd(net->parameters());
  const auto plan = example_plan(*net, sgd);
  EXPECT_EQ(plan.tree(),
            "  Net\n"
            "    body: Sequential\n"
            "      0: Linear(in_features=4, out_features=8, bias=True)\n"
            "-     1: ReLU()\n"
            "-     2: Linear(in_features=8, out_features=8, bias=True)\n"
            "+     1: Sequential\n"
            "+       0: Linear(in_features=8, out_features=8, bias=False)\n"
            "      3 -> 2: ReLU()\n"
            "-   head: Linear(in_features=8, out_features=2, bias=True)\n"
            "+   head: Linear(in_features=8, out_features=3, bias=True)\n");
  auto shared = make<Sequential>(make<Linear>(1, 1));
  auto twice = make<Sequential>(shared, shared, make<Sequential>(make<ReLU>(), make<ReLU>()));
  EXPECT_EQ(surgery::plan(*twice, {surgery::insert_after(select(*twice).where<Linear>(), [] { return make<ReLU>(); })}).tree(),
            "  Sequential\n"
            "    0: Sequential\n"
            "      0: Linear(in_features=1, out_features=1, bias=True)\n"
            "+     1: ReLU()\n"
            "    1: Sequential (shared, see above)\n"
            "    2: Sequential(...)\n");
}

TEST(PlanReport, json_has_all_of_it) {
  auto net = make<Net>();
  optim::SGD sgd(net->parameters());
  const std::string before = fingerprint(*net, {&sgd});
  const auto j = nlohmann::json::parse(example_plan(*net, sgd).json());
  EXPECT_EQ(fingerprint(*net, {&sgd}), before);
  EXPECT_EQ(j["model"], "Net");
  ASSERT_EQ(j["changes"].size(), 3U);
  const auto& removed = j["changes"][0];
  EXPECT_EQ(removed["action"], "remove");
  EXPECT_EQ(removed["path"], "body.1");
  EXPECT_TRUE(removed["new"].is_null());
  const auto& replaced = j["changes"][1];
  EXPECT_EQ(replaced["action"], "replace");
  EXPECT_EQ(replaced["old"]["type"], "Linear");
  EXPECT_EQ(replaced["old"]["macs"], 5 * 8 * 8);
  EXPECT_EQ(replaced["new"]["parameters"], 64);
  EXPECT_EQ(replaced["new"]["output"], "[5,8]");
  EXPECT_EQ(replaced["weights"], nlohmann::json::parse(R"([{"path": "body.2.0.weight", "how": "fresh", "from": [], "to": [8, 8]},
      {"path": "body.2.weight", "how": "lost", "from": [8, 8], "to": []}, {"path": "body.2.bias", "how": "lost", "from": [8], "to": []}])"));
  EXPECT_EQ(j["changes"][2]["weights"][0], nlohmann::json::parse(R"({"path": "head.weight", "how": "sliced", "from": [2, 8], "to": [3, 8]})"));
  EXPECT_EQ(j["parameters"], nlohmann::json::parse(R"({"before": 130, "after": 131})"));
  EXPECT_EQ(j["tensors"]["leave"], nlohmann::json::parse(R"(["body.2.weight", "body.2.bias", "head.weight", "head.bias"])"));
  EXPECT_EQ(j["tensors"]["enter"], nlohmann::json::parse(R"(["body.1.0.weight", "head.weight", "head.bias"])"));
  EXPECT_EQ(j["optimizers"], nlohmann::json::parse(R"([{"name": "SGD", "group": 0, "before": 6, "after": 5}])"));
  EXPECT_EQ(j["before"]["macs"], 5 * (4 * 8 + 8 * 8 + 8 * 2));
  EXPECT_EQ(j["after"]["macs"], 5 * (4 * 8 + 8 * 8 + 8 * 3));
  EXPECT_EQ(j["after"]["output"], "[5,3]");
  EXPECT_EQ(j["after"]["state_bytes"], 131 * 4);
  EXPECT_EQ(example_plan(*net, sgd).json(-1).find('\n'), std::string::npos);
}

TEST(PlanReport, peak_memory_is_what_lives_at_once) {
  struct Wide : nn::Layer {  // at the sum: x, a and b, and the result
    Tensor forward(const Tensor& x) override {
      const Tensor a = exp(x), b = exp(a);
      return a + b;
    }
  };
  const auto wide = make<Wide>();
  const auto c = surgery::cost(*wide, {ones({100})});
  EXPECT_EQ(c.state_bytes, 0);
  EXPECT_EQ(c.peak_bytes, 4 * 400);
  struct Chain : nn::Layer {  // never more than one value and the next
    Tensor forward(const Tensor& x) override { return exp(exp(exp(exp(x)).view({10, 10}))); }
  };
  EXPECT_EQ(surgery::cost(*make<Chain>(), {ones({100})}).peak_bytes, 3 * 400);
  struct InPlace : nn::Layer {
    Tensor forward(const Tensor& x) override { return exp(x).mul_(2).add_(1); }
  };
  EXPECT_EQ(surgery::cost(*make<InPlace>(), {ones({100})}).peak_bytes, 2 * 400);
}

TEST(PlanReport, what_depends_on_values_is_noted_not_refused) {
  struct Picks : nn::Layer {
    Tensor forward(const Tensor& x) override { return masked_select(x, gt(x, 0)); }
  };
  auto net = make<Sequential>(make<Linear>(4, 4), make<Picks>());
  const auto plan = surgery::plan(*net, {surgery::on<Linear>([](const Linear&) { return make<Linear>(4, 5); })}, {.example = {ones({1, 4})}});
  bool noted = false;
  for (const auto& n : plan.notes()) noted |= n.kind == surgery::Note::Kind::shapes_unknown;
  EXPECT_TRUE(noted);
  EXPECT_EQ(plan.cost_after()->modules.at(plan.changes()[0].after.get()).output, "[1,5]");
}

TEST(PlanReport, a_plan_may_mend_a_model_that_does_not_run) {
  auto net = make<Sequential>(make<Linear>(4, 5), make<Linear>(4, 2));
  const auto plan = surgery::plan(*net, {surgery::on<Linear>(select(*net).first(), [](const Linear&) { return make<Linear>(4, 4); })},
                                  {.example = {ones({1, 4})}});
  EXPECT_FALSE(plan.cost_before());
  EXPECT_EQ(plan.cost_after()->model.output, "[1,2]");
}

}  // namespace

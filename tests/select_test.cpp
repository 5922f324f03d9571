// Selections: which modules a verb keeps, in which order, and what is said when there are none.
#include "graft/surgery/select.h"

#include <gtest/gtest.h>

#include "graft/core/ops.h"
#include "graft/nn/nn.h"
#include "graft/nn/registry.h"
#include "graft/surgery/expression.h"
#include "refused.h"

namespace {

using namespace graft;
using nn::Child;
using nn::Conv2d;
using nn::Conv2dOptions;
using nn::Linear;
using nn::make;
using nn::ModulePtr;
using nn::Sequential;
using surgery::select;
using Paths = std::vector<std::string>;

struct Block : nn::Layer {
  Child<Conv2d> conv1{this, "conv1", 4, 4, 3, Conv2dOptions{.padding = 1}};
  Child<nn::ReLU> relu{this, "relu"};
  Child<Conv2d> conv2{this, "conv2", 4, 4, 1, Conv2dOptions{.groups = 2, .bias = false}};
  Tensor forward(const Tensor& x) override { return conv2(relu(conv1(x))); }
};
struct Net : nn::Layer {
  Child<Conv2d> stem{this, "stem", 3, 4, nn::Sizes<2>{3, 5}};
  Child<Sequential> layer1{this, "layer1", ModulePtr(make<Sequential>(make<Block>(), make<Block>()))};
  Child<Sequential> layer2{this, "layer2", ModulePtr(make<Sequential>(make<Block>()))};
  Child<Linear> fc{this, "fc", 4, 2};
  Tensor forward(const Tensor& x) override { return fc(mean(layer2(layer1(stem(x))), {2, 3})); }
};
const std::shared_ptr<Net>& net() {
  static const auto n = make<Net>();
  return n;
}
// All of Net below the root, by hand.
const Paths kAll{"stem", "layer1", "layer1.0", "layer1.0.conv1", "layer1.0.relu", "layer1.0.conv2", "layer1.1", "layer1.1.conv1",
                 "layer1.1.relu", "layer1.1.conv2", "layer2", "layer2.0", "layer2.0.conv1", "layer2.0.relu", "layer2.0.conv2", "fc"};

TEST(Select, starts_with_all_modules_below_the_root_in_order_of_registration) {
  EXPECT_EQ(select(*net()).paths(), kAll);
  EXPECT_EQ(select(*net()).with_root().paths().at(0), "");
  EXPECT_EQ(select(*make<nn::ReLU>()).count(), 0U);
}

TEST(Select, by_type_by_several_types_and_by_a_typed_condition) {
  EXPECT_EQ(select(*net()).where<Linear>().paths(), Paths({"fc"}));
  EXPECT_EQ((select(*net()).where<Linear, Block>().paths()), Paths({"layer1.0", "layer1.1", "layer2.0", "fc"}));
  EXPECT_EQ(select(*net()).where<nn::Layer>().count(), kAll.size());  // subclasses match
  const auto grouped = select(*net()).where<Conv2d>([](auto& c) { return c.groups == 2; });
  EXPECT_EQ(grouped.paths(), Paths({"layer1.0.conv2", "layer1.1.conv2", "layer2.0.conv2"}));
  EXPECT_EQ(select(*net()).where([](const nn::Module& m) { return m.child_entries().size() == 2; }).paths(), Paths({"layer1"}));
  EXPECT_EQ(surgery::count<Conv2d>(select(*net())), 7U);
  EXPECT_EQ(surgery::count_by_type(select(*net()).at("layer1.**")),
            (std::map<std::string, size_t>{{"Block", 2}, {"Conv2d", 4}, {"ReLU", 2}, {"Sequential", 1}}));
}

TEST(Select, by_path_with_stars_that_stay_within_a_name_and_double_stars_that_do_not) {
  const auto at = [](std::string_view glob) { return select(*net()).at(glob).paths(); };
  EXPECT_EQ(at("layer1"), Paths({"layer1"}));
  EXPECT_EQ(at("layer*"), Paths({"layer1", "layer2"}));
  EXPECT_EQ(at("layer*.*.conv?"), Paths({"layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1", "layer1.1.conv2", "layer2.0.conv1", "layer2.0.conv2"}));
  EXPECT_EQ(at("layer*.conv?"), Paths());
  EXPECT_EQ(at("layer*.**.conv[13]"), Paths({"layer1.0.conv1", "layer1.1.conv1", "layer2.0.conv1"}));
  EXPECT_EQ(at("**.conv[!1-1]"), Paths({"layer1.0.conv2", "layer1.1.conv2", "layer2.0.conv2"}));
  EXPECT_EQ(at("**"), kAll);
  EXPECT_EQ(at("layer2.**"), Paths({"layer2", "layer2.0", "layer2.0.conv1", "layer2.0.relu", "layer2.0.conv2"}));
  EXPECT_EQ(at("*l*.0.r*u"), Paths({"layer1.0.relu", "layer2.0.relu"}));
  EXPECT_REFUSED("']' is missing", at("layer[1"));
  EXPECT_REFUSED("names with single dots", at("layer1..0"));
  EXPECT_REFUSED("names with single dots", at(""));
}

TEST(Select, a_shared_module_is_found_at_each_of_its_paths_and_counts_once) {
  auto shared = make<Linear>(2, 2);
  auto m = make<Sequential>(shared, make<Sequential>(shared, make<nn::ReLU>()));
  EXPECT_EQ(select(*m).at("1.0").paths(), Paths({"0"}));
  EXPECT_EQ(select(*m).at("*").count(), 2U);
  EXPECT_EQ(select(*m).under("1").paths(), Paths({"0", "1.1"}));
  EXPECT_EQ(concat(select(*m).where<Linear>()),
            "1 of 3 modules in Sequential: where<Linear>\n"
            "  path     module                                            parameters\n"
            "  0 = 1.0  Linear(in_features=2, out_features=2, bias=True)  6\n");
}

TEST(Select, on_attributes_by_their_names) {
  const auto where = [](std::string_view text) { return select(*net()).where(text).paths(); };
  const Paths ones{"layer1.0.conv2", "layer1.1.conv2", "layer2.0.conv2"};
  EXPECT_EQ(where("kernel_size == 3 && groups == 1"), Paths({"layer1.0.conv1", "layer1.1.conv1", "layer2.0.conv1"}));
  EXPECT_EQ(where("kernel_size == (3, 5)"), Paths({"stem"}));
  EXPECT_EQ(where("kernel_size > 2 and in_channels < 4"), Paths({"stem"}));
  EXPECT_EQ(where("not bias && type == 'Conv2d'"), ones);
  EXPECT_EQ(where("groups != 1"), ones);          // what has no groups does not match
  EXPECT_EQ(where("!(groups == 1)"), ones);       // nor does it match the negation
  EXPECT_EQ(where("type in ('Linear', \"ReLU\") and not path in ['layer2.0.relu']"), Paths({"layer1.0.relu", "layer1.1.relu", "fc"}));
  EXPECT_EQ(where("parameters == 10 || inplace == true"), Paths({"fc"}));  // 4*2 + 2
  EXPECT_EQ(where("out_features == 2 or groups == 2").size(), 4U);
  EXPECT_EQ(where("padding_mode == 'zeros' && stride <= 1").size(), 7U);
  EXPECT_EQ(where("name == 'conv2'"), ones);
  EXPECT_EQ(where("training && children > 2"), Paths({"layer1.0", "layer1.1", "layer2.0"}));
  EXPECT_EQ(where("dtype == 'f32' && device == 'cpu'").size(), kAll.size() - 3);  // ReLUs have no numbers
}

TEST(Select, a_condition_that_cannot_be_read_says_where) {
  const auto where = [](std::string_view text) { select(*net()).where(text); };
  EXPECT_REFUSED("no module has the attribute 'kernl_size'; did you mean kernel_size", where("kernl_size == 3"));
  EXPECT_REFUSED("at character 16: a name or a value is missing", where("kernel_size == "));
  EXPECT_REFUSED("at character 8: what follows is not understood", where("groups 3"));
  EXPECT_REFUSED("comparisons do not chain", where("1 < groups < 3"));
  EXPECT_REFUSED("the text does not end", where("type == 'Conv2d"));
  EXPECT_REFUSED("a closing bracket is missing", where("(groups == 1"));
  EXPECT_REFUSED("nested too deeply", where(std::string(100000, '(')));
  EXPECT_REFUSED("a name or a value is missing", where(""));
}

TEST(Select, unknown_is_neither_true_nor_false) {
  const auto test = [](std::string_view text) {
    return surgery::Expression(text).test([](const std::string& n) -> std::optional<nn::Value> {
      if (n == "one") return nn::Value(1);
      if (n == "none") return nn::Value();
      return std::nullopt;
    });
  };
  EXPECT_EQ(test("one == 1.0"), true);
  EXPECT_EQ(test("x == 1"), std::nullopt);
  EXPECT_EQ(test("not x"), std::nullopt);
  EXPECT_EQ(test("x || one"), true);
  EXPECT_EQ(test("x && one == 2"), false);
  EXPECT_EQ(test("x && one"), std::nullopt);
  EXPECT_EQ(test("none == None"), true);
  EXPECT_EQ(test("none != 1"), true);
  EXPECT_EQ(test("none < 1"), std::nullopt);
  EXPECT_EQ(test("'b' > 'a'"), true);
  EXPECT_EQ(test("(1, 2) == [1, 2]"), true);
  EXPECT_EQ(test("-1.5e1 == -15"), true);
  EXPECT_EQ(test("one not in (2, 3)"), true);
}

TEST(Select, a_users_type_registers_attributes) {
  struct Gain : nn::Layer {
    int64_t by;
    explicit Gain(int64_t b) : by(b) {}
    Tensor forward(const Tensor& x) override { return x * double(by); }
  };
  struct Twice : Gain {
    Twice() : Gain(2) {}
  };
  nn::register_type<Gain>("SelectGain", [](nn::ArgReader& a) { return make<Gain>(a.get<int64_t>("by")); },
                          {nn::attribute<&Gain::by>("by")});
  auto m = make<Sequential>(make<Gain>(2), make<Gain>(3), make<Twice>());
  EXPECT_EQ(select(*m).where("by == 2").paths(), Paths({"0", "2"}));
}

TEST(Select, under_not_under_children_and_outermost) {
  EXPECT_EQ(select(*net()).where<Conv2d>().under("layer1").paths(), Paths({"layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1", "layer1.1.conv2"}));
  EXPECT_EQ(select(*net()).not_under("layer?").paths(), Paths({"stem", "fc"}));
  EXPECT_EQ(select(*net()).where<Conv2d>().not_under(select(*net()).where<Block>()).paths(), Paths({"stem"}));
  EXPECT_EQ(select(*net()).where<nn::ReLU>().under(select(*net()).where<Block>().last()).paths(), Paths({"layer2.0.relu"}));
  EXPECT_EQ(select(*net()).at("layer1").children().paths(), Paths({"layer1.0", "layer1.1"}));
  EXPECT_EQ(select(*net()).at("layer2").descendants().paths(), Paths({"layer2.0", "layer2.0.conv1", "layer2.0.relu", "layer2.0.conv2"}));
  EXPECT_EQ(select(*net()).outermost().paths(), Paths({"stem", "layer1", "layer2", "fc"}));
  EXPECT_REFUSED("under('layr1'): nothing is there; the nearest: layer1", select(*net()).under("layr1"));
  EXPECT_REFUSED("not_under('layer3'): nothing is there", select(*net()).not_under("layer3"));
}

TEST(Select, first_last_and_nth_count_from_both_ends) {
  const auto convs = select(*net()).where<Conv2d>();
  EXPECT_EQ(convs.first().path(), "stem");
  EXPECT_EQ(convs.last(2).paths(), Paths({"layer2.0.conv1", "layer2.0.conv2"}));
  EXPECT_EQ(convs.nth(1).path(), "layer1.0.conv1");
  EXPECT_EQ(convs[-1].path(), "layer2.0.conv2");
  EXPECT_REFUSED("nth(7) of 7 modules that match where<Conv2d>", convs.nth(7));
  EXPECT_EQ(convs.first(100).count(), 7U);
}

TEST(Select, combinations_are_sets) {
  const auto all = select(*net());
  const auto convs = all.where<Conv2d>(), ones = all.where("kernel_size == 1"), fc = all.at("fc");
  EXPECT_EQ((fc | ones).paths(), Paths({"layer1.0.conv2", "layer1.1.conv2", "layer2.0.conv2", "fc"}));
  EXPECT_EQ((convs & ones).count(), 3U);
  EXPECT_EQ((convs - ones).paths(), Paths({"stem", "layer1.0.conv1", "layer1.1.conv1", "layer2.0.conv1"}));
  EXPECT_EQ((convs | convs.invert()).paths(), kAll);
  EXPECT_EQ((convs & convs.invert()).count(), 0U);
  EXPECT_EQ((convs | select(*net()).at("fc")).count(), 8U);  // of two selections of one model
  const auto other = make<Net>();
  EXPECT_REFUSED("are of different models", convs | select(*other));
}

TEST(Select, refine_selects_within_each_with_paths_that_start_there) {
  const auto blocks = select(*net()).where<Block>();
  EXPECT_EQ(blocks.refine([](auto s) { return s.template where<Conv2d>().first(); }).paths(),
            Paths({"layer1.0.conv1", "layer1.1.conv1", "layer2.0.conv1"}));
  EXPECT_EQ(blocks.refine([](auto s) { return s.at("conv2"); }).count(), 3U);
  EXPECT_EQ(blocks.refine([](auto s) { return s.template where<Conv2d>().invert(); }).paths(),
            Paths({"layer1.0.relu", "layer1.1.relu", "layer2.0.relu"}));
}

TEST(Select, equal_to_compares_structure_and_numbers) {
  auto first = make<Linear>(2, 2);
  auto m = make<Sequential>(first, make<Linear>(2, 2), first->clone(), make<Linear>(2, 3));
  EXPECT_EQ(select(*m).equal_to(*first).paths(), Paths({"0", "2"}));
  EXPECT_EQ(select(*m).equal_to(*make<nn::ReLU>()).count(), 0U);
}

TEST(Select, expect_asserts_a_count) {
  EXPECT_EQ(select(*net()).where<Block>().expect(3).count(), 3U);
  EXPECT_REFUSED("where<Block> matches 3 modules, not 2: layer1.0, layer1.1, layer2.0", select(*net()).where<Block>().expect(2));
  EXPECT_EQ(select(*net()).where<nn::GELU>().expect(0).count(), 0U);
  EXPECT_REFUSED("matches 3 modules, not 1", select(*net()).where<Block>().path());
}

TEST(Contract, KM12_a_selection_of_nothing_says_what_there_is_unless_allowed) {
  const auto check = [](const surgery::Selection& s) { s.check(*net()); };
  EXPECT_REFUSED("nothing in Net matches at('layer1.0.conv3'); the nearest: layer1.0.conv1, layer1.0.conv2", check(select(*net()).at("layer1.0.conv3")));
  EXPECT_REFUSED("where<Linear>.at('layer*'): at('layer*') leaves nothing; the nearest: layer1, layer2", check(select(*net()).where<Linear>().at("layer*")));
  EXPECT_REFUSED("where<GELU> of Block 3, Conv2d 7, Linear 1, ReLU 3, Sequential 2", check(select(*net()).where<nn::GELU>()));
  check(select(*net()).where<nn::GELU>().allow_empty());
}

TEST(Contract, KM12_a_container_and_its_child_come_outermost_first_and_the_preview_says_so) {
  const auto both = select(*net()).at("layer2.0.relu") | select(*net()).at("layer2.0");
  EXPECT_EQ(both.paths(), Paths({"layer2.0", "layer2.0.relu"}));
  EXPECT_EQ(concat(both),
            "2 of 16 modules in Net: (at('layer2.0.relu') | at('layer2.0'))\n"
            "  path           module      parameters\n"
            "  layer2.0       Block(...)  156\n"  // 4*4*9 + 4 + 4*2
            "  layer2.0.relu  ReLU()      0           inside of another\n");
}

TEST(Contract, KM20_a_selection_of_another_state_or_model_is_refused) {
  auto m = make<Sequential>(make<Linear>(2, 2), make<nn::ReLU>());
  const auto s = select(*m).where<Linear>();
  s.check(*m);
  EXPECT_REFUSED("is of another model", s.check(*net()));
  (*m)[0] = make<Linear>(2, 2);
  EXPECT_REFUSED("another state of the model, which has changed at '0'", s.check(*m));
  EXPECT_EQ(s.modules().at(0)->path(), "(detached)");  // what it holds stays alive
}

TEST(Select, graphs_with_two_to_the_sixtieth_paths_take_linear_time) {
  ModulePtr m = make<Linear>(1, 1);
  for (int i = 0; i < 60; ++i) m = make<Sequential>(std::vector<ModulePtr>{m, m});
  EXPECT_EQ(select(*m).where<Linear>().count(), 1U);
  EXPECT_EQ(select(*m).at("**.1").count(), 60U);
  EXPECT_EQ(select(*m).at("0.*.1.**.0").where<Linear>().count(), 1U);
  EXPECT_EQ(select(*m).at("0").descendants().count(), 59U);
}

TEST(Select, ten_thousand_nested_modules_need_no_deep_stack) {
  ModulePtr m = make<Linear>(1, 1);
  for (int i = 0; i < 10000; ++i) m = make<Sequential>(std::vector<ModulePtr>{m});
  EXPECT_EQ(select(*m).where<Linear>().count(), 1U);
  EXPECT_REFUSED("nothing in Sequential matches at('1')", select(*m).at("1").check(*m));
}

}  // namespace

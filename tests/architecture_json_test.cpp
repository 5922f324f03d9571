// nn::architecture and back: every registered layer, what is shared and tied, what is None, and texts that are not right.
#include <gtest/gtest.h>

#include "graft/core/ops.h"
#include "graft/nn/architecture.h"
#include "graft/nn/nn.h"
#include "graft/nn/registry.h"
#include "graft/surgery/mutable.h"
#include "graft/surgery/register_modules.h"
#include "layer_samples.h"
#include "refused.h"

namespace {

using namespace graft;
using nn::Child;
using nn::Linear;
using nn::make;
using nn::ModulePtr;
using nn::Sequential;

ModulePtr again(const nn::Module& m) { return nn::from_architecture(Json::parse(nn::architecture(m).dump(2), "text")); }

TEST(ArchitectureJson, every_registered_layer_is_built_again_as_it_was) {
  surgery::register_modules();
  const Samples all = layer_samples();
  for (const std::string& name : nn::registered_types()) {
    const auto it = all.find(name);
    std::map<std::string, std::set<std::string>> values;
    for (const Args& args : it == all.end() ? std::vector<Args>{{}} : it->second) {
      ModulePtr m;
      ASSERT_NO_THROW(m = nn::build(name, args)) << name << ": layer_samples() must say how to make one";
      m->eval();
      for (const nn::Attribute& a : nn::attributes_of(*m)) values[a.name].insert(concat(a.read(*m)));
      const ModulePtr copy = again(*m);
      const nn::Module &one = *m, &other = *copy;
      EXPECT_EQ(typeid(other), typeid(one)) << name;
      EXPECT_EQ(nn::repr(*copy), nn::repr(*m));
      EXPECT_EQ(nn::architecture(*copy).dump(), nn::architecture(*m).dump());
      EXPECT_EQ(nn::architecture_hash(*copy), nn::architecture_hash(*m));
      const auto before = m->state_dict(), after = copy->state_dict();
      ASSERT_EQ(after.keys(), before.keys()) << name;
      for (const auto& [key, t] : before) EXPECT_EQ(concat(t.view()), concat(after.at(key).view())) << name << ' ' << key;
      EXPECT_FALSE(copy->training());
    }
    for (const auto& [attribute, seen] : values) EXPECT_GE(seen.size(), 2U) << name << "." << attribute << " has one value in all samples";
  }
}

TEST(ArchitectureJson, other_attributes_are_another_structure) {
  surgery::register_modules();
  for (const auto& [name, list] : layer_samples()) {
    std::set<uint64_t> hashes;
    for (const Args& args : list) hashes.insert(nn::architecture_hash(*nn::build(name, args)));
    EXPECT_EQ(hashes.size(), list.size()) << name;
  }
}

struct Block : nn::Layer {
  explicit Block(int64_t width) : width(width) {}
  int64_t width;
  Child<Linear> fc{this, "fc", width, width};
  Child<nn::Layer> act{this, "act", make<nn::ReLU>()};
  Child<nn::Layer> down{this, "down", nullptr};
  nn::Buffer scale{this, "scale", ones({1}), false};
  Tensor forward(const Tensor& x) override { return act(fc(x)) * scale; }
};
struct Unknown : nn::Layer {
  Tensor forward(const Tensor& x) override { return x; }
};
void register_block() {
  static const bool once = (nn::register_type<Block>("Block", [](nn::ArgReader& a) { return make<Block>(a.get<int64_t>("width")); },
                                                     {nn::attribute<&Block::width>("width")}), true);
  static_cast<void>(once);
}

TEST(ArchitectureJson, a_users_type_keeps_its_slots_whatever_is_in_them) {
  register_block();
  auto block = make<Block>(4);
  block->act = make<Sequential>(make<nn::GELU>(), make<nn::Dropout>(0.2));
  block->fc->bias = nullptr;
  block->fc->weight.leaf().requires_grad_(false);
  block->add_module("extra", make<Linear>(2, 2));
  const ModulePtr copy = again(*block);
  EXPECT_EQ(nn::repr(*copy), nn::repr(*block));
  auto& same = dynamic_cast<Block&>(*copy);
  EXPECT_FALSE(same.fc->weight.leaf().requires_grad());
  EXPECT_FALSE(same.fc->bias);
  EXPECT_FALSE(same.down);
  EXPECT_FALSE(same.scale.entry().persistent);
  EXPECT_EQ(same.fc->weight->shape(), Shape({4, 4}));
  EXPECT_EQ(nn::architecture(*copy), nn::architecture(*block));
}

TEST(ArchitectureJson, shared_modules_and_tied_parameters_stay_so) {
  auto shared = make<Linear>(3, 3);
  auto other = make<Linear>(3, 3);
  auto net = make<Sequential>(shared, make<nn::ReLU>(), shared, other);
  other->weight = shared->weight;
  const ModulePtr copy = again(*net);
  EXPECT_EQ(copy->child_entries()[0]->module, copy->child_entries()[2]->module);
  EXPECT_EQ(copy->parameters().size(), 3U);
  EXPECT_TRUE(copy->get_submodule("3").get_parameter("weight").is_same(copy->get_submodule("0").get_parameter("weight")));
  EXPECT_FALSE(copy->get_submodule("3").get_parameter("bias").is_same(copy->get_submodule("0").get_parameter("bias")));
}

TEST(ArchitectureJson, dtypes_are_those_of_each_tensor) {
  auto net = make<Sequential>(make<Linear>(2, 2), make<nn::BatchNorm1d>(2));
  net->to(bf16);
  (*net)[0].module()->to(f64);
  const ModulePtr copy = again(*net);
  EXPECT_EQ(copy->get_parameter("0.weight").dtype(), f64);
  EXPECT_EQ(copy->get_parameter("1.weight").dtype(), bf16);
  EXPECT_EQ(copy->get_buffer("1.num_batches_tracked").dtype(), i64);
}

TEST(ArchitectureJson, containers_of_parameters_and_names_of_any_kind) {
  auto dict = make<nn::ModuleDict>();
  dict->set("a \"b\"", make<nn::ReLU>());
  auto list = make<nn::ParameterList>(std::vector<Tensor>{ones({2}), ones({3, 1})});
  auto params = make<nn::ParameterDict>();
  params->set("gain", ones({4}));
  auto all = make<nn::ModuleListOf<nn::Module>>();
  EXPECT_EQ(nn::architecture(*again(*dict)), nn::architecture(*dict));
  EXPECT_EQ(nn::architecture(*again(*list)), nn::architecture(*list));
  EXPECT_EQ(nn::architecture(*again(*params)), nn::architecture(*params));
}

TEST(ArchitectureJson, an_edited_parameter_is_described_by_its_value) {
  auto net = surgery::to_mutable_module(make<Linear>(2, 2));
  net->weight *= 2.0;
  const ModulePtr copy = again(*net);
  EXPECT_EQ(copy->get_parameter("weight").shape(), Shape({2, 2}));
}

TEST(ArchitectureJson, ten_thousand_modules_deep) {
  ModulePtr m = make<Linear>(1, 1);
  for (int i = 0; i < 10'000; ++i) m = make<Sequential>(m);
  EXPECT_EQ(nn::architecture_hash(*again(*m)), nn::architecture_hash(*m));
}

TEST(ArchitectureJson, an_unregistered_type_is_refused_with_path_and_type) {
  auto net = make<Sequential>(make<nn::ReLU>(), make<Sequential>(make<Unknown>()));
  const std::string text = graft_test::message([&] { nn::architecture(*net); }, ErrorCode::type_error);
  EXPECT_NE(text.find("1.0 (Unknown)"), std::string::npos) << text;
  EXPECT_NE(text.find("not registered"), std::string::npos) << text;
}

Json with(const char* text) { return Json::parse(text, "text"); }
TEST(ArchitectureJson, FJ4_unknown_fields_types_and_arguments_are_refused_with_where_they_are) {
  EXPECT_REFUSED("unknown field 'tpye'; known are", nn::from_architecture(with(R"({"modules": [{"type": "ReLU", "tpye": 1}]})")));
  EXPECT_REFUSED("did you mean Linear", nn::from_architecture(with(R"({"modules": [{"type": "Linaer"}]})")));
  EXPECT_REFUSED("did you mean inplace", nn::from_architecture(with(R"({"modules": [{"type": "ReLU", "args": {"inplcae": true}}]})")));
  EXPECT_REFUSED("missing argument 'in_features'", nn::from_architecture(with(R"({"modules": [{"type": "Linear"}]})")));
  EXPECT_REFUSED("the argument 'inplace' is missing", nn::from_architecture(with(R"({"modules": [{"type": "ReLU"}]})")));
  EXPECT_REFUSED("0 (Linear)", nn::from_architecture(with(
      R"({"modules": [{"type": "Sequential", "children": {"0": 1}}, {"type": "Linear", "args": {"in_features": 2}}]})")));
  EXPECT_REFUSED("modules[0].children.0", nn::from_architecture(with(R"({"modules": [{"type": "Sequential", "children": {"0": 7}}]})")));
  EXPECT_REFUSED("is in no slot", nn::from_architecture(with(R"({"modules": [{"type": "Identity"}, {"type": "Identity"}]})")));
  EXPECT_REFUSED("cannot be inside itself", nn::from_architecture(with(R"({"modules": [{"type": "Sequential", "children": {"0": 0}}]})")));
  EXPECT_REFUSED("no dtype is named 'f33'", nn::from_architecture(with(
      R"({"modules": [{"type": "ParameterList", "parameters": {"0": {"dtype": "f33", "shape": [2]}}}]})")));
  EXPECT_REFUSED("of a model around it", nn::from_architecture(with(R"({"modules": [{"keep": "x"}]})")));
}

TEST(ArchitectureJson, FJ3_sizes_are_checked_before_anything_is_made) {
  const Json huge = with(R"({"modules": [{"type": "Linear", "args": {"in_features": 100000000, "out_features": 100000000, "bias": true},
      "parameters": {"weight": {"dtype": "f32", "shape": [100000000, 100000000]}, "bias": null}}]})");
  EXPECT_CODE(too_large, nn::from_architecture(huge, {.empty = true, .most_bytes = 1 << 20}));
  std::string deep(100'000, '[');
  EXPECT_CODE(too_large, Json::parse(deep, "text"));
  EXPECT_CODE(too_large, Json::parse("[1, 2]", "text", {.bytes = 4, .depth = 2}));
}

TEST(Json, what_is_written_is_read_back_and_what_is_no_json_is_refused) {
  const char* text = R"({"a": [1, -2.5, 1e300, true, null, "é\n\u0001"], "b": {}, "c": []})";
  const Json j = Json::parse(text, "text");
  for (const int indent : {-1, 0, 2}) EXPECT_EQ(Json::parse(j.dump(indent), "text"), j) << j.dump(indent);
  EXPECT_EQ(Json(1.0).dump(), "1.0");
  EXPECT_EQ(Json::parse("1.0", "text").kind(), Json::Kind::number);
  for (const char* wrong : {"", "{", "[1,]", "{\"a\":1,}", "nan", "1 2", "{\"a\":1 \"b\":2}", "\"\xff\"", "'a'", "1e999", "18446744073709551615"})
    EXPECT_CODE(malformed, Json::parse(wrong, "text"));
  EXPECT_CODE(malformed, Json::parse(R"({"a": 1, "a": 2})", "text"));
  EXPECT_CODE(malformed, Json::parse(std::string_view("1\0", 2), "text"));
}

}  // namespace

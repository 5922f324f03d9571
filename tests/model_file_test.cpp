// A model in one file: what comes back answers the same, bit for bit, however it was operated on; and files that are not right.
#include "graft/surgery/model_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"
#include "graft/nn/architecture.h"
#include "graft/nn/nn.h"
#include "graft/nn/registry.h"
#include "graft/surgery/surgery.h"
#include "refused.h"

namespace {

using namespace graft;
using nn::make;
using nn::ModulePtr;
using nn::Sequential;

const std::string kPath = testing::TempDir() + "graft-model-file-" + std::to_string(getpid()) + ".safetensors";  // tests run side by side

std::shared_ptr<Sequential> conv_net() {
  auto net = make<Sequential>(make<nn::Conv2d>(3, 8, 3), make<nn::BatchNorm2d>(8), make<nn::ReLU>(), make<nn::AdaptiveAvgPool2d>(1),
                              make<nn::Flatten>(), make<nn::Linear>(8, 4));
  const NoGrad quiet;
  for (const Tensor& b : net->buffers())
    if (b.dtype() == f32) b.uniform_(0.5, 1.5);
  net->eval();
  return net;
}
void expect_same_answers(const nn::Module& a, const nn::Module& b) {
  const Tensor x = randn({2, 3, 8, 8});
  const Tensor y = const_cast<nn::Module&>(a).call({x}).tensor(), z = const_cast<nn::Module&>(b).call({x}).tensor();
  ASSERT_EQ(y.shape(), z.shape());
  EXPECT_TRUE(all(eq(y, z)).item<bool>());
}
void expect_comes_back(const nn::Module& net, const surgery::Recipe& recipe = {}) {
  surgery::save_model(kPath, net, {.recipe = recipe});
  const auto draws = default_generator().offset();
  const surgery::ModelFile file = surgery::load_model(kPath);
  EXPECT_EQ(default_generator().offset(), draws) << "loading draws no random numbers";
  EXPECT_EQ(nn::architecture(*file.model), nn::architecture(net));
  EXPECT_EQ(file.recipe, recipe);
  expect_same_answers(net, *file.model);
}

TEST(ModelFile, plain_fused_adapted_merged_and_half_models_answer_the_same) {
  auto net = conv_net();
  expect_comes_back(*net);
  auto adapted = conv_net();
  surgery::Recipe recipe = surgery::replace(*adapted, surgery::lora({.r = 2})).recipe();
  {
    const NoGrad quiet;
    for (const Tensor& t : surgery::lora_parameters(*adapted)) t.detach().fill_(0.1);
  }
  expect_comes_back(*adapted, recipe);
  recipe += surgery::merge_lora(*adapted);
  expect_comes_back(*adapted, recipe);
  surgery::Fusion fusion = surgery::fuse(*net, {randn({1, 3, 8, 8})});
  ASSERT_EQ(fusion.fused.size(), 1U);
  expect_comes_back(*net, fusion.edit.recipe());
  net->to(f64);
  surgery::save_model(kPath, *net);
  EXPECT_EQ(surgery::load_model(kPath).model->get_parameter("5.weight").dtype(), f64);
}
TEST(ModelFile, every_ready_made_surgery_comes_back) {
  const std::map<std::string, nn::Args> arguments{
      {"blurpool", {{"min_channels", 1}}}, {"checkpoint_activations", {{"at", "0"}}}, {"factorize", {{"min_channels", 1}, {"min_features", 1}}},
      {"in_channels", {{"at", "5"}, {"n", 8}}}, {"knock_out", {{"at", "0"}}}, {"num_classes", {{"at", "5"}, {"n", 3}}},
      {"remove", {{"at", "2"}}}, {"replace", {{"from", "ReLU"}, {"to", "SiLU"}}}, {"squeeze_excite", {{"min_channels", 1}, {"latent_channels", 0.5}}},
      {"stochastic_depth", {{"at", "0"}}}};
  for (const surgery::Surgery& s : surgery::surgeries()) {
    auto net = conv_net();
    const auto args = arguments.find(s.name);
    surgery::replace(*net, surgery::make_surgery(s.name, args == arguments.end() ? nn::Args() : args->second, *net));
    SCOPED_TRACE(s.name);
    expect_comes_back(*net);
  }
}

struct Table : nn::Layer {
  nn::Param scale{this, "scale", ones({1})};
  nn::Buffer table{this, "table", ones({3}), false};
  int64_t calls = 0;
  Tensor forward(const Tensor& x) override { return x * scale * sum(table); }
  Tensor get_extra_state() const override { return calls ? tensor({calls}) : Tensor(); }
  void set_extra_state(const Tensor& t) override { calls = t.item<int64_t>(); }
};
struct Unknown : Table {};

TEST(ModelFile, ties_extra_state_buffers_beside_the_state_modes_and_frozen_parameters) {
  static const bool once = (nn::register_type<Table>("Table", [](nn::ArgReader&) { return make<Table>(); }), true);
  static_cast<void>(once);
  auto first = make<Table>(), second = make<Table>();
  auto net = make<Sequential>(first, second, first);
  second->scale = first->scale;
  second->calls = 7;
  first->table->fill_(0.25);
  net->eval();
  second->train();
  first->scale.leaf().requires_grad_(false);
  surgery::save_model(kPath, *net);
  EXPECT_EQ(io::load_safetensors(kPath).tensors.size(), 4U);  // scale once, two tables, one extra state
  auto same = std::dynamic_pointer_cast<Sequential>(surgery::load_model(kPath).model);
  EXPECT_EQ(nn::architecture(*same), nn::architecture(*net));
  EXPECT_EQ((*same)[0].module(), (*same)[2].module());
  EXPECT_EQ(dynamic_cast<Table&>(*(*same)[1].module()).calls, 7);
  expect_same_answers(*net, *same);
  EXPECT_EQ(same->parameters().size(), 1U);
  EXPECT_FALSE(same->parameters()[0].requires_grad());
  EXPECT_EQ(surgery::load_model_as<Sequential>(kPath)->size(), 3U);
  EXPECT_CODE(type_error, surgery::load_model_as<nn::Linear>(kPath));
}

TEST(ModelFile, memory_formats_of_parameters_come_back_and_files_without_are_of_the_first_version) {
  auto net = make<Sequential>(make<nn::Conv2d>(3, 8, 3), make<nn::Conv2d>(8, 8, 1), make<nn::ReLU>());
  auto volumes = make<Sequential>(make<nn::Conv3d>(2, 4, 2));
  const auto version = [] { return io::load_safetensors(kPath).metadata.at("graft.model"); };
  expect_comes_back(*net);
  EXPECT_EQ(version(), "1");
  const auto before = std::make_shared<surgery::ModelFile>(surgery::ModelFile{net->clone(), {}, {}});
  net->to(MemoryFormat::channels_last);
  volumes->to(MemoryFormat::channels_last_3d);
  surgery::save_model(kPath, *volumes);
  const Shape strides = surgery::load_model(kPath).model->get_parameter("0.weight").strides();
  EXPECT_EQ(strides, (Shape{16, 1, 8, 4, 2}));
  surgery::save_model(kPath, *net, {.before = before});
  EXPECT_EQ(version(), "2");
  const surgery::ModelFile file = surgery::load_model(kPath);
  EXPECT_EQ(file.model->get_parameter("0.weight").strides(), (Shape{27, 1, 9, 3}));
  EXPECT_EQ(file.before->model->get_parameter("0.weight").strides(), (Shape{27, 9, 3, 1}));
  EXPECT_TRUE(file.model->get_parameter("1.weight").is_contiguous());  // both at once
  expect_same_answers(*net, *file.model);
  expect_same_answers(*before->model, *file.before->model);
  EXPECT_EQ(surgery::structure_hash(*file.model), surgery::structure_hash(*file.before->model));
  surgery::save_model(kPath, *before->model, {.before = std::make_shared<surgery::ModelFile>(surgery::ModelFile{net, {}, {}})});
  EXPECT_EQ(version(), "2");
  EXPECT_EQ(surgery::load_model(kPath).before->model->get_parameter("0.weight").strides(), (Shape{27, 1, 9, 3}));

  Json::Fields weight{{"dtype", "f32"}, {"shape", Json::list_of(2, 2)}, {"memory_format", "channels_last"}};
  const auto linear = [&](const Json& w) {
    return Json::of("modules", Json::list_of(Json::of("type", "Linear", "args", Json::of("in_features", 2, "out_features", 2, "bias", false),
                                                      "parameters", Json::of("weight", w, "bias", nullptr))));
  };
  EXPECT_REFUSED("'channels_last' of 4 dimensions or 'channels_last_3d' of 5 was expected, not 'channels_last' of 2",
                 nn::from_architecture(linear(weight)));
  weight[2].second = "rows";
  EXPECT_REFUSED("memory_format: 'channels_last' of 4 dimensions", nn::from_architecture(linear(weight)));
}

TEST(ModelFile, what_was_before_is_kept_beside_and_only_what_differs_is_stored) {
  auto net = conv_net();
  auto before = std::make_shared<surgery::ModelFile>(surgery::ModelFile{net->clone(), {}, {}});
  const surgery::Recipe recipe = surgery::fuse(*net, {randn({1, 3, 8, 8})}).edit.recipe();
  surgery::save_model(kPath, *net, {.recipe = recipe, .before = before});
  const surgery::ModelFile file = surgery::load_model(kPath);
  expect_same_answers(*net, *file.model);
  ASSERT_TRUE(file.before);
  EXPECT_FALSE(file.before->before);
  expect_same_answers(*before->model, *file.before->model);
  EXPECT_EQ(nn::architecture(*before->model), nn::architecture(*file.before->model));
  for (const auto& [name, t] : io::load_safetensors(kPath).tensors) EXPECT_FALSE(name.starts_with("graft.earlier.0.5.")) << name;

  auto twice = std::make_shared<surgery::ModelFile>(surgery::load_model(kPath));
  auto third = twice->model->clone();
  surgery::replace(*third, {surgery::num_classes(surgery::select(*third).at("5"), 2)});
  surgery::save_model(kPath, *third, {.before = twice});
  const surgery::ModelFile all = surgery::load_model(kPath);
  expect_same_answers(*third, *all.model);
  expect_same_answers(*net, *all.before->model);
  expect_same_answers(*before->model, *all.before->before->model);
  EXPECT_EQ(all.before->recipe, recipe);
}

std::string message(const std::function<void()>& f, ErrorCode code) { return graft_test::message(f, code); }
TEST(ModelFile, an_unregistered_type_is_refused_with_its_name_and_what_is_registered) {
  auto net = make<Sequential>(make<nn::ReLU>(), make<Unknown>());
  std::filesystem::remove(kPath);
  EXPECT_NE(message([&] { surgery::save_model(kPath, *net); }, ErrorCode::type_error).find("1 (Unknown)"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(kPath));
  surgery::save_model(kPath, *conv_net());
  io::Safetensors file = io::load_safetensors(kPath);
  std::string& text = file.metadata.at("graft.architecture");
  text.replace(text.find("\"Flatten\""), 9, "\"MyBlock\"");
  io::save_safetensors(kPath, file.tensors, file.metadata);
  const std::string said = message([] { surgery::load_model(kPath); }, ErrorCode::key_error);
  EXPECT_EQ(said.find(kPath), 0U) << said;
  EXPECT_NE(said.find("4 (MyBlock): build: no layer type is named 'MyBlock'"), std::string::npos) << said;
  EXPECT_NE(said.find("registered are AdaptiveAvgPool1d, "), std::string::npos) << said;
}
TEST(ModelFile, files_that_are_not_right_are_refused) {
  surgery::save_model(kPath, *conv_net());
  const io::Safetensors whole = io::load_safetensors(kPath);
  const auto with = [&](const std::function<void(io::Safetensors&)>& change) {
    io::Safetensors file = whole;
    change(file);
    io::save_safetensors(kPath, file.tensors, file.metadata);
    surgery::load_model(kPath);
  };
  EXPECT_CODE(malformed, with([](auto& f) { f.metadata.clear(); }));
  EXPECT_CODE(unsupported, with([](auto& f) { f.metadata["graft.model"] = "3"; }));
  EXPECT_CODE(malformed, with([](auto& f) { f.metadata["graft.architecture"] = "{"; }));
  EXPECT_CODE(malformed, with([](auto& f) { f.metadata["graft.recipe"] = "{}"; }));
  EXPECT_CODE(malformed, with([](auto& f) { f.metadata["graft.earlier"] = "{}"; }));
  EXPECT_REFUSED("the file has no tensor for '5.bias'", with([](auto& f) { std::erase_if(f.tensors, [](auto& t) { return t.first == "5.bias"; }); }));
  EXPECT_REFUSED("1 tensors belong to no version", with([](auto& f) { f.tensors.emplace_back("more", ones({1})); }));
  EXPECT_REFUSED("'5.bias' is f32[3]", with([](auto& f) {
                   for (auto& [name, t] : f.tensors)
                     if (name == "5.bias") t = ones({3});
                 }));
  EXPECT_CODE(io, surgery::load_model(kPath + ".absent"));
  std::ofstream(kPath) << "no";
  EXPECT_CODE(too_small, surgery::load_model(kPath));
}
TEST(ModelFile, C1_a_small_file_that_asks_for_a_large_model_makes_nothing_large) {
  surgery::save_model(kPath, *make<Sequential>(make<nn::Linear>(2, 2)));
  io::Safetensors file = io::load_safetensors(kPath);
  file.metadata["graft.architecture"] =
      R"({"modules":[{"type":"Linear","args":{"in_features":1000000,"out_features":100000,"bias":true},)"
      R"("parameters":{"weight":{"dtype":"f32","shape":[100000,1000000]},"bias":{"dtype":"f32","shape":[100000]}}}]})";
  io::save_safetensors(kPath, file.tensors, file.metadata);
  EXPECT_CODE(too_large, surgery::load_model(kPath));
}

}  // namespace

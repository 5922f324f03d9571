// Recipes: every kind of surgery records itself, is replayed on another model of the same structure from its JSON, and takes
// checkpoints of the model as it was to the model as it is.
#include "graft/surgery/recipe.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "fingerprint.h"
#include "graft/core/autograd.h"
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"
#include "graft/io/checkpoint.h"
#include "graft/nn/architecture.h"
#include "graft/nn/nn.h"
#include "graft/optim/adam.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/surgery.h"
#include "refused.h"

namespace {

using namespace graft;
using nn::make;
using nn::ModulePtr;
using nn::Sequential;
using surgery::Recipe;
using surgery::select;

std::shared_ptr<Sequential> conv_net() {
  auto net = make<Sequential>(make<nn::Conv2d>(3, 16, 3, nn::Conv2dOptions{.padding = 1}), make<nn::BatchNorm2d>(16), make<nn::ReLU>(),
                              make<nn::MaxPool2d>(2),
                              make<Sequential>(make<nn::Conv2d>(16, 16, 3, nn::Conv2dOptions{.stride = 2, .padding = 1, .bias = false}),
                                               make<nn::BatchNorm2d>(16), make<nn::ReLU>()),
                              make<nn::AdaptiveAvgPool2d>(1), make<nn::Flatten>(), make<nn::Dropout>(0.1), make<nn::Linear>(16, 10));
  const NoGrad quiet;
  for (const Tensor& b : net->buffers())
    if (b.dtype() == f32) b.uniform_(0.5, 1.5);
  net->eval();
  return net;
}
Tensor image() {
  Generator g(7);
  return randn({2, 3, 8, 8}, f32, &g);
}
Recipe again(const Recipe& r) { return Recipe::parse(r.json()); }
void expect_equal(const Tensor& a, const Tensor& b) {
  ASSERT_EQ(a.shape(), b.shape());
  EXPECT_TRUE(all(eq(a, b)).item<bool>()) << a << b;
}
void expect_same_state(const nn::Module& a, const nn::StateDict& b, const std::string& what) {
  const nn::StateDict dict = a.state_dict();
  ASSERT_EQ(dict.keys(), b.keys()) << what;
  for (const auto& [key, t] : dict) {
    EXPECT_EQ(concat(t.view()), concat(b.at(key).view())) << what << ' ' << key;
    EXPECT_TRUE(t.shape() == b.at(key).shape() && all(eq(t, b.at(key))).item<bool>()) << what << ' ' << key;
  }
}

// The edit on one model and its recipe on another give the same tree; the state of before, migrated, the same numbers.
void repeats(const std::string& what, const std::function<Recipe(Sequential&)>& operate, bool undo = true) {
  auto net = conv_net(), other = conv_net();
  const nn::StateDict before = net->clone()->state_dict();
  const Recipe recipe = again(operate(*net));
  ASSERT_GT(recipe.size(), 0U) << what;
  EXPECT_EQ(recipe.after(), surgery::structure_hash(*net)) << what;
  EXPECT_NE(recipe.before(), recipe.after()) << what;
  const std::string untouched = graft_test::fingerprint(*other);
  surgery::Replayed done = recipe.replay(*other);
  EXPECT_EQ(nn::architecture(*other).dump(2), nn::architecture(*net).dump(2)) << what;
  expect_same_state(*net, recipe.migrate(before, net.get()), what);
  other->load_state_dict(net->state_dict());
  expect_equal((*net)(image()), (*other)(image()));
  if (!undo) return;
  done.undo();
  auto fresh = conv_net();
  EXPECT_EQ(surgery::structure_hash(*other), surgery::structure_hash(*fresh)) << what;
}

TEST(Recipe, replacing_by_new_modules_of_any_kind) {
  repeats("new", [](Sequential& net) {
    return surgery::replace(net, {surgery::on<nn::ReLU>([](const nn::ReLU&) { return make<nn::GELU>("tanh"); }),
                                  surgery::on<nn::Linear>([](const nn::Linear& l) { return make<nn::Linear>(l.in_features, 4, false); })})
        .recipe();
  });
  repeats("carried", [](Sequential& net) {
    return surgery::replace(net, {surgery::num_classes(select(net).at("8"), 12), surgery::in_channels(select(net).at("0"), 3)}).recipe();
  });
}
TEST(Recipe, inserting_removing_wrapping_swapping_all_in_one_plan) {
  repeats("operations", [](Sequential& net) {
    const auto relus = select(net).where<nn::ReLU>();
    return surgery::replace(net, {surgery::insert_after(relus, [] { return make<nn::Tanh>(); }),
                                  surgery::insert_before(relus.first(), [] { return make<nn::Linear>(8, 8); }),
                                  surgery::remove(select(net).where<nn::Dropout>()),
                                  surgery::wrap(select(net).at("8"), [](const ModulePtr& m) { return make<Sequential>(m, make<nn::Softmax>(1)); })})
        .recipe();
  });
  repeats("swap", [](Sequential& net) { return surgery::replace(net, {surgery::swap(select(net).at("2"), select(net).at("3"))}).recipe(); });
  repeats("identity", [](Sequential& net) {
    return surgery::replace(net, {surgery::remove(select(net).at("4.0"), surgery::Removal::identity), surgery::remove(select(net).at("3"))}).recipe();
  });
}
TEST(Recipe, edited_copies_and_shared_parameters_stay_shared_with_the_model) {
  repeats("edit", [](Sequential& net) {
    return surgery::replace(net, {surgery::on<nn::BatchNorm2d>(surgery::edit([](nn::BatchNorm2d& n) { n.eps = 1e-2; }))}).recipe();
  });
  repeats("recursion", [](Sequential& net) {
    const auto linear = surgery::on<nn::Linear>([](const nn::Linear& l) -> ModulePtr {
      if (l.out_features == 4) return nullptr;
      return make<Sequential>(make<nn::Linear>(l.in_features, 4), make<nn::Linear>(4, 4));
    });
    return surgery::replace(net, {linear}, {.recurse = true}).recipe();
  });
  repeats("chain", [](Sequential& net) {
    return surgery::replace(net, {surgery::on<nn::ReLU>([](const nn::ReLU&) { return make<nn::GELU>(); }),
                                  surgery::on<nn::GELU>([](const nn::GELU&) { return make<nn::Tanh>(); })}, {.recurse = true}).recipe();
  });
}
TEST(Recipe, every_ready_made_surgery) {
  const std::map<std::string, nn::Args> arguments{
      {"blurpool", {{"min_channels", 1}}}, {"checkpoint_activations", {{"at", "4"}}}, {"factorize", {{"min_channels", 1}, {"min_features", 1}}},
      {"in_channels", {{"at", "0"}, {"n", 5}}}, {"knock_out", {{"at", "4.0"}}}, {"num_classes", {{"at", "8"}, {"n", 3}}},
      {"remove", {{"at", "7"}}}, {"replace", {{"from", "ReLU"}, {"to", "SiLU"}}}, {"squeeze_excite", {{"min_channels", 1}, {"latent_channels", 0.5}}},
      {"stochastic_depth", {{"at", "4"}}}};
  for (const surgery::Surgery& s : surgery::surgeries()) {
    if (s.name == "remove_lora" || s.name == "qat_to_float" || s.name == "in_channels") continue;  // of what is not there; other images
    const auto args = arguments.find(s.name);
    repeats(s.name, [&](Sequential& net) {
      return surgery::replace(net, surgery::make_surgery(s.name, args == arguments.end() ? nn::Args() : args->second, net)).recipe();
    });
  }
  EXPECT_REFUSED("did you mean lora", surgery::make_surgery("lroa", {}, *conv_net()));
  EXPECT_REFUSED("did you mean alpha", surgery::make_surgery("lora", {{"alhpa", 1.0}}, *conv_net()));
}

TEST(Recipe, fusion_folds_the_weights_that_are_there) {
  repeats("fuse", [](Sequential& net) { return surgery::fuse(net, {image()}).edit.recipe(); });
  auto net = conv_net(), other = conv_net(), expected = std::dynamic_pointer_cast<Sequential>(other->clone());
  const Recipe recipe = surgery::fuse(*net, {image()}).edit.recipe();
  surgery::fuse(*expected, {image()});
  recipe.replay(*other);
  expect_same_state(*other, expected->state_dict(), "fused");
  EXPECT_REFUSED("training mode", recipe.replay(dynamic_cast<nn::Module&>(conv_net()->train()), {}));
}
TEST(Recipe, norms_before_layers_and_chains_of_four) {
  const auto net = [] {
    auto n = make<Sequential>(make<nn::BatchNorm2d>(3), make<nn::Conv2d>(3, 4, 3), make<nn::BatchNorm2d>(4), make<nn::ReLU>());
    const NoGrad quiet;
    for (const Tensor& b : n->buffers())
      if (b.dtype() == f32) b.uniform_(0.5, 1.5);
    n->eval();
    return n;
  };
  auto one = net(), two = net(), expected = std::dynamic_pointer_cast<Sequential>(two->clone());
  const nn::StateDict before = two->clone()->state_dict();
  const Recipe recipe = again(surgery::fuse(*one, {image()}).edit.recipe());
  surgery::fuse(*expected, {image()});
  recipe.replay(*two);
  expect_same_state(*two, expected->state_dict(), "four");
  expect_same_state(*expected, recipe.migrate(before), "four, migrated");
}
TEST(Recipe, fusion_by_names_and_for_quantization) {
  repeats("names", [](Sequential& net) {
    return surgery::fuse(net, surgery::ModuleNames{{"0", "1", "2"}, {"4.0", "4.1"}}).edit.recipe();
  });
  auto net = conv_net();
  Recipe recipe;
  const auto qat = surgery::fuse_modules_qat(net, {"0", "1", "2"}, {.recipe = &recipe});
  auto other = conv_net();
  again(recipe).replay(*other);
  EXPECT_EQ(nn::architecture(*other), nn::architecture(*qat));
  expect_same_state(*qat, recipe.migrate(net->state_dict(), qat.get()), "qat");
  surgery::fuse_modules(net, {"0", "1"}, {.fuser_func = [](const surgery::ModuleGroup& g, bool, const surgery::FuserMethods&) { return g; },
                                          .recipe = &recipe});
  EXPECT_REFUSED("a function of the caller's", recipe.replay(*other, {.force = true}));
}

TEST(Recipe, adapters_wrapped_merged_and_taken_off) {
  repeats("lora", [](Sequential& net) {
    Recipe all = surgery::replace(net, surgery::lora({.r = 2, .alpha = 3})).recipe();
    const NoGrad quiet;
    for (const Tensor& t : surgery::lora_parameters(net)) t.detach().fill_(0.1);
    all += surgery::merge_lora(net);
    return all;
  }, false);  // what was merged has been written since
  auto net = conv_net();
  Recipe all = surgery::replace(*net, surgery::lora({.r = 2})).recipe();
  {
    const NoGrad quiet;
    for (const Tensor& t : surgery::lora_parameters(*net)) t.detach().fill_(0.1);
  }
  const nn::StateDict adapted = net->clone()->state_dict();
  const Tensor y = (*net)(image());
  Recipe off = surgery::merge_lora(*net);
  off += surgery::replace(*net, surgery::remove_lora()).recipe();
  expect_same_state(*net, again(off).migrate(adapted, net.get()), "merged, taken off");
  all += off;
  auto other = conv_net();
  surgery::Replayed done = again(all).replay(*other);
  EXPECT_EQ(nn::architecture(*other), nn::architecture(*net));
  done.undo();
  EXPECT_EQ(nn::architecture(*other), nn::architecture(*conv_net()));
}

TEST(Recipe, the_model_itself_is_replaced_through_its_handle) {
  nn::ModulePtr net = make<nn::ReLU>(), other = make<nn::ReLU>();
  const Recipe recipe = surgery::replace(net, {surgery::on<nn::ReLU>([](const nn::ReLU&) { return make<nn::GELU>(); })}, {.include_root = true}).recipe();
  EXPECT_REFUSED("pass the shared_ptr", recipe.replay(*other));
  surgery::Replayed done = again(recipe).replay(other);
  EXPECT_EQ(nn::type_name(*other), "GELU");
  done.undo();
  EXPECT_EQ(nn::type_name(*other), "ReLU");
}
TEST(Recipe, optimizers_follow_a_replay) {
  auto net = conv_net(), other = conv_net();
  const Recipe recipe = surgery::replace(*net, {surgery::num_classes(select(*net).at("8"), 3)}).recipe();
  optim::SGD sgd(other->parameters(), {.lr = 0.1});
  const std::string names = graft_test::group(*other, sgd);
  recipe.replay(*other, {.optimizers = {&sgd}});
  EXPECT_EQ(graft_test::group(*other, sgd), names);
  EXPECT_EQ(other->get_parameter("8.weight").size(0), 3);
}

TEST(Recipe, prints_and_is_kept_in_files) {
  auto net = conv_net();
  Recipe recipe = surgery::replace(*net, surgery::remove_dropout()).recipe();
  recipe += surgery::fuse(*net, {image()}).edit.recipe();
  const std::string text = concat(recipe);
  EXPECT_NE(text.find("recipe: 2 steps, structure "), std::string::npos) << text;
  EXPECT_NE(text.find("  replace  7  Identity\n  keys: 0 renamed, 0 carried over, 0 folded, 0 dropped, 0 new\n"), std::string::npos) << text;
  EXPECT_NE(text.find("  fuse  0    0, 1, 2\n  fuse  4.0  4.0, 4.1, 4.2\n"), std::string::npos) << text;
  const std::string path = testing::TempDir() + "/recipe_test.json";
  recipe.save(path);
  EXPECT_EQ(Recipe::load(path), recipe);
  EXPECT_CODE(io, Recipe::load(path + ".absent"));
  EXPECT_EQ(Recipe().before(), 0U);
  EXPECT_EQ(Recipe::parse(Recipe().json()).size(), 0U);
}

// Nobody reads the recipe of an edit before it is asked for; by then the model may be another one.
TEST(Recipe, says_what_the_edit_did_whatever_has_become_of_the_model_since) {
  const auto edit = [](Sequential& net) {
    return surgery::replace(net, {surgery::on<nn::ReLU>([](const nn::ReLU&) { return make<nn::GELU>(); }),
                                  surgery::num_classes(select(net).at("8"), 12),
                                  surgery::on<nn::BatchNorm2d>(surgery::edit([](nn::BatchNorm2d& n) { n.eps = 1e-2; }))});
  };
  auto net = conv_net(), twin = conv_net();
  const std::string expected = edit(*twin).recipe().json();
  surgery::Edit first = edit(*net);
  surgery::Edit second = surgery::replace(*net, {surgery::on<nn::GELU>([](const nn::GELU&) { return make<nn::Tanh>(); }),
                                                 surgery::remove(select(*net).at("3"))});
  net->train();
  net->to(f64);
  net->register_buffer("more", ones({2}));
  select(*net).where<nn::BatchNorm2d>().modules()[0]->register_parameter("another", nn::parameter(ones({3})));
  EXPECT_EQ(first.recipe().json(), expected);
  EXPECT_EQ(first.recipe().after(), second.recipe().before());
  const std::string later = second.recipe().json();
  second.undo();
  net.reset();
  EXPECT_EQ(second.recipe().json(), later);
  EXPECT_EQ(first.recipe().json(), expected);
}
TEST(Recipe, models_of_any_size_record) {
  auto net = make<Sequential>();
  for (int i = 0; i < 3000; ++i) net->append(make<nn::ReLU>());
  const Recipe recipe = surgery::replace(*net, {surgery::on<nn::ReLU>([](const nn::ReLU&) { return make<nn::GELU>(); })}).recipe();
  EXPECT_EQ(recipe.after(), surgery::structure_hash(*net));
  auto other = make<Sequential>();
  for (int i = 0; i < 3000; ++i) other->append(make<nn::ReLU>());
  recipe.replay(*other);
  EXPECT_EQ(surgery::count<nn::GELU>(*other), 3000);
}

struct Counter : nn::Layer {  // with state that is no tensor of its own
  int64_t calls = 0;
  Tensor forward(const Tensor& x) override { return ++calls, x; }
  Tensor get_extra_state() const override { return tensor({calls}); }
  void set_extra_state(const Tensor& t) override { calls = t.item<int64_t>(); }
};
TEST(Recipe, extra_state_follows_modules_that_move_and_goes_with_those_that_go) {
  static const bool once = (nn::register_type<Counter>("Counter", [](nn::ArgReader&) { return make<Counter>(); }), true);
  static_cast<void>(once);
  const auto counters = [] { return make<Sequential>(make<Counter>(), make<Counter>(), make<Counter>(), make<Counter>()); };
  auto net = counters(), old = counters();
  for (int64_t i = 0; i < 4; ++i) (*old)[i].as<Counter>()->calls = 10 + i;
  const Recipe recipe = again(surgery::replace(*net, {
      surgery::remove(select(*net).at("0")),
      surgery::wrap(select(*net).at("1"), [](const ModulePtr& m) { return make<Sequential>(make<nn::ReLU>(), m); }),
      surgery::on<Counter>(select(*net).at("2"), surgery::edit([](Counter&) {})),
      surgery::on<Counter>(select(*net).at("3"), [](const Counter&) { return make<Counter>(); })}).recipe());
  const nn::StateDict moved = recipe.migrate(old->state_dict());
  EXPECT_EQ(moved.size(), 2U);
  EXPECT_EQ(moved.at("0.1._extra_state").item<int64_t>(), 11);
  EXPECT_EQ(moved.at("1._extra_state").item<int64_t>(), 12);
  net->load_state_dict(recipe.migrate(old->state_dict(), net.get()));
  EXPECT_EQ((*net)[0].as<Sequential>()->operator[](1).as<Counter>()->calls, 11);
  EXPECT_EQ((*net)[2].as<Counter>()->calls, 0);  // a new one
}

struct Private : nn::Layer {  // not registered
  Tensor forward(const Tensor& x) override { return x; }
};
TEST(Recipe, what_cannot_be_repeated_is_recorded_and_refused) {
  auto net = conv_net(), other = conv_net();
  const Recipe recipe = again(surgery::replace(*net, {surgery::on<nn::ReLU>([](const nn::ReLU&) { return make<Private>(); })}).recipe());
  const std::string before = graft_test::fingerprint(*other);
  EXPECT_REFUSED("the type Private is not registered", recipe.replay(*other));
  EXPECT_EQ(graft_test::fingerprint(*other), before);
  EXPECT_REFUSED("ApplyOptions::record is off", surgery::plan(*other, surgery::remove_dropout()).apply({.verify = {}, .record = false}).recipe());
}
TEST(Recipe, a_step_that_fails_takes_back_those_before_it) {
  auto net = conv_net(), other = conv_net();
  Recipe recipe = surgery::replace(*net, surgery::lora({.r = 2})).recipe();
  recipe += surgery::merge_lora(*net);
  recipe += surgery::replace(*net, surgery::remove_dropout()).recipe();
  recipe += surgery::replace(*net, {surgery::on<nn::ReLU>([](const nn::ReLU&) { return make<Private>(); })}).recipe();
  optim::Adam adam(other->parameters());
  sum((*other)(image())).backward();
  adam.step();
  std::string before = graft_test::fingerprint(*other, {&adam});
  EXPECT_REFUSED("step 4 of 4", again(recipe).replay(*other, {.optimizers = {&adam}}));
  EXPECT_EQ(graft_test::fingerprint(*other, {&adam}), before);
}

// ---- the faults of the contract ----------------------------------------------------------------------------------

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}
Recipe small_recipe() {
  auto net = conv_net();
  return surgery::replace(*net, {surgery::num_classes(select(*net).at("8"), 3)}).recipe();
}

TEST(Contract, FJ1_a_path_that_is_not_there_is_refused_with_the_nearest_before_any_change) {
  const Recipe recipe = Recipe::parse(replaced(small_recipe().json(), R"("path": "8")", R"("path": "4.7")"));
  auto net = conv_net();
  const std::string before = graft_test::fingerprint(*net);
  const std::string text = graft_test::message([&] { recipe.replay(*net); }, ErrorCode::key_error);
  EXPECT_NE(text.find("no module at '4.7'; did you mean '4.0'"), std::string::npos) << text;
  EXPECT_REFUSED("no module at '4.7'", recipe.replay(*net, {.force = true}));
  EXPECT_EQ(graft_test::fingerprint(*net), before);
}
TEST(Contract, FJ2_a_recipe_for_another_structure_is_refused_unless_forced) {
  auto net = conv_net();
  net->append(make<nn::ReLU>());
  const std::string before = graft_test::fingerprint(*net);
  EXPECT_CODE(plan_refused, small_recipe().replay(*net));
  EXPECT_REFUSED("force", small_recipe().replay(*net));
  EXPECT_EQ(graft_test::fingerprint(*net), before);
  small_recipe().replay(*net, {.force = true});
  EXPECT_EQ(net->get_parameter("8.weight").shape(), Shape({3, 16}));
  Recipe one = small_recipe(), other;
  auto another = make<Sequential>(make<nn::Dropout>());
  other = surgery::replace(*another, surgery::remove_dropout()).recipe();
  EXPECT_CODE(plan_refused, one += other);
}
TEST(Contract, FJ3_depth_and_size_of_a_recipe_are_limited) {
  EXPECT_CODE(too_large, Recipe::parse(std::string(1'000'000, '[')));
  EXPECT_CODE(too_large, Recipe::parse("{\"graft.recipe\": 1, \"steps\": " + std::string(40, '[') + std::string(40, ']') + "}"));
  EXPECT_CODE(too_large, Recipe::parse(std::string((64 << 20) + 1, ' ')));
  const std::string path = testing::TempDir() + "/recipe_large.json";
  std::ofstream(path) << "x";
  std::filesystem::resize_file(path, (64 << 20) + 1);
  EXPECT_CODE(too_large, Recipe::load(path));
  std::filesystem::remove(path);
}
TEST(Contract, FJ4_unknown_fields_and_values_of_the_wrong_kind_are_refused_with_where_they_are) {
  const std::string text = small_recipe().json();
  EXPECT_REFUSED("recipe.steps[0].operations[0]: unknown field 'paht'", Recipe::parse(replaced(text, R"("path": "8")", R"("path": "8", "paht": "8")")));
  EXPECT_REFUSED("recipe.steps[0].operations[0].op: 'replcae' is not one of 'replace'", Recipe::parse(replaced(text, R"("replace")", R"("replcae")")));
  EXPECT_REFUSED("unknown field 'args2'", Recipe::parse(replaced(text, R"("args")", R"("args2")")));
  EXPECT_REFUSED("steps[0].operations[0]: has no field 'path'", Recipe::parse(replaced(text, R"("path": "8",)", "")));
  EXPECT_REFUSED("unknown field 'stesp'", Recipe::parse(R"({"graft.recipe": 1, "steps": [], "stesp": []})"));
  EXPECT_CODE(unsupported, Recipe::parse(R"({"graft.recipe": 2, "steps": []})"));
  EXPECT_CODE(malformed, Recipe::parse(R"({"steps": []})"));
  EXPECT_CODE(malformed, Recipe::parse(R"({"graft.recipe": "1", "steps": []})"));
  EXPECT_CODE(malformed, Recipe::parse("{"));
}
TEST(Contract, FJ4_a_recipe_with_any_byte_cut_off_or_changed_is_an_error_or_a_recipe_but_nothing_else) {
  auto net = conv_net();
  Recipe recipe = surgery::replace(*net, surgery::lora({.r = 2})).recipe();
  recipe += surgery::merge_lora(*net);
  const std::string text = recipe.json(-1);
  const size_t stride = std::max<size_t>(1, text.size() / 300);
  size_t refused = 0;
  for (size_t i = 0; i < text.size(); i += stride) {
    EXPECT_THROW(Recipe::parse(text.substr(0, i)), Error);
    for (const char c : {'"', '{', '9', '\0', '\xff'}) {
      std::string wrong = text;
      wrong[i] = c;
      try {
        const Recipe r = Recipe::parse(wrong);
        auto other = conv_net();
        const std::string before = graft_test::fingerprint(*other);
        try {
          r.replay(*other);
        } catch (const Error&) {
          EXPECT_EQ(graft_test::fingerprint(*other), before);
        }
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 300U);
}

// Trains, operates, trains; against a run that ends behind the operation, and one that goes on from its file.
TEST(Contract, KP8_a_run_resumes_behind_surgery_from_a_checkpoint_that_holds_the_recipe) {
  const auto train = [](Sequential& net, optim::Adam& adam) {
    for (int i = 0; i < 3; ++i) {
      adam.zero_grad();
      const Tensor y = net.forward(image());
      mean(y * y).backward();
      adam.step();
    }
  };
  const auto operate = [](Sequential& net, optim::Adam& adam) {
    return surgery::replace(net, {surgery::num_classes(select(net).at("8"), 3),
                                  surgery::insert_after(select(net).at("6"), [] { return make<nn::Linear>(16, 16); })},
                            {.optimizers = {&adam}, .carry_state = true}).recipe();
  };
  const auto begin = [] {
    manual_seed(5);
    auto net = conv_net();
    net->train();
    return net;
  };
  auto whole = begin();
  optim::Adam adam(whole->parameters());
  train(*whole, adam);
  operate(*whole, adam);
  train(*whole, adam);

  const std::string path = testing::TempDir() + "/recipe_kp8.ckpt";
  nn::StateDict before;
  {
    auto net = begin();
    optim::Adam own(net->parameters());
    train(*net, own);
    before = net->clone()->state_dict();
    const Recipe recipe = operate(*net, own);
    io::Checkpoint c;
    c.add("model", net->state_dict());
    c.add("optimizer", own.state_dict());
    c.add("generator", {{"state", default_generator().state()}});
    c.set("recipe", recipe.json(-1));
    io::save_checkpoint(path, c);
  }
  const io::Checkpoint c = io::load_checkpoint(path);
  auto net = begin();
  optim::Adam own(net->parameters());
  const Recipe recipe = Recipe::parse(c.text("recipe"));
  recipe.replay(*net, {.optimizers = {&own}});
  net->load_state_dict(c.section_as<nn::StateDict>("model"));
  own.load_state_dict(c.section("optimizer"));
  default_generator().set_state(c.section("generator")[0].second);
  // A checkpoint from before the operation: what it has is what the edited model had then.
  const nn::StateDict old = recipe.migrate(before, net.get());
  expect_same_state(*net, old, "migrated");
  train(*net, own);
  expect_same_state(*net, whole->state_dict(), "resumed");
  std::filesystem::remove(path);
}

}  // namespace

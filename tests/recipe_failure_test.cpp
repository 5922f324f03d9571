// KM22 for recipes and model files: a failed allocation, whichever it is, in reading, replaying, merging, loading or saving,
// leaves models, optimizers and files as they were.
#include <gtest/gtest.h>

#include <filesystem>

#include "alloc_failure.h"
#include "fingerprint.h"
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/nn/containers.h"
#include "graft/nn/linear.h"
#include "graft/optim/adam.h"
#include "graft/surgery/surgery.h"

namespace {

using namespace graft;

std::shared_ptr<nn::Sequential> small_net() {
  return nn::make<nn::Sequential>(nn::make<nn::Linear>(2, 3), nn::make<nn::ReLU>(), nn::make<nn::Linear>(3, 2));
}
// Adapters wrapped, merged; another head; something inserted.
const std::string& recipe_text() {
  static const std::string text = [] {
    auto net = small_net();
    surgery::Recipe r = surgery::replace(*net, surgery::lora({.r = 1})).recipe();
    r += surgery::merge_lora(*net);
    r += surgery::replace(*net, surgery::remove_lora()).recipe();
    r += surgery::replace(*net, {surgery::num_classes(surgery::select(*net).at("2"), 3),
                                 surgery::insert_after(surgery::select(*net).at("0"), [] { return nn::make<nn::Tanh>(); })})
             .recipe();
    return r.json();
  }();
  return text;
}
const std::string kModel = testing::TempDir() + "/recipe_failure_test.safetensors";

struct State {
  std::shared_ptr<nn::Sequential> net = small_net();
  optim::Adam adam{net->parameters()};
  surgery::Recipe recipe;
  std::string before;

  State() {
    sum((*net)(ones({2, 2}))).backward();
    adam.step();
  }
  std::string print() const {
    return graft_test::fingerprint(*net, {const_cast<optim::Adam*>(&adam)}) + recipe.json();
  }
};

TEST(Contract, KM22_a_failed_allocation_in_reading_a_recipe_changes_nothing) {
  fails_everywhere<State>([](State&) {}, [](State& s) { s.recipe = surgery::Recipe::parse(recipe_text()); }, 100);
}
TEST(Contract, KM22_a_failed_allocation_in_replaying_a_recipe_changes_nothing) {
  fails_everywhere<State>([](State& s) { s.recipe = surgery::Recipe::parse(recipe_text()); },
                          [](State& s) { s.recipe.replay(*s.net, {.optimizers = {&s.adam}}); }, 500);
}
TEST(Contract, KM22_a_failed_allocation_in_merging_adapters_changes_nothing) {
  fails_everywhere<State>([](State& s) { surgery::replace(*s.net, surgery::lora({.r = 1})); }, [](State& s) { surgery::merge_lora(*s.net); }, 20);
}
TEST(Contract, KM22_a_failed_allocation_in_migrating_a_checkpoint_changes_nothing) {
  fails_everywhere<State>([](State& s) { s.recipe = surgery::Recipe::parse(recipe_text()); },
                          [](State& s) { s.recipe.migrate(s.net->state_dict()); }, 50);
}
TEST(Contract, KM22_a_failed_allocation_in_saving_and_loading_a_model_changes_nothing) {
  surgery::save_model(kModel, *small_net());
  fails_everywhere<State>([](State&) {}, [](State&) { surgery::load_model(kModel); }, 100);
  std::filesystem::remove(kModel);
  fails_everywhere<State>([](State& s) { s.recipe = surgery::Recipe::parse(recipe_text()); },
                          [](State& s) { surgery::save_model("/dev/null", *s.net, {.recipe = s.recipe}); }, 100);
}

}  // namespace

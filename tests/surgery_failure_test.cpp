// KM22: a failed allocation, whichever it is, leaves model, optimizers and indices as they were: plan, apply, undo, clone,
// load_state_dict, step.
#include <gtest/gtest.h>

#include "alloc_failure.h"
#include "fingerprint.h"
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/nn/containers.h"
#include "graft/nn/linear.h"
#include "graft/optim/adam.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/plan.h"

namespace {

using namespace graft;

struct State {
  std::shared_ptr<nn::Sequential> net = nn::make<nn::Sequential>(nn::make<nn::Linear>(2, 3), nn::make<nn::Identity>(),
                                                                 nn::make<nn::Linear>(3, 2));
  optim::Adam adam{(*net)[0].module()->parameters()};
  optim::SGD sgd{(*net)[2].module()->parameters(), {.lr = 0.1, .momentum = 0.9}};
  surgery::Indices indices{{typeid(nn::Linear), 4}};
  std::optional<surgery::Plan> plan;
  std::optional<surgery::Edit> edit;
  nn::StateDict saved;
  std::string before;

  State() {
    gradients();
    adam.step(), sgd.step();
  }
  void gradients() {
    adam.zero_grad(), sgd.zero_grad();
    sum((*net)(ones({2, 2}))).backward();
  }
  void make_plan() {
    plan = surgery::plan(*net,
                         {surgery::on<nn::Linear>([](const nn::Linear& l) { return nn::make<nn::Linear>(l.in_features, l.out_features); }),
                          surgery::on<nn::Identity>([](const nn::Identity&, const surgery::Site& s) -> nn::ModulePtr {
                            return nn::make<nn::Sequential>(s.module);
                          })},
                         {.optimizers = {&adam, &sgd}, .carry_state = true, .indices = &indices, .example = {ones({1, 2})}});
  }
  std::string print() const {
    return graft_test::fingerprint(*net, {const_cast<optim::Adam*>(&adam), const_cast<optim::SGD*>(&sgd)}) +
           std::to_string(indices.at(typeid(nn::Linear)));
  }
};
TEST(Contract, KM22_a_failed_allocation_in_plan_changes_nothing) {
  fails_everywhere<State>([](State&) {}, [](State& s) { s.make_plan(); }, 100);
}
TEST(Contract, KM22_a_failed_allocation_in_apply_changes_nothing) {
  fails_everywhere<State>([](State& s) { s.make_plan(); }, [](State& s) { s.edit = s.plan->apply(); }, 40);
}
TEST(Contract, KM22_a_failed_allocation_in_undo_changes_nothing) {
  fails_everywhere<State>(
      [](State& s) {
        s.make_plan();
        s.edit = s.plan->apply();
      },
      [](State& s) { s.edit->undo(); }, 5);
}
TEST(Contract, KM22_a_failed_allocation_in_clone_changes_nothing) {
  fails_everywhere<State>([](State&) {}, [](State& s) { s.net->clone(); }, 20);
}
TEST(Contract, KM22_a_failed_allocation_in_load_state_dict_changes_nothing) {
  fails_everywhere<State>([](State& s) { s.saved = State().net->state_dict(); }, [](State& s) { s.net->load_state_dict(s.saved); }, 10);
}
TEST(Contract, KM22_a_failed_allocation_in_step_changes_nothing) {
  fails_everywhere<State>([](State& s) { s.gradients(); }, [](State& s) { s.adam.step(); }, 5);
}

}  // namespace

// KM22 for what is inserted, removed, wrapped, swapped and carried over: a failed allocation, whichever it is, leaves the
// model and its optimizer as they were.
#include <gtest/gtest.h>

#include <limits>

#include "alloc_failure.h"
#include "fingerprint.h"
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/nn/containers.h"
#include "graft/nn/linear.h"
#include "graft/optim/adam.h"
#include "graft/surgery/plan.h"

namespace {

using namespace graft;
using nn::Linear;
using nn::make;
using surgery::select;

struct State {
  std::shared_ptr<nn::Sequential> net = make<nn::Sequential>(make<Linear>(2, 2), make<nn::Identity>(), make<Linear>(2, 2),
                                                             make<nn::Identity>(), make<Linear>(2, 2));
  optim::Adam adam{net->parameters()};
  std::optional<surgery::Plan> plan;
  std::optional<surgery::Edit> edit;
  std::string before;

  State() {
    sum((*net)(ones({2, 2}))).backward();
    adam.step();
  }
  void make_plan() {
    const auto at = [&](const char* glob) { return select(*net).at(glob); };
    plan = surgery::plan(*net,
                         {surgery::insert_before(at("0"), [] { return make<Linear>(2, 2); }),
                          surgery::wrap(at("0"), [](const nn::ModulePtr& m) { return make<nn::Sequential>(m); }),
                          surgery::remove(at("1")), surgery::swap(at("2"), at("3")), surgery::num_classes(at("4"), 3)},
                         {.optimizers = {&adam}, .example = {ones({1, 2})}});
  }
  std::string print() const { return graft_test::fingerprint(*net, {const_cast<optim::Adam*>(&adam)}); }
};
TEST(Contract, KM22_a_failed_allocation_in_a_plan_of_operations_changes_nothing) {
  fails_everywhere<State>([](State&) {}, [](State& s) { s.make_plan(); }, 200);
}
TEST(Contract, KM22_a_failed_allocation_in_applying_operations_changes_nothing) {
  fails_everywhere<State>([](State& s) { s.make_plan(); }, [](State& s) { s.edit = s.plan->apply(); }, 25);
}
TEST(Contract, KM22_a_failed_allocation_in_verifying_changes_nothing) {
  constexpr double kAnything = std::numeric_limits<double>::infinity();
  fails_everywhere<State>([](State& s) { s.make_plan(); }, [](State& s) { s.edit = s.plan->apply({.verify = {{ones({1, 2})}, kAnything}}); }, 50);
  fails_everywhere<State>([](State& s) { s.make_plan(); },
                   [](State& s) {
                     try {
                       s.plan->apply({.verify = {{ones({1, 2})}, 0}});
                     } catch (const Error&) {  // it answers otherwise, and is rolled back
                     }
                   },
                   100);
}
TEST(Contract, KM22_a_failed_allocation_in_undoing_operations_changes_nothing) {
  fails_everywhere<State>(
      [](State& s) {
        s.make_plan();
        s.edit = s.plan->apply();
      },
      [](State& s) { s.edit->undo(); }, 2);
}
TEST(Contract, KM22_a_failed_allocation_in_selecting_changes_nothing) {
  fails_everywhere<State>([](State&) {},
                   [](State& s) {
                     const auto chosen = select(*s.net).where<Linear>().at("[0-3]") | select(*s.net).where("in_features == 2");
                     concat(chosen.invert());
                   },
                   50);
}

}  // namespace

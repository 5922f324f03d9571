// KM22 for fusion: a failed allocation, whichever it is, leaves model, hooks and optimizer as they were.
#include <gtest/gtest.h>

#include "alloc_failure.h"
#include "fingerprint.h"
#include "graft/core/ops.h"
#include "graft/nn/intrinsic.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/fuse.h"
#include "graft/surgery/fuse_modules.h"

namespace {

using namespace graft;

struct State {
  std::shared_ptr<nn::Sequential> net = nn::make<nn::Sequential>(nn::make<nn::Conv2d>(1, 2, 2), nn::make<nn::BatchNorm2d>(2),
                                                                 nn::make<nn::ReLU>());
  optim::SGD sgd{net->parameters()};
  int calls = 0;
  Tensor x = ones({1, 1, 3, 3});
  std::string before;
  State() {
    net->eval();
    (*net)[0].module()->register_forward_pre_hook([this](nn::Module&, const nn::Values&) { ++calls; });
    (*net)[2].module()->register_forward_hook([this](nn::Module&, const nn::Values&, nn::Value&) { ++calls; });
    before = graft_test::fingerprint(*net, {&sgd});
  }
  void expect_unchanged() {
    EXPECT_EQ(graft_test::fingerprint(*net, {&sgd}), before);
    calls = 0;
    (*net)(x);
    EXPECT_EQ(calls, 2);
  }
};

template <class Operation> void fails_everywhere(Operation operation) {
  const auto made = [] { return std::make_unique<State>(); };
  const auto check = [](std::unique_ptr<State>& s) { s->expect_unchanged(); };
  State().net->clone();  // what is made once per process, is made
  auto first = made();
  operation(first);
  EXPECT_NE(graft_test::fingerprint(*first->net, {&first->sgd}), first->before);
  EXPECT_GT(for_each_allocation_failure(made, operation, check), 50);
}

TEST(Contract, KM22_fusion_by_trace_changes_nothing_when_an_allocation_fails) {
  fails_everywhere([](std::unique_ptr<State>& s) {
    surgery::fuse(*s->net, {s->x}, {.optimizers = {&s->sgd}, .for_inference = true, .move_hooks = true});
  });
}
TEST(Contract, KM22_fusion_by_name_changes_nothing_when_an_allocation_fails) {
  fails_everywhere([](std::unique_ptr<State>& s) { surgery::fuse_modules(s->net, {"0", "1", "2"}, {.inplace = true}); });
}
TEST(Contract, KM22_fusion_by_name_that_an_optimizer_follows_changes_nothing_when_an_allocation_fails) {
  fails_everywhere([](std::unique_ptr<State>& s) {
    surgery::fuse(*s->net, surgery::ModuleNames{"0", "1", "2"}, {.optimizers = {&s->sgd}, .example = {s->x}});
  });
}
TEST(Contract, KM22_undo_of_a_fusion_changes_nothing_when_an_allocation_fails) {
  struct Fused : State {
    std::optional<surgery::Edit> edit;
    std::string after;
    Fused() {
      edit = surgery::fuse(*net, {x}, {.move_hooks = true}).edit;
      after = graft_test::fingerprint(*net, {&sgd});
    }
  };
  const auto made = [] { return std::make_unique<Fused>(); };
  EXPECT_GT(for_each_allocation_failure(
                made, [](std::unique_ptr<Fused>& s) { s->edit->undo(); },
                [](std::unique_ptr<Fused>& s) {
                  EXPECT_EQ(graft_test::fingerprint(*s->net, {&s->sgd}), s->after);
                  s->edit->undo();
                  s->expect_unchanged();
                }),
            3);
}

}  // namespace

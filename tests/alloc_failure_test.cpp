// A failure at any allocation of ordinary tensor work leaves values, versions, gradients and memory as they were.
#include "alloc_failure.h"

#include <gtest/gtest.h>
#include "graft/core/autograd.h"
#include "graft/core/ops.h"

using namespace graft;

namespace {

struct State {
  Tensor x = tensor({1.0, 2.0, 3.0}, f64).requires_grad_(), y = x * 1.0;
};
void check_unchanged(const State& s) {
  EXPECT_EQ(s.y.version(), 0U);
  EXPECT_EQ(s.y.at({2}), 3);
  EXPECT_FALSE(s.x.grad().defined());
  EXPECT_EQ(grad({sum(s.y * 2.0)}, {s.x})[0].at({0}), 2);
  EXPECT_TRUE(thread_modes().grad);
}

TEST(AllocFailure, every_allocation_of_an_in_place_op_may_fail) {
  const int64_t before = memory::stats().in_use;
  const long n = for_each_allocation_failure([] { return State(); }, [](State& s) { s.y.narrow(0, 0, 2).mul_(s.x.narrow(0, 1, 2)); },
                                             check_unchanged);
  EXPECT_GT(n, 3);
  EXPECT_EQ(memory::stats().in_use, before);
}

TEST(AllocFailure, every_allocation_of_grad_may_fail) {
  const int64_t before = memory::stats().in_use;
  const long n = for_each_allocation_failure(
      [] { return State(); }, [](State& s) { grad({sum(exp(s.y) * s.y)}, {s.x}, {.create_graph = true}); }, check_unchanged);
  EXPECT_GT(n, 20);
  EXPECT_EQ(memory::stats().in_use, before);
}

TEST(AllocFailure, an_error_of_its_own_is_not_taken_for_a_failed_allocation) {
  EXPECT_THROW(for_each_allocation_failure([] { return State(); }, [](State& s) { s.y.add_(ones({2, 2}, f64)); }, [](State&) {}),
               std::exception);
}

}  // namespace

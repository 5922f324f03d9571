// The pool under ThreadSanitizer: callers compete, counts change, threads fall asleep in between.
#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>
#include "graft/kernels/isa.h"
#include "graft/kernels/parallel.h"
#include "gtest/gtest.h"

namespace graft {
namespace {

int64_t sum_of_squares(int64_t n) {
  std::vector<int64_t> squares(static_cast<size_t>(n));  // plain memory: what pieces write, the caller must see
  parallel_for(0, n, 16, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) squares[size_t(i)] = i * i;
  });
  return std::accumulate(squares.begin(), squares.end(), int64_t{0});
}
constexpr int64_t kSum = 999LL * 1000 * 1999 / 6;

TEST(ParallelThreads, four_callers_share_the_pool) {
  set_num_threads(3);
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t)
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i) wrong += sum_of_squares(1000) != kSum;
    });
  for (std::thread& t : callers) t.join();
  EXPECT_EQ(wrong, 0);
}
TEST(ParallelThreads, sleeping_workers_wake) {
  set_num_threads(3);
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    EXPECT_EQ(sum_of_squares(1000), kSum);
  }
}
TEST(ParallelThreads, the_thread_count_may_change_between_loops) {
  for (int i = 0; i < 100; ++i) {
    set_num_threads(1 + i % 4);
    EXPECT_EQ(sum_of_squares(1000), kSum);
  }
}
TEST(ParallelThreads, instruction_sets_are_found_on_the_first_call_from_any_thread) {
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) callers.emplace_back([] { EXPECT_LE(cpu::isa(), cpu::best_isa()); });
  for (std::thread& t : callers) t.join();
}

}  // namespace
}  // namespace graft

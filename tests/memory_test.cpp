// The caching allocator: statistics, large blocks, exhaustion. Threads are in core_thread_test.cpp, failures at a chosen
// allocation in alloc_failure_test.cpp.
#include <sys/resource.h>

#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include "graft/core/memory.h"
#include "graft/core/ops.h"

using namespace graft;

namespace {

TEST(Memory, the_peak_is_the_most_that_was_held_since_it_was_reset) {
  memory::trim();
  memory::reset_peak();
  const memory::Stats before = memory::stats();
  EXPECT_EQ(before.peak, before.from_system);
  { const Tensor t = empty({40 << 20}, u8); }
  memory::trim();
  const memory::Stats after = memory::stats();
  EXPECT_GE(after.peak - before.from_system, 40 << 20);
  EXPECT_LT(after.from_system, after.peak);
  memory::reset_peak();
  EXPECT_EQ(memory::stats().peak, memory::stats().from_system);
}

TEST(Memory, large_blocks_are_kept_and_used_again_without_asking_the_system) {
  const void* first = nullptr;
  {
    const Tensor t = empty({20 << 20}, u8);
    first = t.view().data;
    std::memset(t.view().data, 1, 20 << 20);
  }
  const int64_t calls = memory::stats().system_calls;
  for (int i = 0; i < 10; ++i) {
    const Tensor t = empty({20 << 20}, u8);
    EXPECT_EQ(t.view().data, first);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(t.view().data) % 64, 0U);
  }
  EXPECT_EQ(memory::stats().system_calls, calls);
  memory::trim();
}

TEST(Memory, a_request_beyond_all_memory_is_bad_alloc_and_changes_nothing) {
  const int64_t before = memory::stats().in_use;
  EXPECT_THROW(empty({int64_t{1} << 47}, u8), std::bad_alloc);
  EXPECT_EQ(memory::stats().in_use, before);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
int64_t address_space() {  // in bytes, of this process
  std::ifstream file("/proc/self/statm");
  int64_t pages = 0;
  file >> pages;
  return pages * 4096;
}
// In a process of its own: fill a limited address space, see bad_alloc, drop everything, go on in other sizes.
void exhaust_and_go_on() {
  const rlim_t limit = rlim_t(address_space() + (200 << 20));
  const rlimit r{limit, limit};
  if (setrlimit(RLIMIT_AS, &r) != 0) std::_Exit(2);
  int failures = 0;
  for (const int64_t mib : {8, 11, 30}) {  // the blocks of one round are cached when the next one needs their memory
    Tensors held;
    try {
      for (int i = 0; i < 100; ++i) held.push_back(empty({mib << 20}, u8));
    } catch (const std::bad_alloc&) {
      ++failures;
    }
    if (int64_t(held.size()) * mib < 100) std::_Exit(3);
  }
  const Tensor x = ones({1000});
  std::_Exit(failures == 3 && sum(x + x).item<float>() == 2000 ? 0 : 4);
}
TEST(Contract, KD5_a_low_limit_of_memory_is_bad_alloc_and_cached_memory_serves_other_sizes) {
  EXPECT_EXIT(exhaust_and_go_on(), testing::ExitedWithCode(0), "");
}
#endif

}  // namespace

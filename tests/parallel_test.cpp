// parallel_for: every index once, thread counts obeyed, nesting, exceptions, executors, and hard times for threads.
#include "graft/kernels/parallel.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>
#include "gtest/gtest.h"

#ifdef __SANITIZE_ADDRESS__
// The pool's threads run until a child process ends, and what they hold is no leak.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }  // NOLINT(bugprone-reserved-identifier)
#endif

namespace graft {
namespace {

struct ThreadCount {  // sets it for a scope
  explicit ThreadCount(int n) : before(num_threads()) { set_num_threads(n); }
  ~ThreadCount() { set_num_threads(before); }
  int before;
};

std::vector<int> visits(int64_t n, int64_t grain) {
  std::vector<std::atomic<int>> count(static_cast<size_t>(n));
  parallel_for(0, n, grain, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) ++count[size_t(i)];
  });
  return {count.begin(), count.end()};
}

TEST(Parallel, every_index_is_visited_once) {
  for (int threads : {1, 2, 3, 8}) {
    const ThreadCount scope(threads);
    for (int64_t n : {1, 2, 7, 64, 1000})
      for (int64_t grain : {1, 3, 2000}) EXPECT_EQ(visits(n, grain), std::vector<int>(size_t(n), 1)) << threads;
  }
}
TEST(Parallel, an_empty_range_calls_nothing) {
  parallel_for(5, 5, 1, [](int64_t, int64_t) { FAIL(); });
  parallel_for(5, 3, 1, [](int64_t, int64_t) { FAIL(); });
}
TEST(Parallel, the_cut_depends_on_range_grain_and_thread_count_only) {
  const ThreadCount scope(3);
  const auto cut = [] {
    std::mutex mutex;
    std::set<std::pair<int64_t, int64_t>> pieces;
    parallel_for(10, 1010, 7, [&](int64_t first, int64_t last) {
      const std::lock_guard lock(mutex);
      pieces.insert({first, last});
    });
    return pieces;
  };
  const auto first = cut();
  EXPECT_GT(first.size(), 3U);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(cut(), first);
}
TEST(Parallel, no_more_threads_than_set_take_part) {
  { const ThreadCount grow(6); visits(1000, 1); }
  for (int threads : {1, 2, 3}) {
    const ThreadCount scope(threads);
    std::mutex mutex;
    std::set<std::thread::id> ids;
    for (int i = 0; i < 50; ++i)
      parallel_for(0, 64, 1, [&](int64_t, int64_t) {
        const std::lock_guard lock(mutex);
        ids.insert(std::this_thread::get_id());
      });
    EXPECT_LE(int(ids.size()), threads);
    EXPECT_GE(int(ids.size()), 1);
  }
}
TEST(Parallel, two_threads_run_at_the_same_time) {
  const ThreadCount scope(2);
  std::atomic<int> inside{0};
  std::atomic<bool> met{false};
  parallel_for(0, 2, 1, [&](int64_t, int64_t) {
    ++inside;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (inside < 2 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    if (inside == 2) met = true;
  });
  EXPECT_TRUE(met);
}
TEST(Parallel, nested_loops_run_on_their_own_thread) {
  const ThreadCount scope(2);
  std::atomic<int> foreign{0}, visited{0};
  parallel_for(0, 8, 1, [&](int64_t first, int64_t last) {
    const auto here = std::this_thread::get_id();
    for (int64_t i = first; i < last; ++i)
      parallel_for(0, 100, 1, [&](int64_t a, int64_t b) {
        foreign += std::this_thread::get_id() != here;
        visited += int(b - a);
      });
  });
  EXPECT_EQ(foreign, 0);
  EXPECT_EQ(visited, 800);
}
TEST(Parallel, an_exception_reaches_the_caller_and_the_pool_lives_on) {
  for (int threads : {1, 2}) {
    const ThreadCount scope(threads);
    EXPECT_THROW(parallel_for(0, 100, 1,
                              [](int64_t first, int64_t last) {
                                if (first <= 50 && 50 < last) throw std::out_of_range("fifty");
                              }),
                 std::out_of_range);
    EXPECT_EQ(visits(100, 1), std::vector<int>(100, 1));
  }
}

class Recording : public Executor {
 public:
  void run(int64_t n, Task task) override {
    calls += 1;
    for (int64_t i = n - 1; i >= 0; --i) task(i);
  }
  int calls = 0;
};
TEST(Parallel, an_executor_of_the_embedder_runs_the_pieces) {
  const ThreadCount scope(2);
  Recording mine;
  EXPECT_EQ(set_executor(&mine), nullptr);
  EXPECT_EQ(visits(1000, 1), std::vector<int>(1000, 1));
  EXPECT_THROW(parallel_for(0, 10, 1, [](int64_t, int64_t) { throw std::runtime_error("x"); }), std::runtime_error);
  EXPECT_EQ(set_executor(nullptr), &mine);
  EXPECT_EQ(mine.calls, 2);
}

// Runs `body` in a forked child and returns its exit status; -1 if it hangs.
template <class F> int in_child(F body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    _exit(body());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Contract, KD3_fork_after_pool_start_rebuilds_the_pool) {
  const ThreadCount scope(2);
  ASSERT_EQ(visits(1000, 1), std::vector<int>(1000, 1));
  ASSERT_GE(pool_threads(), 2);
  EXPECT_EQ(in_child([] {
              if (pool_threads() != 1) return 1;
              if (visits(1000, 1) != std::vector<int>(1000, 1)) return 2;
              return pool_threads() == 2 ? 0 : 3;
            }),
            0);
  EXPECT_EQ(visits(1000, 1), std::vector<int>(1000, 1));
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kLimitsWork = false;  // the sanitizers reserve more address space than any limit
#else
constexpr bool kLimitsWork = true;
#endif
TEST(Contract, KD4_where_threads_cannot_be_created_fewer_do_the_work) {
  if (!kLimitsWork) GTEST_SKIP() << "needs RLIMIT_AS";
  EXPECT_EQ(in_child([] {
              set_num_threads(64);
              const rlimit none{0, 0};  // root is exempt from this one
              setrlimit(RLIMIT_NPROC, &none);
              const rlimit space{size_t{160} << 20, size_t{160} << 20};  // room for a few stacks of 8 MB
              setrlimit(RLIMIT_AS, &space);
              if (visits(10000, 1) != std::vector<int>(10000, 1)) return 1;
              return pool_threads() < 64 ? 0 : 2;
            }),
            0);
}

struct LoopsInItsDestructor {
  ~LoopsInItsDestructor() {
    std::atomic<int> sum{0};
    set_num_threads(2);
    parallel_for(0, 100, 1, [&](int64_t first, int64_t last) { sum += int(last - first); });
    if (sum != 100) _exit(7);
  }
};
TEST(Contract, KD6_loops_run_during_static_destruction) {
  EXPECT_EQ(in_child([] {
              static const LoopsInItsDestructor early;  // destroyed after everything that is made from here on
              set_num_threads(2);
              visits(100, 1);
              exit(0);  // NOLINT(concurrency-mt-unsafe): runs static destructors
              return 1;
            }),
            0);
}

}  // namespace
}  // namespace graft

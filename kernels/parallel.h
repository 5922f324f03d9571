// One loop over threads, for everything: parallel_for. A pool that spins briefly and then sleeps, or an executor of
// the embedding program.
#pragma once
#include <cstdint>
#include <type_traits>

namespace graft::inline v1 {

// Calls fn(first, last) on pieces that together are [begin, end), on up to num_threads() threads, and returns when all
// have run. No piece but the last is shorter than `grain`. Pieces are handed out as threads come free, but where they
// are cut depends on the range, the grain and num_threads() only; what fn computes for an index should not depend on
// the cut. Inside fn, a nested loop runs on its own thread. The first exception leaves parallel_for on the calling
// thread; pieces that have not started by then are skipped.
template <class F> void parallel_for(int64_t begin, int64_t end, int64_t grain, F&& fn);

int num_threads();            // at first the number of processors this process may use
void set_num_threads(int n);  // at least 1; from then on never more than n threads are used, the calling one included
int pool_threads();           // that the pool has running now; fewer than asked for if threads could not be created

// Where an embedding program runs the pieces itself.
class Executor {
 public:
  struct Task {
    void (*call)(void* context, int64_t index);  // does not throw
    void* context;
    void operator()(int64_t index) const { call(context, index); }
  };
  // Calls task(i) once for every i in [0, n), on any threads, and returns when all have returned.
  virtual void run(int64_t n, Task task) = 0;

 protected:
  ~Executor() = default;
};
Executor* set_executor(Executor*);  // null is the pool; returns the one before

namespace detail {
using Range = void (*)(void* context, int64_t first, int64_t last);
void parallel_run(int64_t begin, int64_t end, int64_t grain, Range, void* context);
}  // namespace detail

template <class F> void parallel_for(int64_t begin, int64_t end, int64_t grain, F&& fn) {
  if (begin >= end) return;
  if (end - begin <= grain) return void(fn(begin, end));
  using Fn = std::remove_reference_t<F>;
  detail::parallel_run(
      begin, end, grain, [](void* f, int64_t first, int64_t last) { (*static_cast<Fn*>(f))(first, last); },
      const_cast<void*>(static_cast<const void*>(&fn)));
}

}  // namespace graft

#include "graft/kernels/parallel.h"

#include "graft/kernels/denormal.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace graft::inline v1 {
namespace {

constexpr int kSpins = 2000;            // some 40 us, the time it takes to wake a sleeping thread
constexpr int64_t kPiecesPerThread = 4;  // so that a thread beside a busy neighbour can leave work to the others
constexpr int kMaxThreads = 1024;

constinit std::atomic<int> g_threads{0};  // 0: not asked yet
constinit std::atomic<Executor*> g_executor{nullptr};
constinit thread_local bool t_inside = false;  // of a piece: nested loops run serially

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// One loop. Lives on the caller's stack.
struct Job {
  int64_t begin, end, piece, pieces;
  detail::Range fn;
  void* context;
  unsigned float_mode = detail::float_mode();  // the caller's, whichever thread runs a piece
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error{};

  void run_piece(int64_t i) noexcept {
    if (failed.load(std::memory_order_relaxed)) return;
    const bool before = std::exchange(t_inside, true);
    const unsigned mode_before = detail::float_mode();
    if (mode_before != float_mode) detail::set_float_mode(float_mode);
    try {
      const int64_t first = begin + i * piece;
      fn(context, first, std::min(end, first + piece));
    } catch (...) {
      if (!failed.exchange(true)) error = std::current_exception();
    }
    t_inside = before;
    if (mode_before != float_mode) detail::set_float_mode(mode_before);
  }
  void run_all() noexcept {
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < pieces;) run_piece(i);
  }
};

// Workers look at `generation_`; one that finds it moved enters, unless the gate is closed, and helps. The caller closes
// the gate when its own share is done and waits only for those inside: a worker that wakes late costs nothing.
class Pool {
 public:
  // False if the pool is busy with another caller's job.
  bool run(Job& job, int threads) {
    const std::unique_lock busy(busy_, std::try_to_lock);
    if (!busy) return false;
    grow(threads - 1);
    job_ = &job;
    helpers_ = threads - 1;
    gate_.fetch_and(~kClosed, std::memory_order_release);
    generation_.fetch_add(1);
    if (sleepers_.load() > 0) {
      { const std::lock_guard lock(sleep_); }
      wake_.notify_all();
    }
    job.run_all();
    gate_.fetch_or(kClosed, std::memory_order_acq_rel);
    for (int spins = 0; gate_.load(std::memory_order_acquire) != kClosed; ++spins)
      spins < kSpins ? pause() : std::this_thread::yield();
    return true;
  }
  int workers() const { return workers_.load(); }

 private:
  static constexpr uint32_t kClosed = 1U << 31;

  void grow(int wanted) {
    while (workers_.load() < wanted) {
      try {
        std::thread([this, index = workers_.load(), seen = generation_.load()] { work(index, seen); }).detach();
      } catch (const std::exception&) {
        return;  // the loop runs on the threads there are; the next one tries again
      }
      workers_.fetch_add(1);
    }
  }
  void work(int index, uint64_t seen) noexcept {
    for (;;) {
      for (int spins = 0; generation_.load(std::memory_order_acquire) == seen && spins < kSpins; ++spins) pause();
      if (generation_.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(sleep_);
        sleepers_.fetch_add(1);
        wake_.wait(lock, [&] { return generation_.load() != seen; });
        sleepers_.fetch_sub(1);
      }
      seen = generation_.load(std::memory_order_acquire);
      if (!(gate_.fetch_add(1, std::memory_order_acquire) & kClosed) && index < helpers_) job_->run_all();
      gate_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::mutex busy_, sleep_;
  std::condition_variable wake_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<uint32_t> gate_{kClosed};  // the number of workers inside, and whether more may enter
  std::atomic<int> sleepers_{0}, workers_{0};
  Job* job_ = nullptr;  // these two are written while the gate is closed and nobody is inside
  int helpers_ = 0;
};

// Never destroyed: loops may run during static destruction. After a fork the child has none of the threads and makes
// itself a new pool.
constinit std::atomic<Pool*> g_pool{nullptr};

Pool& pool() {
  if (Pool* p = g_pool.load(std::memory_order_acquire)) return *p;
  static constinit std::atomic<bool> registered{false};
  if (!registered.exchange(true)) pthread_atfork(nullptr, nullptr, [] { g_pool.store(nullptr); });
  auto* fresh = new Pool;
  Pool* expected = nullptr;
  if (g_pool.compare_exchange_strong(expected, fresh)) return *fresh;
  delete fresh;
  return *expected;
}

}  // namespace

int num_threads() {
  int n = g_threads.load(std::memory_order_relaxed);
  if (n == 0) {
    const int found = std::clamp(int(std::thread::hardware_concurrency()), 1, kMaxThreads);
    n = g_threads.compare_exchange_strong(n, found) ? found : n;
  }
  return n;
}
void set_num_threads(int n) { g_threads.store(std::clamp(n, 1, kMaxThreads)); }
int pool_threads() {
  const Pool* p = g_pool.load();
  return p ? p->workers() + 1 : 1;
}
Executor* set_executor(Executor* e) { return g_executor.exchange(e); }

void detail::parallel_run(int64_t begin, int64_t end, int64_t grain, Range fn, void* context) {
  const int64_t n = end - begin;
  const int threads = t_inside ? 1 : num_threads();
  if (threads == 1 || n <= grain) return fn(context, begin, end);
  const int64_t wanted = threads * kPiecesPerThread;
  const int64_t piece = std::max({grain, (n + wanted - 1) / wanted, int64_t{1}});
  Job job{.begin = begin, .end = end, .piece = piece, .pieces = (n + piece - 1) / piece, .fn = fn, .context = context};
  if (job.pieces == 1) return fn(context, begin, end);
  if (Executor* executor = g_executor.load(std::memory_order_acquire))
    executor->run(job.pieces, {[](void* j, int64_t i) { static_cast<Job*>(j)->run_piece(i); }, &job});
  else if (!pool().run(job, int(std::min<int64_t>(threads, job.pieces))))
    job.run_all();
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace graft

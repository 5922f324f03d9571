// Runs a kernel: the blocks one after another, the threads of a block as fibers that give way at barriers and warp
// operations. Divergence, deadlocks and masks that name absent lanes are faults, with file and line.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include "graft/kernels/cuda/emulation/fiber.h"
#include "graft/kernels/cuda/emulation/state.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace graft::inline v1::cuda::emulation {

Running running;
constinit thread_local bool t_in_kernel = false;

namespace {

struct Turns {
  std::vector<int> order;     // in which fresh threads start
  std::vector<int> runnable;  // those that wait no longer
  size_t next_fresh = 0, next_runnable = 0;
};
struct Barrier {
  int alive = 0, arrived = 0, predicates = 0;
  Site site{};
  BarrierResult result{};
};
Turns turns;
Barrier barrier;
Fiber host;              // the stack of whoever waits for the kernel
Fiber* active = &host;
cudaError_t failed_with = cudaSuccess;
std::string failure;
size_t launch_count = 0;
std::set<const void*> kernels_seen;

std::string text(Site s) { return std::string(s.file) + ":" + std::to_string(s.line); }
std::string text(const dim3& d) {
  return "(" + std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z) + ")";
}
bool same(Site a, Site b) { return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0); }

void run_thread();

void switch_to(Fiber* to) {
  Fiber* from = std::exchange(active, to);
  running.thread = to->thread;
  if (to->thread) threadIdx = to->thread->id;
  switch_stacks(*from, *to);
}

// The next thread that can go on, or null.
Thread* pick() {
  const bool random = settings().order == Order::random;
  const bool fresh = turns.next_fresh < turns.order.size();
  const bool waiting = turns.next_runnable < turns.runnable.size();
  if (waiting && !(random && fresh && random_bits() % 8 == 0)) {
    const size_t left = turns.runnable.size() - turns.next_runnable;
    if (random) std::swap(turns.runnable[turns.next_runnable], turns.runnable[turns.next_runnable + random_bits() % left]);
    Thread* t = &running.block.threads[size_t(turns.runnable[turns.next_runnable++])];
    if (turns.next_runnable == turns.runnable.size()) {
      turns.runnable.clear();
      turns.next_runnable = 0;
    }
    return t;
  }
  return fresh ? &running.block.threads[size_t(turns.order[turns.next_fresh++])] : nullptr;
}

void start(Thread* t, Fiber* f) {
  f->thread = t;
  t->fiber = f;
  t->state = State::running;
}
// The running thread waits: another one gets its turn.
void give_way() {
  Thread* t = pick();
  if (!t) return switch_to(&host);
  if (t == running.thread) {
    t->state = State::running;
    return;
  }
  if (t->state == State::fresh) start(t, take_fiber(run_thread));
  t->state = State::running;
  switch_to(t->fiber);
}

void open_barrier_if_complete() {
  Block& b = running.block;
  if (barrier.arrived == 0 || barrier.arrived < barrier.alive) return;
  if (!settings().early_exit && barrier.alive < b.size)
    kernel_fault(cudaErrorLaunchFailure, std::to_string(b.size - barrier.alive) +
                                             " thread(s) returned before the barrier at " + text(barrier.site));
  barrier.result = {barrier.predicates, barrier.predicates == barrier.arrived, barrier.predicates > 0};
  ++b.epoch;
  barrier.arrived = barrier.predicates = 0;
  for (const int i : turns.order) {
    Thread& t = b.threads[size_t(i)];
    if (t.state != State::at_barrier) continue;
    t.epoch = b.epoch;
    t.state = State::in_warp;
    turns.runnable.push_back(i);
  }
}

// A fiber: runs one thread of the kernel after another on the same stack.
void run_thread() {
  for (;;) {
    t_in_kernel = true;
    running.launch->run(running.launch->args.get());
    t_in_kernel = false;
    Thread& t = *running.thread;
    t.state = State::done;
    --barrier.alive;
    running.block.warps[size_t(t.index / 32)].alive &= ~(1U << t.index % 32);
    open_barrier_if_complete();
    Thread* next = pick();
    Fiber* self = active;
    if (next && next->state == State::fresh) {
      start(next, self);
      running.thread = next;
      threadIdx = next->id;
      continue;
    }
    self->thread = nullptr;
    give_fiber(self);
    if (next) next->state = State::running;
    switch_to(next ? next->fiber : &host);
  }
}

void put_in_order(std::vector<int>& order, int n) {
  const Order how = settings().order;
  order.resize(size_t(n));
  for (int i = 0; i < n; ++i) order[size_t(i)] = how == Order::reverse ? n - 1 - i : i;
  for (int i = n - 1; how == Order::random && i > 0; --i)
    std::swap(order[size_t(i)], order[random_bits() % uint32_t(i + 1)]);
}

std::string deadlock() {
  std::map<std::string, int> where;
  for (const Thread& t : running.block.threads)
    if (t.state != State::done) ++where[(t.state == State::at_barrier ? "__syncthreads " : "warp operation ") + text(t.site)];
  std::string all = "deadlock:";
  for (const auto& [place, n] : where) all += " " + std::to_string(n) + " thread(s) wait in " + place + ";";
  return all;
}

void begin_block(int index, const LaunchConfig& c) {
  Block& b = running.block;
  b.index = index;
  b.epoch = 0;
  b.acquired = false;
  ++running.block_serial;
  const auto i = unsigned(index);
  blockIdx = {i % c.grid.x, i / c.grid.x % c.grid.y, i / c.grid.x / c.grid.y};
  for (int t = 0; t < b.size; ++t) {
    const auto u = unsigned(t);
    b.threads[size_t(t)] = Thread{.index = t, .id = {u % c.block.x, u / c.block.x % c.block.y, u / c.block.x / c.block.y}};
  }
  for (size_t w = 0; w < b.warps.size(); ++w) {
    const int lanes = std::min(32, b.size - int(w) * 32);
    Warp& warp = b.warps[w];
    warp.arrived = warp.time = 0;
    warp.alive = lanes == 32 ? ~0U : (1U << lanes) - 1;
    warp.log.clear();
  }
  barrier = Barrier{.alive = b.size};
  turns.next_fresh = turns.next_runnable = 0;
  turns.runnable.clear();
  if (settings().order == Order::random) put_in_order(turns.order, b.size);
  begin_block_shared(c.shared_bytes);
}

}  // namespace

void kernel_fault(cudaError_t code, const std::string& what) {
  t_in_kernel = false;
  if (failure.empty()) {
    failed_with = code;
    failure = what;
    if (running.thread) failure += " by thread " + text(dim3(threadIdx)) + " of block " + text(dim3(blockIdx));
  }
  active->thread = nullptr;
  switch_to(&host);
  std::abort();  // an abandoned fiber is never resumed
}

BarrierResult block_barrier(Site site, int predicate) {
  const OutsideKernel scope;
  if (barrier.arrived == 0) barrier.site = site;
  else if (!same(barrier.site, site))
    kernel_fault(cudaErrorLaunchFailure,
                 "divergent __syncthreads: some threads at " + text(barrier.site) + ", others at " + text(site));
  running.thread->state = State::at_barrier;
  running.thread->site = site;
  ++barrier.arrived;
  barrier.predicates += predicate;
  open_barrier_if_complete();
  give_way();
  return barrier.result;
}

void warp_collective(unsigned mask, Resolve resolve, void* data, bool orders_memory, Site site) {
  const OutsideKernel scope;
  Block& b = running.block;
  Thread& me = *running.thread;
  Warp& w = b.warps[size_t(me.index / 32)];
  const int lane = me.index % 32, first = me.index - lane;
  const auto hex = [](unsigned m) {
    char digits[16];
    std::snprintf(digits, sizeof digits, "%08x", m);
    return std::string(digits);
  };
  if (!(mask >> lane & 1))
    kernel_fault(cudaErrorLaunchFailure,
                 "warp operation at " + text(site) + ": lane " + std::to_string(lane) + " is not in its own mask " + hex(mask));
  if (mask & ~w.alive)
    kernel_fault(cudaErrorLaunchFailure, "warp operation at " + text(site) + ": mask " + hex(mask) +
                                             " names lanes that have returned or do not exist: " + hex(mask & ~w.alive));
  // Those who wait with another mask are in an operation of their own, and may still come to this one.
  unsigned arrived = 1U << lane;
  for (unsigned left = w.arrived & mask; left; left &= left - 1) {
    const int i = std::countr_zero(left);
    if (w.posts[i].mask != mask) continue;
    arrived |= 1U << i;
    const Site theirs = b.threads[size_t(first + i)].site;
    if (!same(theirs, site))
      kernel_fault(cudaErrorLaunchFailure, "divergent warp operation: lane " + std::to_string(i) + " waits at " + text(theirs) +
                                               ", lane " + std::to_string(lane) + " at " + text(site));
  }
  w.posts[lane] = {data, mask, true};
  w.arrived |= 1U << lane;
  me.site = site;
  me.state = State::in_warp;
  if (arrived != mask) return give_way();

  Post lanes[32];
  for (int i = 0; i < 32; ++i) {
    lanes[i] = w.posts[i];
    lanes[i].active = mask >> i & 1;
  }
  resolve(lanes);
  w.arrived &= ~mask;
  if (orders_memory) {
    ++w.time;
    if (mask == w.alive) w.log.clear();
    w.log.push_back({w.time, mask});
  }
  const bool reverse = settings().order == Order::reverse;
  for (int k = 0; k < 32; ++k) {
    const int i = reverse ? 31 - k : k;
    if (!(mask >> i & 1)) continue;
    if (orders_memory) b.threads[size_t(first + i)].warp_time = w.time;
    if (i != lane) turns.runnable.push_back(first + i);
  }
  me.state = State::running;  // the last lane simply goes on
}

int lane_id() { return running.thread->index & 31; }
void note_fence() { running.thread->fenced = true; }
void note_atomic(const void* p, unsigned bytes, void* pc) {
  const OutsideKernel scope;
  if (reinterpret_cast<uintptr_t>(p) % bytes) kernel_fault(cudaErrorMisalignedAddress, "misaligned atomic");
  check_atomic(p, bytes, pc);
  if (running.thread->fenced) running.released[size_t(running.block.index)] = 1;
  running.block.acquired = true;
}

void run_kernel(const LaunchConfig& c, int device) {
  const DeviceScope scope;
  ++launch_count;
  if (kernels_seen.insert(c.kernel).second) record_launched(c.kernel);
  ++running.serial;
  running.launch = &c;
  running.device = device;
  blockDim = c.block;
  gridDim = c.grid;
  const int n = int(c.block.x * c.block.y * c.block.z), blocks = int(c.grid.x * c.grid.y * c.grid.z);
  running.block.size = n;
  running.block.threads.resize(size_t(n));
  running.block.warps.resize(size_t((n + 31) / 32));
  running.released.assign(size_t(blocks), 0);
  allow_arguments(c.args.get(), c.args_size);
  put_in_order(turns.order, n);
  const bool traffic = settings().traffic;
  if (traffic) begin_traffic(c);
  std::vector<int> block_order;
  put_in_order(block_order, blocks);
  for (const int b : block_order) {
    begin_block(b, c);
    Thread* first = pick();
    Fiber* fiber = take_fiber(run_thread);
    start(first, fiber);
    switch_to(fiber);
    if (failure.empty() && barrier.alive > 0) {
      failed_with = cudaErrorLaunchTimeout;
      failure = deadlock();
    }
    if (!failure.empty()) break;
    if (traffic) end_block_traffic();
  }
  if (traffic) end_traffic();
  running.thread = nullptr;
  if (failure.empty()) return;
  set_fault(failed_with, std::exchange(failure, {}) + ", in " + kernel_name(c.kernel));
  restart_fibers(run_thread);
}

size_t launches() {
  const Lock lock(mutex());
  return launch_count;
}
std::vector<std::string> launched_kernels() {
  const Lock lock(mutex());
  std::vector<std::string> names;
  for (const void* k : kernels_seen) names.push_back(kernel_name(k));
  return names;
}

}  // namespace graft::cuda::emulation

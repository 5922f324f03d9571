// Graphs of device cuda: a step is recorded once and replayed, without the work of the host for each of its kernels.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include "graft/core/cuda.h"
#include "graft/kernels/random_stream.h"

namespace graft::inline v1 {

class Generator;

namespace cuda {

// PyTorch's torch.cuda.CUDAGraph. capture() calls `step` once: what it launches on `device` is recorded and does not run.
// replay() runs it, in the order of the stream that is current then, with the same memory: inputs are written into the
// tensors that the step read, results are read from those that it made, whose values are undefined before the first replay.
//
// What a replay leaves on the host is what the step leaves when it is called: generators have moved, optimizers have counted.
// The learning rate and the other numbers of an optimizer are those that it has when replay() is called. capture() itself leaves
// both as they were. Everything else that the host does in a step happens once, at the capture: ops on cpu, schedulers,
// printing, numbers passed to ops, the choice of a branch. Labels and indices are not looked at, they must be in range.
//
// Refused while a graph is captured, as an Error that says so: reading a value, waiting, another capture, results whose size
// depends on values, copies between devices, work on a stream that is not part of it (one that waits for an event of a
// stream that is becomes so, and must be waited for before the step ends). When `step` throws, nothing is left of the capture.
//
// A graph keeps alive what its step read and wrote. What the step allocated is the graph's own until the graph ends.
class Graph {
 public:
  static Graph capture(const std::function<void()>& step, int device = 0);
  void replay() const;
  int device() const;

  Graph(Graph&&) noexcept;
  Graph& operator=(Graph&&) noexcept;
  ~Graph();
  struct State;

 private:
  explicit Graph(std::unique_ptr<State>);
  const std::unique_ptr<State>& need(std::string_view who) const;  // fails for one that was moved from
  std::unique_ptr<State> state_;
};
bool is_capturing();  // whether this thread captures a graph

namespace detail {

// ---- for whoever launches, allocates or reads while a graph is captured. All of it is about the calling thread -------

// Whose is what is allocated on this device now: the graph's, or null for everybody's.
const void* memory_owner(int device);
bool may_wait();  // for events: not while a graph is captured
void refuse_in_capture(std::string_view what);                  // "synchronize: not while a graph is captured"
void need_readable(std::string_view op, const Tensor&);         // fails for a tensor on the device of the graph
bool is_unreadable(const Tensor&);                              // the same as a question: checks of values are left out
// Keeps what a launch uses; fails if it goes to another device, or to a stream that is not captured.
void record_launch(std::string_view op, std::span<TensorImpl* const> used, int device);

// Where a number lies that changes from one replay to the next: `bytes` on the device, filled by `write` before each.
// `write` may fail, and then nothing has happened; `count` runs after the launch.
struct Following {
  size_t bytes;
  std::function<void(std::byte*)> write;
  std::function<void()> count;
};
void* follow(Following);
int64_t times_followed(const void* what);  // before this call: steps of one optimizer may come twice
// A draw of this thread: how far its generator has moved at a replay is read there.
graft::Stream follow_draw(Generator&, const graft::Stream& taken, uint64_t blocks, Device);

// Back to the time before the capture for a scope: work in it runs now, and memory is everybody's.
class Aside {
 public:
  Aside();
  ~Aside();
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;

 private:
  std::unique_ptr<UseStream> stream_;
};

// ---- the allocator's side (core/cuda_memory.cpp) ---------------------------------------------------------------

void capture_begins(int device);  // until it ends nothing cached goes back to the device, which would have to wait
void capture_ends(int device);
void record_use(int device, std::byte* data, const Stream&);
bool belongs_to(const void* owner, int device, const std::byte* data);
// The memory of a graph that has ended is everybody's, in the order of `home`.
void disown(const void* owner, const Stream& home) noexcept;

}  // namespace detail
}  // namespace cuda
}  // namespace graft

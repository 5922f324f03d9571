// Streams and events, for stream.cpp and runtime.cpp.
#pragma once
#include <deque>
#include <map>
#include <set>
#include "graft/kernels/cuda/emulation/state.h"

namespace graft::inline v1::cuda::emulation {

struct Point {  // in a stream: after its first `number` pieces of work
  Stream* stream = nullptr;
  uint64_t number = 0;
};
struct Work {
  std::function<void()> run;
  std::vector<Point> after;
};
struct Stream {
  std::deque<Work> queue;
  uint64_t queued = 0, done = 0;
  int device = 0;
  bool non_blocking = false;
};
struct Event {
  Point at;
  double seconds = 0;  // when it was reached
};
struct StreamTable {
  Stream legacy[kMaxDevices];
  std::set<Stream*> live;
  std::map<const void*, size_t> shared_allowed;  // dynamic shared memory that a kernel was allowed to have
};
StreamTable& all_streams();
bool is_legacy(const Stream*);
void push_after(Stream*, std::function<void()> work, std::vector<Point> after);
void run_to(Stream*, uint64_t number);
void allow_shared(const void* kernel, size_t bytes);
cudaError_t last_error(bool clear);

}  // namespace graft::cuda::emulation

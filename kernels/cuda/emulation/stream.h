// Streams, events and captures, for stream.cpp, graph.cpp and runtime.cpp.
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
struct Capture;
struct Stream {
  std::deque<Work> queue;
  uint64_t queued = 0, done = 0;
  int device = 0;
  bool non_blocking = false;
  Capture* capture = nullptr;  // work is recorded there instead of queued
};
struct Event {
  Point at;
  Capture* capture = nullptr;  // it was recorded in this one, as its piece `node`
  size_t node = 0;
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

// ---- captures (graph.cpp) --------------------------------------------------------------------------------------

// The number of the piece. A mark tells the checker something and is nothing on a GPU.
size_t record(Stream* capturing, std::function<void()> work, std::vector<size_t> after, bool mark = false);
cudaError_t refuse_work(Stream*);    // on a stream whose capture has failed; on the legacy one while a graph is captured
cudaError_t refuse_wait(Stream*);    // for a stream that captures, or asking how far it is
cudaError_t refuse_wait(int device); // for all of it
cudaError_t refuse_unsafe();         // what may wait for the device, in a thread that captures
cudaError_t refuse_pageable(Stream*);
cudaError_t refuse_captured(const Event*);
cudaError_t wait_in_capture(Stream*, const Event*);  // forks and joins
void allow_shared(const void* kernel, size_t bytes);
cudaError_t last_error(bool clear);

}  // namespace graft::cuda::emulation

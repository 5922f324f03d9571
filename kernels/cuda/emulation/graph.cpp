// Graphs: what streams do between the begin and the end of a capture is kept as pieces of work with dependencies, and goes
// into streams when the graph is launched. What a GPU refuses meanwhile is refused, with CUDA's codes.
#include <algorithm>
#include <memory>
#include <thread>
#include "graft/kernels/cuda/emulation/stream.h"

namespace emu = graft::cuda::emulation;

namespace graft::inline v1::cuda::emulation {

namespace {

struct Piece {
  std::function<void()> run;
  size_t branch;              // the pieces of one branch follow each other; branch 0 is the stream that began
  std::vector<size_t> after;  // pieces of other branches
  bool mark = false;          // of an allocator, for the checker: a GPU sees nothing
};
struct Graph {
  std::vector<Piece> pieces;
  size_t branches = 1;
  int device = 0;
};
struct Executable {
  Graph graph;
  std::vector<Stream*> branches;  // but for the first, which is the stream of the launch
  Point last;                     // launches of one graph run one after another
};

}  // namespace

struct Capture {
  Graph graph;
  std::vector<Stream*> streams;  // by branch
  std::thread::id thread;
  cudaStreamCaptureMode mode;
  bool valid = true;
};

namespace {

std::vector<Capture*>& captures() {
  static auto* all = new std::vector<Capture*>;
  return *all;
}
thread_local cudaStreamCaptureMode t_mode = cudaStreamCaptureModeGlobal;

cudaError_t invalidate(Capture* c, cudaError_t e) {
  c->valid = false;
  return remember(e);
}
size_t branch_of(const Capture& c, const Stream* s) { return size_t(std::ranges::find(c.streams, s) - c.streams.begin()); }

// Everything that other streams did comes before the end of the first.
bool is_joined(const Graph& g) {
  constexpr size_t kNone = SIZE_MAX;
  std::vector<size_t> before(g.pieces.size(), kNone), last(g.branches, kNone);
  for (size_t i = 0; i < g.pieces.size(); ++i)
    if (!g.pieces[i].mark) before[i] = std::exchange(last[g.pieces[i].branch], i);
  std::vector<bool> reached(g.pieces.size());
  std::vector<size_t> open;
  const auto reach = [&](size_t i) {
    if (i == kNone || reached[i]) return;
    reached[i] = true;
    open.push_back(i);
  };
  reach(last[0]);
  while (!open.empty()) {
    const size_t i = open.back();
    open.pop_back();
    reach(before[i]);
    for (const size_t a : g.pieces[i].after) reach(a);
  }
  return std::ranges::all_of(last, [&](size_t i) { return i == kNone || reached[i]; });
}

Graph* graph_of(cudaGraph_t g) { return reinterpret_cast<Graph*>(g); }
Executable* executable_of(cudaGraphExec_t e) { return reinterpret_cast<Executable*>(e); }

}  // namespace

size_t record(Stream* s, std::function<void()> work, std::vector<size_t> after, bool mark) {
  Capture& c = *s->capture;
  c.graph.pieces.push_back({std::move(work), branch_of(c, s), std::move(after), mark});
  return c.graph.pieces.size() - 1;
}

cudaError_t refuse_work(Stream* s) {
  if (s->capture) return s->capture->valid ? cudaSuccess : remember(cudaErrorStreamCaptureInvalidated);
  if (!is_legacy(s)) return cudaSuccess;
  for (Capture* c : captures())
    if (c->streams[0]->device == s->device) return invalidate(c, cudaErrorStreamCaptureImplicit);
  return cudaSuccess;
}
cudaError_t refuse_wait(Stream* s) {
  return s->capture ? invalidate(s->capture, cudaErrorStreamCaptureUnsupported) : is_legacy(s) ? refuse_work(s) : cudaSuccess;
}
cudaError_t refuse_wait(int device) {
  for (Capture* c : captures())
    if (c->streams[0]->device == device) return invalidate(c, cudaErrorStreamCaptureUnsupported);
  return cudaSuccess;
}
cudaError_t refuse_unsafe() {
  if (t_mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  for (Capture* c : captures()) {
    const bool own = c->thread == std::this_thread::get_id() && c->mode != cudaStreamCaptureModeRelaxed;
    if (own || (c->mode == cudaStreamCaptureModeGlobal && t_mode == cudaStreamCaptureModeGlobal))
      return invalidate(c, cudaErrorStreamCaptureUnsupported);
  }
  return cudaSuccess;
}
cudaError_t refuse_pageable(Stream* s) {
  return s->capture ? invalidate(s->capture, cudaErrorStreamCaptureUnsupported) : cudaSuccess;
}
cudaError_t refuse_captured(const Event* e) {
  if (!e->capture) return cudaSuccess;
  if (std::ranges::find(captures(), e->capture) != captures().end()) (void)invalidate(e->capture, cudaErrorCapturedEvent);
  return remember(cudaErrorCapturedEvent);
}

cudaError_t wait_in_capture(Stream* s, const Event* e) {
  if (const cudaError_t refused = refuse_work(s)) return refused;
  if (!e->capture) return e->at.stream ? invalidate(s->capture, cudaErrorStreamCaptureIsolation) : cudaSuccess;
  if (std::ranges::find(captures(), e->capture) == captures().end()) return remember(cudaErrorCapturedEvent);
  if (!e->capture->valid) return remember(cudaErrorStreamCaptureInvalidated);
  if (s->capture && s->capture != e->capture) return invalidate(s->capture, cudaErrorStreamCaptureMerge);
  if (is_legacy(s)) return invalidate(e->capture, cudaErrorStreamCaptureImplicit);
  if (!s->capture) {
    s->capture = e->capture;
    if (branch_of(*s->capture, s) == s->capture->streams.size()) {
      s->capture->streams.push_back(s);
      ++s->capture->graph.branches;
    }
  }
  (void)record(s, nullptr, {e->node});
  return cudaSuccess;
}

}  // namespace graft::cuda::emulation

extern "C" {

using namespace graft::cuda::emulation;  // NOLINT(google-build-using-namespace)

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(t_mode, *mode);
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const Lock lock(emu::mutex());
  emu::Stream* s = find_stream(stream);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  if (is_legacy(s)) return remember(cudaErrorStreamCaptureUnsupported);
  if (s->capture) return remember(cudaErrorIllegalState);
  captures().push_back(new Capture{{{}, 1, s->device}, {s}, std::this_thread::get_id(), mode});
  s->capture = captures().back();
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const Lock lock(emu::mutex());
  const emu::Stream* s = find_stream(stream);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  *status = !s->capture        ? cudaStreamCaptureStatusNone
            : s->capture->valid ? cudaStreamCaptureStatusActive
                                : cudaStreamCaptureStatusInvalidated;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* out) {
  const Lock lock(emu::mutex());
  *out = nullptr;
  emu::Stream* s = find_stream(stream);
  if (!s || !s->capture) return remember(s ? cudaErrorIllegalState : cudaErrorInvalidResourceHandle);
  if (s->capture->streams[0] != s) return invalidate(s->capture, cudaErrorStreamCaptureUnmatched);
  if (s->capture->mode != cudaStreamCaptureModeRelaxed && s->capture->thread != std::this_thread::get_id())
    return invalidate(s->capture, cudaErrorStreamCaptureWrongThread);
  Capture* c = s->capture;
  for (emu::Stream* each : c->streams) each->capture = nullptr;
  std::erase(captures(), c);  // not deleted: events may name it
  Graph graph = std::move(c->graph);
  if (!c->valid) return remember(cudaErrorStreamCaptureInvalidated);
  if (!is_joined(graph)) return remember(cudaErrorStreamCaptureUnjoined);
  *out = reinterpret_cast<cudaGraph_t>(new Graph(std::move(graph)));
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  const Lock lock(emu::mutex());
  delete graph_of(graph);
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* out, cudaGraph_t graph, unsigned long long) {
  const Lock lock(emu::mutex());
  auto made = std::make_unique<Executable>(*graph_of(graph));
  for (size_t b = 1; b < made->graph.branches; ++b) {
    auto* s = new emu::Stream;
    s->non_blocking = true;
    s->device = made->graph.device;
    all_streams().live.insert(s);
    made->branches.push_back(s);
  }
  *out = reinterpret_cast<cudaGraphExec_t>(made.release());
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  const Lock lock(emu::mutex());
  if (fault_code() != cudaSuccess) return remember(fault_code());
  emu::Stream* s = find_stream(stream);
  if (!s || s->device != executable_of(executable)->graph.device) return remember(cudaErrorInvalidResourceHandle);
  if (const cudaError_t e = refuse_work(s)) return e;
  if (s->capture) return invalidate(s->capture, cudaErrorNotSupported);  // a GPU makes it a child; nobody here does
  Executable& e = *executable_of(executable);
  push_after(s, nullptr, e.last.stream ? std::vector{e.last} : std::vector<Point>());
  std::vector<Point> at;
  for (const Piece& p : e.graph.pieces) {
    emu::Stream* on = p.branch == 0 ? s : e.branches[p.branch - 1];
    std::vector<Point> after;
    for (const size_t i : p.after) after.push_back(at[i]);
    push_after(on, p.run, std::move(after));
    at.push_back({on, on->queued});
  }
  e.last = {s, s->queued};
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  const Lock lock(emu::mutex());
  std::unique_ptr<Executable> e(executable_of(executable));
  for (emu::Stream* s : e->branches) {
    drain(s);
    all_streams().live.erase(s);  // not deleted: events may name it
  }
  return cudaSuccess;
}

}  // extern "C"

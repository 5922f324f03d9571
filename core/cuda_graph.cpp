// Capturing and replaying. What a capture keeps, and what of a step happens on the host again at each replay.
#include "graft/core/cuda_graph.h"

#include <mutex>
#include <unordered_map>
#include <vector>
#include "graft/core/error.h"
#include "graft/core/op.h"
#include "graft/core/random.h"
#include "graft/kernels/cuda/graph.h"

namespace graft::inline v1::cuda {

void check(runtime::Status, std::string_view what);  // cuda.cpp

const Stream& default_stream(int device);         // cuda.cpp

struct Graph::State {
  static constexpr size_t kCells = size_t{32} << 10;  // bytes of a copy: so few the driver takes along without a wait

  struct Kept {
    Ref<Storage> storage;
    uint32_t version = 0, writes = 0;  // when it was first used; by the step
  };
  // Numbers that change from one replay to the next, and their place on the device.
  struct Cells {
    Tensor there;
    std::vector<std::byte> here;
    size_t used = 0;
  };
  struct Follower {
    size_t cells, offset;
    detail::Following on_host;
  };
  // Of a generator: where it was before the capture, and how many blocks the step takes.
  struct Drawn {
    std::weak_ptr<Generator* const> generator;
    graft::Stream start;
    uint64_t blocks = 0;
    StreamCell* cell = nullptr;  // null: only ops on cpu drew
    graft::Stream end() const { return {start.seed, start.first + blocks}; }
  };

  explicit State(int d) : device(d), stream(d), last(current_stream(d)) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State();
  void* follow(detail::Following);
  void put_back_generators() noexcept;
  void replay();

  const int device;
  const Stream stream;  // recorded on
  Stream last;          // of the last replay; at first the one that was current before the capture
  bool aside = false;   // while it is captured: in an Aside
  runtime::Graph graph = nullptr;
  std::unordered_map<const Storage*, Kept> kept;
  std::vector<Cells> cells;
  std::vector<Follower> followers;
  std::vector<std::shared_ptr<Drawn>> drawn;
  std::unordered_map<const void*, int64_t> followed;  // how often, by what
  std::mutex replaying;
};

static constinit thread_local Graph::State* t_captured = nullptr;  // by this thread
static Graph::State* recording() { return t_captured && !t_captured->aside ? t_captured : nullptr; }

// ---- capture -------------------------------------------------------------------------------------------------

// What is given back may be in use by a replay that still runs.
Graph::State::~State() {
  if (!available()) return;  // after fork
  if (graph) runtime::destroy_graph(graph);
  const Stream& home = default_stream(device);
  try {
    for (auto& [storage, k] : kept)
      if (k.storage->source == &detail::memory_of(device)) detail::record_use(device, k.storage->data, last);
    for (const Cells& c : cells) detail::record_use(device, c.there.impl()->storage->data, last);
    const Event done(false, device);
    done.record(last);
    home.wait(done);
  } catch (...) {  // the device is broken: nothing runs
  }
  detail::disown(this, home);
}

void* Graph::State::follow(detail::Following f) {
  const size_t bytes = (f.bytes + 15) / 16 * 16;
  if (cells.empty() || cells.back().used + bytes > cells.back().here.size()) {
    const size_t size = std::max(bytes, kCells);
    const detail::Aside now;
    cells.push_back({empty({int64_t(size)}, {u8, Device(Device::cuda, device)}), std::vector<std::byte>(size)});
  }
  Cells& c = cells.back();
  followers.push_back({cells.size() - 1, c.used, std::move(f)});
  void* at = c.there.view().data + c.used;
  c.used += bytes;
  return at;
}

void Graph::State::put_back_generators() noexcept {
  for (const auto& d : drawn)
    if (const auto g = d->generator.lock(); g && (*g)->position() == d->end()) (void)(*g)->take(uint64_t{0} - d->blocks);
}

// For the time of step(): the state is that of this thread, and the stream is captured.
class Recording {
 public:
  explicit Recording(Graph::State& s) : state_(s), stream_(s.stream) {
    detail::capture_begins(s.device);
    const runtime::Status begun = runtime::begin_capture(s.stream.handle());
    if (!begun.ok()) detail::capture_ends(s.device);
    check(begun, "beginning to capture a graph");
    t_captured = &s;
  }
  ~Recording() { (void)end(); }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  runtime::Status end() {
    if (!t_captured) return {};
    const runtime::Status ended = runtime::end_capture(state_.stream.handle(), &state_.graph);
    t_captured = nullptr;
    detail::capture_ends(state_.device);
    state_.put_back_generators();
    return ended;
  }

 private:
  Graph::State& state_;
  UseStream stream_;
};

Graph Graph::capture(const std::function<void()>& step, int device) {
  cuda::need("Graph::capture", Device(Device::cuda, device));
  detail::refuse_in_capture("Graph::capture");
  GRAFT_CHECK(!thread_modes().dry_run, "Graph::capture: a dry run launches nothing that could be captured");
  auto state = std::make_unique<State>(device);
  {
    Recording scope(*state);
    step();
    const runtime::Status ended = scope.end();
    check(ended, "Graph::capture: the step cannot be a graph");
  }
  for (auto& [storage, k] : state->kept) k.writes = storage->version.load(std::memory_order_relaxed) - k.version;
  return Graph(std::move(state));
}

// ---- replay --------------------------------------------------------------------------------------------------

void Graph::State::replay() {
  detail::refuse_in_capture("Graph::replay");
  const std::lock_guard lock(replaying);
  for (const Follower& f : followers) f.on_host.write(cells[f.cells].here.data() + f.offset);
  void* handle = detail::begin_launch(device);
  const Stream now = current_stream(device);
  if (!(now == last)) {
    const Event before(false, device);
    before.record(last);
    now.wait(before);
    last = now;
  }
  for (const Cells& c : cells)
    for (size_t at = 0; at < c.used; at += kCells)
      check(runtime::copy(c.there.view().data + at, c.here.data() + at, std::min(kCells, c.used - at), handle), "Graph::replay");
  check(runtime::launch_graph(graph, handle), "Graph::replay");
  for (const Follower& f : followers) f.on_host.count();
  for (auto& [storage, k] : kept) k.storage->version.fetch_add(k.writes, std::memory_order_relaxed);
}

Graph::Graph(std::unique_ptr<State> s) : state_(std::move(s)) {}
Graph::Graph(Graph&&) noexcept = default;
Graph& Graph::operator=(Graph&&) noexcept = default;
Graph::~Graph() = default;
const std::unique_ptr<Graph::State>& Graph::need(std::string_view who) const {
  GRAFT_CHECK(state_, who, ": this graph was moved from");
  cuda::need(who, Device(Device::cuda, state_->device));
  return state_;
}
void Graph::replay() const { need("Graph::replay")->replay(); }
int Graph::device() const { return need("Graph::device")->device; }
bool is_capturing() { return recording(); }

// ---- for those who launch, allocate, read --------------------------------------------------------------------

namespace detail {

const void* memory_owner(int device) {
  const Graph::State* s = recording();
  return s && s->device == device ? s : nullptr;
}
bool may_wait() { return !t_captured; }
void refuse_in_capture(std::string_view what) {
  if (t_captured) [[unlikely]] fail(what, ": not while a graph is captured");
}
bool is_unreadable(const Tensor& t) {
  const Graph::State* s = recording();
  return s && t.device() == Device(Device::cuda, s->device);
}
void need_readable(std::string_view op, const Tensor& t) {
  if (is_unreadable(t)) [[unlikely]]
    fail(ErrorCode::data_dependent, op, ": depends on the values of ", t, ", which are not there while a graph is captured");
}

void record_launch(std::string_view op, std::span<TensorImpl* const> used, int device) {
  Graph::State* s = recording();
  if (!s) return;
  if (device != s->device)
    fail(op, ": goes to cuda:", device, " while a graph of cuda:", s->device, " is captured");
  if (!runtime::is_capturing(current_stream(device).handle()))
    fail(op, ": the current stream is not part of the graph that is captured; it becomes so by waiting for an event of a stream ",
         "that is");
  for (TensorImpl* t : used) {
    Storage* storage = t->storage.get();
    if (!storage->data || belongs_to(s, device, storage->data)) continue;
    s->kept.try_emplace(storage, Graph::State::Kept{t->storage, storage->version.load(std::memory_order_relaxed)});
  }
}

void* follow(Following f) { return recording()->follow(std::move(f)); }
int64_t times_followed(const void* what) { return recording()->followed[what]++; }
graft::Stream follow_draw(Generator& g, const graft::Stream& taken, uint64_t blocks, Device device) {
  Graph::State& s = *recording();
  const auto self = g.alive().lock();
  std::shared_ptr<Graph::State::Drawn> of;
  for (const auto& d : s.drawn)
    if (d->generator.lock() == self) of = d;
  if (!of) of = s.drawn.emplace_back(std::make_shared<Graph::State::Drawn>(self, taken));
  GRAFT_CHECK(taken == of->end(), "a generator was seeded, or used elsewhere, while a graph is captured that draws from it");
  of->blocks += blocks;
  const bool here = device == Device(Device::cuda, s.device);
  if (here && !of->cell) {
    const auto locked = [of] {
      const auto g = of->generator.lock();
      GRAFT_CHECK(g, "Graph::replay: a generator that the step draws from is gone");
      return *g;
    };
    const auto write = [of, locked](std::byte* to) {
      const graft::Stream now = locked()->position();
      new (to) StreamCell{now.seed, now.first - of->start.first};
    };
    const auto count = [of, locked] { (void)locked()->take(of->blocks); };
    of->cell = static_cast<StreamCell*>(s.follow({sizeof(StreamCell), write, count}));
  }
  return {taken.seed, taken.first, here ? of->cell : nullptr};
}

Aside::Aside() {
  if (!recording()) return;
  stream_ = std::make_unique<UseStream>(t_captured->last);
  t_captured->aside = true;
}
Aside::~Aside() {
  if (stream_) t_captured->aside = false;
}

}  // namespace detail
}  // namespace graft::cuda

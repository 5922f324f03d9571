// What a build without CUDA has in the place of cuda_graph.cpp: nothing is ever captured.
#include "graft/core/cuda_graph.h"

namespace graft::inline v1::cuda {

struct Graph::State {};

Graph Graph::capture(const std::function<void()>& /*step*/, int device) {
  cuda::need("Graph::capture", Device(Device::cuda, device));  // which fails
  return Graph(nullptr);
}
Graph::Graph(std::unique_ptr<State> s) : state_(std::move(s)) {}
Graph::Graph(Graph&&) noexcept = default;
Graph& Graph::operator=(Graph&&) noexcept = default;
Graph::~Graph() = default;
const std::unique_ptr<Graph::State>& Graph::need(std::string_view who) const {
  cuda::need(who, Device(Device::cuda));
  return state_;
}
void Graph::replay() const { (void)need("Graph::replay"); }
int Graph::device() const { return need("Graph::device") ? 0 : -1; }
bool is_capturing() { return false; }

namespace detail {

const void* memory_owner(int) { return nullptr; }
bool may_wait() { return true; }
void refuse_in_capture(std::string_view) {}
bool is_unreadable(const Tensor&) { return false; }
void need_readable(std::string_view, const Tensor&) {}
void record_launch(std::string_view, std::span<TensorImpl* const>, int) {}
void* follow(Following) { return nullptr; }
int64_t times_followed(const void*) { return 0; }
graft::Stream follow_draw(Generator&, const graft::Stream& taken, uint64_t, Device) { return taken; }
Aside::Aside() = default;
Aside::~Aside() = default;

}  // namespace detail
}  // namespace graft::cuda

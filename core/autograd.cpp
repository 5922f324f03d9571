// Recording: nodes, saved tensors, histories of views and in-place ops. The backward pass is in backward.cpp;
// hooks, .grad and flags of a tensor are in tensor_autograd.cpp, user-defined functions in function.cpp.
#include "graft/core/autograd.h"

#include <cstring>
#include <new>
#include "graft/core/ops.h"
#include "graft/core/path.h"

namespace graft::inline v1 {

// ---- nodes ---------------------------------------------------------------------------------------------------

template <class T> static std::span<T> construct(std::byte*& at, size_t n) {
  T* first = reinterpret_cast<T*>(at);
  for (size_t i = 0; i < n; ++i) new (first + i) T;
  at += n * sizeof(T);
  return {first, n};
}

// Which inputs (bits 0-7) and outputs (bits 8-15) the derivatives that are wanted will read.
static Reads reads_of(const Call& call) {
  Reads reads = 0;
  for (size_t i = 0; i < call.in.size(); ++i)
    if (needs_grad(*call.in[i])) reads |= call.op.reads[std::min<size_t>(i, 3)];
  return reads;
}

static bool reads_bit(Reads reads, size_t i) { return reads >> std::min<size_t>(i, 7) & 1; }

// A parameter is saved as itself. Another tensor may later be written in place by an op whose history leads back to the
// node: saved as itself it would close a cycle, so its memory, geometry and history of now are saved.
static Tensor saved_form(TensorImpl& t, const Edge& edge) {
  if (t.requires_grad && !t.node) return Tensor(Ref<TensorImpl>::share(&t));
  Ref<TensorImpl> now = alias(t);
  now->node = edge.node;
  now->slot = edge.slot;
  return Tensor(std::move(now));
}

static void save_inputs(Node& node, const Call& call, Reads reads) {
  for (size_t i = 0; i < node.saved_in.size(); ++i) {
    if (!reads_bit(reads, i)) continue;
    TensorImpl& t = *call.in[i];
    if (t.inference)
      fail(ErrorCode::autograd, call.op.name, ": input ", i, " (", t.view, ") was made in inference mode and cannot be saved; clone() it");
    node.saved_in[i] = {saved_form(t, node.edges[i]), t.storage->version.load(std::memory_order_relaxed)};
  }
}

static Ref<Node> make_node(const Call& call, std::span<TensorImpl* const> out, uint32_t writes_to_come = 0) {
  const Reads reads = reads_of(call);
  const size_t n = call.in.size();
  const size_t saved_in = reads & 0xff ? n : 0;
  const size_t saved_out = reads >> 8 ? out.size() : 0;
  const size_t shapes = call.op.keeps_shapes ? n : 0;
  const size_t bytes = sizeof(Node) + n * sizeof(Edge) + out.size() * sizeof(NodeOutput) +
                       saved_in * sizeof(SavedInput) + saved_out * sizeof(SavedOutput) + shapes * sizeof(Shape) +
                       call.attrs.size;
  auto* at = static_cast<std::byte*>(memory::allocate(bytes));
  auto node = Ref<Node>::adopt(construct<Node>(at, 1).data());
  node->bytes = uint32_t(bytes);
  node->op = &call.op;
  auto* edges = reinterpret_cast<Edge*>(at);
  for (size_t i = 0; i < n; ++i) {
    new (edges + i) Edge(edge_of(*call.in[i]));  // which may throw
    node->edges = {edges, i + 1};
  }
  at += n * sizeof(Edge);
  node->outputs = construct<NodeOutput>(at, out.size());
  node->saved_in = construct<SavedInput>(at, saved_in);
  node->saved_out = construct<SavedOutput>(at, saved_out);
  node->shapes = construct<Shape>(at, shapes);
  node->attrs = call.attrs;
  if (call.attrs.size) node->attrs.data = std::memcpy(at, call.attrs.data, call.attrs.size);
  if (t_modes.anomaly) [[unlikely]] node->note.reset(new NodeNote{{}, current_path()});

  for (size_t i = 0; i < shapes; ++i) node->shapes[i] = Shape(call.in[i]->view);
  save_inputs(*node, call, reads);
  for (size_t i = 0; i < out.size(); ++i) {
    View& meta = node->outputs[i].meta;
    copy_sizes(meta, out[i]->view);
    meta.dtype = out[i]->view.dtype;
    meta.device = out[i]->view.device;
    if (saved_out && reads_bit(reads >> 8, i))
      node->saved_out[i] = {out[i]->storage, out[i]->storage->version + writes_to_come, out[i]->view};
  }
  return node;
}

template <class T> static void destroy_all(std::span<T> all) {
  for (T& t : all) t.~T();
}
static void free_node(Node* n) noexcept {
  destroy_all(n->edges);
  destroy_all(n->outputs);
  destroy_all(n->saved_in);
  destroy_all(n->saved_out);
  const uint32_t bytes = n->bytes;
  n->~Node();
  memory::release(n, bytes);
}

// Freeing a node may free its predecessors. They queue up here instead of recursing: graphs are deep.
void destroy(Node* n) noexcept {
  static constinit thread_local Node* dead = nullptr;
  static constinit thread_local bool draining = false;
  n->next_dead = std::exchange(dead, n);
  if (draining) return;
  draining = true;
  while (dead) free_node(std::exchange(dead, dead->next_dead));
  draining = false;
}

// ---- retained gradients --------------------------------------------------------------------------------------

// A tensor that keeps its gradient is pointed to by the output that made it, and leaves that pointer when it ends.
static std::recursive_mutex& retain_mutex() {
  static auto* mutex = new std::recursive_mutex;  // summing gradients below may end other tensors
  return *mutex;
}
void forget_retained(TensorImpl& t) noexcept {
  if (!t.node) return;
  const std::lock_guard lock(retain_mutex());
  if (OutputWatch* w = t.node->outputs[t.slot].watch.get(); w && w->retains == &t) w->retains = nullptr;
}
static void watch_for(const TensorImpl& t, Node& node, uint32_t slot) {
  if (t.retains_grad && !node.outputs[slot].watch) node.outputs[slot].watch = std::make_unique<OutputWatch>();
}
static void move_retained(TensorImpl& t, Node& to, uint32_t slot) noexcept {  // watch_for(t, to, slot) came before
  forget_retained(t);
  const std::lock_guard lock(retain_mutex());
  to.outputs[slot].watch->retains = &t;
}
void keep_retained(NodeOutput& o) {
  const std::lock_guard lock(retain_mutex());
  if (!o.watch->retains) return;
  Tensor& grad = o.watch->retains->leaf->grad;
  grad = grad.defined() ? grad + o.sum : o.sum.clone();
}

// ---- recording -----------------------------------------------------------------------------------------------

Edge edge_of(TensorImpl& t) {
  if (!needs_grad(t)) return {};
  if (t.node) return {t.node, {}, t.slot};
  return {{}, Ref<TensorImpl>::share(&t), 0};
}

static void set_history(TensorImpl& t, Ref<Node> node, uint32_t slot) {
  if (t.retains_grad) [[unlikely]] move_retained(t, *node, slot);
  t.node = std::move(node);
  t.slot = slot;
}

void record(const Call& call, std::span<Tensor> out) {
  if (std::ranges::none_of(out, [](const Tensor& t) { return is_differentiable(t.dtype()); })) return;
  constexpr size_t kInline = 4;
  std::array<TensorImpl*, kInline> few{};
  std::vector<TensorImpl*> many(out.size() > kInline ? out.size() : 0);
  const std::span<TensorImpl*> impl(many.empty() ? few.data() : many.data(), out.size());
  for (size_t i = 0; i < out.size(); ++i) impl[i] = out[i].impl();
  Ref<Node> node = make_node(call, impl);
  for (size_t i = 1; i < impl.size(); ++i)
    if (is_differentiable(impl[i]->view.dtype)) set_history(*impl[i], node, uint32_t(i));
  if (is_differentiable(impl[0]->view.dtype)) set_history(*impl[0], std::move(node), 0);
}

// ---- views and in-place ops ----------------------------------------------------------------------------------

static Region region_in_base(const TensorImpl& v) {
  const View& base = v.base->view;
  GRAFT_CHECK(v.view.dtype == base.dtype, ErrorCode::autograd, "in-place: ", base, " and its view ", v.view,
              " of another dtype cannot follow each other's changes; clone() one of them");
  GRAFT_CHECK(v.storage.get() == v.base->storage.get(), ErrorCode::autograd, "in-place: the base of the view ", v.view,
              " has been given other memory (set_data) since");
  GRAFT_CHECK(is_dense(base), ErrorCode::autograd, "in-place: the base ", base, " of the view ", v.view,
              " is a detached view with gaps in memory; clone() it before writing with gradients");
  return region_of(v.view, base);
}

void refresh_view(TensorImpl& v) {
  GRAFT_CHECK(!v.untracked_view, ErrorCode::autograd, "autograd: the view ", v.view, " was made without grad mode (or by a "
              "custom function), and its base has since been written in place with gradients: whether those writes are to "
              "count is unclear; make both without grad mode, or both with");
  static std::mutex mutex;  // two threads may read the same view
  const std::lock_guard lock(mutex);
  TensorImpl& base = *v.base;
  if (v.base_history.load() == base.history) return;
  const Region region = region_in_base(v);
  TensorImpl* in[] = {&base};
  TensorImpl* out[] = {&v};
  Ref<Node> node = make_node({as_strided_op, in, region}, out);
  watch_for(v, *node, 0);
  set_history(v, std::move(node), 0);
  v.base_history.store(base.history, std::memory_order_release);
}

void check_writable(const Call& call, bool recording) {
  const TensorImpl& t = *call.in[0];
  if (!t.view.contiguous && may_overlap(t.view)) [[unlikely]]
    fail(call.op.name, "_: elements of the expanded ", t.view, " share memory; clone() it first");
  if (t.inference && !t_modes.inference)
    fail(ErrorCode::autograd, call.op.name, "_: ", t.view, " was made in inference mode and cannot be written outside; clone() it");
  if (!recording) return;
  const TensorImpl& root = t.base ? *t.base : t;
  if (root.requires_grad && !root.node)
    fail(ErrorCode::autograd, call.op.name, "_: ", t.view, t.base ? " is a view of" : " is", " a leaf that requires grad; use NoGrad to update it");
  if (t.untracked_view)
    fail(ErrorCode::autograd, call.op.name, "_: ", t.view, " is a view made without grad mode; writing it with gradients would lose them");
}

InplaceRecord prepare_inplace(const Call& call) {
  TensorImpl& dst = *call.in[0];
  if (!is_differentiable(dst.view.dtype)) return {};
  TensorImpl* out[] = {&dst};
  InplaceRecord record{make_node(call, out, 1), {}};
  if (dst.base) {  // writing a view is base = overwrite(base, view, region): the views then follow from the base
    const Region region = region_in_base(dst);
    TensorImpl* in[] = {dst.base.get(), &dst};
    TensorImpl* base[] = {dst.base.get()};
    record.base_node = make_node({overwrite_op, in, region}, base);
    record.base_node->edges[1] = {record.node, {}, 0};
    watch_for(*dst.base, *record.base_node, 0);
  }
  watch_for(dst, *record.node, 0);
  return record;
}

void commit_inplace(TensorImpl& dst, InplaceRecord record) noexcept {
  if (!record.node) return;
  set_history(dst, std::move(record.node), 0);
  if (dst.base) set_history(*dst.base, std::move(record.base_node), 0);
  TensorImpl& root = dst.base ? *dst.base : dst;
  ++root.history;
}

// ---- what a derivative sees ----------------------------------------------------------------------------------

static void check_version(const Node& n, const char* kind, int i, const View& v, const Storage& s, uint32_t saved) {
  const uint32_t now = s.version.load(std::memory_order_relaxed);
  if (now != saved)
    fail(ErrorCode::autograd, "backward: ", n.op->name, " needs its ", kind, " ", i, " (", v, "), which ", s.writer.load(),
         "_ has changed in place since (version ", now, ", saved at ", saved, "); clone() it before writing");
}

const Tensor& Backward::g(int i) const {
  NodeOutput& o = node_.outputs[size_t(i)];
  if (!o.sum.defined()) o.sum = zeros(Shape(o.meta), {o.meta.dtype, o.meta.device});
  return o.sum;
}
Tensor& Backward::many(int i) {
  if (!many_) many_ = std::make_unique<Tensor[]>(node_.edges.size() - few_.size());
  return many_[size_t(i) - few_.size()];
}

const Tensor& Backward::input(int i) const {
  assert(size_t(i) < node_.saved_in.size() && node_.saved_in[size_t(i)].tensor.defined() && "missing in OpDef::reads");
  SavedInput& saved = node_.saved_in[size_t(i)];
  TensorImpl& t = *saved.tensor.impl();
  check_version(node_, "input", i, t.view, *t.storage, saved.version);
  if (!create_graph_) return saved.tensor;
  const Edge& e = node_.edges[size_t(i)];
  const bool same_history = t.node.get() == e.node.get() && t.slot == e.slot && (e.node || e.leaf || !t.requires_grad);
  if (same_history) return saved.tensor;
  Ref<TensorImpl> then = alias(t);  // its history has changed since: give back the one of the time
  set_history(*then, e.node, e.slot);
  saved.tensor = Tensor(std::move(then));
  return saved.tensor;
}
Tensor Backward::output(int i) const {
  assert(size_t(i) < node_.saved_out.size() && node_.saved_out[size_t(i)].storage && "missing in OpDef::reads");
  const SavedOutput& saved = node_.saved_out[size_t(i)];
  check_version(node_, "output", i, saved.view, *saved.storage, saved.version);
  Ref<TensorImpl> t = make_impl();
  t->view = saved.view;
  t->storage = saved.storage;
  if (create_graph_ && is_differentiable(saved.view.dtype)) set_history(*t, Ref<Node>::share(&node_), uint32_t(i));
  return Tensor(std::move(t));
}
static const View& meta_of(const Edge& e) { return e.node ? e.node->outputs[e.slot].meta : e.leaf->view; }
Shape Backward::input_shape(int i) const {
  return node_.shapes.empty() ? Shape(meta_of(node_.edges[size_t(i)])) : node_.shapes[size_t(i)];
}
Device Backward::input_device(int i) const { return meta_of(node_.edges[size_t(i)]).device; }
DType Backward::input_dtype(int i) const { return meta_of(node_.edges[size_t(i)]).dtype; }

}  // namespace graft

// The backward pass: count edges, then run nodes whose gradients are complete. No recursion, no maps on the way of
// .backward(); a pass claims its nodes, so that a second thread on the same graph gets an error and not a race.
#include <unordered_map>
#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {

static bool owns_memory(const Tensor& t) {
  return t.impl()->unique() && t.impl()->storage->unique() && t.is_contiguous();
}

static void add_into(Tensor& sum, Tensor g, bool create_graph) {
  if (!sum.defined()) sum = std::move(g);
  else if (!create_graph && owns_memory(sum)) sum.add_(g);
  else sum = sum + g;
}

void accumulate_grad(TensorImpl& leaf, Tensor g, bool create_graph) {
  if (!leaf.requires_grad && !leaf.node) return;  // switched off since
  if (!leaf.leaf) leaf.leaf = std::make_unique<LeafState>();
  const std::lock_guard lock(leaf.leaf->mutex);
  Tensor& grad = leaf.leaf->grad;
  if (!grad.defined()) grad = owns_memory(g) ? std::move(g) : g.clone();
  else if (create_graph) grad = grad + g;
  else grad.add_(g);
}

class Pass {
 public:
  Pass(bool retain_graph, bool create_graph)
      : create_graph_(create_graph), retain_graph_(retain_graph || create_graph), modes_before_(t_modes) {
    t_modes.grad = create_graph;
    t_modes.inference = false;
    lists_.swap(spare());
  }
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;
  ~Pass();

  void capture(const Tensors& inputs);  // only what these need runs, and no leaf's .grad changes
  void seed(const Tensor& output, const Tensor& g);
  void run();
  Tensor captured(const Tensor& t) { return captures_[key(edge_of(*t.impl()))]; }

 private:
  using Key = std::pair<const void*, uint32_t>;  // a leaf, or a slot of a node
  struct KeyHash {
    size_t operator()(const Key& k) const { return std::hash<const void*>()(k.first) * 31 + k.second; }
  };
  struct Lists {  // a thread's passes hand them on, so that a pass allocates nothing
    std::vector<Node*> nodes, ready;
    std::vector<std::pair<Edge, Tensor>> seeds;
    void swap(Lists& o) noexcept { nodes.swap(o.nodes), ready.swap(o.ready), seeds.swap(o.seeds); }
  };
  static Lists& spare() {
    static thread_local Lists lists;
    return lists;
  }
  static Key key(const Edge& e) { return e.node ? Key(e.node.get(), e.slot) : Key(e.leaf.get(), 0); }

  bool claim(Node* n);
  void count_edges();
  void mark_needed();
  bool needed(const Edge& e) const { return e.node ? e.node->needed || captures_.contains(key(e)) : captures_.contains(key(e)); }
  void execute(Node& n);
  void finish_outputs(Node& n);
  void deliver(const Edge& e, Tensor g);
  void settle(const Edge& e);
  void finish_leaf(TensorImpl& leaf, Tensor g);

  static std::atomic<uint64_t> next_id_;
  const bool create_graph_, retain_graph_;
  const Modes modes_before_;
  const uint64_t id_ = ++next_id_;
  Lists lists_;
  bool capturing_ = false;
  std::unordered_map<Key, Tensor, KeyHash> captures_;
  struct LeafSum { Tensor sum; uint32_t pending = 0; };
  std::unordered_map<TensorImpl*, LeafSum> watched_;  // leaves with hooks, or captured: they see the total once
};

std::atomic<uint64_t> Pass::next_id_{0};

Pass::~Pass() {
  t_modes.grad = modes_before_.grad;
  t_modes.inference = modes_before_.inference;
  for (Node* n : lists_.nodes) {
    for (NodeOutput& o : n->outputs) o.sum = Tensor();
    n->pending = 0;
    n->needed = true;
    n->pass.store(0, std::memory_order_release);
  }
  lists_.nodes.clear();
  lists_.ready.clear();
  lists_.seeds.clear();
  lists_.swap(spare());
}

bool Pass::claim(Node* n) {
  uint64_t owner = n->pass.load(std::memory_order_relaxed);
  if (owner == id_) return false;
  owner = 0;
  GRAFT_CHECK(n->pass.compare_exchange_strong(owner, id_, std::memory_order_acquire), "backward: ", n->op->name,
              " is in a graph that another backward pass is going through");
  lists_.nodes.push_back(n);
  return true;
}

void Pass::capture(const Tensors& inputs) {
  capturing_ = true;
  for (const Tensor& t : inputs) captures_.emplace(key(edge_of(*t.impl())), Tensor());
}

void Pass::seed(const Tensor& output, const Tensor& g) { lists_.seeds.emplace_back(edge_of(*output.impl()), g); }

void Pass::count_edges() {
  const auto count = [this](const Edge& e, bool from_node) {
    if (e.node) {
      claim(e.node.get());
      e.node->pending += from_node;
    } else if (e.leaf && (capturing_ || e.leaf->leaf->hooks || e.leaf->leaf->post_hooks)) {
      ++watched_[e.leaf.get()].pending;
    }
  };
  for (const auto& [edge, g] : lists_.seeds) count(edge, false);
  for (size_t i = 0; i < lists_.nodes.size(); ++i)  // NOLINT(modernize-loop-convert): grows while it runs
    for (const Edge& e : lists_.nodes[i]->edges) count(e, true);
}

// grad(): only nodes on a way to a captured input run. In topological order, inputs last; then read backwards.
void Pass::mark_needed() {
  std::vector<Node*> order;
  std::unordered_map<Node*, uint32_t> pending;
  for (Node* n : lists_.nodes) {
    pending[n] = n->pending;
    if (n->pending == 0) order.push_back(n);
  }
  for (size_t i = 0; i < order.size(); ++i)
    for (const Edge& e : order[i]->edges)
      if (e.node && --pending[e.node.get()] == 0) order.push_back(e.node.get());
  for (size_t i = order.size(); i-- > 0;)
    order[i]->needed = std::ranges::any_of(order[i]->edges, [this](const Edge& e) { return needed(e); });
}

void Pass::deliver(const Edge& e, Tensor g) {
  const View& want = e.node ? e.node->outputs[e.slot].meta : e.leaf->view;
  if (!same_sizes(g.view(), want)) g = sum_to(g, Shape(want));
  if (g.dtype() != want.dtype) g = g.to(want.dtype);
  if (e.node) return add_into(e.node->outputs[e.slot].sum, std::move(g), create_graph_);
  if (const auto it = watched_.find(e.leaf.get()); it != watched_.end())
    return add_into(it->second.sum, std::move(g), create_graph_);
  if (!t_modes.dry_run) accumulate_grad(*e.leaf, std::move(g), create_graph_);
}

// The gradients of a node's outputs are complete.
void Pass::finish_outputs(Node& n) {
  for (uint32_t i = 0; i < n.outputs.size(); ++i) {
    NodeOutput& o = n.outputs[i];
    if (!o.sum.defined()) continue;
    if (o.watch && !t_modes.dry_run) {
      o.sum = run_hooks(o.watch->hooks, std::move(o.sum));
      if (!capturing_) keep_retained(o);
    }
    if (!capturing_) continue;
    if (auto it = captures_.find(Key(&n, i)); it != captures_.end()) it->second = o.sum;
  }
}

void Pass::execute(Node& n) {
  finish_outputs(n);
  if (!n.needed || std::ranges::none_of(n.outputs, [](const NodeOutput& o) { return o.sum.defined(); })) return;
  GRAFT_CHECK(!n.released, ErrorCode::autograd, "backward: the saved tensors of ", n.op->name,
              " were freed by an earlier pass; pass retain_graph = true to that one");
  GRAFT_CHECK(n.op->backward, ErrorCode::not_implemented, n.op->name, ": has no derivative");
  Backward b(n, create_graph_);
  if (capturing_) {
    b.context_ = this;
    b.wanted_ = [](const void* pass, const Edge& e) { return static_cast<const Pass*>(pass)->needed(e); };
  }
  n.op->backward(b);
  for (size_t i = 0; i < n.edges.size(); ++i) {
    if (!b.needs(int(i)) || !b.to(int(i)).defined()) continue;
    if (t_modes.anomaly) [[unlikely]] check_anomaly(n, int(i), b.to(int(i)));
    deliver(n.edges[i], std::move(b.to(int(i))));
  }
  if (retain_graph_) return;
  for (SavedInput& s : n.saved_in) s = {};
  for (SavedOutput& s : n.saved_out) s.storage = {};
  n.released = !n.saved_in.empty() || !n.saved_out.empty();
}

// One of the deliveries that an edge's end waits for has come, or will never come.
void Pass::settle(const Edge& e) {
  if (e.node) {
    if (--e.node->pending == 0) lists_.ready.push_back(e.node.get());
  } else if (e.leaf && !watched_.empty()) {
    const auto it = watched_.find(e.leaf.get());
    if (it != watched_.end() && --it->second.pending == 0) finish_leaf(*e.leaf, std::move(it->second.sum));
  }
}

void Pass::finish_leaf(TensorImpl& leaf, Tensor g) {
  if (!g.defined()) return;
  const bool real = !t_modes.dry_run;
  if (real) g = run_hooks(leaf.leaf->hooks, std::move(g));
  if (capturing_) {
    if (auto it = captures_.find(Key(&leaf, 0)); it != captures_.end()) it->second = std::move(g);
  } else if (real) {
    accumulate_grad(leaf, std::move(g), create_graph_);
    run_hooks(leaf.leaf->post_hooks, Tensor(Ref<TensorImpl>::share(&leaf)));
  }
}

void Pass::run() {
  count_edges();
  if (capturing_) mark_needed();
  for (const auto& [edge, g] : lists_.seeds) {
    deliver(edge, g);
    if (!edge.node) settle(edge);
    else if (edge.node->pending == 0 && std::ranges::find(lists_.ready, edge.node.get()) == lists_.ready.end())
      lists_.ready.push_back(edge.node.get());
  }
  while (!lists_.ready.empty()) {
    Node& n = *lists_.ready.back();
    lists_.ready.pop_back();
    execute(n);
    for (NodeOutput& o : n.outputs) o.sum = Tensor();
    for (const Edge& e : n.edges) settle(e);
  }
}

// ---- the public functions ------------------------------------------------------------------------------------

static Tensor seed_for(std::string_view who, const Tensor& output, const Tensor& g) {
  GRAFT_CHECK(output.defined() && output.requires_grad(), ErrorCode::autograd, who, ": the output ", output,
              " does not require grad and has no history");
  if (!g.defined()) {
    GRAFT_CHECK(output.numel() == 1, ErrorCode::autograd, who, ": a gradient can be left out for one element only, not for ",
                output);
    GRAFT_CHECK(!is_complex(output.dtype()), ErrorCode::autograd, who, ": a gradient can be left out for real outputs only, not for ",
                output);
    if (output.dim() == 0 && !t_modes.dry_run) return scalar_tensor(1, output.options());
    return ones(output.shape(), output.options());
  }
  GRAFT_CHECK(g.shape() == output.shape(), ErrorCode::shape_mismatch, who, ": the gradient ", g, " has another shape than its output ",
              output);
  GRAFT_CHECK(is_complex(g.dtype()) == is_complex(output.dtype()), ErrorCode::dtype_mismatch, who, ": the gradient ", g,
              " and its output ", output, " must both be real or both complex");
  return g;
}

static void seed_all(Pass& pass, std::string_view who, std::span<const Tensor> outputs, std::span<const Tensor> gradients) {
  GRAFT_CHECK(gradients.empty() || gradients.size() == outputs.size(), ErrorCode::autograd, who, ": ", gradients.size(),
              " gradients for ", outputs.size(), " outputs");
  for (size_t i = 0; i < outputs.size(); ++i)
    pass.seed(outputs[i], seed_for(who, outputs[i], gradients.empty() ? Tensor() : gradients[i]));
}

static void check_requires_grad(std::string_view who, const Tensors& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i)
    GRAFT_CHECK(inputs[i].defined() && inputs[i].requires_grad(), ErrorCode::autograd, who, ": input ", i, " (", inputs[i],
                ") does not require grad");
}

Tensors grad(const Tensors& outputs, const Tensors& inputs, const GradOptions& options) {
  check_requires_grad("grad", inputs);
  Pass pass(options.retain_graph, options.create_graph);
  pass.capture(inputs);
  seed_all(pass, "grad", outputs, options.grad_outputs);
  pass.run();
  Tensors result;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& t = inputs[i];
    result.push_back(pass.captured(t));
    if (!result.back().defined() && options.materialize_grads) result.back() = zeros(t.shape(), t.options());
    GRAFT_CHECK(result.back().defined() || options.allow_unused, ErrorCode::autograd, "grad: input ", i, " (", t,
                ") was not used to compute the outputs; pass allow_unused = true if that may be");
  }
  return result;
}

static void run_backward(std::span<const Tensor> outputs, std::span<const Tensor> gradients, bool retain_graph,
                         bool create_graph, const Tensors& inputs) {
  check_requires_grad("backward", inputs);
  Pass pass(retain_graph, create_graph);
  if (!inputs.empty()) pass.capture(inputs);
  seed_all(pass, "backward", outputs, gradients);
  pass.run();
  for (const Tensor& t : inputs)
    if (Tensor g = pass.captured(t); g.defined() && !t_modes.dry_run) accumulate_grad(*t.impl(), std::move(g), create_graph);
}
void backward(const Tensors& outputs, const GradOptions& options, const Tensors& inputs) {
  run_backward(outputs, options.grad_outputs, options.retain_graph, options.create_graph, inputs);
}
void Tensor::backward(const Tensor& gradient, bool retain_graph, bool create_graph, const Tensors& inputs) const {
  run_backward({this, 1}, {&gradient, 1}, retain_graph, create_graph, inputs);
}

}  // namespace graft

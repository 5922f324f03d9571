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

static Tensor run_hooks(const std::vector<Hook>& hooks, Tensor g) {
  for (const Hook& hook : hooks)
    if (Tensor changed = hook(g); changed.defined()) g = std::move(changed);
  return g;
}

static void accumulate_grad(TensorImpl& leaf, Tensor g, bool create_graph) {
  const std::lock_guard lock(leaf.leaf->mutex);
  Tensor& grad = leaf.leaf->grad;
  if (!grad.defined()) grad = owns_memory(g) ? std::move(g) : g.clone();
  else if (create_graph) grad = grad + g;
  else grad.add_(g);
}

class Pass {
 public:
  explicit Pass(GradOptions o)
      : options_{.retain_graph = o.retain_graph || o.create_graph, .create_graph = o.create_graph},
        mode_before_(std::exchange(t_modes.grad, o.create_graph)) {
    nodes_.swap(scratch().nodes);
    ready_.swap(scratch().ready);
  }
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;
  ~Pass();

  void capture(const Tensors& inputs);
  void seed(const Tensor& output, Tensor g);
  void run();
  Tensor captured(const Tensor& t) { return captures_[key(edge_of(*t.impl()))]; }

 private:
  using Key = std::pair<const void*, uint32_t>;  // a leaf, or a slot of a node
  struct KeyHash {
    size_t operator()(const Key& k) const { return std::hash<const void*>()(k.first) * 31 + k.second; }
  };
  struct Scratch { std::vector<Node*> nodes, ready; };
  static Scratch& scratch() {
    static thread_local Scratch s;
    return s;
  }
  static Key key(const Edge& e) { return e.node ? Key(e.node.get(), e.slot) : Key(e.leaf.get(), 0); }

  bool claim(Node* n);
  void count_edges();
  void mark_needed();
  bool needed(const Edge& e) const { return e.node ? e.node->needed || captures_.contains(key(e)) : captures_.contains(key(e)); }
  void execute(Node& n);
  void deliver(const Edge& e, Tensor g);
  void finish_leaves();

  static std::atomic<uint64_t> next_id_;
  const GradOptions options_;
  const bool mode_before_;
  const uint64_t id_ = ++next_id_;
  std::vector<Node*> nodes_, ready_;
  std::vector<Ref<Node>> roots_;
  bool capturing_ = false;
  std::unordered_map<Key, Tensor, KeyHash> captures_;
  std::unordered_map<TensorImpl*, Tensor> leaf_sums_;  // of leaves with hooks or captured: they see the total once
};

std::atomic<uint64_t> Pass::next_id_{0};

Pass::~Pass() {
  t_modes.grad = mode_before_;
  for (Node* n : nodes_) {
    for (NodeOutput& o : n->outputs) o.sum = Tensor();
    n->pending = 0;
    n->needed = true;
    n->pass.store(0, std::memory_order_release);
  }
  nodes_.clear();
  ready_.clear();
  nodes_.swap(scratch().nodes);
  ready_.swap(scratch().ready);
}

bool Pass::claim(Node* n) {
  uint64_t owner = n->pass.load(std::memory_order_relaxed);
  if (owner == id_) return false;
  owner = 0;
  GRAFT_CHECK(n->pass.compare_exchange_strong(owner, id_, std::memory_order_acquire), "backward: ", n->op->name,
              " is in a graph that another backward pass is going through");
  nodes_.push_back(n);
  return true;
}

void Pass::capture(const Tensors& inputs) {
  capturing_ = true;
  for (const Tensor& t : inputs) {
    GRAFT_CHECK(t.requires_grad(), "grad: input ", t, " does not require grad");
    captures_.emplace(key(edge_of(*t.impl())), Tensor());
  }
}

void Pass::seed(const Tensor& output, Tensor g) {
  const Edge e = edge_of(*output.impl());
  GRAFT_CHECK(e.wanted(), "backward: ", output, " does not require grad");
  if (e.node) {
    claim(e.node.get());
    roots_.push_back(e.node);
  }
  deliver(e, std::move(g));
}

void Pass::count_edges() {
  for (size_t i = 0; i < nodes_.size(); ++i)  // NOLINT(modernize-loop-convert): grows while it runs
    for (const Edge& e : nodes_[i]->edges)
      if (e.node) {
        claim(e.node.get());
        ++e.node->pending;
      }
}

// grad(): only nodes on a way to a captured input run. In topological order, inputs last; then read backwards.
void Pass::mark_needed() {
  std::vector<Node*> order;
  std::unordered_map<Node*, uint32_t> pending;
  for (Node* n : nodes_) {
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
  if (e.node) return add_into(e.node->outputs[e.slot].sum, std::move(g), options_.create_graph);
  if (!capturing_ && e.leaf->leaf->hooks.empty()) return accumulate_grad(*e.leaf, std::move(g), options_.create_graph);
  add_into(leaf_sums_[e.leaf.get()], std::move(g), options_.create_graph);
}

void Pass::execute(Node& n) {
  bool any = false;
  for (uint32_t i = 0; i < n.outputs.size(); ++i) {
    NodeOutput& o = n.outputs[i];
    if (!o.sum.defined()) continue;
    any = true;
    if (o.hooks) o.sum = run_hooks(*o.hooks, o.sum);
    if (capturing_)
      if (auto it = captures_.find(Key(&n, i)); it != captures_.end()) it->second = o.sum;
  }
  if (!any || !n.needed) return;
  GRAFT_CHECK(!n.released, "backward: the saved tensors of ", n.op->name,
              " were freed by an earlier pass; pass retain_graph = true to that one");
  GRAFT_CHECK(n.op->backward, n.op->name, ": has no derivative");
  Backward b(n, options_.create_graph);
  if (capturing_) {
    b.context_ = this;
    b.wanted_ = [](const void* pass, const Edge& e) { return static_cast<const Pass*>(pass)->needed(e); };
  }
  n.op->backward(b);
  for (size_t i = 0; i < n.edges.size(); ++i) {
    if (!b.needs(int(i)) || !b.to(int(i)).defined()) continue;
    deliver(n.edges[i], std::move(b.to(int(i))));
  }
  if (options_.retain_graph) return;
  for (SavedInput& s : n.saved_in) s = {};
  for (SavedOutput& s : n.saved_out) s.storage = {};
  n.released = !n.saved_in.empty() || !n.saved_out.empty();
}

void Pass::run() {
  count_edges();
  if (capturing_) mark_needed();
  for (const Ref<Node>& root : roots_)
    if (root->pending == 0 && std::ranges::find(ready_, root.get()) == ready_.end()) ready_.push_back(root.get());
  while (!ready_.empty()) {
    Node& n = *ready_.back();
    ready_.pop_back();
    execute(n);
    for (NodeOutput& o : n.outputs) o.sum = Tensor();
    for (const Edge& e : n.edges)
      if (e.node && --e.node->pending == 0) ready_.push_back(e.node.get());
  }
  finish_leaves();
}

void Pass::finish_leaves() {
  for (auto& [leaf, sum] : leaf_sums_) {
    Tensor g = run_hooks(leaf->leaf->hooks, std::move(sum));
    if (!capturing_) accumulate_grad(*leaf, std::move(g), options_.create_graph);
    else if (auto it = captures_.find(Key(leaf, 0)); it != captures_.end()) it->second = std::move(g);
  }
}

Tensors grad(const Tensors& outputs, const Tensors& inputs, GradOptions options, const Tensors& seeds) {
  Pass pass(options);
  pass.capture(inputs);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Tensor& t = outputs[i];
    pass.seed(t, i < seeds.size() ? seeds[i] : ones(t.shape(), t.options()));
  }
  pass.run();
  Tensors result;
  for (const Tensor& t : inputs) result.push_back(pass.captured(t));
  return result;
}

void Tensor::backward(bool retain_graph, bool create_graph) const {
  GRAFT_CHECK(numel() == 1, "backward: needs one element, not ", *this, "; reduce it, or use grad() with seeds");
  Pass pass({.retain_graph = retain_graph, .create_graph = create_graph});
  pass.seed(*this, ones(shape(), options()));
  pass.run();
}

}  // namespace graft

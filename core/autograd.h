// Reverse mode: the graph that apply() records, and what a derivative may look at. The engine is in autograd.cpp.
#pragma once
#include <mutex>
#include "graft/core/op.h"

namespace graft::inline v1 {

// Where a gradient flows: into an output of a node, into a leaf, or nowhere.
struct Edge {
  Ref<Node> node;
  Ref<TensorImpl> leaf;
  uint32_t slot = 0;
  bool wanted() const { return node || leaf; }
};

struct SavedInput {
  Tensor tensor;
  uint32_t version = 0;
};
struct SavedOutput {  // the memory, not the tensor: a node that held its own output would never be freed
  Ref<Storage> storage;
  uint32_t version = 0;
  View view;
};
struct OutputWatch {
  std::shared_ptr<HookList> hooks;
  TensorImpl* retains = nullptr;  // the tensor that keeps this gradient; cleared when it goes
};
struct NodeOutput {
  View meta;   // shape, dtype and device; no memory
  Tensor sum;  // what has arrived during a backward pass
  std::unique_ptr<OutputWatch> watch;
};
struct LeafState {
  std::mutex mutex;  // separate graphs that share a parameter may run backward in parallel
  Tensor grad;
  std::shared_ptr<HookList> hooks, post_hooks;
};

class Function;
struct NodeNote {
  std::shared_ptr<Function> function;  // of a user-defined op
  std::string path;                    // the modules it was recorded in, where anomalies are being looked for
};

// One recorded op, in one block: this header, then the arrays, then the attributes.
// The graph owns backwards only: tensor -> node -> edges -> earlier nodes. Nothing owns forwards, so no cycles.
struct Node : Counted {
  const OpDef* op = nullptr;
  std::span<Edge> edges;              // one per input
  std::span<NodeOutput> outputs;
  std::span<SavedInput> saved_in;     // one per input, or none
  std::span<SavedOutput> saved_out;   // one per output, or none
  std::span<Shape> shapes;            // of the inputs, where OpDef::keeps_shapes
  Attrs attrs;
  std::unique_ptr<NodeNote> note;
  uint32_t bytes = 0;
  bool released = false;  // its saved tensors were dropped by a backward pass

  // Scratch of the one backward pass that has claimed the node.
  std::atomic<uint64_t> pass{0};
  uint32_t pending = 0;  // edges into this node that have not delivered yet
  bool needed = true;
  Node* next_dead = nullptr;
};

// A view whose base was written through another alias derives its history anew from the base.
void refresh_view(TensorImpl&);
inline bool needs_grad(TensorImpl& t) {
  if (t.base && t.base_history.load(std::memory_order_acquire) != t.base->history) [[unlikely]] refresh_view(t);
  return t.node || t.requires_grad;
}
Edge edge_of(TensorImpl&);

void record(const Call&, std::span<Tensor> out);  // appends a node and makes the outputs point to it

// The same for an op that overwrites in[0]: the history of in[0], of its base and of all views of that changes.
// Everything that can fail is done before the memory is written.
struct InplaceRecord { Ref<Node> node, base_node; };
void check_writable(const Call&, bool recording);
InplaceRecord prepare_inplace(const Call&);
void commit_inplace(TensorImpl& dst, InplaceRecord) noexcept;

void forget_retained(TensorImpl&) noexcept;  // of a tensor that is about to end
void keep_retained(NodeOutput&);             // gives a tensor with retain_grad() the gradient that has arrived
void accumulate_grad(TensorImpl& leaf, Tensor g, bool create_graph);
void check_anomaly(const Node&, int input, const Tensor& grad);  // Error where the gradient has a NaN

// What a derivative sees: the gradients of the outputs, what was saved, and a place for the gradients of the inputs.
class Backward {
 public:
  Backward(Node& node, bool create_graph) : node_(node), create_graph_(create_graph) {}
  bool has_g(int i = 0) const { return node_.outputs[size_t(i)].sum.defined(); }
  const Tensor& g(int i = 0) const;  // zeros where none arrived
  bool needs(int i) const {          // is the gradient of input i wanted?
    const Edge& e = node_.edges[size_t(i)];
    return wanted_ ? wanted_(context_, e) : e.wanted();
  }
  Tensor& to(int i) {  // the gradient of input i; broadcast dimensions and dtype are reduced for you
    return i < int(few_.size()) ? few_[size_t(i)] : many(i);
  }
  const Tensor& input(int i) const;  // needs a matching OpDef::reads
  Tensor output(int i = 0) const;
  Shape input_shape(int i) const;  // of an input that needs a gradient; of all with OpDef::keeps_shapes
  DType input_dtype(int i) const;
  Device input_device(int i) const;
  int inputs() const { return int(node_.edges.size()); }
  int outputs() const { return int(node_.outputs.size()); }
  bool create_graph() const { return create_graph_; }  // false: a fused kernel may be used
  template <class A> const A& attrs() const { return node_.attrs.get<A>(); }
  Node& node() const { return node_; }

 private:
  friend class Pass;
  Node& node_;
  bool create_graph_;
  const void* context_ = nullptr;  // of wanted_, which grad() sets to skip what its inputs do not need
  bool (*wanted_)(const void*, const Edge&) = nullptr;
  std::array<Tensor, 4> few_;
  std::unique_ptr<Tensor[]> many_;  // the others
  Tensor& many(int i);
};

struct GradOptions {
  Tensors grad_outputs = {};  // as many as outputs, or none; an undefined one is 1 for an output of one real element
  bool retain_graph = false;
  bool create_graph = false;
  bool allow_unused = false;       // an input that does not matter is an error, or yields undefined,
  bool materialize_grads = false;  // or zeros
};
// Gradients of sum(outputs * grad_outputs) with respect to inputs. Leaves no gradient in any tensor.
Tensors grad(const Tensors& outputs, const Tensors& inputs, const GradOptions& = {});
void backward(const Tensors& outputs, const GradOptions& = {}, const Tensors& inputs = {});

Tensor sum_to(const Tensor&, const Shape&);  // inverse of a broadcast

// A user's own differentiable function; see core/function.h for the short form. backward() may itself use
// differentiable functions.
class Function {
 public:
  virtual ~Function() = default;
  virtual std::string_view name() const { return "function"; }
  virtual Tensors forward(const Tensors& in) = 0;                  // without grad mode
  virtual Tensors backward(Backward&, const Tensors& grad_out) = 0;  // b.input(i), b.output(i) are saved for it
};
Tensors call(const std::shared_ptr<Function>&, const Tensors& in);  // core/function.cpp

}  // namespace graft

// User-defined functions: one node in the graph, whose derivative is the user's.
#include "graft/core/function.h"

#include "graft/core/ops.h"

namespace graft::inline v1 {

static const OpDef function_op{
    .name = "function",
    .infer = nullptr,
    .backward =
        [](Backward& b) {
          Tensors g;
          for (int i = 0; i < b.outputs(); ++i) g.push_back(b.g(i));
          Function& f = *b.node().note->function;
          Tensors result = f.backward(b, g);
          GRAFT_CHECK(int(result.size()) == b.inputs(), ErrorCode::autograd, f.name(), ": backward returned ",
                      result.size(), " gradients for ", b.inputs(), " inputs");
          for (int i = 0; i < b.inputs(); ++i) b.to(i) = std::move(result[size_t(i)]);
        },
    .reads = {0xffff, 0xffff, 0xffff, 0xffff},
};

static const TensorImpl* root_of(const Tensor& t) { return t.impl()->base ? t.impl()->base.get() : t.impl(); }

// An output that is an input, or a view of one, stays a view of it that in-place ops with gradients refuse, and that
// is refused itself once such an op has written the input: its history is the user's and cannot be derived anew. Any
// other output may be written freely, unless two outputs share memory.
static Tensor detached_output(const Tensors& in, const Tensors& out, size_t i) {
  const Tensor& t = out[i];
  Ref<TensorImpl> mine = alias(*t.impl());
  const auto shares = [&](const Tensor& x) { return x.defined() && x.impl()->storage.get() == t.impl()->storage.get(); };
  for (const Tensor& x : in) {
    if (!shares(x)) continue;
    mine->base = Ref<TensorImpl>::share(const_cast<TensorImpl*>(root_of(x)));
    mine->base_history.store(mine->base->history);
  }
  mine->untracked_view = mine->base || std::ranges::count_if(out, shares) > 1;
  return Tensor(std::move(mine));
}

Tensors call(const std::shared_ptr<Function>& f, const Tensors& in) {
  const std::vector<TensorImpl*> ptrs = impls(in);
  for (const TensorImpl* t : ptrs) GRAFT_CHECK(t, f->name(), ": an input is undefined");
  std::vector<uint32_t> versions;
  for (const Tensor& t : in) versions.push_back(t.version());
  Tensors out;
  {
    const NoGrad quiet;
    out = f->forward(in);
  }
  const bool wanted = t_modes.grad && !t_modes.inference && std::ranges::any_of(ptrs, [](auto* t) { return needs_grad(*t); });
  if (!wanted) return out;
  for (size_t i = 0; i < in.size(); ++i)
    GRAFT_CHECK(in[i].version() == versions[i], ErrorCode::autograd, f->name(), ": forward wrote its input ", i,
                " in place; return a new tensor");
  for (const Tensor& t : out) GRAFT_CHECK(t.defined(), ErrorCode::autograd, f->name(), ": forward returned an undefined tensor");
  Tensors result;
  for (size_t i = 0; i < out.size(); ++i) result.push_back(detached_output(in, out, i));
  record(Call{function_op, ptrs, {}}, result);
  for (const Tensor& t : result)
    if (Node* n = t.impl()->node.get(); n && (!n->note || !n->note->function)) {
      if (!n->note) n->note = std::make_unique<NodeNote>();
      n->note->function = f;
    }
  return result;
}

namespace autograd {

namespace {
struct Custom final : Function {
  Custom(std::string_view name, ForwardFn f, BackwardFn b) : forward_(std::move(f)), backward_(std::move(b)), name_(name) {}
  std::string_view name() const override { return name_; }
  Tensors forward(const Tensors& in) override { return forward_(in); }
  Tensors backward(Backward& b, const Tensors& g) override { return backward_(b, g); }
  ForwardFn forward_;
  BackwardFn backward_;
  std::string name_;
};
}  // namespace

Tensors custom(const Tensors& inputs, ForwardFn forward, BackwardFn backward, std::string_view name) {
  return call(std::make_shared<Custom>(name, std::move(forward), std::move(backward)), inputs);
}

}  // namespace autograd

}  // namespace graft

#include "graft/surgery/activation_checkpointing.h"

#include "graft/core/function.h"
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"

namespace graft::inline v1::surgery {
namespace {

// The module's buffers, put back in the end.
class KeepBuffers {
 public:
  explicit KeepBuffers(const nn::Module& m) : buffers_(m.buffers()) {
    const NoGrad quiet;
    for (const Tensor& b : buffers_) values_.push_back(b.clone());
  }
  void put_back() const {
    const NoGrad quiet;
    for (size_t i = 0; i < buffers_.size(); ++i) buffers_[i].detach().copy_(values_[i]);
  }

 private:
  std::vector<Tensor> buffers_, values_;
};

bool has_edits(const nn::Module& root) {
  for (const nn::Module* m : root.modules())
    for (const auto& p : m->param_entries())
      if (p->is_edited()) return true;
  return false;
}

// inputs: x and the trained parameters.
Tensors run_again(const nn::ModulePtr& m, Generator numbers, const Tensors& inputs, const Tensors& grad_outputs) {
  GRAFT_CHECK(!t_modes.grad, ErrorCode::not_implemented, "a checkpointed module has no gradients of gradients (create_graph)");
  const UseGenerator use(numbers);
  const KeepBuffers buffers(*m);
  Tensor x = inputs[0].detach();
  Tensors wanted(inputs.begin() + 1, inputs.end());
  const bool for_input = inputs[0].requires_grad();
  if (for_input) wanted.insert(wanted.begin(), x.requires_grad_());
  Tensors found;
  {
    const EnableGrad again;
    const Tensor y = m->call({x}).tensor();
    found = grad({y}, wanted, {.grad_outputs = grad_outputs, .allow_unused = true});
  }
  buffers.put_back();
  if (!for_input) found.insert(found.begin(), Tensor());
  return found;
}

}  // namespace

Tensor Checkpointed::forward(const Tensor& x) {
  Tensors inputs{x};
  for (const Tensor& p : module.module()->parameters())
    if (p.requires_grad()) inputs.push_back(p);
  const bool recorded = t_modes.grad && !t_modes.inference && (inputs.size() > 1 || x.requires_grad());
  if (!recorded || t_modes.dry_run || x.device() == Device::meta || has_edits(*module.module())) return module(x);
  const Generator numbers = default_generator();
  return autograd::custom(
      inputs, [this](const Tensors& in) -> Tensors { return {module(in[0])}; },
      [m = module.module(), numbers, inputs](Backward&, const Tensors& g) { return run_again(m, numbers, inputs, g); },
      "checkpoint")[0];
}

Policy checkpoint_activations(const Selection& s) {
  return on<nn::Module>(s, [](const nn::Module&, const Site& site) -> nn::ModulePtr {
    if (site.slot && dynamic_cast<const Checkpointed*>(site.slot->owner)) return nullptr;
    return nn::make<Checkpointed>(site.module);
  });
}

}  // namespace graft::inline v1::surgery

// Memory for time: what lies inside of a module is not kept for the backward pass but computed again there. Chen et al.,
// "Training Deep Nets with Sublinear Memory Cost" (2016); torch.utils.checkpoint.
#pragma once
#include "graft/nn/child.h"
#include "graft/surgery/policy.h"

namespace graft::inline v1::surgery {

// The second run draws the random numbers of the first, and leaves buffers (running statistics) as they were. Hooks inside
// run twice. Not for gradients of gradients: an Error says so. A module with edited parameters (surgery/mutable.h) is run
// as if it were not wrapped.
class Checkpointed : public nn::Layer {
 public:
  explicit Checkpointed(const nn::ModulePtr& m) : module(this, "module", m) {}
  Tensor forward(const Tensor& x) override;
  nn::Child<nn::Layer> module;
};

// surgery::replace(*net, {surgery::checkpoint_activations(surgery::select(*net).at("layer?.*"))})
Policy checkpoint_activations(const Selection&);

}  // namespace graft::inline v1::surgery

// Residual branches that are left out at random in training: Huang et al., "Deep Networks with Stochastic Depth" (2016);
// composer's StochasticDepth. Composer's replaces the forward of one class of blocks; this wraps any selected branch, whose
// result the block adds to its input.
#pragma once
#include "graft/nn/child.h"
#include "graft/surgery/policy.h"

namespace graft::inline v1::surgery {

enum class DropBy : uint8_t {
  block,   // the branch of the whole batch at once; it is not computed then
  sample,  // each sample by itself
};

// In training zeros with probability drop_rate, else the branch; no rescaling. In eval mode branch(x) * (1 - drop_rate).
class StochasticDepth : public nn::Layer {
 public:
  StochasticDepth(const nn::ModulePtr& branch, double drop_rate, DropBy by = DropBy::block);
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;
  double drop_rate;
  DropBy by;
  nn::Child<nn::Layer> branch;
};

struct StochasticDepthOptions {
  double drop_rate = 0.2;
  DropBy by = DropBy::block;
  bool linear = true;  // branch i of n gets drop_rate * (i + 1) / n; else all drop_rate
};
// surgery::replace(*net, {surgery::stochastic_depth(surgery::select(*net).at("layer*.*.branch"))})
Policy stochastic_depth(const Selection& branches, const StochasticDepthOptions& = {});

}  // namespace graft::inline v1::surgery

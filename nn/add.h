// The sum of two branches as a module, so that surgery sees it: out = relu(add(branch(x), shortcut(x))). Fusion then makes it,
// and the ReLU behind it, part of a convolution before it; a `+` in code stays what it is.
#pragma once
#include "graft/nn/child.h"

namespace graft::inline v1::nn {

class Add : public ModuleOf<Tensor(const Tensor&, const Tensor&)> {
 public:
  Tensor forward(const Tensor& a, const Tensor& b) override;
};

}  // namespace graft::nn

// Layers that change the shape only: Flatten, Unflatten. Names, arguments: torch.nn.
#pragma once
#include "graft/nn/child.h"

namespace graft::inline v1::nn {

class Flatten : public Layer {
 public:
  explicit Flatten(int start_dim = 1, int end_dim = -1) : start_dim(start_dim), end_dim(end_dim) {}
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override { return concat("start_dim=", start_dim, ", end_dim=", end_dim); }
  int start_dim;
  int end_dim;
};
class Unflatten : public Layer {
 public:
  Unflatten(int dim, const Shape& unflattened_size) : dim(dim), unflattened_size(unflattened_size) {}
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;
  int dim;
  Shape unflattened_size;
};

}  // namespace graft

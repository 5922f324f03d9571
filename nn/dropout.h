// Dropout layers (Srivastava et al. 2014): active in training only. Names, arguments: torch.nn.
#pragma once
#include "graft/nn/child.h"
#include "graft/nn/functional.h"

namespace graft::inline v1::nn {

class DropoutNd : public Layer {
 public:
  explicit DropoutNd(double p = 0.5, bool inplace = false);
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;
  double p;
  bool inplace;

 protected:
  virtual Tensor compute(const Tensor& x) const = 0;
};
class Dropout : public DropoutNd {  // single elements
 public:
  using DropoutNd::DropoutNd;
 protected:
  Tensor compute(const Tensor& x) const override { return functional::dropout(x, p, training()); }
};
class Dropout1d : public DropoutNd {  // whole channels of [n, c, l] or [c, l]
 public:
  using DropoutNd::DropoutNd;
 protected:
  Tensor compute(const Tensor& x) const override { return functional::dropout1d(x, p, training()); }
};
class Dropout2d : public DropoutNd {  // whole channels of [n, c, h, w] or [c, h, w]
 public:
  using DropoutNd::DropoutNd;
 protected:
  Tensor compute(const Tensor& x) const override { return functional::dropout2d(x, p, training()); }
};
class Dropout3d : public DropoutNd {  // whole channels of [n, c, d, h, w] or [c, d, h, w]
 public:
  using DropoutNd::DropoutNd;
 protected:
  Tensor compute(const Tensor& x) const override { return functional::dropout3d(x, p, training()); }
};
class AlphaDropout : public DropoutNd {  // keeps mean and variance: Klambauer et al. 2017
 public:
  using DropoutNd::DropoutNd;
 protected:
  Tensor compute(const Tensor& x) const override { return functional::alpha_dropout(x, p, training()); }
};

}  // namespace graft

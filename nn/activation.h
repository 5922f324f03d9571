// Element-wise activations and softmaxes. Names, arguments, formulas: torch.nn.
#pragma once
#include <optional>
#include "graft/core/ops.h"
#include "graft/nn/child.h"
#include "graft/nn/param.h"

namespace graft::inline v1::nn {

// f(x) for a function without arguments; print as "Name()".
template <Tensor (*function)(const Tensor&)> class Elementwise : public Layer {
 public:
  Tensor forward(const Tensor& x) override { return function(x); }
};
class Sigmoid : public Elementwise<graft::sigmoid> {};
class Tanh : public Elementwise<graft::tanh> {};
class LogSigmoid : public Elementwise<graft::log_sigmoid> {};
class Softsign : public Elementwise<graft::softsign> {};
class Tanhshrink : public Elementwise<graft::tanhshrink> {};

// May write its result over its input.
class InplaceLayer : public Layer {
 public:
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;  // options(), then inplace=True where it is
  bool inplace;

 protected:
  explicit InplaceLayer(bool inplace) : inplace(inplace) {}
  virtual Tensor compute(const Tensor& x) const = 0;
  virtual bool derivative_reads_input() const { return true; }  // then a copy of it is kept while gradients are recorded
  virtual std::string options() const { return {}; }
};
template <Tensor (*function)(const Tensor&)> class InplaceElementwise : public InplaceLayer {
 public:
  explicit InplaceElementwise(bool inplace = false) : InplaceLayer(inplace) {}

 protected:
  Tensor compute(const Tensor& x) const override { return function(x); }
};
class ReLU : public InplaceElementwise<graft::relu> {
 public:
  using InplaceElementwise::InplaceElementwise;

 protected:
  bool derivative_reads_input() const override { return false; }
};
class SELU : public InplaceElementwise<graft::selu> { public: using InplaceElementwise::InplaceElementwise; };
class SiLU : public InplaceElementwise<graft::silu> { public: using InplaceElementwise::InplaceElementwise; };
class Mish : public InplaceElementwise<graft::mish> { public: using InplaceElementwise::InplaceElementwise; };
class Hardsigmoid : public InplaceElementwise<graft::hardsigmoid> { public: using InplaceElementwise::InplaceElementwise; };
class Hardswish : public InplaceElementwise<graft::hardswish> { public: using InplaceElementwise::InplaceElementwise; };

class LeakyReLU : public InplaceLayer {
 public:
  explicit LeakyReLU(double negative_slope = 0.01, bool inplace = false) : InplaceLayer(inplace), negative_slope(negative_slope) {}
  double negative_slope;

 protected:
  Tensor compute(const Tensor& x) const override { return graft::leaky_relu(x, negative_slope); }
  std::string options() const override { return concat("negative_slope=", Value(negative_slope)); }
};
class ELU : public InplaceLayer {
 public:
  explicit ELU(double alpha = 1, bool inplace = false) : InplaceLayer(inplace), alpha(alpha) {}
  double alpha;

 protected:
  Tensor compute(const Tensor& x) const override { return graft::elu(x, alpha); }
  std::string options() const override { return concat("alpha=", Value(alpha)); }
};
class CELU : public InplaceLayer {
 public:
  explicit CELU(double alpha = 1, bool inplace = false) : InplaceLayer(inplace), alpha(alpha) {}
  double alpha;

 protected:
  Tensor compute(const Tensor& x) const override { return graft::celu(x, alpha); }
  std::string options() const override { return concat("alpha=", Value(alpha)); }
};
class Threshold : public InplaceLayer {
 public:
  Threshold(double threshold, double value, bool inplace = false) : InplaceLayer(inplace), threshold(threshold), value(value) {}
  double threshold;
  double value;

 protected:
  Tensor compute(const Tensor& x) const override { return graft::threshold(x, threshold, value); }
  std::string options() const override { return concat("threshold=", Value(threshold), ", value=", Value(value)); }
};
class Hardtanh : public InplaceLayer {
 public:
  explicit Hardtanh(double min_val = -1, double max_val = 1, bool inplace = false)
      : InplaceLayer(inplace), min_val(min_val), max_val(max_val) {}
  double min_val;
  double max_val;

 protected:
  Tensor compute(const Tensor& x) const override { return graft::hardtanh(x, min_val, max_val); }
  std::string options() const override { return concat("min_val=", Value(min_val), ", max_val=", Value(max_val)); }
};
class ReLU6 : public Hardtanh {
 public:
  explicit ReLU6(bool inplace = false) : Hardtanh(0, 6, inplace) {}

 protected:
  Tensor compute(const Tensor& x) const override { return graft::relu6(x); }
  std::string options() const override { return {}; }
};

class GELU : public Layer {
 public:
  explicit GELU(std::string approximate = "none") : approximate(std::move(approximate)) {}
  Tensor forward(const Tensor& x) override { return graft::gelu(x, approximate); }
  std::string extra_repr() const override { return "approximate='" + approximate + "'"; }
  std::string approximate;  // "none", "tanh"
};
class Softplus : public Layer {
 public:
  explicit Softplus(double beta = 1, double threshold = 20) : beta(beta), threshold(threshold) {}
  Tensor forward(const Tensor& x) override { return graft::softplus(x, beta, threshold); }
  std::string extra_repr() const override { return concat("beta=", Value(beta), ", threshold=", Value(threshold)); }
  double beta;
  double threshold;
};
class Hardshrink : public Layer {
 public:
  explicit Hardshrink(double lambd = 0.5) : lambd(lambd) {}
  Tensor forward(const Tensor& x) override { return graft::hardshrink(x, lambd); }
  std::string extra_repr() const override { return concat(Value(lambd)); }
  double lambd;
};
class Softshrink : public Layer {
 public:
  explicit Softshrink(double lambd = 0.5) : lambd(lambd) {}
  Tensor forward(const Tensor& x) override { return graft::softshrink(x, lambd); }
  std::string extra_repr() const override { return concat(Value(lambd)); }
  double lambd;
};
// max(0, x) + weight min(0, x); weight is one number or one per channel (dimension 1).
class PReLU : public Layer {
 public:
  explicit PReLU(int64_t num_parameters = 1, double init = 0.25, Options options = {});
  Tensor forward(const Tensor& x) override { return graft::prelu(x, weight); }
  std::string extra_repr() const override { return concat("num_parameters=", num_parameters); }
  int64_t num_parameters;
  Param weight;
};

// dim not given: PyTorch's implicit choice, 0 for ranks 0, 1 and 3, else 1.
class Softmax : public Layer {
 public:
  explicit Softmax(std::optional<int> dim = {}) : dim(dim) {}
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;
  std::optional<int> dim;
};
class LogSoftmax : public Layer {
 public:
  explicit LogSoftmax(std::optional<int> dim = {}) : dim(dim) {}
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;
  std::optional<int> dim;
};
class Softmin : public Layer {
 public:
  explicit Softmin(std::optional<int> dim = {}) : dim(dim) {}
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;
  std::optional<int> dim;
};
class Softmax2d : public Layer {  // over the channels of [n, c, h, w] or [c, h, w]
 public:
  Tensor forward(const Tensor& x) override;
};

}  // namespace graft

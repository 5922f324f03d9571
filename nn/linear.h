// Linear and Bilinear layers; and the pattern for every layer: constructor, reset_parameters, forward, extra_repr, fields
// with PyTorch's names, parameters as members, registration by name at the end of the .cpp.
#pragma once
#include "graft/nn/child.h"
#include "graft/nn/param.h"

namespace graft::inline v1::nn {

struct LinearOptions {
  bool bias = true;
  Options options = {};  // dtype and device of the parameters
};

// y = x W^T + b over the last dimension. weight [out_features, in_features], bias [out_features].
class Linear : public Layer {
 public:
  Linear(int64_t in_features, int64_t out_features, const LinearOptions& = {});
  Linear(int64_t in_features, int64_t out_features, bool bias) : Linear(in_features, out_features, LinearOptions{bias, {}}) {}
  void reset_parameters();  // uniform in +-1/sqrt(in_features)
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;

  int64_t in_features;
  int64_t out_features;
  Param weight;
  Param bias;
};

// y_k = x1^T A_k x2 + b_k over the last dimensions. weight [out, in1, in2], bias [out].
class Bilinear : public ModuleOf<Tensor(const Tensor&, const Tensor&)> {
 public:
  Bilinear(int64_t in1_features, int64_t in2_features, int64_t out_features, const LinearOptions& = {});
  void reset_parameters();
  Tensor forward(const Tensor& x1, const Tensor& x2) override;
  std::string extra_repr() const override;

  int64_t in1_features;
  int64_t in2_features;
  int64_t out_features;
  Param weight;
  Param bias;
};

}  // namespace graft::nn

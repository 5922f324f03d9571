// What may take the place of batch norms: group norm (Wu & He 2018), which does not look at the batch; and batch norm
// that is no longer trained, as torchvision's FrozenBatchNorm2d.
#pragma once
#include "graft/nn/norm.h"
#include "graft/surgery/policy.h"

namespace graft::inline v1::surgery {

// GroupNorm with the weight and bias that were there, shared; the running statistics go. The number of groups is the
// largest divisor of the channels up to num_groups.
std::vector<Policy> batchnorm_to_groupnorm(int64_t num_groups = 32);

// y = (x - running_mean) / sqrt(running_var + eps) * weight + bias in any mode; all four are buffers, under BatchNorm's
// names. x has its channels in dimension 1.
class FrozenBatchNorm : public nn::Layer {
 public:
  explicit FrozenBatchNorm(const nn::BatchNormNd&);
  Tensor forward(const Tensor& x) override;
  std::string extra_repr() const override;
  int64_t num_features;
  double eps;
  nn::Buffer weight, bias, running_mean, running_var;
};
// A norm without running statistics is declined ("no_statistics").
std::vector<Policy> freeze_batchnorm();

}  // namespace graft::inline v1::surgery

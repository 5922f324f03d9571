// Convolutions whose weights are standardised: Qiao et al., "Micro-Batch Training with Batch-Channel Normalization and
// Weight Standardization" (2019); composer's WeightStandardization. A policy that puts a subclass in the place of a
// layer.
#pragma once
#include "graft/nn/conv.h"
#include "graft/surgery/policy.h"

namespace graft::inline v1::surgery {

// A convolution with (W - mean) / sqrt(var + 1e-10) for W, mean and biased variance over all but the first dimension.
// Made of a convolution, whose parameters it shares.
template <int N, class Conv>
class StandardizedConvNd : public Conv {
 public:
  explicit StandardizedConvNd(const nn::ConvNd<N>& conv);
  Tensor forward(const Tensor& x) override;
};
class StandardizedConv1d : public StandardizedConvNd<1, nn::Conv1d> {
 public:
  using StandardizedConvNd::StandardizedConvNd;
};
class StandardizedConv2d : public StandardizedConvNd<2, nn::Conv2d> {
 public:
  using StandardizedConvNd::StandardizedConvNd;
};
class StandardizedConv3d : public StandardizedConvNd<3, nn::Conv3d> {
 public:
  using StandardizedConvNd::StandardizedConvNd;
};

Tensor standardized(const Tensor& weight);

// surgery::plan(*net, surgery::weight_standardization(), ...)
std::vector<Policy> weight_standardization();

// All but the last of the model's convolutions, which make its output: those that run last with the example, or without
// one those that are registered last. surgery::plan(*net, surgery::weight_standardization(*net, {.n_last_layers_ignore = 1}))
struct WeightStandardizationOptions {
  int64_t n_last_layers_ignore = 0;
  nn::Values example = {};
};
std::vector<Policy> weight_standardization(const nn::Module& model, const WeightStandardizationOptions&);

extern template class StandardizedConvNd<1, nn::Conv1d>;
extern template class StandardizedConvNd<2, nn::Conv2d>;
extern template class StandardizedConvNd<3, nn::Conv3d>;

}  // namespace graft::inline v1::surgery

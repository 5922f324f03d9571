// Layers as two thin ones: Jaderberg, Vedaldi & Zisserman, "Speeding up Convolutional Neural Networks with Low Rank
// Expansions" (2014); composer's Factorize. Unlike composer's, the two start as the best approximation of what was
// there.
#pragma once
#include "graft/nn/conv.h"
#include "graft/nn/linear.h"
#include "graft/surgery/policy.h"

namespace graft::inline v1::surgery {

// A convolution with few outputs, then one of 1x1.
class FactorizedConv2d : public nn::Layer {
 public:
  FactorizedConv2d(const nn::Conv2d& conv, int64_t rank);
  FactorizedConv2d(const nn::ModulePtr& first, const nn::ModulePtr& second)
      : module0(this, "module0", first), module1(this, "module1", second) {}
  Tensor forward(const Tensor& x) override { return module1(module0(x)); }
  nn::Child<nn::Conv2d> module0, module1;
};
class FactorizedLinear : public nn::Layer {
 public:
  FactorizedLinear(const nn::Linear& linear, int64_t rank);
  FactorizedLinear(const nn::ModulePtr& first, const nn::ModulePtr& second)
      : module0(this, "module0", first), module1(this, "module1", second) {}
  Tensor forward(const Tensor& x) override { return module1(module0(x)); }
  nn::Child<nn::Linear> module0, module1;
};

// Layers with fewer inputs or outputs than min_ stay; so do grouped convolutions, and layers that two of that rank
// would not make cheaper. A rank below 1 is a fraction of the smaller of inputs and outputs.
struct FactorizeOptions {
  int64_t min_channels = 512;
  double latent_channels = 0.25;
  int64_t min_features = 512;
  double latent_features = 0.25;
  double energy = 0;  // above 0, instead of latent_: the smallest rank that keeps this share of the squared weights,
  double error = 0;   // or whose product is no further from the weights than this share of their norm (Frobenius); not both
};
// surgery::plan(*net, surgery::factorize(), ...)
std::vector<Policy> factorize(const FactorizeOptions& = {});

}  // namespace graft::inline v1::surgery

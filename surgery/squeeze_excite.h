// Channels weighed by what the whole image shows: Hu, Shen & Sun, "Squeeze-and-Excitation Networks" (2018); composer's
// SqueezeExcite. A policy that wraps: the convolution stays, with its parameters.
#pragma once
#include "graft/nn/containers.h"
#include "graft/nn/conv.h"
#include "graft/surgery/policy.h"

namespace graft::inline v1::surgery {

// x sigmoid(W2 relu(W1 mean(x))) per channel; x [n, c, h, w]; W1 [latent, c], W2 [c, latent].
class SqueezeExcite2d : public nn::Layer {
 public:
  SqueezeExcite2d(int64_t num_features, int64_t latent);
  Tensor forward(const Tensor& x) override;
  nn::Child<nn::Layer> pool_and_mlp;
};

class SqueezeExciteConv2d : public nn::Layer {
 public:
  SqueezeExciteConv2d(const nn::ModulePtr& conv, int64_t latent);
  Tensor forward(const Tensor& x) override;
  nn::Child<nn::Layer> conv;
  nn::Child<SqueezeExcite2d> se;
};

struct SqueezeExciteOptions {
  double latent_channels = 64;  // below 1: this fraction of the output channels
  int64_t min_channels = 128;   // convolutions with fewer inputs or outputs stay
};
// surgery::plan(*net, surgery::squeeze_excite(), ...)
std::vector<Policy> squeeze_excite(const SqueezeExciteOptions& = {});

}  // namespace graft::inline v1::surgery

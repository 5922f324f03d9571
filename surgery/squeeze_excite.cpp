#include "graft/surgery/squeeze_excite.h"

#include <algorithm>
#include "graft/core/ops.h"
#include "graft/nn/activation.h"
#include "graft/nn/linear.h"
#include "graft/nn/pooling.h"
#include "graft/nn/shape.h"

namespace graft::inline v1::surgery {

static nn::ModulePtr mlp(int64_t features, int64_t latent) {
  const nn::LinearOptions no_bias{.bias = false};
  return nn::make<nn::Sequential>(nn::make<nn::AdaptiveAvgPool2d>(1), nn::make<nn::Flatten>(),
                                  nn::make<nn::Linear>(features, latent, no_bias), nn::make<nn::ReLU>(),
                                  nn::make<nn::Linear>(latent, features, no_bias), nn::make<nn::Sigmoid>());
}

SqueezeExcite2d::SqueezeExcite2d(int64_t features, int64_t latent)
    : pool_and_mlp(this, "pool_and_mlp", mlp(features, latent)) {}
Tensor SqueezeExcite2d::forward(const Tensor& x) {
  const Tensor scale = pool_and_mlp(x);
  return x * scale.reshape({scale.size(0), scale.size(1), 1, 1});
}

static const nn::Conv2d& squeezed(const nn::ModulePtr& m) { return dynamic_cast<const nn::Conv2d&>(*m); }

SqueezeExciteConv2d::SqueezeExciteConv2d(const nn::ModulePtr& m, int64_t latent)
    : conv(this, "conv", m), se(this, "se", squeezed(m).out_channels, latent) {}
Tensor SqueezeExciteConv2d::forward(const Tensor& x) { return se(conv(x)); }

std::vector<Policy> squeeze_excite(const SqueezeExciteOptions& o) {
  GRAFT_CHECK(o.latent_channels > 0, "squeeze_excite: latent_channels must be positive, not ", o.latent_channels);
  return {on<nn::Conv2d>([o](const nn::Conv2d& c, const Site& site) -> nn::ModulePtr {
    const bool wrapped = site.slot && dynamic_cast<const SqueezeExciteConv2d*>(site.slot->owner);
    if (wrapped || std::min(c.in_channels, c.out_channels) < o.min_channels) return nullptr;
    const double latent = o.latent_channels >= 1 ? o.latent_channels : o.latent_channels * double(c.out_channels);
    return nn::make<SqueezeExciteConv2d>(site.module, std::max<int64_t>(1, int64_t(latent)));
  })};
}

}  // namespace graft::inline v1::surgery

#include "graft/surgery/factorize.h"

#include <algorithm>
#include <cmath>
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/surgery/low_rank.h"

namespace graft::inline v1::surgery {
namespace {

// 0: two layers of that rank would cost as much as one. `inputs` counts kernel elements, too.
int64_t worthwhile(double latent, int64_t smaller, int64_t inputs, int64_t outputs) {
  const auto rank = latent >= 1 ? int64_t(latent) : std::max<int64_t>(1, int64_t(latent * double(smaller)));
  const double most = std::ceil(double(inputs) * double(outputs) / double(inputs + outputs) - 1);
  return double(rank) <= most ? rank : 0;
}
int64_t rank_of(const Tensor& weight, double latent, const FactorizeOptions& o, int64_t smaller) {
  const int64_t outputs = weight.size(0), inputs = weight.numel() / outputs;
  if (o.energy > 0 || o.error > 0) {
    const Svd d = svd(weight.reshape({outputs, -1}));
    latent = double(o.energy > 0 ? rank_for_energy(d, o.energy) : rank_for_error(d, o.error));
  }
  return worthwhile(latent, smaller, inputs, outputs);
}

// weight [out, in...] ~ second [out, rank] first [rank, in...]
template <class L>
void start_as(L& first, L& second, const Tensor& weight, const Tensor& bias, int64_t rank) {
  const NoGrad quiet;
  const Factors f = truncate(svd(weight.reshape({weight.size(0), -1})), rank);
  first.weight.leaf().detach().copy_(f.b.reshape(first.weight->shape()));
  second.weight.leaf().detach().copy_(f.a.reshape(second.weight->shape()));
  if (!second.bias) return;
  if (bias.defined())
    second.bias.leaf().detach().copy_(bias);
  else
    second.bias.leaf().detach().zero_();
}

template <class Factorized>
bool within(const Site& site) {
  return site.slot && dynamic_cast<const Factorized*>(site.slot->owner);
}

}  // namespace

FactorizedConv2d::FactorizedConv2d(const nn::Conv2d& c, int64_t rank)
    : module0(this, "module0", c.in_channels, rank, c.kernel_size,
              nn::Conv2dOptions{.stride = c.stride,
                                .padding = c.padding,
                                .dilation = c.dilation,
                                .bias = false,
                                .padding_mode = c.padding_mode,
                                .options = c.weight->options()}),
      module1(this, "module1", rank, c.out_channels, 1, nn::Conv2dOptions{.options = c.weight->options()}) {
  start_as(*module0, *module1, c.weight, c.bias, rank);
}
FactorizedLinear::FactorizedLinear(const nn::Linear& l, int64_t rank)
    : module0(this, "module0", l.in_features, rank, nn::LinearOptions{false, l.weight->options()}),
      module1(this, "module1", rank, l.out_features, nn::LinearOptions{bool(l.bias), l.weight->options()}) {
  start_as(*module0, *module1, l.weight, l.bias, rank);
}

std::vector<Policy> factorize(const FactorizeOptions& o) {
  GRAFT_CHECK(o.energy >= 0 && o.energy <= 1 && o.error >= 0 && o.error < 1 && (o.energy == 0 || o.error == 0),
              "factorize: energy of 0 to 1 or error of 0 to 1, not both, says what the rank is: energy = ", o.energy, ", error = ", o.error);
  std::vector<Policy> policies{on<nn::Conv2d>([o](const nn::Conv2d& c, const Site& site) -> nn::ModulePtr {
            const int64_t smaller = std::min(c.in_channels, c.out_channels);
            if (within<FactorizedConv2d>(site) || c.groups != 1 || smaller < o.min_channels) return nullptr;
            const int64_t rank = rank_of(c.weight, o.latent_channels, o, smaller);
            return rank ? nn::make<FactorizedConv2d>(c, rank) : nullptr;
          }),
          on<nn::Linear>([o](const nn::Linear& l, const Site& site) -> nn::ModulePtr {
            const int64_t smaller = std::min(l.in_features, l.out_features);
            if (within<FactorizedLinear>(site) || smaller < o.min_features) return nullptr;
            const int64_t rank = rank_of(l.weight, o.latent_features, o, smaller);
            return rank ? nn::make<FactorizedLinear>(l, rank) : nullptr;
          })};
  for (Policy& p : policies)
    p.named = NamedSurgery{"factorize", {nn::Arg("min_channels", o.min_channels), nn::Arg("latent_channels", o.latent_channels),
                                  nn::Arg("min_features", o.min_features), nn::Arg("latent_features", o.latent_features),
                                  nn::Arg("energy", o.energy), nn::Arg("error", o.error)}};
  return policies;
}

}  // namespace graft::inline v1::surgery

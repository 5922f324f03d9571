#include "graft/surgery/weight_standardization.h"

#include <algorithm>
#include <unordered_set>
#include "graft/core/ops.h"
#include "graft/surgery/trace.h"

namespace graft::inline v1::surgery {

Tensor standardized(const Tensor& w) {
  const Tensor flat = w.reshape({w.size(0), -1});
  const Tensor centred = flat - mean(flat, 1, true);
  return (centred * rsqrt(mean(centred * centred, 1, true) + 1e-10)).reshape(w.shape());
}

template <int N, class Conv>
StandardizedConvNd<N, Conv>::StandardizedConvNd(const nn::ConvNd<N>& c)
    : Conv(c.in_channels, c.out_channels, c.kernel_size, c.layer_options(c.weight->device())) {
  this->weight.entry().share(c.weight.entry());
  if (c.bias) this->bias.entry().share(c.bias.entry());
}
template <int N, class Conv>
Tensor StandardizedConvNd<N, Conv>::forward(const Tensor& x) {
  const Tensor w = standardized(this->weight);
  if constexpr (N == 1)
    return nn::functional::conv1d(x, w, this->bias, this->geometry());
  else if constexpr (N == 2)
    return nn::functional::conv2d(x, w, this->bias, this->geometry());
  else
    return nn::functional::conv3d(x, w, this->bias, this->geometry());
}
template class StandardizedConvNd<1, nn::Conv1d>;
template class StandardizedConvNd<2, nn::Conv2d>;
template class StandardizedConvNd<3, nn::Conv3d>;

// Exactly this type: a subclass may compute something else already, as the standardised one does.
template <class Conv, class Standardized>
static Policy put() {
  return on<Conv>(
      [](const Conv& c) -> nn::ModulePtr { return typeid(c) == typeid(Conv) ? nn::make<Standardized>(c) : nullptr; });
}
std::vector<Policy> weight_standardization() {
  return {put<nn::Conv1d, StandardizedConv1d>(), put<nn::Conv2d, StandardizedConv2d>(),
          put<nn::Conv3d, StandardizedConv3d>()};
}

// In order of registration, or of their last call.
static std::vector<const nn::Module*> convolutions(const nn::Module& model, const nn::Values& example) {
  const std::vector<Policy> policies = weight_standardization();
  std::vector<const nn::Module*> list;
  for (const nn::Module* m : model.modules())
    if (std::ranges::any_of(policies, [m](const Policy& p) { return p.type == typeid(*m); })) list.push_back(m);
  if (example.empty()) return list;
  const Trace t = trace(const_cast<nn::Module&>(model), example);  // it changes nothing
  std::ranges::stable_sort(list, {}, [&t](const nn::Module* m) {
    const auto calls = t.calls_of.find(m);
    return calls == t.calls_of.end() ? size_t(0) : calls->second.back() + 1;
  });
  return list;
}
std::vector<Policy> weight_standardization(const nn::Module& model, const WeightStandardizationOptions& o) {
  GRAFT_CHECK(o.n_last_layers_ignore >= 0, "weight_standardization: n_last_layers_ignore must not be negative, but is ",
              o.n_last_layers_ignore);
  std::vector<const nn::Module*> list = convolutions(model, o.example);
  list.erase(list.begin(), list.end() - std::min(o.n_last_layers_ignore, int64_t(list.size())));
  const auto ignored = std::make_shared<const std::unordered_set<const nn::Module*>>(list.begin(), list.end());
  std::vector<Policy> policies = weight_standardization();
  for (Policy& p : policies)
    p.matches = [ignored, any = p.matches](const nn::Module& m) { return any(m) && !ignored->contains(&m); };
  return policies;
}

}  // namespace graft::inline v1::surgery

#include "graft/surgery/stochastic_depth.h"

#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"

namespace graft::inline v1::surgery {

static void check_drop_rate(double rate) {
  GRAFT_CHECK(rate >= 0 && rate <= 1, "stochastic depth: drop_rate is a probability, not ", rate);
}
// Of a branch that is not run.
static Tensor zeros_instead(nn::Child<nn::Layer>& branch, const Tensor& x) {
  const NoGrad quiet;
  const DryRun shapes;
  const Tensor y = branch(x);
  return zeros(y.shape(), graft::Options(y.dtype(), Device::meta));
}

StochasticDepth::StochasticDepth(const nn::ModulePtr& m, double rate, DropBy how)
    : drop_rate(rate), by(how), branch(this, "branch", m) {
  check_drop_rate(rate);
}

Tensor StochasticDepth::forward(const Tensor& x) {
  if (!training()) return branch(x) * (1 - drop_rate);
  const bool shapes_only = t_modes.dry_run || x.device() == Device::meta;
  if (by == DropBy::block) {
    if (shapes_only || rand({}, f32).item<float>() >= float(drop_rate)) return branch(x);
    const Tensor like = zeros_instead(branch, x);
    return zeros(like.shape(), graft::Options(like.dtype(), x.device()));
  }
  const Tensor y = branch(x);
  Shape one_each = y.shape();
  for (int d = 1; d < one_each.rank(); ++d) one_each[d] = 1;
  return y * floor(rand(one_each, y.options()) + (1 - drop_rate));
}
std::string StochasticDepth::extra_repr() const {
  return concat("drop_rate=", nn::Value(drop_rate), ", by=", by == DropBy::block ? "'block'" : "'sample'");
}

Policy stochastic_depth(const Selection& branches, const StochasticDepthOptions& o) {
  check_drop_rate(o.drop_rate);
  const auto n = double(branches.count());
  return on<nn::Module>(branches, [o, n](const nn::Module&, const Site& site) {
    return nn::make<StochasticDepth>(site.module, o.linear ? o.drop_rate * double(site.index + 1) / n : o.drop_rate, o.by);
  });
}

}  // namespace graft::inline v1::surgery

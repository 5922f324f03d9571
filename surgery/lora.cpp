#include "graft/surgery/lora.h"

#include <ostream>
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/surgery/recipe_step.h"
#include "graft/surgery/table.h"

namespace graft::inline v1::surgery {
namespace {

const nn::Linear& adapted_linear(const nn::ModulePtr& m) { return dynamic_cast<const nn::Linear&>(*m); }
const nn::Conv2d& adapted_conv(const nn::ModulePtr& m) { return dynamic_cast<const nn::Conv2d&>(*m); }

nn::ModulePtr thin_linear(const nn::Linear& like, int64_t in, int64_t out) {
  return nn::make<nn::Linear>(in, out, nn::LinearOptions{false, like.weight->options()});
}
nn::ModulePtr thin_conv(const nn::Conv2d& c, int64_t r) {
  return nn::make<nn::Conv2d>(c.in_channels, r, c.kernel_size,
                              nn::Conv2dOptions{.stride = c.stride,
                                                .padding = c.padding,
                                                .dilation = c.dilation,
                                                .bias = false,
                                                .padding_mode = c.padding_mode,
                                                .options = c.weight->options()});
}
nn::ModulePtr pointwise_conv(const nn::Conv2d& c, int64_t r) {
  return nn::make<nn::Conv2d>(r, c.out_channels, 1, nn::Conv2dOptions{.bias = false, .options = c.weight->options()});
}

Tensor weight_of(const nn::Child<nn::Layer>& layer) { return layer->get_parameter("weight"); }

Answer adapter_for(const nn::Module& m, const Site& site, const LoRAOptions& o) {
  if (site.slot && dynamic_cast<const LoRALayer*>(site.slot->owner)) return nullptr;
  if (dynamic_cast<const nn::Linear*>(&m)) return nn::make<LoRALinear>(site.module, o);
  const auto* conv = dynamic_cast<const nn::Conv2d*>(&m);
  if (!conv) return Answer::declined("type", "adapters are for Linear and Conv2d");
  if (conv->groups != 1) return Answer::declined("grouped", concat("it has ", conv->groups, " groups"));
  return nn::make<LoRAConv2d>(site.module, o);
}
void check_options(const LoRAOptions& o) {
  GRAFT_CHECK(o.r > 0, "lora: the rank r must be positive, not ", o.r);
  GRAFT_CHECK(o.dropout >= 0 && o.dropout < 1, "lora: dropout is a probability below 1, not ", o.dropout);
}

template <class F> void for_each_adapter(nn::Module& root, F f) {
  for (nn::Module* m : root.modules())
    if (auto* layer = dynamic_cast<LoRALayer*>(m)) f(*layer);
}

}  // namespace

LoRALayer::LoRALayer(const nn::ModulePtr& layer, nn::ModulePtr a, nn::ModulePtr b, const LoRAOptions& o)
    : r(o.r), alpha(o.alpha), base(this, "base", layer), lora_A(this, "lora_A", std::move(a)),
      lora_B(this, "lora_B", std::move(b)), dropout(this, "dropout", o.dropout) {
  const NoGrad quiet;
  weight_of(lora_B).detach().zero_();
}
LoRALinear::LoRALinear(const nn::ModulePtr& m, const LoRAOptions& o)
    : LoRALayer(m, thin_linear(adapted_linear(m), adapted_linear(m).in_features, o.r),
                thin_linear(adapted_linear(m), o.r, adapted_linear(m).out_features), o) {}
LoRAConv2d::LoRAConv2d(const nn::ModulePtr& m, const LoRAOptions& o)
    : LoRALayer(m, thin_conv(adapted_conv(m), o.r), pointwise_conv(adapted_conv(m), o.r), o) {}

Tensor LoRALayer::forward(const Tensor& x) {
  const Tensor y = base(x);
  return merged() ? y : y + lora_B(lora_A(dropout(x))) * (alpha / double(r));
}
std::string LoRALayer::extra_repr() const {
  return concat("r=", r, ", alpha=", nn::Value(alpha), merged() ? ", merged=True" : "");
}

Tensor lora_delta(const Tensor& a, const Tensor& b, int64_t r, double alpha, const Shape& weight) {
  const NoGrad quiet;
  return (matmul(b.reshape({b.size(0), r}), a.reshape({r, -1})) * (alpha / double(r))).reshape(weight);
}
Tensor LoRALayer::delta() const { return lora_delta(weight_of(lora_A), weight_of(lora_B), r, alpha, weight_of(base).shape()); }
void LoRALayer::merge() {
  if (merged()) return;
  const NoGrad quiet;
  const Tensor weight = weight_of(base).detach(), before = weight.clone(), sum = weight + delta();
  weight.copy_(sum);
  unmerged_ = before;
  version_ = weight.version();
  merged_ = true;
}
void LoRALayer::unmerge() {
  if (!merged()) return;
  const NoGrad quiet;
  const Tensor weight = weight_of(base).detach();
  GRAFT_CHECK(!unmerged_.defined() || weight.version() == version_, base.entry().path(),
              ": the weight has been written since lora was merged into it, so that it cannot be put back");
  weight.copy_(unmerged_.defined() ? unmerged_ : weight - delta());
  unmerged_ = Tensor();
  merged_ = false;
}

std::vector<Policy> lora(const LoRAOptions& o) {
  check_options(o);
  return {on<nn::Linear>([o](const nn::Linear& m, const Site& site) { return adapter_for(m, site, o); }),
          on<nn::Conv2d>([o](const nn::Conv2d& m, const Site& site) { return adapter_for(m, site, o); })};
}
Policy lora(const Selection& s, const LoRAOptions& o) {
  check_options(o);
  return on<nn::Module>(s, [o](const nn::Module& m, const Site& site) { return adapter_for(m, site, o); });
}
std::vector<Policy> remove_lora() {
  return {on<LoRALayer>([](const LoRALayer& m) { return m.base.module(); })};
}

std::vector<Tensor> lora_parameters(const nn::Module& root) {
  std::vector<Tensor> all;
  for (const nn::Module* m : root.modules()) {
    const auto* layer = dynamic_cast<const LoRALayer*>(m);
    if (!layer) continue;
    all.push_back(weight_of(layer->lora_A));
    all.push_back(weight_of(layer->lora_B));
  }
  return all;
}
void mark_only_lora_as_trainable(nn::Module& root) {
  const std::vector<Tensor> adapters = lora_parameters(root);
  for (Tensor p : root.parameters())
    p.requires_grad_(std::ranges::any_of(adapters, [&](const Tensor& a) { return a.is_same(p); }));
}

// The step of a recipe: of all adapters that are in the other state, each at all of its paths.
static detail::Step step_for(const nn::Module& root, bool merges) {
  detail::Step step;
  step.kind = merges ? detail::Step::Kind::merge_lora : detail::Step::Kind::unmerge_lora;
  step.before = structure_hash(root);
  for (const auto& [path, m] : root.named_modules(nullptr, {}, false)) {
    const auto* layer = dynamic_cast<const LoRALayer*>(m);
    if (layer && layer->merged() != merges) (merges ? step.keys.add : step.keys.subtract).push_back({path, layer->r, layer->alpha});
  }
  return step;
}
Recipe merge_lora(nn::Module& root) {
  detail::Step step = step_for(root, true);
  std::vector<LoRALayer*> done;
  try {
    for_each_adapter(root, [&](LoRALayer& layer) {
      if (layer.merged()) return;
      done.reserve(done.size() + 1);
      layer.merge();
      done.push_back(&layer);
    });
    step.after = structure_hash(root);
    return detail::recipe_of(std::make_shared<const detail::Step>(std::move(step)));
  } catch (...) {
    while (!done.empty()) done.back()->unmerge(), done.pop_back();
    throw;
  }
}
Recipe unmerge_lora(nn::Module& root) {  // backwards: two adapters may share a weight
  detail::Step step = step_for(root, false);
  std::vector<LoRALayer*> merged;
  for_each_adapter(root, [&](LoRALayer& layer) { merged.push_back(&layer); });
  while (!merged.empty()) merged.back()->unmerge(), merged.pop_back();
  step.after = structure_hash(root);
  return detail::recipe_of(std::make_shared<const detail::Step>(std::move(step)));
}

LoRAStatus lora_status(const nn::Module& root) {
  LoRAStatus s;
  for (const Tensor& p : root.parameters()) {
    s.parameters += p.numel();
    if (p.requires_grad()) s.trainable += p.numel();
  }
  for (const auto& [path, m] : root.named_modules()) {
    const auto* layer = dynamic_cast<const LoRALayer*>(m);
    if (!layer) continue;
    const int64_t own = weight_of(layer->lora_A).numel() + weight_of(layer->lora_B).numel();
    s.adapters.push_back({path, nn::type_name(*m), layer->r, layer->alpha, layer->merged(), own});
  }
  return s;
}
std::ostream& operator<<(std::ostream& out, const LoRAStatus& s) {
  std::vector<std::vector<std::string>> rows{{"path", "type", "r", "alpha", "merged", "parameters"}};
  for (const auto& a : s.adapters)
    rows.push_back({a.path, a.type, concat(a.r), concat(nn::Value(a.alpha)), a.merged ? "yes" : "no", concat(a.parameters)});
  print_table(out, rows);
  return out << "trainable: " << concat(s.trainable, " of ", s.parameters, " parameters") << '\n';
}

}  // namespace graft::inline v1::surgery

#include "graft/surgery/fuse_chain.h"

#include "graft/nn/architecture.h"
#include "graft/nn/intrinsic.h"
#include "graft/surgery/hook_moves.h"
#include "graft/surgery/recipe_step.h"

namespace graft::inline v1::surgery {

std::vector<const nn::Module*> Chain::modules() const {
  std::vector<const nn::Module*> list;
  for (const nn::Module* m : {static_cast<const nn::Module*>(before), layer.module, static_cast<const nn::Module*>(behind), add, relu})
    if (m) list.push_back(m);
  return list;
}
nn::ModulePtr folded_layer(const Chain& c) {
  if (c.folded) return c.folded;
  Weights w = weights_of(c.layer);
  if (c.before) w = fold_before(c.layer, std::move(w), *c.before);
  if (c.behind) w = fold_behind(c.layer, std::move(w), *c.behind);
  return with_weights(c.layer, w);
}
nn::ModulePtr fused_layer(const Chain& c) {
  const nn::ModulePtr layer = folded_layer(c);
  const auto part = [](const nn::Module* m) -> nn::ModulePtr {
    if (!m) return nullptr;
    nn::ModulePtr copy = m->clone();
    drop_call_hooks(*copy);
    return copy;
  };
  const nn::ModulePtr relu = part(c.relu);
  if (c.add) {
    const auto sum = [&]<class M>() -> nn::ModulePtr { return nn::make<M>(layer, part(c.add), relu, c.residual_first); };
    const nn::ModulePtr all = c.layer.dims == 1   ? sum.operator()<nn::ConvAddReLU1d>()
                              : c.layer.dims == 2 ? sum.operator()<nn::ConvAddReLU2d>()
                                                  : sum.operator()<nn::ConvAddReLU3d>();
    all->train(c.layer.module->training());
    return all;
  }
  if (!relu) return layer;
  const auto wrapped = [&]<class Plain, class Transposed>() -> nn::ModulePtr {
    if (c.layer.transposed) return nn::make<Transposed>(layer, relu);
    return nn::make<Plain>(layer, relu);
  };
  nn::ModulePtr both;
  switch (c.layer.dims) {
    case 0: both = nn::make<nn::LinearReLU>(layer, relu); break;
    case 1: both = wrapped.operator()<nn::ConvReLU1d, nn::ConvTransposeReLU1d>(); break;
    case 2: both = wrapped.operator()<nn::ConvReLU2d, nn::ConvTransposeReLU2d>(); break;
    default: both = wrapped.operator()<nn::ConvReLU3d, nn::ConvTransposeReLU3d>();
  }
  both->train(c.layer.module->training());
  return both;
}

namespace {

using PathOf = std::function<std::string(const nn::Module*)>;

// What a recipe says of a chain.
void write_down(const Chain& c, const PathOf& path_of, detail::Step& step) {
  const auto path = [&](const nn::Module* m) { return m ? path_of(m) : std::string(); };
  step.chains.push_back({path(c.layer.module), path(c.before), path(c.behind), path(c.add), path(c.relu), c.residual_first});
  detail::Fold fold{path(c.place()) + (c.add ? ".conv" : c.relu ? ".0" : ""), {}};
  for (const nn::Module* m : {static_cast<const nn::Module*>(c.before), c.layer.module, static_cast<const nn::Module*>(c.behind)})
    fold.parts.emplace_back(path(m), m ? nn::architecture(*m) : Json());
  step.keys.fold.push_back(std::move(fold));
}

size_t call_hooks(const nn::Module& m, std::vector<nn::HookKind> kinds) {
  size_t n = 0;
  for (const nn::HookKind k : kinds) n += m.hooks() ? m.hooks()->count(k) : 0;
  return n;
}

void plan_hooks(const Chain& c, const nn::ModulePtr& fused, const PathOf& path, std::vector<HookMove>& moves, Fused& report) {
  using K = nn::HookKind;
  const auto modules = c.modules();
  const auto shared = [](const nn::Module* m) { return std::const_pointer_cast<nn::Module>(m->shared_from_this()); };
  if (call_hooks(*modules.front(), {K::forward_pre})) moves.push_back({shared(modules.front()), K::forward_pre, fused});
  if (call_hooks(*modules.back(), {K::forward})) moves.push_back({shared(modules.back()), K::forward, fused});
  for (const nn::Module* m : modules) {
    size_t n = call_hooks(*m, {K::full_backward_pre, K::full_backward});
    if (m != modules.front()) n += call_hooks(*m, {K::forward_pre});
    if (m != modules.back()) n += call_hooks(*m, {K::forward});
    if (n) report.dropped_hooks.push_back(concat(path(m), ": ", n, n == 1 ? " hook" : " hooks"));
  }
}

}  // namespace

Edit fuse_chains(detail::Root root, const std::vector<Chain>& chains, const PathOf& path, const FuseOptions& options,
                 std::vector<Fused>& report) {
  std::unordered_map<const nn::Module*, nn::ModulePtr> successors;
  Options plan_options{
      .optimizers = options.optimizers, .inherit_device = false, .inherit_dtype = false, .inherit_training = false};
  detail::Step step;
  step.kind = detail::Step::Kind::fuse;
  step.move_hooks = options.move_hooks;
  for (const Chain& c : chains) {
    write_down(c, path, step);
    const nn::ModulePtr layer = successors[c.place()] = fused_layer(c);
    Fused f{path(c.place()), {}, {}, {}};
    for (const nn::Module* m : c.modules()) {
      f.chain.push_back(path(m));
      f.what += (f.what.empty() ? "" : " + ") + nn::type_name(*m);
      if (m == c.place()) continue;
      successors[m] = nn::make<nn::Identity>();
      successors[m]->train(m->training());
    }
    f.what += " -> " + nn::type_name(*layer);
    layer->set_made_of(joined(f.chain));
    plan_hooks(c, layer, path, plan_options.hook_moves, f);
    report.push_back(std::move(f));
  }
  Policy by_module{typeid(nn::Module), "fusion", [](const nn::Module&) { return true; },
                   [&](const nn::Module& m, const Site&) -> nn::ModulePtr {
                     const auto it = successors.find(&m);
                     return it == successors.end() ? nullptr : it->second;
                   }};
  by_module.step = std::make_shared<const detail::Step>(std::move(step));
  return make_plan(std::move(root), {by_module}, std::move(plan_options)).apply();
}

}  // namespace graft

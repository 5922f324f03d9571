// What else than replacing can be done to the modules of a selection. Each is a policy, so that all of it is planned,
// applied, followed by optimizers and undone alike:
//
//   auto convs = surgery::select(*net).where<nn::Conv2d>();
//   surgery::replace(*net, {surgery::insert_after(convs, [](const nn::Module&) { return nn::make<nn::Dropout>(0.1); }),
//                           surgery::remove(surgery::select(*net).where<nn::Identity>().allow_empty())});
#pragma once
#include "graft/surgery/policy.h"

namespace graft::inline v1::surgery {

namespace detail {
using Maker = std::function<nn::ModulePtr(const nn::Module&, const Site&)>;
template <class F> Maker maker(F fn) {
  return [fn = std::move(fn)](const nn::Module& m, const Site& site) -> nn::ModulePtr {
    if constexpr (std::invocable<const F&>) return fn();
    else return ask<nn::Module>(fn, m, site).module;
  };
}
Policy wrap(const Selection&, Maker);
Policy insert(const Selection&, Maker, bool behind);
}  // namespace detail

// fn(the module) makes what takes its place and contains it.
template <std::invocable<const nn::ModulePtr&> F> Policy wrap(const Selection& s, F fn) {
  return detail::wrap(s, [fn = std::move(fn)](const nn::Module&, const Site& site) -> nn::ModulePtr { return fn(site.module); });
}
// fn(), or one that takes what a policy takes, makes a module; null: none here. In a Sequential or ModuleList it becomes
// an entry of its own, in front of or behind the selected one; elsewhere a Sequential of both takes the place.
template <class F> Policy insert_before(const Selection& s, F fn) { return detail::insert(s, detail::maker(std::move(fn)), false); }
template <class F> Policy insert_after(const Selection& s, F fn) { return detail::insert(s, detail::maker(std::move(fn)), true); }

Policy remove(const Selection&, Removal = Removal::entry);
Policy swap(const Selection& one, const Selection& other);  // of one module each, neither inside the other

// The layer with another number of inputs: weights are repeated (or summed up) so that an input whose channels are all
// alike gives the same output. Conv1d-3d, Linear.
Policy in_channels(const Selection&, int64_t n);
// The layer with another number of outputs: those that both have keep their weights. Conv1d-3d, Linear.
Policy num_classes(const Selection&, int64_t n);

}  // namespace graft

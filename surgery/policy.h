// Policies: what replaces a module of some type. A policy sees the module as const; it answers with a new module, or
// with nothing to leave it as it is.
#pragma once
#include <concepts>
#include <functional>
#include <string>
#include <typeindex>
#include "graft/nn/param.h"
#include "graft/surgery/count.h"

namespace graft::inline v1::surgery {

// Where a policy is asked.
struct Site {
  int64_t index = 0;     // how often this policy was asked before, whatever it answered
  nn::ModulePtr module;  // the module itself, to be wrapped
  int depth = 0;         // how many replacements it lies within
  const nn::ChildEntry* slot = nullptr;  // the first that holds it; null for the root

  std::string path() const { return slot ? slot->path() : std::string(); }
};

struct Policy {
  std::type_index type;  // the type that `matches` tests; names the counter in Indices
  std::string name;      // for reports: "Conv2d"
  bool (*matches)(const nn::Module&);
  std::function<nn::ModulePtr(const nn::Module&, const Site&)> answer;
};

// fn edits a copy of the module that shares its parameters (buffers are copied); the copy takes its place.
template <class F> struct EditCopy { F fn; };
template <class F> EditCopy<F> edit(F fn) { return {std::move(fn)}; }

nn::ModulePtr copy_sharing_parameters(const nn::Module&);

namespace detail {
template <class M, class F> nn::ModulePtr ask(const F& fn, const M& m, const Site& site) {
  if constexpr (requires { fn.fn; }) {
    nn::ModulePtr copy = copy_sharing_parameters(m);
    fn.fn(dynamic_cast<M&>(*copy));
    return copy;
  } else if constexpr (std::invocable<const F&, const M&, const Site&>) {
    return fn(m, site);
  } else if constexpr (std::invocable<const F&, const M&, int64_t>) {
    return fn(m, site.index);
  } else {
    return fn(m);
  }
}
}  // namespace detail

// on<Conv2d>(fn): fn takes (const Conv2d&), (const Conv2d&, int64_t index) or (const Conv2d&, const Site&) and returns
// a module or nullptr. Subclasses match.
template <class M, class F> Policy on(F fn) {
  return {typeid(M), short_type_name(typeid(M)),
          [](const nn::Module& m) { return is_a<M>(m); },
          [fn = std::move(fn)](const nn::Module& m, const Site& site) -> nn::ModulePtr {
            return detail::ask<M>(fn, dynamic_cast<const M&>(m), site);
          }};
}

}  // namespace graft

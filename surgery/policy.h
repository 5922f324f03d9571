// Policies: what replaces a module of some type, or the modules of a selection. A policy sees the module as const; it
// answers with a new module, or with nothing to leave it as it is. Other answers are made by surgery/operations.h.
#pragma once
#include <concepts>
#include <functional>
#include <optional>
#include <string>
#include <typeindex>
#include "graft/nn/param.h"
#include "graft/nn/registry.h"
#include "graft/surgery/count.h"
#include "graft/surgery/select.h"

namespace graft::inline v1::surgery {

// Where a policy is asked.
struct Site {
  int64_t index = 0;     // how often this policy was asked before, whatever it answered
  nn::ModulePtr module;  // the module itself, to be wrapped
  int depth = 0;         // how many replacements it lies within
  const nn::ChildEntry* slot = nullptr;  // the first that holds it; null for the root

  std::string path() const { return slot ? slot->path() : std::string(); }
};

// What becomes of the places of a module that is removed.
enum class Removal : uint8_t {
  entry,     // containers lose the entry, a slot that may be empty becomes so; elsewhere an Identity stays
  identity,  // an Identity everywhere: no other path changes
};

struct Answer {
  enum class Kind : uint8_t { none, replace, remove, insert, exchange, decline };
  Kind kind = Kind::none;
  nn::ModulePtr module;  // the new one; or the one to change places with
  bool behind = false;   // of what is inserted
  Removal removal = Removal::entry;
  std::string code, text;  // why the module was declined

  Answer(std::nullptr_t = nullptr) {}  // NOLINT(google-explicit-constructor)
  template <std::derived_from<nn::Module> M>
  Answer(std::shared_ptr<M> m)  // NOLINT(google-explicit-constructor): null is no opinion
      : kind(m ? Kind::replace : Kind::none), module(std::move(m)) {}
  // No change, and the plan lists why: {"grouped", "it has 4 groups"}.
  static Answer declined(std::string code, std::string text);
  static Answer removed(Removal);
  static Answer inserted(nn::ModulePtr, bool behind);
  static Answer exchanged(nn::ModulePtr with);
};

// What a replacement takes over of the numbers of what it replaces, by name: surgery/weights.h.
enum class Carry : uint8_t {
  none,     // nothing, but parameters that the policy shares itself
  copy,     // where shapes agree
  slice,    // the block that both shapes have; beyond it the new module's own
  inflate,  // as slice for outputs; inputs (dimension 1), and a third dimension of a kernel, repeated and scaled
};
struct PolicyOptions {
  Carry carry = Carry::none;
};

namespace detail {
struct Step;
struct Fold;
}

// A ready-made surgery by its name, with its arguments: what a recipe says where new modules depend on the numbers of the
// old ones, so that their architecture is not enough (catalog.h).
struct NamedSurgery {
  std::string name;
  nn::Args args;
};

struct Policy {
  std::type_index type;  // names the counter in Indices
  std::string name;      // for reports: "Conv2d"
  std::function<bool(const nn::Module&)> matches;
  std::function<Answer(const nn::Module&, const Site&)> answer;
  PolicyOptions options = {};
  std::optional<Selection> selection = {};  // whose modules it is about; checked before anything is asked
  std::optional<NamedSurgery> named = {};          // for recipes
  std::vector<detail::Fold> (*folds)(const nn::Module& before, const std::string& path) = nullptr;  // what its answers are made of
  bool copies = false;                      // it answers with edited copies: edit(fn)
  std::shared_ptr<const detail::Step> step = {};  // all of what a recipe says: fusion
};

// fn edits a copy of the module that shares its parameters (buffers are copied); the copy takes its place.
template <class F> struct EditCopy { F fn; };
template <class F> EditCopy<F> edit(F fn) { return {std::move(fn)}; }
template <class F> inline constexpr bool is_edit_copy_v = false;
template <class F> inline constexpr bool is_edit_copy_v<EditCopy<F>> = true;

namespace detail {
template <class M, class F> Answer ask(const F& fn, const M& m, const Site& site) {
  if constexpr (requires { fn.fn; }) {
    nn::ModulePtr copy = m.clone_sharing_parameters();
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
std::function<bool(const nn::Module&)> among(const Selection&);
void check_types(const Selection&, const std::string& type, bool (*is)(const nn::Module&));
}  // namespace detail

// on<Conv2d>(fn): fn takes (const Conv2d&), (const Conv2d&, int64_t index) or (const Conv2d&, const Site&) and returns
// a module or nullptr. Subclasses match.
template <class M, class F> Policy on(F fn, PolicyOptions options = {}) {
  return {.type = typeid(M), .name = short_type_name(typeid(M)), .matches = [](const nn::Module& m) { return is_a<M>(m); },
          .answer = [fn = std::move(fn)](const nn::Module& m, const Site& site) -> Answer {
            return detail::ask<M>(fn, dynamic_cast<const M&>(m), site);
          },
          .options = options, .copies = is_edit_copy_v<F>};
}
// The same for the modules of a selection, all of which must be of the type.
template <class M, class F> Policy on(const Selection& selection, F fn, PolicyOptions options = {}) {
  detail::check_types(selection, short_type_name(typeid(M)), &is_a<M>);
  Policy p = on<M>(std::move(fn), options);
  p.matches = detail::among(selection);
  p.selection = selection;
  return p;
}
template <class F> Policy on(const Selection& selection, F fn, PolicyOptions options = {}) {
  return on<nn::Module, F>(selection, std::move(fn), options);
}

}  // namespace graft

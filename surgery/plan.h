// plan -> apply -> undo. A plan is made without touching the model: policies are asked, new modules are built aside.
// apply() checks and allocates everything, then exchanges pointers without a way to fail; undo() puts them back.
//
//   auto plan = surgery::plan(*net, {surgery::on<nn::ReLU>([](const nn::ReLU&) { return nn::make<nn::GELU>(); })},
//                             {.optimizers = {&sgd}});
//   std::cout << plan;
//   surgery::Edit edit = plan.apply();
//   edit.undo();
#pragma once
#include <iosfwd>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>
#include "graft/optim/optimizer.h"
#include "graft/surgery/cost.h"
#include "graft/surgery/hook_moves.h"
#include "graft/surgery/operations.h"
#include "graft/surgery/policy.h"
#include "graft/surgery/verify.h"
#include "graft/surgery/weights.h"

namespace graft::inline v1::surgery {

using Indices = std::unordered_map<std::type_index, int64_t>;  // per policy type: where its index starts

struct Options {
  std::vector<optim::Optimizer*> optimizers = {};  // they follow: dead parameters leave, new ones take their places
  std::optional<size_t> group = {};                // where a new parameter goes whose place cannot be inferred
  bool carry_state = false;                        // a new parameter of the same rank inherits the optimizer's state:
                                                   // the leading block that both have, zeros beyond it
  bool recurse = false;                            // ask policies about what they answered with, too
  int max_depth = 32;                              // of such answers within answers
  Indices* indices = nullptr;                      // start values; apply() moves them on
  bool include_root = false;                       // needs a shared_ptr to the model, which is then replaced
  bool allow_empty = true;                         // false: a plan that changes nothing is an Error
  bool skip_refused = false;                       // what does not fit is listed in Plan::declined(), not an Error
  bool inherit_device = true, inherit_dtype = true, inherit_training = true;  // of what is replaced
  bool inherit_requires_grad = false;              // of parameters of the same name
  bool inherit_hooks = false;                      // the replacement gets a copy of the hooks
  std::vector<HookMove> hook_moves = {};           // made with the commit, and taken back by undo()
  nn::Values example = {};                         // inputs for dry runs of the model as it is and as it will be: a shape
                                                   // error is found now, and the plan lists shapes and costs
};

// One replacement. `after` may be `before` itself: the policy has looked at it and kept it. Null: it is removed. A null
// `before`: `after` is inserted, and path says where it will be.
struct Change {
  std::string path;                  // of the first slot
  std::vector<std::string> aliases;  // the other slots of a shared module
  nn::ModulePtr before, after;
  std::string policy;
  int64_t index = 0;                 // that the policy was given
  std::vector<Carried> weights = {};  // where the policy has PolicyOptions::carry
  bool swapped = false;               // `after` is a module of the model, which has changed places with `before`
};

// What a policy, or with Options::skip_refused the plan, would not do.
struct Declined {
  std::string path, policy;
  std::string code;  // the policy's own, or the name of an ErrorCode
  std::string text;
};

// What a reader of the plan should know beside the changes.
struct Note {
  enum class Kind : uint8_t { hooks_left, requires_grad_differs, not_optimized, no_optimizer, inside_replaced, shapes_unknown };
  Kind kind;
  std::string path, text;
};
std::string_view name_of(Note::Kind);

class Edit;
class Recipe;
namespace detail {
struct Draft;    // what a plan will do
struct Journal;  // what an edit did
struct Replaying;
struct Step;     // what a recipe says of an edit
Recipe recipe_of(std::shared_ptr<const Step>);
Edit commit(std::unique_ptr<Journal>) noexcept;
struct Root {
  nn::Module* module = nullptr;
  nn::ModulePtr owner = {};                               // keeps the model alive where it is shared
  void* handle = nullptr;                                 // a shared_ptr that include_root may change
  bool (*fits)(nn::Module&) = nullptr;                    // may the handle hold it?
  void (*put)(void* handle, nn::ModulePtr&) noexcept = nullptr;  // swaps
  nn::Module* (*held)(void* handle) = nullptr;
};
}  // namespace detail

// What apply() did. Dropping it changes nothing.
class Edit {
 public:
  Edit(Edit&&) noexcept;
  Edit& operator=(Edit&&) noexcept;
  ~Edit();

  const std::vector<Change>& changes() const;
  bool applied() const;  // false after undo()
  // Puts slots, modules, membership in optimizers and the state of removed parameters back as they were; whatever else
  // has been trained or changed since stays. Edits may be undone in any order in which none takes away what a later one
  // stands on; otherwise Error plan_refused, which lists the slots, lists and parameters that later edits have touched.
  void undo();
  const std::optional<Difference>& verified() const;  // by apply({.verify}): how far the answers are apart
  Recipe recipe() const;  // recipe.h: what it did, as the model was then; Error if apply() was told not to

 private:
  friend class Plan;
  friend struct detail::Replaying;
  friend Edit detail::commit(std::unique_ptr<detail::Journal>) noexcept;
  explicit Edit(std::unique_ptr<detail::Journal>);
  std::unique_ptr<detail::Journal> journal_;
};

struct ApplyOptions {
  Verify verify = {};  // runs the model before and after, and rolls back where the answers differ
  bool record = true;  // for Edit::recipe(): keeps what the model is made of before and after, a few hundred bytes a module
};

class Plan {
 public:
  Plan(Plan&&) noexcept;
  Plan& operator=(Plan&&) noexcept;
  ~Plan();

  const std::vector<Change>& changes() const;  // in the order in which policies were asked, intermediate ones included
  const std::vector<Note>& notes() const;
  const std::vector<Declined>& declined() const;
  bool empty() const { return changes().empty(); }
  int64_t parameters_before() const;
  int64_t parameters_after() const;
  const std::optional<Cost>& cost_before() const;  // of Options::example, if there is one
  const std::optional<Cost>& cost_after() const;

  std::string tree() const;                // the difference of the two trees, with - and +
  std::string json(int indent = 2) const;  // everything, for programs; -1: on one line

  // Commits. Errors, all before anything is changed: the model is not as it was when the plan was made, it is running,
  // a module does not fit into its slot, it is unclear where an optimizer should put a parameter. And plan_refused, with
  // the model as it was, if it answers otherwise than `verify` allows; the first module that does is named.
  Edit apply(const ApplyOptions& = {});

 private:
  friend Plan make_plan(detail::Root, std::vector<Policy>, Options);
  friend std::ostream& operator<<(std::ostream&, const Plan&);
  explicit Plan(std::unique_ptr<detail::Draft>);
  std::unique_ptr<detail::Draft> draft_;
};
std::ostream& operator<<(std::ostream&, const Plan&);  // a table

Plan make_plan(detail::Root, std::vector<Policy>, Options);
inline Plan plan(nn::Module& model, std::vector<Policy> policies, Options options = {}) {
  return make_plan({.module = &model, .owner = model.weak_from_this().lock()}, std::move(policies), std::move(options));
}
namespace detail {
template <class T> Root root_of(std::shared_ptr<T>& model) {
  Root root{.module = model.get(), .owner = model, .handle = &model};
  root.fits = [](nn::Module& m) { return is_a<T>(m); };
  root.held = [](void* handle) -> nn::Module* { return static_cast<std::shared_ptr<T>*>(handle)->get(); };
  root.put = [](void* handle, nn::ModulePtr& m) noexcept {
    auto& p = *static_cast<std::shared_ptr<T>*>(handle);
    nn::ModulePtr before = p;
    p = std::dynamic_pointer_cast<T>(m);
    m = std::move(before);
  };
  return root;
}
}  // namespace detail
// The same for a model in a handle, so that include_root can replace the model itself. T decides what fits.
template <class T> Plan plan(std::shared_ptr<T>& model, std::vector<Policy> policies, Options options = {}) {
  return make_plan(detail::root_of(model), std::move(policies), std::move(options));
}

// plan and apply in one.
template <class Model> Edit replace(Model& model, std::vector<Policy> policies, Options options = {}) {
  return plan(model, std::move(policies), std::move(options)).apply();
}

}  // namespace graft

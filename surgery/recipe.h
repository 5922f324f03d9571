// What has been done to a model, as a value: every edit, fusion and merge records itself as a step. A recipe prints, is
// saved as JSON (docs/recipes.md), replayed on another model of the same structure, and takes checkpoints of the model as it
// was to the model as it is.
//
//   surgery::Recipe recipe = surgery::replace(*net, surgery::lora({.r = 4})).recipe();
//   recipe += surgery::fuse(*net, {x}).edit.recipe();
//   recipe.save("net.recipe.json");
//   surgery::Recipe::load("net.recipe.json").replay(*another, {.optimizers = {&adam}});
//   net->load_state_dict(recipe.migrate(old_checkpoint, net.get()));
#pragma once
#include <iosfwd>
#include "graft/surgery/plan.h"

namespace graft::inline v1::surgery {

// Of what surgery and nn:: register. Equal numbers: a recipe for one model is one for the other.
uint64_t structure_hash(const nn::Module&);

struct ReplayOptions {
  std::vector<optim::Optimizer*> optimizers = {};  // they follow, as in Options
  std::optional<size_t> group = {};
  bool carry_state = false;
  bool force = false;  // also where the structure is another one than when it was recorded
};

// The steps of a recipe as they were replayed. Dropping it changes nothing.
class Replayed {
 public:
  void undo();  // the last step first; an Error leaves those before it as they are
  const std::vector<Edit>& edits() const { return edits_; }  // of the steps that are edits; those of adapters are not
  Recipe recipe() const;  // of what was done here: with `force` the structures differ from those of the recipe replayed

 private:
  friend struct detail::Replaying;
  struct Merge {  // or the opposite
    nn::Module* model;
    nn::ModulePtr owner;
    bool merged;
  };
  std::vector<Edit> edits_;
  std::vector<std::pair<size_t, Merge>> merges_;  // how many edits were made before
  std::vector<std::shared_ptr<const detail::Step>> steps_;
};

class Recipe {
 public:
  Recipe() = default;  // no steps
  // Strict, errors malformed, unsupported (another version), too_large: fields that nobody knows are refused, with where.
  static Recipe parse(std::string_view json, std::string_view what = "recipe");
  static Recipe load(const std::string& path);
  void save(const std::string& path) const;
  std::string json(int indent = 2) const;

  size_t size() const { return steps_.size(); }
  bool empty() const { return steps_.empty(); }
  uint64_t before() const;  // structures of the models that it starts from and ends with; 0: no steps
  uint64_t after() const;
  // `next` continues where this one ends; Error plan_refused if it starts from another structure.
  Recipe& operator+=(const Recipe& next);
  friend Recipe operator+(Recipe a, const Recipe& b) { return a += b; }
  bool operator==(const Recipe& o) const { return json() == o.json(); }

  // Does the same to another model, through plans: all of it, or an Error and no change. Fusions fold the weights that are
  // there; new modules get numbers of their own, or what the step says to carry over. Errors: a path that is not there, with
  // the nearest ones; another structure (unless forced); a step that cannot be repeated, since it brought in a type that is
  // not registered; those of planning and applying.
  Replayed replay(nn::Module& model, const ReplayOptions& o = {}) const {
    return replay(detail::Root{.module = &model, .owner = model.weak_from_this().lock()}, o);
  }
  template <class T> Replayed replay(std::shared_ptr<T>& model, const ReplayOptions& o = {}) const {  // the root, too
    return replay(detail::root_of(model), o);
  }

  // A state_dict() of the model as it was before the first step, as one of the model after the last: keys are renamed, numbers
  // folded, sliced, dropped. What the steps have brought in new is taken from `edited`, or left out. Error key_error where
  // the dictionary lacks what is to be folded or renamed.
  nn::StateDict migrate(const nn::StateDict& old, const nn::Module* edited = nullptr) const;

 private:
  friend Recipe detail::recipe_of(std::shared_ptr<const detail::Step>);
  friend struct detail::Replaying;
  friend std::ostream& operator<<(std::ostream&, const Recipe&);
  Replayed replay(const detail::Root&, const ReplayOptions&) const;
  std::vector<std::shared_ptr<const detail::Step>> steps_;
};
std::ostream& operator<<(std::ostream&, const Recipe&);  // a line per change, with its key map

}  // namespace graft

// The variables of one surgery program, and its vocabulary: models from trees, numbers from formulas, attributes.
// The language is described in the field `conventions` of tests/data/conformance/surgery.json.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>
#include "case_file.h"
#include "graft/nn/module.h"
#include "graft/optim/optimizer.h"

namespace conformance {

struct MissingVariable : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What a path leads to: a module, a tensor, or nothing (None).
struct Attribute {
  graft::nn::ModulePtr module = {};
  graft::Tensor tensor = {};
  bool is_parameter = false;
  graft::nn::ParamEntry* param = nullptr;
};

class World {
 public:
  using Variable = std::variant<graft::nn::ModulePtr, graft::Tensor, std::shared_ptr<graft::optim::Optimizer>,
                                graft::nn::RemovableHandle>;
  void set(const std::string& name, Variable v) { variables_[name] = std::move(v); }
  bool has(const std::string& name) const { return variables_.contains(name); }
  template <class T>
  const T& get(const std::string& name) const {
    const auto found = variables_.find(name);
    if (found == variables_.end()) throw MissingVariable(name);
    if (const T* v = std::get_if<T>(&found->second)) return *v;
    throw std::runtime_error("variable " + name + " is of another kind than the step needs");
  }
  const graft::nn::ModulePtr& module(const std::string& name) const { return get<graft::nn::ModulePtr>(name); }
  const graft::Tensor& tensor(const std::string& name) const { return get<graft::Tensor>(name); }
  graft::optim::Optimizer& optimizer(const std::string& name) const {
    return *get<std::shared_ptr<graft::optim::Optimizer>>(name);
  }
  // {"model": variable, "path": inside it}
  graft::nn::ModulePtr module_of(const Json& step) const;

  // Remembers what a parameter is called now, for when it is no longer in the model.
  void label(const graft::nn::Module&, const std::string& prefix);
  std::string name_of(const graft::Tensor& param, const graft::nn::Module& model) const;

  // "x", or what the program will make of that name: an example where the original looks at code only.
  graft::Tensor example() const;
  const Json* program = nullptr;

  std::vector<Json> log;  // of hooks
  int replacements = 0;   // made so far by policies
  std::map<std::string, Json> kept_state;  // of models whose last load failed: what they had before

 private:
  std::map<std::string, Variable> variables_;
  std::unordered_map<const graft::TensorImpl*, std::string> labels_;
  graft::Tensors kept_;  // so that no address is used twice
};

// An optional part of a step or tree; an empty one where it is absent.
const Json& part(const Json& of, const char* name);

// ---- models --------------------------------------------------------------------------------------------------------
graft::nn::ModulePtr build_model(const Json& tree, const graft::nn::ModulePtr& replaced = nullptr);
bool is_kind(const graft::nn::Module&, const std::string& kind);     // isinstance
bool is_exactly(const graft::nn::Module&, const std::string& kind);  // type(m) is
std::string kind_name(const graft::nn::Module&);
Json attribute_of(const graft::nn::Module&, const std::string& name);  // in_features, kernel_size

Attribute find_attribute(const graft::nn::ModulePtr& root, const std::string& path);
std::pair<std::string, std::string> split_path(const std::string& path);  // owner, last name

// ---- numbers -------------------------------------------------------------------------------------------------------
graft::Tensor sequence(const Json& shape, const std::function<double(int64_t)>& f);
graft::Tensor input_values(const Json& step);                             // cos(0.21 i + seed)
graft::Tensor parameter_values(const Json& shape, double base);  // sin(0.37 i + base) / 2
using TensorSet = std::unordered_set<const graft::TensorImpl*>;
void fill(graft::nn::Module&, double base, const TensorSet& skip = {});
std::string dtype_name(graft::DType);  // "float64"
std::vector<int64_t> shape_list(const graft::Tensor&);
Json observed(const graft::Tensor&);   // {"shape", "dtype", "data"}

// ---- steps: each returns what it observes, in the recording's form -------------------------------------------------
struct Step {
  std::string_view op;
  Json (*run)(World&, const Json& step);
};
std::span<const Step> module_steps();
std::span<const Step> tensor_steps();
std::span<const Step> optimizer_steps();
std::span<const Step> mutable_steps();
std::span<const Step> surgery_steps();
std::span<const Step> fusion_steps();
std::span<const Step> algorithm_steps();

// What graft does otherwise wherever it comes up, as the field `graft` of some case says, or the contract: changes what the
// step is expected to show, before it runs. Returns the decisions, none in most cases.
std::vector<std::string> decide(World&, const Json& step, Json& expect);

}  // namespace conformance

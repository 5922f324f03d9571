#include "optimizers.h"

#include <algorithm>
#include <unordered_map>
#include "arguments.h"
#include "graft/optim/adam.h"
#include "graft/optim/sgd.h"
#include "report.h"

namespace conformance {
namespace {

using namespace graft;

// How the update is computed in PyTorch, and what is the default there: nothing to us.
bool irrelevant(const std::string& name, const Json& value) {
  if (value.is_null()) return true;
  return name == "foreach" || name == "fused" || name == "capturable" || name == "differentiable";
}

// Numbers before flags: "nesterov" is accepted only where there is momentum.
void set_options(optim::Optimizer& o, size_t group, const Json& options, bool flags) {
  const auto known = o.option_names();
  const auto set = [&](const std::string& name, const Json& value) {
    if (std::find(known.begin(), known.end(), name) == known.end())
      throw Unsupported("argument " + name + "=" + value.dump());
    if (value.is_boolean() == flags) o.set_option(group, name, flags ? value.get<bool>() : to_number(value));
  };
  for (const auto& [name, value] : options.items()) {
    if (irrelevant(name, value)) continue;
    if (name == "betas") {
      set("beta1", value.at(0));
      set("beta2", value.at(1));
    } else {
      set(name, value);
    }
  }
}

template <class O>
std::unique_ptr<optim::Optimizer> make(const std::vector<ParamGroup>& groups) {
  auto made = std::make_unique<O>(groups.at(0).params);
  for (size_t g = 1; g < groups.size(); ++g) made->add_param_group(groups[g].params, made->options(0));
  return made;
}

}  // namespace

std::unique_ptr<optim::Optimizer> make_optimizer(const std::string& type, const Json& kwargs,
                                                 const std::vector<ParamGroup>& groups) {
  using Factory = std::unique_ptr<optim::Optimizer> (*)(const std::vector<ParamGroup>&);
  static const std::unordered_map<std::string, Factory> factories{
      {"SGD", make<optim::SGD>},
      {"Adam", make<optim::Adam>},
      {"AdamW", make<optim::AdamW>},
  };
  const auto found = factories.find(type);
  if (found == factories.end()) throw Unsupported("no optimizer of this name");
  auto made = found->second(groups);
  for (size_t g = 0; g < groups.size(); ++g)
    for (const bool flags : {false, true})
      for (const Json* options : {&kwargs, &groups[g].overrides}) set_options(*made, g, *options, flags);
  return made;
}

}  // namespace conformance

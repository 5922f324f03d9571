// Steps that make, run and look at optimizers.
#include <algorithm>
#include "optimizers.h"
#include "report.h"
#include "surgery_world.h"

namespace conformance {
namespace {

using namespace graft;

Json make(World& w, const Json& s) {
  const nn::ModulePtr m = w.module(s.at("model"));
  std::vector<ParamGroup> groups;
  if (!s.contains("groups") || s["groups"].is_null())
    groups.push_back({m->parameters()});
  else
    for (const Json& g : s["groups"]) {
      ParamGroup group;
      for (const Json& name : g.at("params")) group.params.push_back(m->get_parameter(name.get<std::string>()));
      for (const auto& [name, value] : g.items())
        if (name != "params") group.overrides[name] = value;
      groups.push_back(std::move(group));
    }
  w.set(s.at("as"), std::shared_ptr<optim::Optimizer>(make_optimizer(s.at("type"), s.at("args"), groups)));
  return {};
}
Json step(World& w, const Json& s) {
  w.optimizer(s.at("optimizer")).step();
  return {};
}
Json observe(World& w, const Json& s) {
  const optim::Optimizer& o = w.optimizer(s.at("optimizer"));
  const nn::ModulePtr m = w.module(s.at("model"));
  Json groups = Json::array();
  std::vector<std::string> with_state;
  for (size_t g = 0; g < o.groups(); ++g) {
    Json params = Json::array();
    for (const optim::Slot& slot : o.slots(g)) {
      params.push_back(w.name_of(slot.param, *m));
      if (!slot.state.empty()) with_state.push_back(params.back());
    }
    groups.push_back({{"params", params}, {"lr", o.lr(g)}});
  }
  std::sort(with_state.begin(), with_state.end());
  return {{"groups", groups}, {"state_for", with_state}};
}

const Step kOptimizersSteps[] = {{"optim", make}, {"opt_step", step}, {"observe_optim", observe}};

}  // namespace

std::span<const Step> optimizer_steps() { return kOptimizersSteps; }

}  // namespace conformance

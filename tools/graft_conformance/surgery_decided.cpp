// What graft does otherwise than the originals wherever it comes up. The field `graft` of one case says so, or the
// contract; other cases show the same behaviour beside what they are about, and are held to the decision in that point.
#include "graft/nn/containers.h"
#include "surgery_world.h"

namespace conformance {
namespace {

using namespace graft;

// F-02: "fused bias requires grad like the weight". The original's does not, where the layer had none.
bool new_bias_learns(World& w, const Json& step, Json& expect) {
  if (step.at("op") != "fuse" || !expect.contains("named_parameters")) return false;
  bool changed = false;
  const Json& groups = step.at("groups");
  for (const Json& g : groups) {
    const std::string path = g.is_string() ? groups[0].get<std::string>() : g.at(0).get<std::string>();
    const nn::ModulePtr layer = find_attribute(w.module(step.at("model")), path).module;
    const auto* bias = layer ? layer->find_param("bias") : nullptr;
    if (!bias || bias->value().defined()) continue;
    const bool learns = layer->find_param("weight")->value().requires_grad();
    for (Json& p : expect["named_parameters"])
      if ((p[0] == path + ".bias" || p[0] == path + ".0.bias") && p[2] != learns) {
        p[2] = learns;
        changed = true;
      }
  }
  return changed;
}

// F-05, F-32: "wrapper training flag = false". The original's wrapper is in training mode around layers in eval mode.
bool wrappers_have_the_mode_of_their_layers(World& w, const Json& step, Json& expect) {
  if (step.at("op") != "observe" || !expect.contains("training")) return false;
  bool changed = false;
  for (auto& [path, flag] : expect["training"].items()) {
    const nn::ModulePtr m = find_attribute(w.module_of(step), path).module;
    const auto* sequence = dynamic_cast<nn::Sequential*>(m.get());
    const bool wraps = sequence && typeid(*sequence) != typeid(nn::Sequential);
    if (!wraps || flag == expect["training"].value(path + ".0", flag.get<bool>())) continue;
    flag = expect["training"][path + ".0"];
    changed = true;
  }
  return changed;
}

// An edit of a mutable module makes a new value (rule M18): what a call has saved for its backward stays as it was.
bool edits_write_to_nothing_saved(World&, const Json& step, Json& expect) {
  const bool version =
      step.at("op") == "backward" && expect.contains("error") &&
      expect["error"].value("message", "").find("modified by an inplace operation") != std::string::npos;
  if (version) expect.erase("error");
  return version;
}

// O-17: "err when a live optimizer keeps stale params".
bool stale_optimizers_do_not_step(World& w, const Json& step, Json& expect) {
  if (step.at("op") != "opt_step" || expect.contains("error")) return false;
  const optim::Optimizer& o = w.optimizer(step.at("optimizer"));
  for (size_t g = 0; g < o.groups(); ++g)
    for (const optim::Slot& slot : o.slots(g))
      if (optim::is_stale(slot.param) && !slot.keep) {
        expect["error"] = {{"type", "stale_parameter"}};
        return true;
      }
  return false;
}

Json state_of(const nn::Module& m) {
  Json out = Json::object();
  for (const auto& [name, t] : m.state_dict()) out[name] = observed(t);
  return out;
}
// Contract C2: a load that fails changes nothing. The original's has copied what fitted.
bool failed_loads_change_nothing(World& w, const Json& step, Json& expect) {
  if (!part(step, "model").is_string()) return false;
  const std::string model = step["model"];
  if (step.at("op") == "load_state" && expect.contains("error")) {
    w.kept_state.emplace(model, state_of(*w.module(model)));
  } else if (step.at("op") == "observe" && expect.contains("state") && w.kept_state.contains(model)) {
    expect["state"] = w.kept_state[model];
    return true;
  } else if (step.at("op") != "observe") {
    w.kept_state.erase(model);
  }
  return false;
}

struct Decision {
  bool (*apply)(World&, const Json& step, Json& expect);
  const char* text;
};
const Decision kDecisions[] = {
    {new_bias_learns, "F-02: a bias that fusion makes requires grad as the weight does"},
    {wrappers_have_the_mode_of_their_layers, "F-05: a wrapper of fused layers has their mode"},
    {edits_write_to_nothing_saved, "M18: an edit makes a new value, and the gradient of the call before it is right"},
    {stale_optimizers_do_not_step, "O-17: an optimizer does not step what its model has lost"},
    {failed_loads_change_nothing, "C2: a load that fails changes nothing"},
};

}  // namespace

std::vector<std::string> decide(World& w, const Json& step, Json& expect) {
  std::vector<std::string> made;
  for (const Decision& d : kDecisions)
    if (d.apply(w, step, expect)) made.emplace_back(d.text);
  return made;
}

}  // namespace conformance

// Steps that count and replace modules, and make them mutable.
#include <algorithm>
#include "graft/surgery/count.h"
#include "graft/surgery/mutable.h"
#include "graft/surgery/plan.h"
#include "graft/surgery/replace.h"
#include "report.h"
#include "surgery_kinds.h"
#include "surgery_world.h"

namespace conformance {
namespace {

using namespace graft;

// What modules are called in a trace: by their path before the call, or "new#3.inner".
class Names {
 public:
  void add(nn::Module& m, const std::string& name) {
    kept_.push_back(m.shared_from_this());
    for (const auto& [path, c] : m.named_modules())
      names_.try_emplace(c, name.empty() || path.empty() ? name + path : name + "." + path);
  }
  std::string of(const nn::Module& m) const {
    const auto found = names_.find(&m);
    return found == names_.end() ? "?" : found->second;
  }

 private:
  std::unordered_map<const nn::Module*, std::string> names_;
  std::vector<nn::ModulePtr> kept_;
};

bool contains(const Json& list, const Json& value) { return std::find(list.begin(), list.end(), value) != list.end(); }

// {"index": 1}, {"in_features": 16}, {"out_features_in": [10, 9]}, {"not_kind": "Linear"}
bool condition_holds(const std::string& name, const Json& value, const nn::Module& m, int64_t index) {
  if (name == "index") return value == index;
  if (name == "index_in") return contains(value, index);
  if (name == "index_lt") return index < value.get<int64_t>();
  if (name == "not_kind") return !is_kind(m, value);
  if (name == "exact_kind") return is_exactly(m, value);
  if (name.ends_with("_in")) return contains(value, attribute_of(m, name.substr(0, name.size() - 3)));
  if (name.ends_with("_ge")) return attribute_of(m, name.substr(0, name.size() - 3)) >= value;
  return attribute_of(m, name) == value;
}

nn::ModulePtr make_replacement(World& w, const Json& spec, const nn::ModulePtr& m, Names& names) {
  TensorSet skip;
  for (const auto& p : m->parameters()) skip.insert(p.impl());
  for (const auto& b : m->buffers()) skip.insert(b.impl());
  const nn::ModulePtr made = build_model(spec.at("replace"), m);
  const int r = w.replacements++;
  fill(*made, 50 + 10 * r, skip);
  if (spec.value("copy_weight", false)) {
    const NoGrad quiet;
    made->get_parameter("weight").copy_(m->get_parameter("weight"));
  }
  w.label(*made, concat("new#", r, '.'));
  names.add(*made, concat("new#", r));
  return made;
}

surgery::Policy make_policy(World& w, const Json& spec, Names& names, Json& calls, int64_t limit) {
  const Kind& kind = find_kind(spec.at("match"));
  const auto answer = [&w, &spec, &names, &calls, limit](const nn::Module& m,
                                                         const surgery::Site& site) -> nn::ModulePtr {
    if (int64_t(calls.size()) >= limit) fail("stopped after ", limit, " questions: the policies never come to an end");
    bool holds = true;
    for (const auto& [name, value] : part(spec, "when").items())
      holds = holds && condition_holds(name, value, m, site.index);
    const Json& what = spec.at("replace");
    nn::ModulePtr result;
    if (!holds || what == "none")
      result = nullptr;
    else if (what == "same")
      result = site.module;
    else if (what.contains("var")) {
      result = w.module(what["var"]);
      names.add(*result, "var:" + what["var"].get<std::string>());
    } else {
      result = make_replacement(w, spec, site.module, names);
    }
    const std::string text = !result ? "none" : result == site.module ? "same" : names.of(*result);
    calls.push_back({spec["match"], names.of(m), site.index, text});
    return result;
  };
  return {kind.type, std::string(kind.name), kind.matches, answer};
}

std::vector<optim::Optimizer*> optimizers_of(World& w, const Json& step) {
  std::vector<optim::Optimizer*> out;
  const Json& names = part(step, "optimizer");
  if (names.is_string())
    out.push_back(&w.optimizer(names));
  else
    for (const Json& name : names) out.push_back(&w.optimizer(name));
  return out;
}

Json replace(World& w, const Json& s) {
  const nn::ModulePtr model = w.module(s.at("model"));
  Names names;
  names.add(*model, "");
  Json calls = Json::array();
  std::vector<surgery::Policy> policies;
  for (const Json& spec : s.at("policies"))
    policies.push_back(make_policy(w, spec, names, calls, s.value("limit", 60)));
  surgery::Indices indices;
  for (const auto& [kind, start] : part(s, "indices").items()) indices[find_kind(kind).type] = start;
  surgery::Options options;
  options.optimizers = optimizers_of(w, s);
  options.recurse = s.value("recurse", false);
  options.indices = &indices;
  const surgery::Edit edit = surgery::plan(*model, std::move(policies), options).apply();
  Json pairs = Json::array();
  for (const surgery::Change& c : edit.changes()) pairs.push_back({names.of(*c.before), names.of(*c.after)});
  Json out{{"pairs", pairs}, {"calls", calls}, {"repr_after", nn::repr(*model)}};
  for (const auto& [kind, start] : part(s, "indices").items())
    out["indices_after"][kind] = indices[find_kind(kind).type];
  return out;
}

Json count(World& w, const Json& s) {
  int64_t n = 0;
  surgery::for_each_descendant(*w.module(s.at("model")), [&](const nn::Module& m) {
    for (const Json& kind : s.at("kinds"))
      if (is_kind(m, kind)) {
        ++n;
        break;
      }
  });
  return {{"count", n}};
}

// "m:conv" is a parameter, or a module and stands for its parameters.
Tensors parameters_named(const World& w, const Json& list) {
  Tensors all;
  for (const std::string text : list) {
    const size_t colon = text.find(':');
    const Attribute a = find_attribute(w.module(text.substr(0, colon)), text.substr(colon + 1));
    if (a.module)
      for (const Tensor& p : a.module->parameters()) all.push_back(p);
    else
      all.push_back(a.param ? a.param->leaf : a.tensor);
  }
  return all;
}
Json update_params(World& w, const Json& s) {
  surgery::update_params_in_optimizer(parameters_named(w, s.at("old")), parameters_named(w, s.at("new")), optimizers_of(w, s));
  return {};
}
Json replace_params(World& w, const Json& s) {
  surgery::replace_params_in_optimizer(parameters_named(w, s.at("old")), parameters_named(w, s.at("new")), optimizers_of(w, s));
  return {};
}

Json to_mutable(World& w, const Json& s) {
  const std::string name = s.at("model");
  const nn::ModulePtr m = surgery::to_mutable_module(w.module_of(s));
  w.set(s.value("as", name), m);
  return {{"repr", nn::repr(*m)}};
}

const Step kReplaceSteps[] = {{"replace", replace},         {"count", count},       {"update_params", update_params},
                       {"replace_params", replace_params}, {"to_mutable", to_mutable}};

}  // namespace

std::span<const Step> surgery_steps() { return kReplaceSteps; }

}  // namespace conformance

#include "surgery_world.h"

#include "report.h"

namespace conformance {

using namespace graft;

nn::ModulePtr World::module_of(const Json& step) const {
  const nn::ModulePtr found = find_attribute(module(step.at("model")), step.value("path", "")).module;
  if (!found) fail(ErrorCode::key_error, "no module at ", step.value("path", ""));
  return found;
}

void World::label(const nn::Module& m, const std::string& prefix) {
  for (const auto& [name, p] : m.named_parameters({}, true, false))
    if (labels_.try_emplace(p.impl(), prefix + name).second) kept_.push_back(p);
}

std::string World::name_of(const Tensor& param, const nn::Module& model) const {
  for (const auto& [name, p] : model.named_parameters())
    if (p.is_same(param)) return name;
  const auto found = labels_.find(param.impl());
  return "stale:" + (found == labels_.end() ? "?" : found->second);
}

Tensor World::example() const {
  if (has("x")) return tensor("x");
  for (const Json& step : *program)
    if (step.at("op") == "input" && step.at("as") == "x") return input_values(step);
  throw Unsupported("the program has no input to trace with");
}

const Json& part(const Json& of, const char* name) {
  static const Json none = Json::object();
  const auto found = of.find(name);
  return found == of.end() ? none : *found;
}

std::pair<std::string, std::string> split_path(const std::string& path) {
  const size_t dot = path.rfind('.');
  if (dot == path.npos) return {"", path};
  return {path.substr(0, dot), path.substr(dot + 1)};
}

Attribute find_attribute(const nn::ModulePtr& root, const std::string& path) {
  if (path.empty()) return {.module = root};
  const auto [owner, name] = split_path(path);
  nn::Module& m = root->get_submodule(owner);
  if (const auto* child = m.find_child(name)) return {.module = child->module};
  if (auto* param = m.find_param(name))
    return {.tensor = param->value(), .is_parameter = !param->is_edited(), .param = param};
  if (const auto* buffer = m.find_buffer(name)) return {.tensor = buffer->value};
  fail(ErrorCode::key_error, m.class_name(), " has no attribute ", name);
}

}  // namespace conformance

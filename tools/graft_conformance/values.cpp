#include "values.h"

#include "report.h"

namespace conformance {

using namespace graft;

nn::Value to_value(const Json& j, CaseTensors& tensors) {
  if (j.is_null()) return {};
  if (j.is_boolean()) return j.get<bool>();
  if (j.is_number_integer()) return j.get<int64_t>();
  if (j.is_number()) return j.get<double>();
  if (j.is_string()) return j.get<std::string>();
  if (j.is_object()) {
    if (j.contains("tensor")) return tensors.get(j);
    if (j.contains("float")) return to_number(j);
    if (j.contains("dtype")) return j["dtype"].get<std::string>();
    throw Unsupported("argument " + j.dump());
  }
  nn::Values list;
  for (const Json& item : j) list.push_back(to_value(item, tensors));
  return list;
}

nn::Args to_args(const Json& args, const Json& kwargs, CaseTensors& tensors) {
  nn::Args out;
  for (const Json& a : args) out.push_back(nn::Arg("", to_value(a, tensors)));
  for (const auto& [name, a] : kwargs.items()) out.push_back(nn::Arg(name, to_value(a, tensors)));
  return out;
}

}  // namespace conformance

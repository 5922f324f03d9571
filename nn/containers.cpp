#include "graft/nn/containers.h"

#include "graft/nn/registry.h"

namespace graft::inline v1::nn {

Sequential::Sequential(std::initializer_list<std::pair<std::string, ModulePtr>> named) {
  for (const auto& [name, m] : named) {
    GRAFT_CHECK(!find_child(name), ErrorCode::key_error, "Sequential: two modules named '", name, "'");
    add_module(name, m);
  }
}
Tensor Sequential::forward(const Tensor& x) {
  Tensor y = x;
  for (size_t i = 0; i < child_entries().size(); ++i) y = Slot<Layer>(*child_entries()[i])(y);
  return y;
}

// ---- parameters --------------------------------------------------------------------------------------------------

static std::string_view torch_name(DType t) {
  constexpr std::string_view names[kDTypes] = {"float32", "float64", "float16", "bfloat16", "int64",     "int32",
                                               "int16",   "int8",    "uint8",   "bool",     "complex64", "complex128"};
  return names[int(t)];
}
static std::string describe_parameters(const Module& m) {
  std::string text;
  for (const auto& e : m.param_entries()) {
    const Tensor& t = e->value();
    if (!t.defined()) continue;
    std::string sizes;
    for (const int64_t n : t.shape()) sizes += (sizes.empty() ? "" : "x") + std::to_string(n);
    text += concat(text.empty() ? "" : "\n", "  (", e->name, "): Parameter containing: [torch.", torch_name(t.dtype()),
                   " of size ", sizes, "]");
  }
  return text;
}

Param ParameterList::operator[](int64_t i) const {
  const auto n = int64_t(size());
  GRAFT_CHECK(i >= -n && i < n, ErrorCode::index_out_of_range, "ParameterList: index ", i, " is out of range for ", n);
  return Param(*param_entries()[size_t(i < 0 ? i + n : i)]);
}
ParameterList& ParameterList::append(const Parameter& p) {
  register_parameter(std::to_string(size()), p);
  return *this;
}
ParameterList& ParameterList::append(const Tensor& t) { return append(as_parameter(t)); }
ParameterList& ParameterList::extend(const std::vector<Tensor>& tensors) {
  for (const Tensor& t : tensors) append(t);
  return *this;
}
std::string ParameterList::extra_repr() const { return describe_parameters(*this); }

ParameterDict::ParameterDict(std::initializer_list<std::pair<std::string, Tensor>> items) {
  for (const auto& [key, t] : items) set(key, t);
}
Param ParameterDict::operator[](std::string_view key) const {
  ParamEntry* e = find_param(key);
  GRAFT_CHECK(e, ErrorCode::key_error, "ParameterDict has no key '", key, "'");
  return Param(*e);
}
void ParameterDict::set(std::string key, const Parameter& p) { register_parameter(std::move(key), p); }
void ParameterDict::set(std::string key, const Tensor& t) { set(std::move(key), as_parameter(t)); }
Tensor ParameterDict::pop(std::string_view key) {
  const Tensor t = (*this)[key].leaf();
  remove(std::string(key));
  return t;
}
std::vector<std::string> ParameterDict::keys() const {
  std::vector<std::string> all;
  for (const auto& e : param_entries()) all.push_back(e->name);
  return all;
}
std::string ParameterDict::extra_repr() const { return describe_parameters(*this); }

// ---- registration ------------------------------------------------------------------------------------------------

void register_containers(Registry& r) {
  r.add<Sequential>("Sequential", [](ArgReader&) { return make<Sequential>(); });
  r.add<ModuleList>("ModuleList", [](ArgReader&) { return make<ModuleList>(); });
  r.add<ModuleDict>("ModuleDict", [](ArgReader&) { return make<ModuleDict>(); });
  r.add<ParameterList>("ParameterList", [](ArgReader&) { return make<ParameterList>(); });
  r.add<ParameterDict>("ParameterDict", [](ArgReader&) { return make<ParameterDict>(); });
  r.add<Identity>("Identity", [](ArgReader& a) { return a.ignore_rest(), make<Identity>(); });
}

}  // namespace graft::nn

// Steps on tensors and gradients.
#include <cmath>
#include "graft/core/ops.h"
#include "report.h"
#include "surgery_world.h"

namespace conformance {
namespace {

using namespace graft;

Json input(World& w, const Json& s) {
  const Tensor t = input_values(s);
  if (s.value("requires_grad", false)) t.requires_grad_();
  w.set(s.at("as"), t);
  return {};
}
Json loss(World& w, const Json& s) {
  const Tensor y = w.tensor(s.value("of", "y"));
  const double seed = s.value("seed", 0.0);
  Json shape = Json::array();
  for (const int64_t d : y.shape()) shape.push_back(d);
  const Tensor l = sum(y * sequence(shape, [&](int64_t i) { return std::cos(0.13 * double(i) + seed); }));
  w.set(s.value("as", "L"), l);
  return {{"loss", l.item().value()}};
}
Json backward(World& w, const Json& s) {
  w.tensor(s.value("of", "L")).backward({}, s.value("retain_graph", false));
  return {};
}
Json grad_of(const Tensor& t) { return t.grad().defined() ? observed(t.grad()) : Json(); }
Json grads(World& w, const Json& s) {
  Json out = Json::object();
  for (const Json& spec : s.at("of")) {
    const std::string text = spec;
    const size_t colon = text.find(':');
    if (colon == text.npos) {
      out[text] = grad_of(w.tensor(text));
      continue;
    }
    const std::string variable = text.substr(0, colon), path = text.substr(colon + 1);
    if (path != "*")
      out[text] = grad_of(find_attribute(w.module(variable), path).tensor);
    else
      for (const auto& [name, p] : w.module(variable)->named_parameters()) out[variable + ":" + name] = grad_of(p);
  }
  return {{"grads", out}};
}
Json retain_grad(World& w, const Json& s) {
  find_attribute(w.module(s.at("model")), s.at("path")).tensor.retain_grad();
  return {};
}
Json alias(World& w, const Json& s) {
  const Attribute a = find_attribute(w.module(s.at("model")), s.at("path"));
  if (a.module)
    w.set(s.at("as"), a.module);
  else
    w.set(s.at("as"), a.tensor);
  return {};
}

Shape shape_of(const Json& j) {
  const auto v = j.get<std::vector<int64_t>>();
  return Shape(std::span<const int64_t>(v));
}
Tensor compute(World& w, const std::string& f, const Json& a) {
  const auto t = [&](size_t i) { return w.tensor(a.at(i)); };
  if (f == "attr") return find_attribute(w.module(a.at(0)), a.at(1)).tensor;
  if (f == "add") return a.at(1).is_string() ? t(0) + t(1) : t(0) + a[1].get<double>();
  if (f == "mul") return a.at(1).is_string() ? t(0) * t(1) : t(0) * a[1].get<double>();
  if (f == "matmul") return matmul(t(0), t(1));
  if (f == "tanh") return tanh(t(0));
  if (f == "reshape") return t(0).reshape(shape_of(a.at(1)));
  if (f == "narrow") return t(0).narrow(a.at(1), a.at(2), a.at(3));
  if (f == "sum") return sum(t(0));
  if (f == "detach") return t(0).detach();
  if (f == "var") return t(0);
  throw Unsupported("the tensor function " + f);
}
Json tensor_step(World& w, const Json& s) {
  const Tensor t = compute(w, s.at("fn"), s.at("args"));
  w.set(s.at("as"), t);
  return s.value("observe", false) ? Json{{"value", observed(t)}} : Json::object();
}

const Step kTensorsSteps[] = {
    {"input", input},        {"loss", loss},   {"backward", backward},
    {"grads", grads},        {"alias", alias}, {"retain_grad", retain_grad},
    {"tensor", tensor_step},
};

}  // namespace

std::span<const Step> tensor_steps() { return kTensorsSteps; }

}  // namespace conformance

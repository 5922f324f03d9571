// Steps on mutable modules: parameters that are edited with history.
#include "graft/core/ops.h"
#include "graft/nn/param.h"
#include "report.h"
#include "surgery_world.h"

namespace conformance {
namespace {

using namespace graft;

// Calls fn with the value of the step, a tensor or a number.
template <class F>
void with_value(World& w, const Json& s, F fn) {
  if (s.at("value").is_string())
    fn(w.tensor(s["value"]));
  else
    fn(s["value"].get<double>());
}

// owner.name OP= value
Json inplace(World& w, const Json& s) {
  const Attribute a = find_attribute(w.module(s.at("model")), s.at("path"));
  if (!a.param) throw Unsupported("an in-place change of something that is no parameter");
  const std::string op = s.at("fn");
  nn::Param p(*a.param);
  if (op == "fill_")
    p.fill_(s.at("value").get<double>());
  else if (op == "setitem") {
    std::vector<TensorIndex> at;
    for (const int64_t i : s.at("at")) at.push_back(i);
    p.index_put_(at, s.at("value").get<double>());
  } else
    with_value(w, s, [&](const auto& v) {
      if (op == "*=" || op == "mul_")
        p *= v;
      else if (op == "+=" || op == "add_")
        p += v;
      else if (op == "-=")
        p -= v;
      else if (op == "/=")
        p /= v;
      else
        throw Unsupported("the in-place operation " + op);
    });
  return {};
}

const Step kMutableSteps[] = {{"inplace", inplace}};

}  // namespace

std::span<const Step> mutable_steps() { return kMutableSteps; }

}  // namespace conformance

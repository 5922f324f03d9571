// Steps on mutable modules: parameters that are edited with history.
#include "graft/core/ops.h"
#include "report.h"
#include "surgery_world.h"

namespace conformance {
namespace {

using namespace graft;

Tensor at_place(const Tensor& x, const Json& place, double value) {
  std::vector<TensorIndex> index;
  for (const Json& i : place) index.push_back(i.get<int64_t>());
  const Tensor copy = x.clone();
  copy.index_put_(index, scalar_tensor(value, x.dtype()));
  return copy;
}

// owner.name OP= value
Json inplace(World& w, const Json& s) {
  const Attribute a = find_attribute(w.module(s.at("model")), s.at("path"));
  if (!a.param) throw Unsupported("an in-place change of something that is no parameter");
  const std::string op = s.at("fn");
  const Json& value = s.at("value");
  const bool is_tensor = value.is_string();
  const Tensor t = is_tensor ? w.tensor(value) : Tensor();
  const double v = is_tensor ? 0 : value.get<double>();
  a.param->edit(op.c_str(), [&](const Tensor& x) -> Tensor {
    if (op == "*=" || op == "mul_") return is_tensor ? x * t : x * v;
    if (op == "+=" || op == "add_") return is_tensor ? x + t : x + v;
    if (op == "-=") return is_tensor ? x - t : x + -v;
    if (op == "/=") return is_tensor ? x / t : x * (1 / v);
    if (op == "fill_") return full(x.shape(), v, x.options());
    if (op == "setitem") return at_place(x, s.at("at"), v);
    throw Unsupported("the in-place operation " + op);
  });
  return {};
}

const Step kSteps[] = {{"inplace", inplace}};

}  // namespace

std::span<const Step> mutable_steps() { return kSteps; }

}  // namespace conformance

// Adapters of element-wise ops.
#include "graft/core/ops.h"
#include "ops.h"

namespace conformance {
namespace {

using namespace graft;

// The second operand may be a number.
template <auto f>
Outputs with_number(Arguments& a) {
  const Tensor x = a.tensor("input");
  if (a.has_tensor("other")) return {f(x, a.tensor("other"))};
  return {f(x, a.scalar("other"))};
}
// x + alpha * y
template <auto f>
Outputs with_alpha(Arguments& a) {
  const Tensor x = a.tensor("input");
  if (!a.has_tensor("other")) return {f(x, a.scalar("other"))};
  const Tensor y = a.tensor("other");
  if (a.none_left()) return {f(x, y)};
  return {f(x, y, a.scalar("alpha", 1))};
}
Outputs div(Arguments& a) {
  const Tensor x = a.tensor("input");
  const bool number = !a.has_tensor("other");
  const Tensor y = number ? Tensor() : a.tensor("other");
  const Scalar s = number ? a.scalar("other") : Scalar();
  const std::string mode = a.text("rounding_mode");
  return {number ? graft::div(x, s, mode) : graft::div(x, y, mode)};
}
Outputs pow(Arguments& a) {
  if (!a.has_tensor("input")) {
    const Scalar base = a.scalar("input");
    return {graft::pow(base, a.tensor("exponent"))};
  }
  const Tensor x = a.tensor("input");
  if (a.has_tensor("exponent")) return {graft::pow(x, a.tensor("exponent"))};
  return {graft::pow(x, a.scalar("exponent"))};
}
template <Tensor (*f)(const Tensor&, const Tensor&, const Tensor&, double)>
Outputs with_value(Arguments& a) {
  const Tensor x = a.tensor("input"), y = a.tensor("tensor1"), z = a.tensor("tensor2");
  return {f(x, y, z, a.number("value", 1))};
}
Outputs lerp(Arguments& a) {
  const Tensor x = a.tensor("input"), y = a.tensor("end");
  if (a.has_tensor("weight")) return {graft::lerp(x, y, a.tensor("weight"))};
  const Scalar weight = a.scalar("weight");
  if (weight.kind() == Scalar::Kind::complex) return {graft::lerp(x, y, scalar_tensor(weight, x.dtype()))};
  return {graft::lerp(x, y, weight.value())};
}
Outputs clamp(Arguments& a) {
  const Tensor x = a.tensor("input");
  if (a.has_tensor("min") || a.has_tensor("max")) {
    const Tensor low = a.tensor_or_none("min");
    return {graft::clamp(x, low, a.tensor_or_none("max"))};
  }
  const auto bound = [&](const char* name) -> std::optional<Scalar> {
    const Json& j = a.json(name);
    return j.is_null() ? std::nullopt : std::optional(to_scalar(j));
  };
  // A tensor bound may come second, after None.
  const Json& low = a.json("min");
  if (a.has_tensor("max")) return {graft::clamp(x, Tensor(), a.tensor("max"))};
  return {graft::clamp(x, low.is_null() ? std::nullopt : std::optional(to_scalar(low)), bound("max"))};
}
Outputs round(Arguments& a) {
  const Tensor x = a.tensor("input");
  return {graft::round(x, int(a.integer("decimals", 0)))};
}
Outputs nan_to_num(Arguments& a) {
  const Tensor x = a.tensor("input");
  const auto nan = a.number_or_none("nan"), high = a.number_or_none("posinf");
  return {graft::nan_to_num(x, nan, high, a.number_or_none("neginf"))};
}
// Recorded as x.where(condition, other).
Outputs where(Arguments& a) {
  Tensor x = a.tensor("input"), condition = a.tensor("condition");
  if (condition.dtype() != boolean && x.dtype() == boolean) std::swap(x, condition);
  if (a.has_tensor("other")) return {graft::where(condition, x, a.tensor("other"))};
  return {graft::where(condition, x, a.scalar("other"))};
}

// Activations with one or two numbers.
template <Tensor (*f)(const Tensor&, double)>
Outputs activation(Arguments& a, const char* name, double otherwise) {
  const Tensor x = a.tensor("input");
  const double v = a.number(name, otherwise);
  a.boolean("inplace", false);
  return {f(x, v)};
}
// Of those without arguments; computing in place gives the same values.
template <Tensor (*f)(const Tensor&)>
Outputs plain_activation(Arguments& a) {
  const Tensor x = a.tensor("input");
  a.boolean("inplace", false);
  return {f(x)};
}
template <Tensor (*f)(const Tensor&, double, double)>
Outputs activation2(Arguments& a, const char* first, double v1, const char* second, double v2) {
  const Tensor x = a.tensor("input");
  const double p = a.number(first, v1), q = a.number(second, v2);
  a.boolean("inplace", false);
  return {f(x, p, q)};
}
Outputs gelu(Arguments& a) {
  const Tensor x = a.tensor("input");
  return {graft::gelu(x, a.text("approximate", "none"))};
}
Outputs prelu(Arguments& a) {
  const Tensor x = a.tensor("input");
  return {graft::prelu(x, a.tensor("weight"))};
}

const OpAdapter kPointwiseOps[] = {
    {"add", with_alpha<[](const auto&... x) { return add(x...); }>},
    {"sub", with_alpha<[](const auto&... x) { return sub(x...); }>},
    {"mul", with_number<[](const Tensor& x, const auto& y) { return mul(x, y); }>},
    {"div", div},
    {"true_divide", div},
    {"floor_divide", with_number<[](const Tensor& x, const auto& y) { return floor_divide(x, y); }>},
    {"fmod", with_number<[](const Tensor& x, const auto& y) { return fmod(x, y); }>},
    {"remainder", with_number<[](const Tensor& x, const auto& y) { return remainder(x, y); }>},
    {"pow", pow},
    {"float_power", pow},
    {"atan2", binary<atan2>},
    {"hypot", binary<hypot>},
    {"maximum", binary<maximum>},
    {"minimum", binary<minimum>},
    {"fmax", binary<fmax>},
    {"fmin", binary<fmin>},
    {"addcmul", with_value<addcmul>},
    {"addcdiv", with_value<addcdiv>},
    {"lerp", lerp},
    {"neg", unary<neg>},
    {"abs", unary<abs>},
    {"square", unary<square>},
    {"reciprocal", unary<reciprocal>},
    {"sign", unary<sign>},
    {"sgn", unary<sgn>},
    {"floor", unary<floor>},
    {"ceil", unary<ceil>},
    {"trunc", unary<trunc>},
    {"round", round},
    {"frac", unary<frac>},
    {"clamp", clamp},
    {"clamp_min",
     [](Arguments& a) -> Outputs {
       const Tensor x = a.tensor("input");
       if (a.has_tensor("min")) return {clamp_min(x, a.tensor("min"))};
       return {clamp_min(x, a.scalar("min"))};
     }},
    {"clamp_max",
     [](Arguments& a) -> Outputs {
       const Tensor x = a.tensor("input");
       if (a.has_tensor("max")) return {clamp_max(x, a.tensor("max"))};
       return {clamp_max(x, a.scalar("max"))};
     }},
    {"exp", unary<exp>},
    {"exp2", unary<exp2>},
    {"expm1", unary<expm1>},
    {"log", unary<log>},
    {"log2", unary<log2>},
    {"log10", unary<log10>},
    {"log1p", unary<log1p>},
    {"sqrt", unary<sqrt>},
    {"rsqrt", unary<rsqrt>},
    {"sin", unary<sin>},
    {"cos", unary<cos>},
    {"tan", unary<tan>},
    {"asin", unary<asin>},
    {"acos", unary<acos>},
    {"atan", unary<atan>},
    {"sinh", unary<sinh>},
    {"cosh", unary<cosh>},
    {"tanh", unary<tanh>},
    {"asinh", unary<asinh>},
    {"acosh", unary<acosh>},
    {"atanh", unary<atanh>},
    {"erf", unary<erf>},
    {"erfc", unary<erfc>},
    {"sigmoid", unary<sigmoid>},
    {"nan_to_num", nan_to_num},
    {"real", unary<real>},
    {"imag", unary<imag>},
    {"conj", unary<conj>},
    {"eq", with_number<[](const Tensor& x, const auto& y) { return eq(x, y); }>},
    {"ne", with_number<[](const Tensor& x, const auto& y) { return ne(x, y); }>},
    {"lt", with_number<[](const Tensor& x, const auto& y) { return lt(x, y); }>},
    {"le", with_number<[](const Tensor& x, const auto& y) { return le(x, y); }>},
    {"gt", with_number<[](const Tensor& x, const auto& y) { return gt(x, y); }>},
    {"ge", with_number<[](const Tensor& x, const auto& y) { return ge(x, y); }>},
    {"isnan", unary<isnan>},
    {"isinf", unary<isinf>},
    {"isfinite", unary<isfinite>},
    {"logical_and", binary<logical_and>},
    {"logical_or", binary<logical_or>},
    {"logical_xor", binary<logical_xor>},
    {"logical_not", unary<logical_not>},
    {"bitwise_and", with_number<[](const Tensor& x, const auto& y) { return bitwise_and(x, y); }>},
    {"bitwise_or", with_number<[](const Tensor& x, const auto& y) { return bitwise_or(x, y); }>},
    {"bitwise_xor", with_number<[](const Tensor& x, const auto& y) { return bitwise_xor(x, y); }>},
    {"bitwise_not", unary<bitwise_not>},
    {"where", where},
    {"nn.functional.relu", plain_activation<relu>},
    {"nn.functional.relu6", plain_activation<relu6>},
    {"nn.functional.selu", plain_activation<selu>},
    {"nn.functional.silu", plain_activation<silu>},
    {"nn.functional.mish", plain_activation<mish>},
    {"nn.functional.logsigmoid", unary<log_sigmoid>},
    {"nn.functional.hardsigmoid", plain_activation<hardsigmoid>},
    {"nn.functional.hardswish", plain_activation<hardswish>},
    {"nn.functional.tanhshrink", unary<tanhshrink>},
    {"nn.functional.softsign", unary<softsign>},
    {"nn.functional.gelu", gelu},
    {"nn.functional.prelu", prelu},
    {"nn.functional.leaky_relu", [](Arguments& a) { return activation<leaky_relu>(a, "negative_slope", 0.01); }},
    {"nn.functional.elu", [](Arguments& a) { return activation<elu>(a, "alpha", 1); }},
    {"nn.functional.celu", [](Arguments& a) { return activation<celu>(a, "alpha", 1); }},
    {"nn.functional.hardshrink", [](Arguments& a) { return activation<hardshrink>(a, "lambd", 0.5); }},
    {"nn.functional.softshrink", [](Arguments& a) { return activation<softshrink>(a, "lambd", 0.5); }},
    {"nn.functional.hardtanh", [](Arguments& a) { return activation2<hardtanh>(a, "min_val", -1, "max_val", 1); }},
    {"nn.functional.softplus", [](Arguments& a) { return activation2<softplus>(a, "beta", 1, "threshold", 20); }},
    {"nn.functional.threshold", [](Arguments& a) { return activation2<threshold>(a, "threshold", 0, "value", 0); }},
};

}  // namespace

std::span<const OpAdapter> pointwise_ops() { return kPointwiseOps; }

}  // namespace conformance

// Adapters of ops that reduce or scan dimensions.
#include <limits>
#include "graft/core/ops.h"
#include "ops.h"
#include "report.h"

namespace conformance {
namespace {

using namespace graft;

// None and [] are all dimensions.
Dims dims_of(Arguments& a, const char* name) {
  const auto v = a.ints_or_none(name);
  if (!v || v->empty()) return {};
  return Dims(std::vector<int>(v->begin(), v->end()));
}

template <Tensor (*f)(const Tensor&, const Dims&, bool, std::optional<DType>)>
Outputs summed(Arguments& a) {
  const Tensor x = a.tensor("input");
  const Dims dims = dims_of(a, "dim");
  const bool keepdim = a.boolean("keepdim", false);
  return {f(x, dims, keepdim, a.dtype("dtype"))};
}
template <Tensor (*f)(const Tensor&, const Dims&, bool)>
Outputs reduced(Arguments& a) {
  const Tensor x = a.tensor("input");
  const Dims dims = dims_of(a, "dim");
  return {f(x, dims, a.boolean("keepdim", false))};
}
Outputs prod(Arguments& a) {
  const Tensor x = a.tensor("input");
  const auto dim = a.dim_or_none("dim");
  const bool keepdim = a.boolean("keepdim", false);
  const auto dtype = a.dtype("dtype");
  return {dim ? graft::prod(x, *dim, keepdim, dtype) : graft::prod(x, dtype)};
}
// max(x), max(x, other), max(x, dim, keepdim)
template <auto all, auto pairwise, auto along>
Outputs extreme(Arguments& a) {
  const Tensor x = a.tensor("input");
  if (a.none_left()) return {all(x)};
  if (a.has_tensor("other")) return {pairwise(x, a.tensor("other"))};
  const auto dim = int(a.integer("dim"));
  const MaxResult r = along(x, dim, a.boolean("keepdim", false));
  return {r.values, r.indices};
}
template <Tensor (*f)(const Tensor&, std::optional<int>, bool)>
Outputs position(Arguments& a) {
  const Tensor x = a.tensor("input");
  const auto dim = a.dim_or_none("dim");
  return {f(x, dim, a.boolean("keepdim", false))};
}

// var(x, dim, *, correction, keepdim), with the older var(x, dim, unbiased, keepdim) and var(x, unbiased).
struct Spread {
  Tensor x;
  Dims dims;
  double correction = 1;
  bool keepdim = false;
};
Spread spread(Arguments& a) {
  Spread s;
  s.x = a.tensor("input");
  if (a.peek("dim").is_boolean()) {
    s.correction = a.boolean("dim", true);
    return s;
  }
  s.dims = dims_of(a, "dim");
  s.correction = a.boolean("unbiased", true);
  s.keepdim = a.boolean("keepdim", false);
  if (const auto c = a.number_or_none("correction")) s.correction = *c;
  return s;
}
template <Tensor (*f)(const Tensor&, const Dims&, double, bool)>
Outputs spread_of(Arguments& a) {
  const Spread s = spread(a);
  return {f(s.x, s.dims, s.correction, s.keepdim)};
}
template <VarMean (*f)(const Tensor&, const Dims&, double, bool)>
Outputs spread_and_mean(Arguments& a) {
  const Spread s = spread(a);
  const VarMean r = f(s.x, s.dims, s.correction, s.keepdim);
  return {r.var, r.mean};
}

Outputs norm(Arguments& a) {
  const Tensor x = a.tensor("input");
  double p = 2;
  if (a.peek("p").is_string()) {
    const std::string name = a.text("p");
    if (name != "fro") throw Unsupported("the norm " + name);
  } else {
    p = a.number("p", 2);
  }
  const Dims dims = dims_of(a, "dim");
  return {graft::norm(x, p, dims, a.boolean("keepdim", false))};
}
Outputs vector_norm(Arguments& a) {
  const Tensor x = a.tensor("input");
  const double p = a.number("ord", 2);
  const Dims dims = dims_of(a, "dim");
  return {linalg::vector_norm(x, p, dims, a.boolean("keepdim", false))};
}
template <Tensor (*f)(const Tensor&, int, std::optional<DType>)>
Outputs scanned(Arguments& a) {
  const Tensor x = a.tensor("input");
  const auto dim = int(a.integer("dim"));
  return {f(x, dim, a.dtype("dtype"))};
}

constexpr auto kMaxAll = static_cast<Tensor (*)(const Tensor&)>(max);
constexpr auto kMaxOf = static_cast<Tensor (*)(const Tensor&, const Tensor&)>(max);
constexpr auto kMaxAlong = static_cast<MaxResult (*)(const Tensor&, int, bool)>(max);
constexpr auto kMinAll = static_cast<Tensor (*)(const Tensor&)>(min);
constexpr auto kMinOf = static_cast<Tensor (*)(const Tensor&, const Tensor&)>(min);
constexpr auto kMinAlong = static_cast<MaxResult (*)(const Tensor&, int, bool)>(min);

const OpAdapter kReductionOps[] = {
    {"sum", summed<sum>, true},
    {"mean", summed<mean>, true},
    {"prod", prod, true},
    {"amax", reduced<amax>},
    {"amin", reduced<amin>},
    {"any", reduced<any>},
    {"all", reduced<all>},
    {"count_nonzero",
     [](Arguments& a) -> Outputs {
       const Tensor x = a.tensor("input");
       return {count_nonzero(x, dims_of(a, "dim"))};
     }},
    {"max", extreme<kMaxAll, kMaxOf, kMaxAlong>},
    {"min", extreme<kMinAll, kMinOf, kMinAlong>},
    {"argmax", position<argmax>},
    {"argmin", position<argmin>},
    {"var", spread_of<var>, true},
    {"std", spread_of<graft::std>, true},
    {"var_mean", spread_and_mean<var_mean>, true},
    {"std_mean", spread_and_mean<std_mean>, true},
    {"norm", norm, true},
    {"linalg.vector_norm", vector_norm, true},
    {"logsumexp", reduced<logsumexp>, true},
    {"cumsum", scanned<cumsum>, true},
    {"cumprod", scanned<cumprod>, true},
};

}  // namespace

std::span<const OpAdapter> reduction_ops() { return kReductionOps; }

}  // namespace conformance

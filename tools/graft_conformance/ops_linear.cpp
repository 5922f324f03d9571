// Adapters of linear algebra.
#include "graft/core/ops.h"
#include "ops.h"

namespace conformance {
namespace {

using namespace graft;

template <Tensor (*f)(const Tensor&, const Tensor&)>
Outputs product(Arguments& a) {
  const Tensor x = a.tensor("input");
  return {f(x, a.tensor("other"))};
}
template <Tensor (*f)(const Tensor&, const Tensor&, const Tensor&, Scalar, Scalar)>
Outputs added(Arguments& a) {
  const Tensor c = a.tensor("input"), x = a.tensor("first"), y = a.tensor("second");
  const Scalar beta = a.scalar("beta", 1);
  return {f(c, x, y, beta, a.scalar("alpha", 1))};
}
Outputs einsum(Arguments& a) {  // recorded with the operands first
  const Tensors operands = a.tensors("operands");
  return {graft::einsum(a.text("equation"), operands)};
}
Outputs tensordot(Arguments& a) {
  const Tensor x = a.tensor("a"), y = a.tensor("b");
  const Json& dims = a.json("dims");
  if (!dims.is_array()) return {graft::tensordot(x, y, dims.is_null() ? 2 : dims.get<int>())};
  const Ints left = to_ints(dims.at(0)), right = to_ints(dims.at(1));
  return {graft::tensordot(x, y, Shape(std::span<const int64_t>(left)), Shape(std::span<const int64_t>(right)))};
}

const OpAdapter kLinearOps[] = {
    {"matmul", product<matmul>, kLoose}, {"mm", product<mm>, kLoose},         {"bmm", product<bmm>, kLoose},
    {"mv", product<mv>, kLoose},         {"dot", product<dot>, kLoose},       {"addmm", added<addmm>, kLoose},
    {"addmv", added<addmv>, kLoose},     {"baddbmm", added<baddbmm>, kLoose}, {"einsum", einsum, kLoose},
    {"tensordot", tensordot, kLoose},
};

}  // namespace

std::span<const OpAdapter> linear_ops() { return kLinearOps; }

}  // namespace conformance

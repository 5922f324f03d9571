// Adapters of element-wise ops.
#include "graft/core/ops.h"
#include "ops.h"

namespace conformance {
namespace {

using namespace graft;

template <Tensor (*f)(const Tensor&)>
Outputs unary(Arguments& a) {
  return {f(a.tensor("input"))};
}
template <Tensor (*f)(const Tensor&, const Tensor&)>
Outputs binary(Arguments& a) {
  const Tensor x = a.tensor("input");
  return {f(x, a.tensor("other"))};
}

const OpAdapter kOps[] = {
    {"add", binary<add>}, {"mul", binary<mul>}, {"gt", binary<gt>},
    {"neg", unary<neg>},  {"exp", unary<exp>},  {"nn.functional.relu", unary<relu>},
};

}  // namespace

std::span<const OpAdapter> pointwise_ops() { return kOps; }

}  // namespace conformance

// How an op by PyTorch's name is called: one small adapter each, in tables by family.
#pragma once
#include <span>
#include <string_view>
#include "arguments.h"

namespace conformance {

using Outputs = graft::Tensors;
struct OpAdapter {
  std::string_view name;
  Outputs (*call)(Arguments&);
  bool loose = false;  // sums of many products: compared with the wider tolerance
};
inline constexpr bool kLoose = true;
std::span<const OpAdapter> pointwise_ops();
std::span<const OpAdapter> view_ops();
std::span<const OpAdapter> shape_ops();
std::span<const OpAdapter> index_ops();
std::span<const OpAdapter> linear_ops();
std::span<const OpAdapter> reduction_ops();
std::span<const OpAdapter> functional_ops();
std::span<const OpAdapter> loss_ops();

template <graft::Tensor (*f)(const graft::Tensor&)>
Outputs unary(Arguments& a) {
  return {f(a.tensor("input"))};
}
template <graft::Tensor (*f)(const graft::Tensor&, const graft::Tensor&)>
Outputs binary(Arguments& a) {
  const graft::Tensor x = a.tensor("input");
  return {f(x, a.tensor("other"))};
}

}  // namespace conformance

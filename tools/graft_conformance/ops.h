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
std::span<const OpAdapter> pointwise_ops();
std::span<const OpAdapter> view_ops();
std::span<const OpAdapter> shape_ops();
std::span<const OpAdapter> index_ops();
std::span<const OpAdapter> linear_ops();
std::span<const OpAdapter> reduction_ops();
std::span<const OpAdapter> functional_ops();
std::span<const OpAdapter> loss_ops();

}  // namespace conformance

// Optimizers by PyTorch's name and keyword arguments.
#pragma once
#include <memory>
#include <vector>
#include "case_file.h"
#include "graft/optim/optimizer.h"

namespace conformance {

struct ParamGroup {
  graft::Tensors params;
  Json overrides = Json::object();  // of the arguments of all groups
};
// Throws Unsupported for a type or an argument that graft has not.
std::unique_ptr<graft::optim::Optimizer> make_optimizer(const std::string& type, const Json& kwargs,
                                                        const std::vector<ParamGroup>& groups);

}  // namespace conformance

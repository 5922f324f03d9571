// Adapters of ops that reduce or scan dimensions.
#include "graft/core/ops.h"
#include "ops.h"

namespace conformance {
namespace {

using namespace graft;

const OpAdapter kOps[] = {
    {"sum",
     [](Arguments& a) -> Outputs {
       const Tensor x = a.tensor("input");
       return {sum(x)};
     }},
};

}  // namespace

std::span<const OpAdapter> reduction_ops() { return kOps; }

}  // namespace conformance

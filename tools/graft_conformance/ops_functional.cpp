// Adapters of linear algebra and of torch.nn.functional.
#include "graft/core/ops.h"
#include "ops.h"

namespace conformance {
namespace {

using namespace graft;

constexpr bool kLoose = true;

const OpAdapter kOps[] = {
    {"matmul",
     [](Arguments& a) -> Outputs {
       const Tensor x = a.tensor("input");
       return {matmul(x, a.tensor("other"))};
     },
     kLoose},
};

}  // namespace

std::span<const OpAdapter> functional_ops() { return kOps; }

}  // namespace conformance

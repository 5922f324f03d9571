// Adapters of ops that move elements or only look at them differently.
#include "graft/core/ops.h"
#include "ops.h"

namespace conformance {
namespace {

using namespace graft;

const OpAdapter kOps[] = {
    {"cat",
     [](Arguments& a) -> Outputs {
       const Tensors tensors = a.tensors("tensors");
       return {cat(tensors, int(a.integer("dim", 0)))};
     }},
    {"gather",
     [](Arguments& a) -> Outputs {
       const Tensor x = a.tensor("input");
       const int dim = int(a.integer("dim"));
       return {gather(x, dim, a.tensor("index"))};
     }},
    {"clone", [](Arguments& a) -> Outputs { return {a.tensor("input").clone()}; }},
    {"contiguous", [](Arguments& a) -> Outputs { return {a.tensor("input").contiguous()}; }},
};

}  // namespace

std::span<const OpAdapter> shape_ops() { return kOps; }

}  // namespace conformance

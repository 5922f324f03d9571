// Adapters of ops that copy elements to other places, and of those that make tensors.
#include "graft/core/ops.h"
#include "ops.h"

namespace conformance {
namespace {

using namespace graft;

// ones_like(x, dtype=, device=)
Outputs filled_like(Arguments& a, const Tensor& x, Scalar value) {
  Options o = x.options();
  if (const auto dtype = a.dtype("dtype")) o.dtype = dtype;
  if (const std::string device = a.text("device"); !device.empty()) o.device = Device(std::string_view(device));
  return {full(x.shape(), value, o)};
}

const OpAdapter kOps[] = {
    {"cat",
     [](Arguments& a) -> Outputs {
       const Tensors tensors = a.tensors("tensors");
       return {cat(tensors, int(a.integer("dim", 0)))};
     }},
    {"stack",
     [](Arguments& a) -> Outputs {
       const Tensors tensors = a.tensors("tensors");
       return {stack(tensors, int(a.integer("dim", 0)))};
     }},
    {"gather",
     [](Arguments& a) -> Outputs {
       const Tensor x = a.tensor("input");
       const int dim = int(a.integer("dim"));
       return {gather(x, dim, a.tensor("index"))};
     }},
    {"clone", [](Arguments& a) -> Outputs { return {a.tensor("input").clone()}; }},
    {"contiguous", [](Arguments& a) -> Outputs { return {a.tensor("input").contiguous()}; }},
    {"ones_like", [](Arguments& a) -> Outputs { return filled_like(a, a.tensor("input"), 1); }},
    {"zeros_like", [](Arguments& a) -> Outputs { return filled_like(a, a.tensor("input"), 0); }},
    {"full_like",
     [](Arguments& a) -> Outputs {
       const Tensor x = a.tensor("input");
       const Scalar value = a.scalar("fill_value");
       return filled_like(a, x, value);
     }},
};

}  // namespace

std::span<const OpAdapter> shape_ops() { return kOps; }

}  // namespace conformance

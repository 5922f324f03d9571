#include "graft/nn/add.h"

#include "graft/core/ops.h"
#include "graft/nn/registry.h"

namespace graft::inline v1::nn {

Tensor Add::forward(const Tensor& a, const Tensor& b) { return a + b; }

void register_add(Registry& r) {
  r.add<Add>("Add", [](ArgReader&) { return make<Add>(); });
}

}  // namespace graft::nn

// One activation for another.
#pragma once
#include "graft/nn/activation.h"
#include "graft/surgery/policy.h"

namespace graft::inline v1::surgery {

// surgery::replace(*net, surgery::replace_activation<nn::ReLU>(nn::make<nn::GELU>())): a clone of the prototype for each
// module of exactly type M. What shares an activation shares the new one.
template <class M = nn::ReLU> std::vector<Policy> replace_activation(const nn::ModulePtr& prototype) {
  GRAFT_CHECK(prototype, ErrorCode::type_error, "replace_activation: there is no prototype");
  return {on<M>([prototype](const M& m) -> nn::ModulePtr { return typeid(m) == typeid(M) ? prototype->clone() : nullptr; })};
}

}  // namespace graft::inline v1::surgery

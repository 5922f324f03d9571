// Dropout removed: for inference without it, as torch.fx.experimental.optimization.remove_dropout.
#pragma once
#include "graft/nn/containers.h"
#include "graft/nn/dropout.h"
#include "graft/surgery/policy.h"

namespace graft::inline v1::surgery {

// surgery::replace(*net, surgery::remove_dropout()): an Identity for every Dropout and subclass, in any mode.
// Dropout1d-3d and AlphaDropout are other types, and stay.
inline std::vector<Policy> remove_dropout() {
  return {on<nn::Dropout>([](const nn::Dropout&) { return nn::make<nn::Identity>(); })};
}

}  // namespace graft::inline v1::surgery

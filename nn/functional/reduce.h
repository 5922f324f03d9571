// How the losses are summarised. Not a public header.
#pragma once
#include "graft/nn/functional.h"

namespace graft::inline v1::nn::functional {

inline Tensor reduced(const Tensor& loss, Reduction reduction) {
  if (reduction == Reduction::none) return loss;
  const Tensor total = sum(loss);
  return reduction == Reduction::mean ? total * (1.0 / double(loss.numel())) : total;
}

}  // namespace graft::nn::functional

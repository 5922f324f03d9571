// Hyperparameters of one fused optimizer step over many tensors.
//
// Launch of "sgd":  out = p, momentum (absent when momentum is 0), p, momentum, ...; in = gradients, one per p.
// Launch of "adam": out = p, m, v (, max v with amsgrad), ...; in = gradients.
// All tensors of one p have its shape. Formulas: PyTorch's documentation of torch.optim.SGD, Adam, AdamW.
#pragma once
#include <cstdint>

namespace graft::inline v1 {

template <class C> struct SgdStep;
template <class C> struct AdamStep;

struct SgdAttrs {
  double lr = 0, momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false, maximize = false;
  const bool* first = nullptr;  // per p: the momentum buffer is to be started with the gradient
  const SgdStep<double>* later = nullptr;  // on the device, per p: the step's numbers when a graph is replayed; null: the above
};

struct AdamAttrs {
  double lr = 0, beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0;
  bool decoupled = false;  // AdamW: the parameter decays, not the gradient
  bool amsgrad = false, maximize = false;
  const int64_t* step = nullptr;  // per p: this step's number, from 1
  const AdamStep<double>* later = nullptr;  // as in SgdAttrs
};

}  // namespace graft

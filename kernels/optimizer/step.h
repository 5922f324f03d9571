// What an optimizer does to one element, on cpu and cuda alike. C is the type that is computed in.
#pragma once
#include <cmath>
#include "graft/kernels/dtype.h"
#include "graft/kernels/optimizer/attrs.h"

namespace graft::inline v1 {

template <class C> struct SgdStep {
  C lr, momentum, keep, weight_decay;
  bool nesterov, first;

  template <class T, bool with_momentum> GRAFT_HD void one(T& p, T* buffer, C gradient) const {
    const C x = C(p);
    C d = gradient + weight_decay * x;
    if constexpr (with_momentum) {
      const C buf = first ? d : momentum * C(*buffer) + keep * d;
      *buffer = T(buf);
      d = nesterov ? d + momentum * buf : buf;
    }
    p = T(x - lr * d);
  }
};
template <class C> GRAFT_HD SgdStep<C> rounded(const SgdStep<double>& s) {
  return {C(s.lr), C(s.momentum), C(s.keep), C(s.weight_decay), s.nesterov, s.first};
}
template <class C> SgdStep<C> sgd_step(const SgdAttrs& a, size_t k) {
  return {C(a.lr), C(a.momentum), C(1 - a.dampening), C(a.weight_decay), a.nesterov, a.first && a.first[k]};
}

template <class C> struct AdamStep {
  C lr, beta1, beta2, eps, weight_decay, step_size, root_correction;
  bool decoupled;

  template <class T, bool amsgrad> GRAFT_HD void one(T& p, T& m, T& v, T* top, C d) const {
    C x = C(p);
    if (decoupled) x -= lr * weight_decay * x;
    else d += weight_decay * x;
    const C mean = C(m) + (1 - beta1) * (d - C(m));
    const C square = beta2 * C(v) + (1 - beta2) * d * d;
    m = T(mean);
    v = T(square);
    C under = square;
    if constexpr (amsgrad) {
      under = C(*top) < square ? square : C(*top);
      *top = T(under);
    }
    p = T(x - step_size * mean / (std::sqrt(under) * root_correction + eps));
  }
};
template <class C> GRAFT_HD AdamStep<C> rounded(const AdamStep<double>& s) {
  return {C(s.lr), C(s.beta1), C(s.beta2), C(s.eps), C(s.weight_decay), C(s.step_size), C(s.root_correction), s.decoupled};
}
template <class C> AdamStep<C> adam_step(const AdamAttrs& a, size_t k) {
  const auto t = double(a.step[k]);
  return {C(a.lr), C(a.beta1), C(a.beta2), C(a.eps), C(a.weight_decay), C(a.lr / (1 - std::pow(a.beta1, t))),
          C(1 / std::sqrt(1 - std::pow(a.beta2, t))), a.decoupled};
}

}  // namespace graft

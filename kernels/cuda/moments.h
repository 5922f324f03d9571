// Mean and sum of squared deviations of n values. Parts are joined as by Chan, Golub and LeVeque, "Updating formulae and a
// pairwise algorithm for computing sample variances", 1979.
#pragma once
#include "graft/kernels/host_device.h"

namespace graft::inline v1::cuda {

template <class C> struct Moments { C n, mean, squares; };

template <class C> GRAFT_HD inline Moments<C> join_moments(const Moments<C>& a, const Moments<C>& b) {
  if (a.n == C(0) || b.n == C(0)) return a.n == C(0) ? b : a;
  const C n = a.n + b.n, d = b.mean - a.mean;
  return {n, a.mean + d * (b.n / n), a.squares + b.squares + d * d * (a.n * b.n / n)};
}

}  // namespace graft::cuda

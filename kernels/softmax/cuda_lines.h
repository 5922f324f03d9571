// Lines along one dimension of a contiguous tensor, and the sum of exponentials that is built up in parts.
#pragma once
#include <cmath>
#include "graft/kernels/cuda/compat.h"
#include "graft/kernels/dtype.h"

namespace graft::inline v1::cuda {

struct LineSet {  // element j of line r: (r / step * n + j) * step + r % step
  unsigned count, n, step;
  DType dtype;
  unsigned bytes;
  __device__ size_t start(unsigned r) const { return size_t(r / step) * n * step + r % step; }
};

template <class C> struct Scaled {  // a sum of std::exp(x - top)
  C top, sum;
  GRAFT_HD static Scaled join(Scaled a, Scaled b) {
    const C top = a.top > b.top ? a.top : b.top;
    if (top == C(-INFINITY)) return {top, a.sum + b.sum};
    return {top, a.sum * std::exp(a.top - top) + b.sum * std::exp(b.top - top)};
  }
};

}  // namespace graft::cuda

// Threads of a block that share outputs: each sees every X-th element of what is reduced, then a tree in shared memory joins
// them in a fixed order. Softmax, norms.
#pragma once
#include "graft/kernels/cuda/strided.h"

namespace graft::inline v1::cuda {

struct Groups {
  unsigned along = 1, outputs = kThreads;  // threads of a group, a power of two, and groups of a block
  bool columns = false;                    // neighbouring threads take neighbouring outputs, not neighbouring elements

  Groups() = default;
  GRAFT_HD Groups(int64_t reduced, bool by_columns) : columns(by_columns) {
    const unsigned most = columns ? 8 : kThreads;
    while (along < most && along < reduced) along *= 2;
    outputs = kThreads / along;
  }
  __device__ unsigned place() const { return columns ? threadIdx.x / outputs : threadIdx.x % along; }  // in the group
  __device__ unsigned group() const { return columns ? threadIdx.x % outputs : threadIdx.x / along; }
};

// What all of the group have together, for all of them. `part` is shared memory, an element for every thread of the block.
template <class Acc, class Join> __device__ inline Acc join_group(const Groups& g, Acc* part, const Acc& own, Join join) {
  const unsigned place = g.place(), base = g.group() * g.along;
  __syncthreads();  // what an earlier call left there has been read
  part[base + place] = own;
  for (unsigned half = g.along / 2; half > 0; half /= 2) {
    __syncthreads();
    if (place < half) part[base + place] = join(part[base + place], part[base + place + half]);
  }
  __syncthreads();
  return part[base];
}

}  // namespace graft::cuda

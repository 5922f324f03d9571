// Element i of several strided operands that broadcast to one shape: where each of them has it.
#pragma once
#include "graft/kernels/cuda/compat.h"
#include "graft/kernels/rows.h"

namespace graft::inline v1::cuda {

// Division of n < 2^31 by a fixed d as multiplication and shift (Granlund and Montgomery, "Division by invariant integers
// using multiplication", 1994).
struct Divider {
  unsigned divisor = 1, multiplier = 1, shift = 0;

  Divider() = default;
  explicit Divider(unsigned d) : divisor(d) {
    while (shift < 32 && (1ULL << shift) < d) ++shift;
    multiplier = unsigned((((1ULL << shift) - d) << 32) / d + 1);
  }
  __device__ unsigned divide(unsigned n) const { return (__umulhi(n, multiplier) + n) >> shift; }
};

template <int operands> struct Strided {
  std::byte* data[operands];
  DType dtype[operands];
  int rank = 1;
  unsigned count = 1;                   // elements: below 2^31
  Divider size[kMaxRank];               // the innermost is last
  int64_t step[kMaxRank][operands];     // in bytes

  __device__ void offsets(unsigned i, int64_t (&at)[operands]) const {
    for (int k = 0; k < operands; ++k) at[k] = 0;
    for (int d = rank - 1; d > 0; --d) {
      const unsigned next = size[d].divide(i), index = i - next * size[d].divisor;
      for (int k = 0; k < operands; ++k) at[k] += int64_t(index) * step[d][k];
      i = next;
    }
    for (int k = 0; k < operands; ++k) at[k] += int64_t(i) * step[0][k];
  }
};

// Some dimensions of one operand: where element i of them lies, in elements.
struct Dimensions {
  int rank = 0;
  unsigned count = 1;
  Divider size[kMaxRank];
  int64_t step[kMaxRank];

  __device__ int64_t offset(unsigned i) const {
    int64_t at = 0;
    for (int d = rank - 1; d > 0; --d) {
      const unsigned next = size[d].divide(i);
      at += int64_t(i - next * size[d].divisor) * step[d];
      i = next;
    }
    return rank ? at + int64_t(i) * step[0] : 0;
  }
};

// Calls run(strided) for the output and the inputs of a launch: once, or for parts of at most 2^31 - 1 elements.
template <int operands, class Run> void for_each_part(const Launch& l, Run run, int64_t most = INT32_MAX) {
  if (l.out[0]->numel == 0) return;
  const OperandWalk walk(l);
  Strided<operands> s;
  int64_t inner = 1;  // elements of one step of the outermost dimension
  s.rank = walk.rank;
  for (int d = walk.rank - 1; d >= 0; --d) {
    if (d > 0) {
      s.size[d] = Divider(unsigned(walk.size[d]));
      inner *= walk.size[d];
    }
    for (size_t k = 0; k < operands; ++k) s.step[d][k] = walk.step[d][k] * walk.bytes[k];
  }
  for (size_t k = 0; k < operands; ++k) s.dtype[k] = k ? l.in[k - 1]->dtype : l.out[0]->dtype;
  // What lies inside one outermost index is taken as it is: a tensor of 2^31 elements per index does not fit into a GPU.
  const int64_t at_once = std::max<int64_t>(1, most / inner);
  for (int64_t first = 0; first < walk.size[0]; first += at_once) {
    const int64_t n = std::min(at_once, walk.size[0] - first);
    for (size_t k = 0; k < operands; ++k) s.data[k] = walk.data[k] + first * s.step[0][k];
    s.count = unsigned(n * inner);
    run(s);
  }
}

inline constexpr unsigned kThreads = 256;
inline unsigned blocks_for(int64_t n, int64_t per_block = kThreads) { return unsigned((n + per_block - 1) / per_block); }

}  // namespace graft::cuda

// Counting and ordering on cuda, for launchers that need it: running sums of counts, and stable orders of unsigned keys.
#pragma once
#include "graft/kernels/cuda/workspace.h"

namespace graft::inline v1::cuda {

// counts[i] becomes the sum of those before it. False where there is no memory.
bool sum_before(const View& of, unsigned* counts, int64_t n, void* stream);

// Rows of n keys each, fewer than 2^31 in all. A caller writes `keys`, orders them, and finds, in order, the keys and the
// places in their row that they had; equal keys keep their order.
template <class K> class KeyRows {  // K: uint32_t, uint64_t
 public:
  KeyRows(const View& of, int64_t rows, int64_t n);
  bool ok() const { return keys && places; }
  bool order(int bits, void* stream);  // by the lowest bits, all others being 0. False where there is no memory

  K* keys = nullptr;
  unsigned* places = nullptr;

 private:
  const View& of_;
  int64_t rows_, n_;
  Workspace key_memory_, place_memory_;
};

}  // namespace graft::cuda

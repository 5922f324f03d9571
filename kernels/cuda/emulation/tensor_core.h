// The instructions around tensor cores as operations of a warp: mma.sync (f16, bf16, tf32), ldmatrix, cp.async. Inline, so that
// the checker sees what they read and write. kernels/cuda/tensor_core.h wraps these and the real ones alike.
#pragma once
#include "graft/kernels/cuda/emulation/device.h"
#include "graft/kernels/half.h"

namespace graft::inline v1::cuda::emulation {

struct Fragments {
  const uint32_t* a;
  const uint32_t* b;
  float* d;
};
// d += a b, a[16][K], b[K][8]: K = 16 are bf16 or, if `f16`, binary16, two in a register; K = 8 are tf32. The lane that holds an element: "Parallel
// Thread Execution ISA", Matrix Fragments for mma.m16n8k16 and mma.m16n8k8.
template <int K, bool f16> void multiply_fragments(Post lanes[32]) {
  float a[16][K], b[K][8];
  const auto half = [](uint32_t r, int h) {
    if constexpr (f16) return float(Half::from_bits(uint16_t(h ? r >> 16 : r)));
    else return __uint_as_float(h ? r & 0xffff0000U : r << 16);
  };
  const auto tf32 = [](uint32_t r) { return __uint_as_float(r & 0xffffe000U); };  // the hardware ignores the low 13 bits
  for (int lane = 0; lane < 32; ++lane) {
    const auto* f = static_cast<Fragments*>(lanes[lane].data);
    const int group = lane >> 2, t = lane & 3;
    for (int r = 0; r < 4; ++r) {
      if constexpr (K == 16) {
        for (int h = 0; h < 2; ++h) a[group + (r & 1) * 8][t * 2 + (r >> 1) * 8 + h] = half(f->a[r], h);
      } else {
        a[group + (r & 1) * 8][t + (r >> 1) * 4] = tf32(f->a[r]);
      }
    }
    for (int r = 0; r < 2; ++r) {
      if constexpr (K == 16) {
        for (int h = 0; h < 2; ++h) b[t * 2 + r * 8 + h][group] = half(f->b[r], h);
      } else {
        b[t + r * 4][group] = tf32(f->b[r]);
      }
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto* f = static_cast<Fragments*>(lanes[lane].data);
    const int group = lane >> 2, t = lane & 3;
    for (int r = 0; r < 4; ++r) {
      float sum = f->d[r];
      for (int k = 0; k < K; ++k) sum += a[group + (r >> 1) * 8][k] * b[k][t * 2 + (r & 1)];
      f->d[r] = sum;
    }
  }
}
template <int K, bool f16 = false> void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], GRAFT_SITE) {
  Fragments mine{a, b, d};
  warp_collective(~0U, multiply_fragments<K, f16>, &mine, false, {file, line});
}

struct MatrixRow {
  uint16_t row[8];
  uint32_t* out;
};
template <bool transposed> void distribute_matrices(Post lanes[32]) {
  for (int lane = 0; lane < 32; ++lane) {
    const auto* mine = static_cast<MatrixRow*>(lanes[lane].data);
    for (int m = 0; m < 4; ++m) {
      const auto at = [&](int r, int c) { return uint32_t(static_cast<MatrixRow*>(lanes[m * 8 + r].data)->row[c]); };
      const int i = lane >> 2, j = (lane & 3) * 2;
      mine->out[m] = transposed ? at(j, i) | at(j + 1, i) << 16 : at(i, j) | at(i, j + 1) << 16;
    }
  }
}
// Four 8x8 matrices of 16-bit elements: lane 8 m + r names row r of matrix m.
inline void ldmatrix_x4(uint32_t (&out)[4], const void* row, bool transposed, GRAFT_SITE) {
  if (reinterpret_cast<uintptr_t>(row) & 15) kernel_fault(cudaErrorMisalignedAddress, "ldmatrix: a row is not 16-byte aligned");
  MatrixRow mine{{}, out};
  const uint4 v = *static_cast<const uint4*>(row);
  std::memcpy(mine.row, &v, 16);
  warp_collective(~0U, transposed ? distribute_matrices<true> : distribute_matrices<false>, &mine, false, {file, line});
}

// 16-byte copies that arrive when the thread waits for their group. Until then the destination holds NaNs: nobody may have
// read it earlier. The queue is the thread's own (async_copy.cpp).
struct AsyncCopy {
  uint4* to;
  const uint4* from;  // null: zeros
};
void push_async_copy(AsyncCopy);
void commit_async_copies();
bool take_async_copy(int groups_to_keep, AsyncCopy*);

inline void cp_async16(void* to, const void* from, bool valid) {
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) & 15)
    kernel_fault(cudaErrorMisalignedAddress, "cp.async: needs 16-byte alignment");
  *static_cast<uint4*>(to) = uint4{~0U, ~0U, ~0U, ~0U};
  push_async_copy({static_cast<uint4*>(to), valid ? static_cast<const uint4*>(from) : nullptr});
}
inline void cp_async_commit() { commit_async_copies(); }
inline void cp_async_wait(int groups_to_keep) {
  AsyncCopy c{};
  while (take_async_copy(groups_to_keep, &c)) *c.to = c.from ? *c.from : uint4{0, 0, 0, 0};
}

}  // namespace graft::cuda::emulation

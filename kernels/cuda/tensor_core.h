// The instructions around tensor cores: PTX for nvcc, operations of a warp on the emulated device. Which lane holds which
// element: "Parallel Thread Execution ISA", Matrix Fragments for mma.m16n8k16.
#pragma once
#include "graft/kernels/cuda/compat.h"
#include "graft/kernels/half.h"
#ifndef __CUDACC__
#include "graft/kernels/cuda/emulation/tensor_core.h"
#endif

namespace graft::inline v1::cuda {

// d[16][8] += a[16][16] b[16][8]; T is Half or BFloat16, sums are f32.
template <class T> __device__ inline void multiply_add(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef __CUDACC__
#define GRAFT_MMA(type)                                                                                                       \
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type ".f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};\n" \
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                              \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
  if constexpr (std::is_same_v<T, Half>) GRAFT_MMA("f16");
  else GRAFT_MMA("bf16");
#undef GRAFT_MMA
#else
  emulation::mma<16, std::is_same_v<T, Half>>(d, a, b);
#endif
}

// Four 8x8 matrices of 16-bit elements from shared memory: lane 8 m + r names row r of matrix m.
template <bool transposed> __device__ inline void load_matrices(uint32_t (&out)[4], const void* row) {
#ifdef __CUDACC__
  const auto at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];\n"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(at) : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];\n"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(at) : "memory");
#else
  emulation::ldmatrix_x4(out, row, transposed);
#endif
}

// 16 bytes from global to shared memory that arrive later; zeros unless `valid` (`from` is an address in any case).
__device__ inline void copy_async(void* to, const void* from, bool valid) {
#ifdef __CUDACC__
  const auto at = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(at), "l"(from), "r"(valid ? 16 : 0) : "memory");
#else
  emulation::cp_async16(to, from, valid);
#endif
}
__device__ inline void commit_copies() {
#ifdef __CUDACC__
  asm volatile("cp.async.commit_group;\n" ::: "memory");
#else
  emulation::cp_async_commit();
#endif
}
template <int groups_to_keep> __device__ inline void wait_for_copies() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_group %0;\n" ::"n"(groups_to_keep) : "memory");
#else
  emulation::cp_async_wait(groups_to_keep);
#endif
}

}  // namespace graft::cuda

// Kernels that are right and kernels that are wrong in one way each.
#include "graft/kernels/cuda/compat.h"
#include "kernels.h"
#ifndef __CUDACC__
#include "graft/kernels/cuda/emulation/tensor_core.h"
#endif

namespace graft::emulation_test {
namespace {

__global__ void k_warp(int* out) {
  const int lane = int(threadIdx.x) & 31;
  const unsigned half = lane < 16 ? 0x0000ffffU : 0xffff0000U;
  int sum = lane;
  for (int d = 8; d; d >>= 1) sum += __shfl_xor_sync(half, sum, d, 16);
  const unsigned thirds = __ballot_sync(0xffffffffU, lane % 3 == 0);
  const int up = __shfl_up_sync(0xffffffffU, lane, 1), down = __shfl_down_sync(0xffffffffU, lane, 2);
  const int seventh = __shfl_sync(0xffffffffU, lane * 10, 7), segment = __shfl_sync(0xffffffffU, lane, 1, 8);
  out[lane] = sum + int(thirds & 0xff) * 1000 + up * 7 + down * 11 + seventh * 13 + segment * 17;
}
__global__ void k_votes(int* out) {
  const int count = __syncthreads_count(threadIdx.x % 5 == 0), all = __syncthreads_and(threadIdx.x < 64);
  const int any = __syncthreads_or(threadIdx.x == 63);
  if (threadIdx.x == 0) {
    out[0] = count;
    out[1] = all;
    out[2] = any;
  }
}
__global__ void k_atomics(float* f, __half2* h, unsigned* u) {
  atomicAdd(f, 0.5F);
  atomicAdd(h, __floats2half2_rn(1.F, 2.F));
  atomicMax(u, threadIdx.x);
}
template <class F> __global__ void k_map(const float* x, float* y, int n, F f) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) y[i] = f(x[i]);
}
__global__ void k_increment(float* p, int n) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) p[i] += 1;
}
__global__ void k_misaligned(float* p) {
  auto* v = reinterpret_cast<float4*>(p + 1);
  float4 x = *v;
  x.x += 1;
  *v = x;
}
__global__ void k_empty(int) {}
#ifndef __CUDACC__  // nvcc refuses it
__global__ void k_much_shared(float* out) {
  GRAFT_SHARED(float, s, [13000]);
  s[threadIdx.x] = 1;
  out[threadIdx.x] = s[threadIdx.x];
}
#endif
__global__ void k_divergent(int) {
  if (threadIdx.x < 16)
    __syncthreads();
  else
    __syncthreads();
}
__global__ void k_skipped(int* out) {
  if (threadIdx.x < 32) out[threadIdx.x] = __shfl_xor_sync(0xffffffffU, 1, 1);
  else __syncthreads();
  __syncthreads();
}
__global__ void k_mask(int* out) {
  if (threadIdx.x < 31) out[threadIdx.x] = __shfl_down_sync(0xffffffffU, 1, 1);
}
__global__ void k_unwritten(float* out) {
  GRAFT_SHARED(float, s, [32]);
  if (threadIdx.x < 31) s[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = s[threadIdx.x];
}
__global__ void k_reverse(const float* x, float* y, int barrier) {
  GRAFT_SHARED(float, s, [64]);
  s[threadIdx.x] = x[threadIdx.x];
  if (barrier) __syncthreads();
  y[threadIdx.x] = s[63 - threadIdx.x];
}
__global__ void k_write_one(float* p) { *p = float(threadIdx.x); }
// The last block to arrive adds what all have left.
__global__ void k_sum(const float* x, float* partial, unsigned* counter, float* out, int fence) {
  float sum = x[blockIdx.x * 32 + threadIdx.x];
  for (int d = 16; d; d >>= 1) sum += __shfl_xor_sync(0xffffffffU, sum, d);
  if (threadIdx.x != 0) return;
  partial[blockIdx.x] = sum;
  if (fence) __threadfence();
  if (atomicInc(counter, gridDim.x - 1) != gridDim.x - 1) return;
  float total = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) total += partial[b];
  *out = total;
}

}  // namespace

using cuda::launch;
void warp_operations(int* out, cudaStream_t s) { launch(k_warp, 1, 32, 0, s, out); }
void barrier_votes(int* out, cudaStream_t s) { launch(k_votes, 1, 64, 0, s, out); }
void atomics(float* f, __half2* h, unsigned* u, cudaStream_t s) { launch(k_atomics, 2, 64, 0, s, f, h, u); }
void add_lambda(const float* x, float* y, int n, float a, cudaStream_t s) {
  const auto f = [a] __device__(float v) { return v + a; };
  launch(k_map<decltype(f)>, (n + 127) / 128, 128, 0, s, x, y, n, f);
}
void increment(float* p, int n, cudaStream_t s, int threads) { launch(k_increment, 1, threads, 0, s, p, n); }
void increment_misaligned(float* p, cudaStream_t s) { launch(k_misaligned, 1, 1, 0, s, p); }
void empty(int threads, size_t shared_bytes, cudaStream_t s, unsigned blocks) {
  launch(k_empty, blocks, threads, shared_bytes, s, 0);
}
void allow_shared(size_t bytes) {
  cudaFuncSetAttribute(reinterpret_cast<const void*>(k_empty), cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes));
}
void divergent_barrier(cudaStream_t s) { launch(k_divergent, 1, 32, 0, s, 0); }
void barrier_skipped_by_half(int* out, cudaStream_t s) { launch(k_skipped, 1, 64, 0, s, out); }
void mask_of_absent_lane(int* out, cudaStream_t s) { launch(k_mask, 1, 32, 0, s, out); }
void reads_shared_unwritten(float* out, cudaStream_t s) { launch(k_unwritten, 1, 32, 0, s, out); }
void reverses_in_shared(const float* x, float* y, bool barrier, cudaStream_t s) {
  launch(k_reverse, 1, 64, 0, s, x, y, int(barrier));
}
void all_write_one(float* p, cudaStream_t s) { launch(k_write_one, 1, 64, 0, s, p); }
void sum_over_blocks(const float* x, float* partial, unsigned* counter, float* out, bool fence, cudaStream_t s) {
  launch(k_sum, 4, 32, 0, s, x, partial, counter, out, int(fence));
}

#ifndef __CUDACC__  // the emulation's instructions without their wrappers
namespace {
namespace emu = cuda::emulation;
__global__ void k_multiply(const uint16_t* a, const uint16_t* b, float* d) {
  const int lane = int(threadIdx.x), group = lane >> 2, t = lane & 3;
  GRAFT_SHARED(uint16_t, tile, [16 * 16]);
  for (int i = lane; i < 256; i += 32) tile[i] = a[i];
  __syncwarp();
  uint32_t left[4], right[2];
  // Matrices 0..3 of the tile: rows 0-7, rows 8-15, then the same of columns 8-15.
  const int m = lane >> 3;
  emu::ldmatrix_x4(left, tile + ((m & 1) * 8 + (lane & 7)) * 16 + (m >> 1) * 8, false);
  for (int r = 0; r < 2; ++r)
    right[r] = uint32_t(b[(t * 2 + r * 8) * 8 + group]) | uint32_t(b[(t * 2 + r * 8 + 1) * 8 + group]) << 16;
  float sum[4] = {};
  emu::mma<16>(sum, left, right);
  for (int r = 0; r < 4; ++r) d[(group + (r >> 1) * 8) * 8 + t * 2 + (r & 1)] = sum[r];
}
__global__ void k_copies(const float* x, float* y, int wait) {
  GRAFT_SHARED(float, s, [128]);
  const unsigned t = threadIdx.x;
  emu::cp_async16(s + 4 * t, x + 4 * t, true);
  emu::cp_async_commit();
  if (wait) emu::cp_async_wait(0);
  __syncthreads();
  for (unsigned i = 0; i < 4; ++i) y[i * 32 + t] = s[i * 32 + t];
  emu::cp_async_wait(0);
}
}  // namespace
void too_much_shared(float* out, cudaStream_t s) { launch(k_much_shared, 1, 32, 0, s, out); }
void multiply_bf16(const uint16_t* a, const uint16_t* b, float* d, cudaStream_t s) { launch(k_multiply, 1, 32, 0, s, a, b, d); }
void copies_late(const float* x, float* y, bool wait, cudaStream_t s) { launch(k_copies, 1, 32, 0, s, x, y, int(wait)); }
#endif

}  // namespace graft::emulation_test

#include "kernels.h"
#include "graft/kernels/cuda/compat.h"
#include "graft/kernels/cuda/element.h"

namespace graft::walkthrough {
namespace {

using namespace cuda;

__global__ __launch_bounds__(256) void add(float* sum, const float* x, const float* r, int count) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) sum[i] = x[i] + r[i];
}

__global__ __launch_bounds__(256) void norm_by_threads(float* y, const float* s, int rows, int n) {
  const int row = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (row >= rows) return;
  float mean = 0, squares = 0;
  for (int i = 0; i < n; ++i) mean += s[row * n + i];
  mean /= float(n);
  for (int i = 0; i < n; ++i) squares += (s[row * n + i] - mean) * (s[row * n + i] - mean);
  const float rstd = rsqrtf(squares / float(n) + 1e-5F);
  for (int i = 0; i < n; ++i) y[row * n + i] = (s[row * n + i] - mean) * rstd;
}

template <bool barrier> __device__ inline float sum_in_shared(float* part, float own) {
  part[threadIdx.x] = own;
  for (unsigned step = 1; step < 256; step *= 2) {
    if (barrier) __syncthreads();
    const unsigned to = 2 * step * threadIdx.x;
    if (to < 256) part[to] += part[to + step];
  }
  __syncthreads();
  return part[0];
}
template <bool barrier> __global__ __launch_bounds__(256) void norm_by_blocks(float* y, const float* s, int n) {
  GRAFT_SHARED(float, part, [256]);
  const int start = int(blockIdx.x) * n;
  float mean = 0, squares = 0;
  for (int i = int(threadIdx.x); i < n; i += 256) mean += s[start + i];
  mean = sum_in_shared<barrier>(part, mean) / float(n);
  __syncthreads();
  for (int i = int(threadIdx.x); i < n; i += 256) squares += (s[start + i] - mean) * (s[start + i] - mean);
  const float rstd = rsqrtf(sum_in_shared<barrier>(part, squares) / float(n) + 1e-5F);
  for (int i = int(threadIdx.x); i < n; i += 256) y[start + i] = (s[start + i] - mean) * rstd;
}

__device__ inline float sum_of_block(float* part, float own) {
  for (int lanes = 16; lanes > 0; lanes /= 2) own += __shfl_xor_sync(~0U, own, lanes);
  __syncthreads();  // what an earlier call left there has been read
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = own;
  __syncthreads();
  float sum = 0;
  for (int warp = 0; warp < 8; ++warp) sum += part[warp];
  return sum;
}
__global__ __launch_bounds__(256) void norm_by_warps(float* y, const float* s, int n) {
  GRAFT_SHARED(float, part, [8]);
  const int start = int(blockIdx.x) * n;
  float mean = 0, squares = 0;
  for (int i = int(threadIdx.x); i < n; i += 256) mean += s[start + i];
  mean = sum_of_block(part, mean) / float(n);
  for (int i = int(threadIdx.x); i < n; i += 256) squares += (s[start + i] - mean) * (s[start + i] - mean);
  const float rstd = rsqrtf(sum_of_block(part, squares) / float(n) + 1e-5F);
  for (int i = int(threadIdx.x); i < n; i += 256) y[start + i] = (s[start + i] - mean) * rstd;
}

using Four = Pack<float, 4>;
__device__ inline Four normalized(Four v, float* part) {
  const float mean = sum_of_block(part, v.of[0] + v.of[1] + v.of[2] + v.of[3]) / 1024;
  float squares = 0;
  for (float& one : v.of) one -= mean, squares += one * one;
  const float rstd = rsqrtf(sum_of_block(part, squares) / 1024 + 1e-5F);
  for (float& one : v.of) one *= rstd;
  return v;
}
__global__ __launch_bounds__(256) void norm_in_registers(Four* y, const Four* s) {
  GRAFT_SHARED(float, part, [8]);
  const unsigned i = blockIdx.x * 256 + threadIdx.x;
  y[i] = normalized(s[i], part);
}

__global__ __launch_bounds__(256) void add_and_norm(Four* y, const Four* x, const Four* r) {
  GRAFT_SHARED(float, part, [8]);
  const unsigned i = blockIdx.x * 256 + threadIdx.x;
  Four sum = x[i];
  const Four other = r[i];
  for (int k = 0; k < 4; ++k) sum.of[k] += other.of[k];
  y[i] = normalized(sum, part);
}

void add_first(const Operands& o, void* stream) {
  launch(add, unsigned((o.rows * o.n + 255) / 256), 256, 0, stream, o.sum, o.x, o.r, o.rows * o.n);
}
Four* packs(float* p) { return reinterpret_cast<Four*>(p); }
const Four* packs(const float* p) { return reinterpret_cast<const Four*>(p); }

}  // namespace

void by_threads(const Operands& o, void* stream) {
  add_first(o, stream);
  launch(norm_by_threads, unsigned((o.rows + 255) / 256), 256, 0, stream, o.y, o.sum, o.rows, o.n);
}
void by_blocks(const Operands& o, bool barrier, void* stream) {
  add_first(o, stream);
  launch(barrier ? norm_by_blocks<true> : norm_by_blocks<false>, unsigned(o.rows), 256, 0, stream, o.y, o.sum, o.n);
}
void by_warps(const Operands& o, void* stream) {
  add_first(o, stream);
  launch(norm_by_warps, unsigned(o.rows), 256, 0, stream, o.y, o.sum, o.n);
}
void in_registers(const Operands& o, void* stream) {
  add_first(o, stream);
  launch(norm_in_registers, unsigned(o.rows), 256, 0, stream, packs(o.y), packs(o.sum));
}
void fused(const Operands& o, void* stream) {
  launch(add_and_norm, unsigned(o.rows), 256, 0, stream, packs(o.y), packs(o.x), packs(o.r));
}

}  // namespace graft::walkthrough

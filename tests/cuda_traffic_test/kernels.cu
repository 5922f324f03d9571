#include "kernels.h"
#include "graft/kernels/cuda/compat.h"
#include "graft/kernels/cuda/element.h"

namespace graft::traffic_test {
namespace {

using namespace cuda;

constexpr int kBlock = 256;
using Four = Pack<float, 4>;

__device__ int own() { return int(blockIdx.x * blockDim.x + threadIdx.x); }
__global__ void k_step(float* y, const float* x, int n, int step) {
  if (own() < n) y[own()] = x[step * own()];
}
__global__ void k_from(float* y, const float* x, int n, int first) {
  if (own() < n) y[own()] = x[first + own()];
}
__global__ void k_packs(Four* y, const Four* x, int n) {
  if (own() < n) y[own()] = x[own()];
}
__global__ void k_twice(float* y, const volatile float* x, int n) {
  if (own() >= n) return;
  const float once = x[own()];
  y[own()] = once + x[own()];
}
__global__ void k_one(float* y, const float* x, int n) {
  if (own() < n) y[own()] = x[0];
}
__global__ void k_tile(float* y, const float* x, int pitch) {
  GRAFT_SHARED(float, tile, [32 * 40]);
  const int column = int(threadIdx.x) % 32;
  for (int row = int(threadIdx.x) / 32; row < 32; row += kBlock / 32) tile[row * pitch + column] = x[row * 32 + column];
  __syncthreads();
  for (int row = int(threadIdx.x) / 32; row < 32; row += kBlock / 32) y[row * 32 + column] = tile[column * pitch + row];
}
__global__ void k_shared(float* y, const float* x, int step) {
  GRAFT_SHARED(float, words, [32 * 32]);
  words[int(threadIdx.x) * step] = x[threadIdx.x];
  y[threadIdx.x] = words[int(threadIdx.x) * step];
}
__global__ void k_reverse(Four* y, const Four* x) {
  GRAFT_SHARED(Four, packs, [32]);
  packs[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = packs[31 - threadIdx.x];
}

unsigned blocks(int n) { return unsigned((n + kBlock - 1) / kBlock); }

}  // namespace

void copy_with_step(float* y, const float* x, int n, int step, void* stream) { launch(k_step, blocks(n), kBlock, 0, stream, y, x, n, step); }
void copy_from(float* y, const float* x, int n, int first, void* stream) { launch(k_from, blocks(n), kBlock, 0, stream, y, x, n, first); }
void copy_packs(float* y, const float* x, int n, void* stream) {
  launch(k_packs, blocks(n / 4), kBlock, 0, stream, reinterpret_cast<Four*>(y), reinterpret_cast<const Four*>(x), n / 4);
}
void read_twice(float* y, const float* x, int n, void* stream) { launch(k_twice, blocks(n), kBlock, 0, stream, y, x, n); }
void read_one(float* y, const float* x, int n, void* stream) { launch(k_one, blocks(n), kBlock, 0, stream, y, x, n); }
void turn_tile(float* y, const float* x, int pitch, void* stream) { launch(k_tile, 1, kBlock, 0, stream, y, x, pitch); }
void turn_in_shared(float* y, const float* x, int step, void* stream) { launch(k_shared, 1, 32, 0, stream, y, x, step); }
void reverse_packs(float* y, const float* x, void* stream) {
  launch(k_reverse, 1, 32, 0, stream, reinterpret_cast<Four*>(y), reinterpret_cast<const Four*>(x));
}

}  // namespace graft::traffic_test

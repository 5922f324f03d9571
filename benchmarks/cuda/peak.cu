// Sums of products, on the cores and on the tensor cores: the most arithmetic that the machine does, as benchmarks measure it.
#include "graft/kernels/cuda/compat.h"

#include "graft/kernels/cuda/tensor_core.h"
#include "peak.h"

namespace peak {
namespace {

using namespace graft;

constexpr int kChains = 8;  // independent sums of a thread: they cover the latency

template <class T> __global__ void tensor_cores(float* out, int steps) {
  float sum[kChains][4] = {};
  const uint32_t a[4] = {0, 0, 0, 0}, b[2] = {0, 0};
  for (int s = 0; s < steps; ++s)
#pragma unroll
    for (int i = 0; i < kChains; ++i) cuda::multiply_add<T>(sum[i], a, b);
  float all = 0;
  for (int i = 0; i < kChains; ++i) all += sum[i][0] + sum[i][1] + sum[i][2] + sum[i][3];
  if (blockIdx.x == 0) out[threadIdx.x] = all;
}
__global__ void multiply_adds(float* out, int steps, float x, float y) {
  float sum[kChains];
  for (int i = 0; i < kChains; ++i) sum[i] = float(i);
  for (int s = 0; s < steps; ++s)
#pragma unroll
    for (int i = 0; i < kChains; ++i) sum[i] = fmaf(sum[i], x, y);
  float all = 0;
  for (int i = 0; i < kChains; ++i) all += sum[i];
  if (blockIdx.x == 0) out[threadIdx.x] = all;
}

}  // namespace

double launch(DType t, const Tensor& out, int blocks, int steps, void* stream) {
  constexpr unsigned threads = kOutputs;
  auto* to = reinterpret_cast<float*>(out.view().data);
  const double rounds = double(blocks) * steps * kChains;
  if (t == f32) {
    cuda::launch(multiply_adds, unsigned(blocks), threads, 0, stream, to, steps, 0.999F, 1e-6F);
    return rounds * threads * 2;
  }
  if (t == f16) cuda::launch(tensor_cores<Half>, unsigned(blocks), threads, 0, stream, to, steps);
  else cuda::launch(tensor_cores<BFloat16>, unsigned(blocks), threads, 0, stream, to, steps);
  return rounds * (threads / 32) * 16 * 8 * 16 * 2;
}

}  // namespace peak

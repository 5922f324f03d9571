// What the listings in this folder were recorded from: nvcc -c -O3 -arch=sm_90 kernels.cu, then cuobjdump -res-usage, -elf and
// -sass of kernels.o (of -elf the attributes of kernels only, of -sass no encodings).
#include <cuda_bf16.h>

__global__ void __launch_bounds__(256) copy_packs(float4* y, const float4* x) { y[blockIdx.x * 256 + threadIdx.x] = x[blockIdx.x * 256 + threadIdx.x]; }
template <class T> __global__ void __launch_bounds__(128) copy_elements(T* y, const T* x) {
  y[blockIdx.x * 128 + threadIdx.x] = x[blockIdx.x * 128 + threadIdx.x];
}
template __global__ void copy_elements(float*, const float*);
template __global__ void copy_elements(short*, const short*);
__global__ void __launch_bounds__(64) pick_from_array(int* y, const int* x) {  // an array in local memory
  int own[32] = {};
  for (int k = 0; k < 32; ++k) own[x[k] & 31] += k;
  y[threadIdx.x] = own[threadIdx.x & 31];
}
__global__ void __launch_bounds__(1024) multiply(float4* d, const uint4* a, const uint2* b) {
  __shared__ float4 tile[1024];
  tile[threadIdx.x] = d[threadIdx.x];
  __syncthreads();
  float4 c = tile[threadIdx.x ^ 32];
  const uint4 x = a[threadIdx.x];
  const uint2 y = b[threadIdx.x];
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};\n"
               : "+f"(c.x), "+f"(c.y), "+f"(c.z), "+f"(c.w) : "r"(x.x), "r"(x.y), "r"(x.z), "r"(x.w), "r"(y.x), "r"(y.y));
  d[threadIdx.x] = c;
}

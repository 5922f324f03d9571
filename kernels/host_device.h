// GRAFT_HD marks what runs on both sides: in kernels of the GPU and in ordinary code.
#pragma once
#if defined(__CUDACC__)
#define GRAFT_HD __host__ __device__
#elif defined(GRAFT_CUDA_KERNEL)
// A kernel file of the emulated device: g++ does not report the store of what a call returned, so calls are inlined.
#define GRAFT_HD [[gnu::always_inline]]
#else
#define GRAFT_HD
#endif

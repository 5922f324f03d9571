// GRAFT_HD marks what runs on both sides: in kernels of the GPU and in ordinary code.
#pragma once
#ifdef __CUDACC__
#define GRAFT_HD __host__ __device__
#else
#define GRAFT_HD
#endif

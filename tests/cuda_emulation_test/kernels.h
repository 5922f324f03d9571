// The kernels of cuda_emulation_test.cpp, right and wrong ones, as functions that launch them.
#pragma once
#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace graft::emulation_test {

// out[32]: shuffles, ballots and sub-warp masks in one number per lane.
void warp_operations(int* out, cudaStream_t);
void barrier_votes(int* out, cudaStream_t);  // count, and, or
void atomics(float* f, __half2* h, unsigned* u, cudaStream_t);
void add_lambda(const float* x, float* y, int n, float a, cudaStream_t);
void increment(float* p, int n, cudaStream_t, int threads = 32);
void increment_misaligned(float* p, cudaStream_t);  // as 16 bytes, 4 past the beginning
void empty(int threads, size_t shared_bytes, cudaStream_t, unsigned blocks = 1);
void allow_shared(size_t bytes);  // of empty()
void too_much_shared(float* out, cudaStream_t);
void divergent_barrier(cudaStream_t);
void barrier_skipped_by_half(int* out, cudaStream_t);
void mask_of_absent_lane(int* out, cudaStream_t);
void reads_shared_unwritten(float* out, cudaStream_t);
void reverses_in_shared(const float* x, float* y, bool barrier, cudaStream_t);  // 64 elements
void all_write_one(float* p, cudaStream_t);
void sum_over_blocks(const float* x, float* partial, unsigned* counter, float* out, bool fence, cudaStream_t);  // 4 x 32
void multiply_bf16(const uint16_t* a, const uint16_t* b, float* d, cudaStream_t);  // d[16][8] = a[16][16] b[16][8]
void copies_late(const float* x, float* y, bool wait, cudaStream_t);  // 128 elements by cp.async

}  // namespace graft::emulation_test

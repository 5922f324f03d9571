// Kernels whose traffic is known from their source, for cuda_traffic_test.cpp. A block has 256 threads.
#pragma once

namespace graft::traffic_test {

void copy_with_step(float* y, const float* x, int n, int step, void* stream);      // y[i] = x[step * i]
void copy_from(float* y, const float* x, int n, int first, void* stream);          // y[i] = x[first + i]
void copy_packs(float* y, const float* x, int n, void* stream);                    // 16 bytes per thread
void read_twice(float* y, const float* x, int n, void* stream);                    // y[i] = x[i] + (the same again)
void read_one(float* y, const float* x, int n, void* stream);                      // y[i] = x[0]
void turn_tile(float* y, const float* x, int pitch, void* stream);                 // 32 x 32 through shared memory: rows of `pitch`
void turn_in_shared(float* y, const float* x, int step, void* stream);             // 32 threads: lane i writes word step * i
void reverse_packs(float* y, const float* x, void* stream);                        // 32 threads, 16 bytes each through shared memory

}  // namespace graft::traffic_test

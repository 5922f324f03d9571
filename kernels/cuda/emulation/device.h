// What kernels see of the emulated device: the built-in variables and functions of CUDA C++ that are not in NVIDIA's
// headers. Types, enumerations, prototypes, half and bfloat16 are NVIDIA's own.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <vector_functions.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>

#undef __shared__
#define __shared__ use_GRAFT_SHARED_instead
#ifndef __launch_bounds__
#define __launch_bounds__(...)
#endif

// Rewritten whenever another thread of the block gets its turn.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace graft::inline v1::cuda::emulation {

struct Site {  // in the kernel's source
  const char* file;
  int line;
};
#define GRAFT_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

struct LaunchConfig {
  dim3 grid, block;
  size_t shared_bytes;
  void* stream;
  const void* kernel;
  void (*run)(void*);
  std::shared_ptr<void> args;
  size_t args_size;
};
void launch(const LaunchConfig&);

[[noreturn]] void kernel_fault(cudaError_t, const std::string& what);  // ends the kernel; the error stays
struct BarrierResult { int count, all, any; };
BarrierResult block_barrier(Site, int predicate);

// What one lane brings to an operation of its warp; `active`: it takes part.
struct Post {
  void* data;
  unsigned mask;
  bool active;
};
using Resolve = void (*)(Post lanes[32]);  // called once, by the lane that comes last
void warp_collective(unsigned mask, Resolve, void* data, bool orders_memory, Site);

void note_atomic(const void* p, unsigned bytes, void* pc);
void note_fence();
void* shared_memory(const void* key, size_t bytes);
void* dynamic_shared();
int lane_id();

template <class Tag> const void* key_of() {
  static constexpr char key = 0;
  return &key;
}
template <class T, class Tag> T& shared() { return *static_cast<T*>(shared_memory(key_of<Tag>(), sizeof(T))); }

template <class T> struct Shuffle {
  T in, out;
  int from;
  bool ok;
};
template <class T> T shuffle(unsigned mask, T value, int from, int width, bool in_segment, Site site) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  const int lane = lane_id();
  Shuffle<T> mine{value, value, in_segment ? (lane & ~(width - 1)) + from : lane, false};
  const Resolve exchange = [](Post lanes[32]) {
    for (int i = 0; i < 32; ++i) {
      if (!lanes[i].active) continue;
      auto* s = static_cast<Shuffle<T>*>(lanes[i].data);
      s->ok = lanes[s->from].active;
      if (s->ok) s->out = static_cast<Shuffle<T>*>(lanes[s->from].data)->in;
    }
  };
  warp_collective(mask, exchange, &mine, false, site);
  if (!mine.ok)
    kernel_fault(cudaErrorLaunchFailure, "shuffle reads lane " + std::to_string(mine.from) + ", which is not in the mask (" +
                                             site.file + ":" + std::to_string(site.line) + ")");
  return mine.out;
}

}  // namespace graft::cuda::emulation

// ---- barriers and warps --------------------------------------------------------------------------------------

#define __syncthreads() ::graft::cuda::emulation::block_barrier({__FILE__, __LINE__}, 0)
inline int __syncthreads_count(int p, GRAFT_SITE) { return graft::cuda::emulation::block_barrier({file, line}, p != 0).count; }
inline int __syncthreads_and(int p, GRAFT_SITE) { return graft::cuda::emulation::block_barrier({file, line}, p != 0).all; }
inline int __syncthreads_or(int p, GRAFT_SITE) { return graft::cuda::emulation::block_barrier({file, line}, p != 0).any; }
inline void __syncwarp(unsigned mask = ~0U, GRAFT_SITE) {
  graft::cuda::emulation::warp_collective(mask, [](graft::cuda::emulation::Post*) {}, nullptr, true, {file, line});
}
template <class T> T __shfl_sync(unsigned mask, T v, int from, int width = 32, GRAFT_SITE) {
  return graft::cuda::emulation::shuffle(mask, v, from & (width - 1), width, true, {file, line});
}
template <class T> T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32, GRAFT_SITE) {
  const int from = (graft::cuda::emulation::lane_id() & (width - 1)) + int(by);
  return graft::cuda::emulation::shuffle(mask, v, from, width, from < width, {file, line});
}
template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32, GRAFT_SITE) {
  const int from = (graft::cuda::emulation::lane_id() & (width - 1)) - int(by);
  return graft::cuda::emulation::shuffle(mask, v, from, width, from >= 0, {file, line});
}
template <class T> T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32, GRAFT_SITE) {
  const int from = (graft::cuda::emulation::lane_id() & (width - 1)) ^ bits;
  return graft::cuda::emulation::shuffle(mask, v, from, width, from < width, {file, line});
}
inline unsigned __ballot_sync(unsigned mask, int predicate, GRAFT_SITE) {
  struct Vote { int predicate; unsigned out; } vote{predicate, 0};
  const graft::cuda::emulation::Resolve count = [](graft::cuda::emulation::Post lanes[32]) {
    unsigned votes = 0;
    for (int i = 0; i < 32; ++i)
      if (lanes[i].active && static_cast<Vote*>(lanes[i].data)->predicate) votes |= 1U << i;
    for (int i = 0; i < 32; ++i)
      if (lanes[i].active) static_cast<Vote*>(lanes[i].data)->out = votes;
  };
  graft::cuda::emulation::warp_collective(mask, count, &vote, false, {file, line});
  return vote.out;
}
inline int __any_sync(unsigned mask, int p, GRAFT_SITE) { return __ballot_sync(mask, p, file, line) != 0; }
inline int __all_sync(unsigned mask, int p, GRAFT_SITE) { return __ballot_sync(mask, p, file, line) == mask; }
inline void __threadfence() { graft::cuda::emulation::note_fence(); }
inline void __threadfence_block() {}

// ---- atomics: one thread runs at a time, so that reading, changing and writing is one step. memcpy: the
// copying functions of half types would be checked ------------------------

#define GRAFT_UNCHECKED __attribute__((no_sanitize("thread"), noinline))
#define GRAFT_ATOMIC(name, expression)                                                             \
  template <class T> GRAFT_UNCHECKED T name(T* p, std::type_identity_t<T> v) {                       \
    graft::cuda::emulation::note_atomic(p, sizeof(T), __builtin_return_address(0));                  \
    T old;                                                                                           \
    __builtin_memcpy(static_cast<void*>(&old), p, sizeof(T));                                                            \
    const T now = T(expression);                                                                     \
    __builtin_memcpy(static_cast<void*>(p), &now, sizeof(T));                                                            \
    return old;                                                                                      \
  }
GRAFT_ATOMIC(atomicAdd, old + v)
GRAFT_ATOMIC(atomicSub, old - v)
GRAFT_ATOMIC(atomicExch, v)
GRAFT_ATOMIC(atomicMax, old > v ? old : v)
GRAFT_ATOMIC(atomicMin, old < v ? old : v)
GRAFT_ATOMIC(atomicAnd, old & v)
GRAFT_ATOMIC(atomicOr, old | v)
GRAFT_ATOMIC(atomicXor, old ^ v)
GRAFT_ATOMIC(atomicInc, old >= v ? 0 : old + 1)
#undef GRAFT_ATOMIC
template <class T> GRAFT_UNCHECKED T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  graft::cuda::emulation::note_atomic(p, sizeof(T), __builtin_return_address(0));
  T old;
  __builtin_memcpy(static_cast<void*>(&old), p, sizeof(T));
  if (old == expected) __builtin_memcpy(static_cast<void*>(p), &v, sizeof(T));
  return old;
}

// ---- loads, bits, fast arithmetic -------------------------------------------------------------------------------

template <class T> T __ldg(const T* p) { return *p; }
template <class T> T __ldcs(const T* p) { return *p; }
template <class T> void __stcs(T* p, T v) { *p = v; }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1.0F / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float rsqrtf(float x) { return 1.0F / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
[[noreturn]] inline void __trap() { graft::cuda::emulation::kernel_fault(cudaErrorLaunchFailure, "__trap()"); }
using std::max;
using std::min;

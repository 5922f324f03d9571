// What the threads of a block do together when they order or count: running sums, a bitonic network; and keys whose order as
// unsigned integers is that of the elements. For kernel files.
#pragma once
#include <bit>
#include "graft/kernels/cuda/strided.h"

namespace graft::inline v1::cuda {

inline constexpr unsigned kWarps = kThreads / 32;

// The sum of the values of the threads before this one, and of all. `part` is shared memory, an element for every warp.
__device__ inline unsigned scan_block(unsigned value, unsigned* part, unsigned& total) {
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  unsigned sum = value;
  for (unsigned by = 1; by < 32; by *= 2) {
    const unsigned before = __shfl_up_sync(~0U, sum, by);
    if (lane >= by) sum += before;
  }
  __syncthreads();  // what an earlier call left there has been read
  if (lane == 31) part[warp] = sum;
  __syncthreads();
  total = 0;
  for (unsigned w = 0; w < kWarps; ++w) {
    if (w == warp) sum += total;
    total += part[w];
  }
  return sum - value;
}

// Sorts every group of `width` pairs (a power of two) among `count` in shared memory by key, then place.
template <class K> __device__ inline void sort_groups(K* key, unsigned* place, unsigned width, unsigned count) {
  for (unsigned run = 2; run <= width; run *= 2)
    for (unsigned apart = run / 2; apart > 0; apart /= 2) {
      __syncthreads();
      for (unsigned t = threadIdx.x; t < count / 2; t += kThreads) {
        const unsigned a = 2 * t - t % apart, b = a + apart;
        const bool rising = (a & (width - 1) & run) == 0;
        const bool wrong = key[a] > key[b] || (key[a] == key[b] && place[a] > place[b]);
        if (wrong != rising) continue;
        const K k = key[a];
        const unsigned p = place[a];
        key[a] = key[b], place[a] = place[b];
        key[b] = k, place[b] = p;
      }
    }
  __syncthreads();
}

// ---- keys --------------------------------------------------------------------------------------------------------

template <class T> using Key = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
template <class T> inline constexpr int kKeyBits = int(sizeof(T)) * 8;
template <class T> inline constexpr Key<T> kLastKey = Key<T>(~uint64_t{0} >> (64 - kKeyBits<T>));  // that of NaN

// Equal elements have equal keys: both zeros, all NaN.
template <class T> GRAFT_HD inline Key<T> key_of(T x) {
  using K = Key<T>;
  constexpr K sign = K{1} << (kKeyBits<T> - 1);
  if constexpr (is_floating_v<T>) {
    K bits, infinity;
    if constexpr (is_half_v<T>) bits = x.bits, infinity = std::is_same_v<T, Half> ? 0x7c00U : 0x7f80U;
    else bits = std::bit_cast<K>(x), infinity = std::bit_cast<K>(T(__builtin_inf()));
    const K magnitude = bits & (sign - 1);
    if (magnitude > infinity) return kLastKey<T>;
    return bits & sign && magnitude ? kLastKey<T> - bits : magnitude | sign;
  } else if constexpr (std::is_signed_v<T>) {
    return K(std::make_unsigned_t<T>(x)) ^ sign;
  } else {
    return K(x);
  }
}
template <class T> GRAFT_HD inline Key<T> key_of(T x, bool descending) { return descending ? kLastKey<T> - key_of(x) : key_of(x); }

}  // namespace graft::cuda

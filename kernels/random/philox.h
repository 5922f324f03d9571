// Counter-based random numbers, for CPU and CUDA alike: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy
// as 1, 2, 3", 2011) and what turns its words into distributions. A number depends on (seed, counter) alone.
#pragma once
#include <array>
#include <cmath>
#include <numbers>
#include "graft/kernels/random_stream.h"
#include "graft/kernels/view.h"

namespace graft::inline v1 {

namespace philox {

using Words = std::array<uint32_t, 4>;

GRAFT_HD inline Words words(uint64_t seed, uint64_t counter) {
  uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
  uint32_t c0 = uint32_t(counter), c1 = uint32_t(counter >> 32), c2 = 0, c3 = 0;
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53U} * c0, b = uint64_t{0xCD9E8D57U} * c2;
    c0 = uint32_t(b >> 32) ^ c1 ^ k0;
    c1 = uint32_t(b);
    c2 = uint32_t(a >> 32) ^ c3 ^ k1;
    c3 = uint32_t(a);
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  return {c0, c1, c2, c3};
}

// In [0, 1), as many bits as T holds, so that no value rounds up to 1.
template <class T> GRAFT_HD inline T unit(uint32_t w) {
  static_assert(sizeof(T) <= 4);
  constexpr int bits = std::is_same_v<T, Half> ? 11 : std::is_same_v<T, BFloat16> ? 8 : 24;
  return T(float(w >> (32 - bits)) * (1.0F / float(1U << bits)));
}
GRAFT_HD inline uint64_t join(uint32_t low, uint32_t high) { return uint64_t{high} << 32 | low; }
GRAFT_HD inline double unit64(uint64_t w) { return double(w >> 11) * 0x1p-53; }
// In (0, 1]: its logarithm is finite.
GRAFT_HD inline double positive(uint32_t w) { return (double(w) + 1) * 0x1p-32; }
GRAFT_HD inline double positive(uint64_t w) { return double((w >> 11) + 1) * 0x1p-53; }

GRAFT_HD inline uint64_t high_half_of_product(uint64_t a, uint64_t b) {
  const uint64_t a0 = uint32_t(a), a1 = a >> 32, b0 = uint32_t(b), b1 = b >> 32;
  const uint64_t middle = a1 * b0 + (a0 * b0 >> 32);
  const uint64_t middle2 = a0 * b1 + uint32_t(middle);
  return a1 * b1 + (middle >> 32) + (middle2 >> 32);
}

}  // namespace philox

// ---- distributions -------------------------------------------------------------------------------------------
// Each turns the four words of one counter into kPerBlock<T> values. The fields are the op's attributes.

template <class T> inline constexpr int kPerBlock = sizeof(T) == 8 ? 2 : 4;

// In [from, to), or `from` where the two are equal.
struct UniformDraw {
  static constexpr auto name = "uniform";
  Stream stream;
  double from = 0, to = 1;
  template <class T> GRAFT_HD void operator()(const philox::Words& w, T* out) const {
    using C = compute_t<T>;
    for (int i = 0; i < kPerBlock<T>; ++i) {
      C u;
      if constexpr (sizeof(T) == 8) u = philox::unit64(philox::join(w[size_t(2 * i)], w[size_t(2 * i + 1)]));
      else u = C(philox::unit<T>(w[size_t(i)]));
      const T value = T(u * C(to - from) + C(from));
      out[i] = C(value) < C(to) ? value : T(C(from));  // the product may have rounded up
    }
  }
};

// Box and Muller. Computed in f64 whatever T is: all devices then round to the same f32.
struct NormalDraw {
  static constexpr auto name = "normal";
  Stream stream;
  double mean = 0, std = 1;
  template <class T> GRAFT_HD void operator()(const philox::Words& w, T* out) const {
    for (int i = 0; i < kPerBlock<T>; i += 2) {
      double u, v;
      if constexpr (sizeof(T) == 8) {
        u = philox::positive(philox::join(w[0], w[1]));
        v = philox::unit64(philox::join(w[2], w[3]));
      } else {
        u = philox::positive(w[size_t(i)]);
        v = double(w[size_t(i + 1)]) * 0x1p-32;
      }
      const double radius = std * std::sqrt(-2 * std::log(u));
#ifdef __CUDA_ARCH__  // std::cos has a table for huge angles, in local memory
      double sine, cosine;
      sincospi(2 * v, &sine, &cosine);
#else
      const double angle = 2 * std::numbers::pi * v, sine = std::sin(angle), cosine = std::cos(angle);
#endif
      out[i] = convert<T>(radius * cosine + mean);
      out[i + 1] = convert<T>(radius * sine + mean);
    }
  }
};

struct ExponentialDraw {
  static constexpr auto name = "exponential";
  Stream stream;
  double rate = 1;
  template <class T> GRAFT_HD void operator()(const philox::Words& w, T* out) const {
    for (int i = 0; i < kPerBlock<T>; ++i) {
      double u;
      if constexpr (sizeof(T) == 8) u = philox::positive(philox::join(w[size_t(2 * i)], w[size_t(2 * i + 1)]));
      else u = philox::positive(w[size_t(i)]);
      out[i] = convert<T>(-std::log(u) / rate);
    }
  }
};

// 1 with probability p, else 0.
struct BernoulliDraw {
  static constexpr auto name = "bernoulli";
  Stream stream;
  double p = 0.5;
  template <class T> GRAFT_HD void operator()(const philox::Words& w, T* out) const {
    for (int i = 0; i < kPerBlock<T>; ++i) out[i] = convert<T>(double(w[size_t(i)]) * 0x1p-32 < p ? 1.0F : 0.0F);
  }
};

// y = x times 1 / (1 - p) with probability 1 - p, else 0; plus the residual. The numbers of a BernoulliDraw.
struct DropoutDraw {
  BernoulliDraw keep;  // p is the probability to stay
  double scale = 1;
  template <class T> GRAFT_HD void operator()(const philox::Words& w, const T* x, const T* residual, T* out, int64_t n) const {
    using C = compute_t<T>;
    for (int i = 0; i < kPerBlock<T> && i < n; ++i) {
      const C kept = double(w[size_t(i)]) * 0x1p-32 < keep.p ? C(x[i]) * C(scale) : C(x[i]) * C(0);
      out[i] = convert<T>(residual ? kept + C(residual[i]) : kept);
    }
  }
};

// Two words as one: value i of the streams that use 64 bits per value.
GRAFT_HD inline uint64_t word64(const Stream& s, int64_t i) {
  const philox::Words w = philox::words(s.seed, s.first + uint64_t(i / 2));
  return i % 2 ? philox::join(w[2], w[3]) : philox::join(w[0], w[1]);
}

// Integers in [low, low + range); always two words per value, whatever T is: the values of i32 and i64 are the same.
struct IntegerDraw {
  static constexpr auto name = "random_int";
  Stream stream;
  int64_t low = 0;
  uint64_t range = 1;  // 0 is 2^64
  GRAFT_HD uint64_t offset(uint64_t word) const { return range == 0 ? word : philox::high_half_of_product(word, range); }
  template <class T> GRAFT_HD void operator()(const philox::Words& w, T* out) const {
    for (int i = 0; i < 2; ++i)
      out[i] = convert<T>(int64_t(uint64_t(low) + offset(philox::join(w[size_t(2 * i)], w[size_t(2 * i + 1)]))));
  }
};

// Values per counter; an op of n values uses ceil(n / per_block) counters.
template <class Draw, class T> constexpr int per_block() { return std::is_same_v<Draw, IntegerDraw> ? 2 : kPerBlock<T>; }

struct PermutationDraw { Stream stream; };
struct MultinomialDraw {
  Stream stream;
  int64_t samples = 1;
  bool replacement = false;
};

}  // namespace graft

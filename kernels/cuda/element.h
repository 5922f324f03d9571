// Elements of any dtype in memory as the type that a kernel computes in, and back.
#pragma once
#include "graft/kernels/cuda/complex.h"
#include "graft/kernels/dtype.h"

namespace graft::inline v1::cuda {

// convert<To>() with the GPU's own conversions of 16-bit floats.
template <class To, class From> GRAFT_HD inline To convert_element(From x) {
#ifdef __CUDA_ARCH__
  if constexpr (is_complex_v<From> || is_complex_v<To>) return convert<To>(x);
  else if constexpr (std::is_same_v<From, Half>) return convert<To>(__half2float(__ushort_as_half(x.bits)));
  else if constexpr (std::is_same_v<From, BFloat16>) return convert<To>(__bfloat162float(__ushort_as_bfloat16(x.bits)));
  else if constexpr (std::is_same_v<To, Half>) return Half::from_bits(__half_as_ushort(__float2half_rn(static_cast<float>(x))));
  else if constexpr (std::is_same_v<To, BFloat16>) return BFloat16::from_bits(__bfloat16_as_ushort(__float2bfloat16_rn(static_cast<float>(x))));
  else return convert<To>(x);
#else
  return convert<To>(x);
#endif
}

using KernelComplexTypes = TypeList<Complex<float>, Complex<double>>;
using RealTypes = TypeList<float, double, Half, BFloat16, int64_t, int32_t, int16_t, int8_t, uint8_t, bool>;

// By a dtype that is known when the kernel runs. The common ones are told apart first; the rest is a call.
template <class C> __device__ __attribute__((noinline)) C load_rare(const std::byte* p, DType t) {
  if constexpr (is_complex_v<C>) {
    if (t == c64) return convert_element<C>(*reinterpret_cast<const Complex<float>*>(p));
    if (t == c128) return convert_element<C>(*reinterpret_cast<const Complex<double>*>(p));
  }
  switch (t) {
    case f32: case c64: return convert_element<C>(*reinterpret_cast<const float*>(p));  // the real part
    case f64: case c128: return convert_element<C>(*reinterpret_cast<const double*>(p));
    case f16: return convert_element<C>(*reinterpret_cast<const Half*>(p));
    case bf16: return convert_element<C>(*reinterpret_cast<const BFloat16*>(p));
    case i64: return convert_element<C>(*reinterpret_cast<const int64_t*>(p));
    case i32: return convert_element<C>(*reinterpret_cast<const int32_t*>(p));
    case i16: return convert_element<C>(*reinterpret_cast<const int16_t*>(p));
    case i8: return convert_element<C>(*reinterpret_cast<const int8_t*>(p));
    case u8: return convert_element<C>(*reinterpret_cast<const uint8_t*>(p));
    case boolean: return convert_element<C>(*reinterpret_cast<const bool*>(p));
  }
  return C(0);
}
template <class C> __device__ inline C load(const std::byte* p, DType t) {
  if (t == dtype_v<C>) return *reinterpret_cast<const C*>(p);
  if constexpr (std::is_same_v<C, float>) {
    if (t == bf16) return convert_element<float>(*reinterpret_cast<const BFloat16*>(p));
    if (t == f16) return convert_element<float>(*reinterpret_cast<const Half*>(p));
  }
  return load_rare<C>(p, t);
}
template <class C> __device__ __attribute__((noinline)) void store_rare(std::byte* p, DType t, C x) {
  if constexpr (is_complex_v<C>) {
    if (t == c64) return void(*reinterpret_cast<Complex<float>*>(p) = convert_element<Complex<float>>(x));
    if (t == c128) return void(*reinterpret_cast<Complex<double>*>(p) = convert_element<Complex<double>>(x));
  }
  switch (t) {
    case c64: reinterpret_cast<float*>(p)[1] = 0; [[fallthrough]];
    case f32: *reinterpret_cast<float*>(p) = convert_element<float>(x); break;
    case c128: reinterpret_cast<double*>(p)[1] = 0; [[fallthrough]];
    case f64: *reinterpret_cast<double*>(p) = convert_element<double>(x); break;
    case f16: *reinterpret_cast<Half*>(p) = convert_element<Half>(x); break;
    case bf16: *reinterpret_cast<BFloat16*>(p) = convert_element<BFloat16>(x); break;
    case i64: *reinterpret_cast<int64_t*>(p) = convert_element<int64_t>(x); break;
    case i32: *reinterpret_cast<int32_t*>(p) = convert_element<int32_t>(x); break;
    case i16: *reinterpret_cast<int16_t*>(p) = convert_element<int16_t>(x); break;
    case i8: *reinterpret_cast<int8_t*>(p) = convert_element<int8_t>(x); break;
    case u8: *reinterpret_cast<uint8_t*>(p) = convert_element<uint8_t>(x); break;
    case boolean: *reinterpret_cast<bool*>(p) = convert_element<bool>(x); break;
  }
}
template <class C> __device__ inline void store(std::byte* p, DType t, C x) {
  if (t == dtype_v<C>) *reinterpret_cast<C*>(p) = x;
  else if constexpr (std::is_same_v<C, float>) {
    if (t == bf16) *reinterpret_cast<BFloat16*>(p) = convert_element<BFloat16>(x);
    else if (t == f16) *reinterpret_cast<Half*>(p) = convert_element<Half>(x);
    else store_rare(p, t, x);
  } else store_rare(p, t, x);
}

// The same where the dtype is one that is computed in C: floats are told apart without a call, which costs registers.
template <class C> __device__ inline C load_own(const std::byte* p, DType t) {
  if constexpr (std::is_same_v<C, float>) {
    if (t == f32) return *reinterpret_cast<const float*>(p);
    const uint16_t bits = *reinterpret_cast<const uint16_t*>(p);
    return t == bf16 ? convert_element<float>(BFloat16::from_bits(bits)) : convert_element<float>(Half::from_bits(bits));
  } else if constexpr (std::is_same_v<C, double> || is_complex_v<C>) {
    return *reinterpret_cast<const C*>(p);
  } else {
    return load<C>(p, t);
  }
}
template <class C> __device__ inline void store_own(std::byte* p, DType t, C x) {
  if constexpr (std::is_same_v<C, float>) {
    if (t == f32) *reinterpret_cast<float*>(p) = x;
    else *reinterpret_cast<uint16_t*>(p) = t == bf16 ? convert_element<BFloat16>(x).bits : convert_element<Half>(x).bits;
  } else if constexpr (std::is_same_v<C, double> || is_complex_v<C>) {
    *reinterpret_cast<C*>(p) = x;
  } else {
    store(p, t, x);
  }
}

// n neighbours as one access of n * sizeof(T) bytes, at most 16.
template <class T, int n> struct alignas(sizeof(T) * n) Pack { T of[n]; };
template <class T> inline constexpr int kPerPack = int(16 / sizeof(T));
inline bool is_aligned(const void* p, size_t bytes) { return reinterpret_cast<uintptr_t>(p) % bytes == 0; }

}  // namespace graft::cuda

// exp, log, tanh, erf and others of one number. In f32 they are written here, without a branch, so that a row of them
// becomes vector instructions; in f64 they are the C library's. Errors of the f32 ones stay below 2 units of the last place,
// those of log1p, tanh and sigmoid below 2.5 (tests/pointwise_test.cpp looks at every 997th float, on each instruction set).
// Everything in this folder's headers has internal linkage: they are compiled for several instruction sets.
#pragma once
#include <math.h>  // NOLINT(modernize-deprecated-headers): ::exp is no inline function, unlike std::exp
#include <complex>
#include <type_traits>
#include "graft/kernels/host_device.h"

namespace graft::inline v1::math {
namespace {

template <class T> inline constexpr bool is_complex_number = false;
template <class T> inline constexpr bool is_complex_number<std::complex<T>> = true;
#define GRAFT_ALWAYS_INLINE [[gnu::always_inline]] GRAFT_HD inline

GRAFT_ALWAYS_INLINE int bits_of(float x) { return __builtin_bit_cast(int, x); }
GRAFT_ALWAYS_INLINE float float_of(int b) { return __builtin_bit_cast(float, b); }
GRAFT_ALWAYS_INLINE float power_of_two(int n) { return float_of((n + 127) << 23); }  // -126 <= n <= 127
// The nearest integer to x, |x| < 2^22, also as an int: adding 1.5 * 2^23 leaves it in the low bits.
GRAFT_ALWAYS_INLINE float nearest(float x, int& n) {
  const float shifted = x + 12582912.F;
  n = bits_of(shifted) - bits_of(12582912.F);
  return shifted - 12582912.F;
}

// exp(x) = 2^n (1 + q), |reduced x| <= ln 2 / 2; NaN passes.
struct Exponent { float q; int n; };
GRAFT_ALWAYS_INLINE Exponent reduce_exp(float x, float low) {
  x = x > 89.F ? 89.F : x;
  x = x < low ? low : x;
  int n = 0;
  const float k = nearest(x * 1.44269504F, n);
  float r = x - k * 0.693145752F;
  r = r - k * 1.42860677e-6F;
  float p = 1.98412698e-4F * 1.0F;
  p = p * r + 1.38888889e-3F;
  p = p * r + 8.33333333e-3F;
  p = p * r + 4.16666667e-2F;
  p = p * r + 1.66666667e-1F;
  p = p * r + 0.5F;
  return {p * (r * r) + r, n};
}
GRAFT_ALWAYS_INLINE float exp(float x) {
  const Exponent e = reduce_exp(x, -104.F);
  const int half = e.n >> 1;  // in two steps: the result may be subnormal or infinite
  return (power_of_two(half) + e.q * power_of_two(half)) * power_of_two(e.n - half);
}
GRAFT_ALWAYS_INLINE float expm1(float x) {
  const Exponent e = reduce_exp(x, -18.F);
  const float s = power_of_two(e.n - 1);  // half, as 2^128 overflows
  const float y = (s - 0.5F) + s * e.q;
  return e.n == 0 ? e.q : y + y;
}
GRAFT_ALWAYS_INLINE float tanh(float x) {
  const float t = expm1(2.F * __builtin_fabsf(x));
  const float y = t > 1e9F ? 1.F : t / (t + 2.F);
  return __builtin_copysignf(x == 0.F ? x : y, x);
}
GRAFT_ALWAYS_INLINE float sigmoid(float x) {
  const float e = exp(-__builtin_fabsf(x));
  return (x < 0.F ? e : 1.F) / (1.F + e);
}

// x = 2^e (1 + f), sqrt(1/2) <= 1 + f < sqrt(2); log(1 + f) = f - f^2/2 + rest.
struct Logarithm { float e, f, rest; };
GRAFT_ALWAYS_INLINE Logarithm reduce_log(float x) {
  const bool small = x < 1.17549435e-38F;
  const int b = int(unsigned(bits_of(small ? x * 8388608.F : x)) - 0x3f3504f3U);  // wraps for negative x
  const float f = float_of((b & 0x7fffff) + 0x3f3504f3) - 1.F;
  float p = 7.0376836292e-2F;  // cephes logf
  p = p * f - 1.1514610310e-1F;
  p = p * f + 1.1676998740e-1F;
  p = p * f - 1.2420140846e-1F;
  p = p * f + 1.4249322787e-1F;
  p = p * f - 1.6668057665e-1F;
  p = p * f + 2.0000714765e-1F;
  p = p * f - 2.4999993993e-1F;
  p = p * f + 3.3333331174e-1F;
  return {float((b >> 23) - (small ? 23 : 0)), f, p * f * (f * f)};
}
GRAFT_ALWAYS_INLINE float log_special(float x, float y) {
  y = x == 0.F ? -__builtin_inff() : y;
  y = x < 0.F ? __builtin_nanf("") : y;
  return x < __builtin_inff() ? y : x;  // infinity and NaN
}
GRAFT_ALWAYS_INLINE float log(float x) {
  const Logarithm l = reduce_log(x);
  const float y = l.rest - 2.12194440e-4F * l.e - 0.5F * (l.f * l.f);
  return log_special(x, (l.f + y) + 0.693359375F * l.e);
}
GRAFT_ALWAYS_INLINE float log2(float x) {
  const Logarithm l = reduce_log(x);
  const float y = l.rest - 0.5F * (l.f * l.f);
  const float z = y * 0.442695041F + l.f * 0.442695041F;  // log2(e) - 1
  return log_special(x, ((z + y) + l.f) + l.e);
}
GRAFT_ALWAYS_INLINE float log10(float x) {
  const Logarithm l = reduce_log(x);
  const float y = l.rest - 0.5F * (l.f * l.f);
  float z = (l.f + y) * 7.00731903e-4F + l.e * 2.48745663e-4F;  // log10(e) and log10(2) in two parts
  z = z + y * 4.3359375e-1F;
  z = z + l.f * 4.3359375e-1F;
  return log_special(x, z + l.e * 3.0078125e-1F);
}
GRAFT_ALWAYS_INLINE float log1p(float x) {  // log(u) corrected for the rounding of u = 1 + x
  const float u = 1.F + x;
  const float y = log(u) * (x / (u - 1.F));
  return u == 1.F ? x : u < __builtin_inff() && u > 0.F ? y : log(u);
}

// Minimax polynomials by N. Juffa.
GRAFT_ALWAYS_INLINE float erf(float x) {
  const float t = __builtin_fabsf(x), s = x * x;
  float r = -1.72853470e-5F * t + 3.83197126e-4F;
  const float u = -3.88396438e-3F * t + 2.42546219e-2F;
  r = r * s + u;
  r = r * t - 1.06777877e-1F;
  r = r * t - 6.34846687e-1F;
  r = r * t - 1.28717512e-1F;
  r = r * t - t;
  const float large = __builtin_copysignf(t > 4.F ? 1.F : 1.F - exp(r), x);
  float q = -5.96761703e-4F;
  q = q * s + 4.99119423e-3F;
  q = q * s - 2.67681349e-2F;
  q = q * s + 1.12819925e-1F;
  q = q * s - 3.76125336e-1F;
  q = q * s + 1.28379166e-1F;
  return t > 0.927734375F ? large : q * x + x;
}

GRAFT_ALWAYS_INLINE double sigmoid(double x) {
  const double e = ::exp(x < 0 ? x : -x);
  return (x < 0 ? e : 1.) / (1. + e);
}

// The rest, one line per function: f32 and f64 from the C library.
#define GRAFT_REAL(name)                                                    \
  GRAFT_ALWAYS_INLINE float name(float x) { return __builtin_##name##f(x); } \
  GRAFT_ALWAYS_INLINE double name(double x) { return __builtin_##name(x); }
GRAFT_REAL(exp2) GRAFT_REAL(sqrt) GRAFT_REAL(sin) GRAFT_REAL(cos) GRAFT_REAL(tan) GRAFT_REAL(asin) GRAFT_REAL(acos)
GRAFT_REAL(atan) GRAFT_REAL(sinh) GRAFT_REAL(cosh) GRAFT_REAL(asinh) GRAFT_REAL(acosh) GRAFT_REAL(atanh) GRAFT_REAL(erfc)
GRAFT_REAL(floor) GRAFT_REAL(ceil) GRAFT_REAL(trunc) GRAFT_REAL(fabs) GRAFT_REAL(rint)
#undef GRAFT_REAL
#define GRAFT_REAL(name) \
  GRAFT_ALWAYS_INLINE double name(double x) { return __builtin_##name(x); }
GRAFT_REAL(exp) GRAFT_REAL(expm1) GRAFT_REAL(tanh) GRAFT_REAL(log) GRAFT_REAL(log2) GRAFT_REAL(log10) GRAFT_REAL(log1p) GRAFT_REAL(erf)
#undef GRAFT_REAL
#define GRAFT_REAL(name)                                                                    \
  GRAFT_ALWAYS_INLINE float name(float x, float y) { return __builtin_##name##f(x, y); }     \
  GRAFT_ALWAYS_INLINE double name(double x, double y) { return __builtin_##name(x, y); }
GRAFT_REAL(pow) GRAFT_REAL(fmod) GRAFT_REAL(atan2) GRAFT_REAL(hypot) GRAFT_REAL(copysign)
#undef GRAFT_REAL

template <class T> GRAFT_ALWAYS_INLINE bool is_nan(T x) { return x != x; }

}  // namespace
}  // namespace graft::math

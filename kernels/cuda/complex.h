// Complex numbers in kernels: std::complex in memory, whose functions are the host's. All functions here are found by their
// arguments, and hide none of the same name. Kahan, "Branch cuts for complex
// elementary functions", 1987; division by Smith, "Algorithm 116", 1962.
#pragma once
#include <cmath>
#include "graft/kernels/cuda/compat.h"
#include "graft/kernels/dtype.h"

namespace graft::inline v1 {
namespace cuda {

template <class T> struct alignas(2 * sizeof(T)) Complex {
  using value_type = T;
  T re, im;

  Complex() = default;
  GRAFT_HD constexpr Complex(T real, T imag = T(0)) : re(real), im(imag) {}  // NOLINT(google-explicit-constructor)
  GRAFT_HD constexpr T real() const { return re; }
  GRAFT_HD constexpr T imag() const { return im; }

  GRAFT_HD friend Complex operator-(Complex a) { return {-a.re, -a.im}; }
  GRAFT_HD friend Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
  GRAFT_HD friend Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
  GRAFT_HD friend Complex operator*(Complex a, Complex b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
  GRAFT_HD friend Complex operator/(Complex a, T b) { return {a.re / b, a.im / b}; }
  GRAFT_HD friend Complex operator/(Complex a, Complex b) {
    if (std::fabs(b.re) >= std::fabs(b.im)) {
      if (b.re == T(0)) return a / std::fabs(b.re);  // both parts are 0
      const T ratio = b.im / b.re, whole = b.re + b.im * ratio;
      return {(a.re + a.im * ratio) / whole, (a.im - a.re * ratio) / whole};
    }
    const T ratio = b.re / b.im, whole = b.re * ratio + b.im;
    return {(a.re * ratio + a.im) / whole, (a.im * ratio - a.re) / whole};
  }
  GRAFT_HD Complex& operator+=(Complex b) { return re += b.re, im += b.im, *this; }
  GRAFT_HD friend bool operator==(Complex a, Complex b) { return a.re == b.re && a.im == b.im; }
  GRAFT_HD friend bool operator!=(Complex a, Complex b) { return !(a == b); }

  GRAFT_HD friend T abs(Complex z) { return std::hypot(z.re, z.im); }
  GRAFT_HD friend Complex conj(Complex z) { return {z.re, -z.im}; }
  GRAFT_HD friend Complex exp(Complex z) {
    const T size = std::exp(z.re);
    if (z.im == T(0)) return {size, z.im};
    return {size * std::cos(z.im), size * std::sin(z.im)};
  }
  GRAFT_HD friend Complex log(Complex z) { return {std::log(abs(z)), std::atan2(z.im, z.re)}; }
  GRAFT_HD friend Complex sqrt(Complex z) {
    if (z.re == T(0) && z.im == T(0)) return {T(0), z.im};
    if (std::fabs(z.im) == T(INFINITY)) return {T(INFINITY), z.im};
    const T root = std::sqrt(std::fabs(z.re) / 2 + abs(z) / 2);
    if (z.re >= T(0)) return {root, z.im / root / 2};
    return {std::fabs(z.im) / root / 2, std::copysign(root, z.im)};
  }
  GRAFT_HD friend Complex tanh(Complex z) {
    if (std::fabs(z.re) > T(sizeof(T) == 4 ? 11 : 22))  // 1 is the nearest number
      return {std::copysign(T(1), z.re), 4 * std::sin(z.im) * std::cos(z.im) * std::exp(-2 * std::fabs(z.re))};
    const T t = std::tan(z.im), beta = 1 + t * t, s = std::sinh(z.re), rho = std::sqrt(1 + s * s), whole = 1 + beta * s * s;
    return {beta * rho * s / whole, t / whole};
  }
  GRAFT_HD friend Complex pow(Complex a, Complex b) {
    if (a == Complex(0)) return b == Complex(0) ? T(1) : T(0);
    return exp(b * log(a));
  }
};

template <class T> struct in_kernels { using type = T; };
template <class T> struct in_kernels<std::complex<T>> { using type = Complex<T>; };
template <class T> using in_kernels_t = typename in_kernels<T>::type;  // what a kernel sees of an element type

}  // namespace cuda

template <class T> inline constexpr bool is_complex_v<cuda::Complex<T>> = true;
template <> struct dtype_of<cuda::Complex<float>> { static constexpr DType value = c64; };
template <> struct dtype_of<cuda::Complex<double>> { static constexpr DType value = c128; };

}  // namespace graft

// Element types: the enumeration, the C++ type of each, and the rules of promotion (PyTorch's).
#pragma once
#include <complex>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include "graft/kernels/half.h"

namespace graft::inline v1 {

enum class DType : uint8_t { f32, f64, f16, bf16, i64, i32, i16, i8, u8, boolean, c64, c128 };
inline constexpr int kDTypes = 12;
using enum DType;

constexpr int64_t size_of(DType t) {
  constexpr int64_t bytes[kDTypes] = {4, 8, 2, 2, 8, 4, 2, 1, 1, 1, 8, 16};
  return bytes[int(t)];
}
constexpr bool is_floating(DType t) { return t <= bf16; }
constexpr bool is_complex(DType t) { return t >= c64; }
constexpr bool is_integral(DType t) { return t >= i64 && t <= u8; }  // without bool
constexpr bool is_differentiable(DType t) { return is_floating(t) || is_complex(t); }

std::string_view name_of(DType);                          // "f32", "bool"
bool parse_dtype(std::string_view name, DType& out);      // of name_of, or PyTorch's "float32", "torch.float32", "half"
DType promote_types(DType, DType);                        // the smallest type that both convert to
DType real_of(DType);                                     // c64 -> f32
DType complex_of(DType);                                  // f32 -> c64

template <class T> struct dtype_of;
template <> struct dtype_of<float> { static constexpr DType value = f32; };
template <> struct dtype_of<double> { static constexpr DType value = f64; };
template <> struct dtype_of<Half> { static constexpr DType value = f16; };
template <> struct dtype_of<BFloat16> { static constexpr DType value = bf16; };
template <> struct dtype_of<int64_t> { static constexpr DType value = i64; };
template <> struct dtype_of<int32_t> { static constexpr DType value = i32; };
template <> struct dtype_of<int16_t> { static constexpr DType value = i16; };
template <> struct dtype_of<int8_t> { static constexpr DType value = i8; };
template <> struct dtype_of<uint8_t> { static constexpr DType value = u8; };
template <> struct dtype_of<bool> { static constexpr DType value = boolean; };
template <> struct dtype_of<std::complex<float>> { static constexpr DType value = c64; };
template <> struct dtype_of<std::complex<double>> { static constexpr DType value = c128; };
template <class T> inline constexpr DType dtype_v = dtype_of<T>::value;

// The type in which a kernel computes: 16-bit types are converted at load and store.
template <class T> struct compute { using type = T; };
template <> struct compute<Half> { using type = float; };
template <> struct compute<BFloat16> { using type = float; };
template <class T> using compute_t = typename compute<T>::type;
constexpr DType compute_dtype(DType t) { return t == f16 || t == bf16 ? f32 : t; }

template <class T> inline constexpr bool is_complex_v = false;
template <class T> inline constexpr bool is_complex_v<std::complex<T>> = true;
template <class T> inline constexpr bool is_half_v = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;
template <class T> inline constexpr bool is_floating_v = std::is_floating_point_v<T> || is_half_v<T>;

// Converts between any two element types as C++ and PyTorch do: complex to real drops the imaginary part.
template <class To, class From> GRAFT_HD To convert(From x) {
  if constexpr (is_complex_v<From> && !is_complex_v<To>) return convert<To>(x.real());
  else if constexpr (is_half_v<From>) return convert<To>(float(x));
  else if constexpr (is_complex_v<To> && is_complex_v<From>)
    return To(typename To::value_type(x.real()), typename To::value_type(x.imag()));
  else if constexpr (is_complex_v<To>) return To(typename To::value_type(x));
  else if constexpr (is_half_v<To>) return To(static_cast<float>(x));
  else if constexpr (std::is_same_v<To, bool>) return x != From(0);
  else return static_cast<To>(x);
}

template <class... T> struct TypeList {};
using FloatTypes = TypeList<float, double, Half, BFloat16>;
using IntTypes = TypeList<int64_t, int32_t, int16_t, int8_t, uint8_t>;
using ComplexTypes = TypeList<std::complex<float>, std::complex<double>>;
using AllTypes = TypeList<float, double, Half, BFloat16, int64_t, int32_t, int16_t, int8_t, uint8_t, bool,
                          std::complex<float>, std::complex<double>>;

template <class T> struct TypeTag { using type = T; };
// for_each_type(FloatTypes{}, [](auto tag) { using T = typename decltype(tag)::type; ... });
template <class... T, class F> void for_each_type(TypeList<T...>, F&& f) { (f(TypeTag<T>{}), ...); }
// Calls f with the tag of `t`; false if the list has none.
template <class... T, class F> bool with_type(DType t, TypeList<T...>, F&& f) {
  return ((t == dtype_v<T> ? (f(TypeTag<T>{}), true) : false) || ...);
}

}  // namespace graft

// Arithmetic of numbers: sums to powers, roundings, and what derivatives share. A functor is one pointwise op: its name,
// the types it is for, and its mathematics; `Attrs` where it has any. A line in functors.h makes it known.
#pragma once
#include "graft/kernels/pointwise/attrs.h"
#include "graft/kernels/pointwise/elementary.h"

namespace graft::inline v1::math {
namespace {

// Which types a functor computes in. 16-bit floats are computed in f32, the small integers and bool in i64.
enum Types { kFloat = 1, kInt = 2, kReal = 3, kComplex = 4, kInexact = 5, kNumber = 7 };

template <class T> inline constexpr bool is_real_float = std::is_floating_point_v<T>;
template <class T> GRAFT_HD T integer_power(T base, T exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent & 1 ? -1 : 1) : 0;
  unsigned long long result = 1;
  for (auto b = (unsigned long long)base; exponent; exponent >>= 1, b *= b)
    if (exponent & 1) result *= b;
  return T(result);
}
template <class T> GRAFT_HD T wrapping_neg(T x) { return T(0ULL - (unsigned long long)x); }
// Rounded towards zero. The kernels on cpu refuse zero divisors; on cuda, where nobody looks first, they give 0.
template <class T> GRAFT_HD T integer_quotient(T a, T b) { return b == -1 ? wrapping_neg(a) : b == 0 ? 0 : a / b; }
template <class T> GRAFT_HD T integer_rest(T a, T b) { return b == -1 || b == 0 ? 0 : a % b; }

struct Add { static constexpr auto name = "add"; static constexpr Types types = kNumber; template <class T> GRAFT_HD T operator()(T a, T b) const { return a + b; } };
struct Sub { static constexpr auto name = "sub"; static constexpr Types types = kNumber; template <class T> GRAFT_HD T operator()(T a, T b) const { return a - b; } };
struct Mul { static constexpr auto name = "mul"; static constexpr Types types = kNumber; template <class T> GRAFT_HD T operator()(T a, T b) const { return a * b; } };
struct Div { static constexpr auto name = "div"; static constexpr Types types = kInexact; template <class T> GRAFT_HD T operator()(T a, T b) const { return a / b; } };
struct AddScaled {
  static constexpr auto name = "add_scaled";
  static constexpr Types types = kNumber;
  using Attrs = AlphaAttrs;
  Attrs a;
  template <class T> GRAFT_HD T operator()(T x, T y) const { return x + T(a.alpha) * y; }
};
struct Affine {
  static constexpr auto name = "affine";
  static constexpr Types types = kInexact;
  using Attrs = AffineAttrs;
  Attrs a;
  template <class T> GRAFT_HD T operator()(T x) const { return x * T(a.scale) + T(a.shift); }
};
struct DivTrunc {
  static constexpr auto name = "div_trunc";
  static constexpr Types types = kReal;
  template <class T> GRAFT_HD T operator()(T a, T b) const {
    if constexpr (is_real_float<T>) return trunc(a / b);
    else return integer_quotient(a, b);
  }
};
struct FloorDivide {  // the correction keeps (a // b) * b + a % b = a for floats
  static constexpr auto name = "floor_divide";
  static constexpr Types types = kReal;
  template <class T> GRAFT_HD T operator()(T a, T b) const {
    if constexpr (is_real_float<T>) {
      if (b == 0) return a / b;
      const T rest = fmod(a, b);
      T q = (a - rest) / b;
      if (rest != 0 && (b < 0) != (rest < 0)) q -= 1;
      if (q == 0) return copysign(T(0), a / b);
      const T down = floor(q);
      return q - down > T(0.5) ? down + 1 : down;
    } else {
      const T q = integer_quotient(a, b);
      return integer_rest(a, b) != 0 && (a < 0) != (b < 0) ? q - 1 : q;
    }
  }
};
struct Fmod {
  static constexpr auto name = "fmod";
  static constexpr Types types = kReal;
  template <class T> GRAFT_HD T operator()(T a, T b) const {
    if constexpr (is_real_float<T>) return fmod(a, b);
    else return integer_rest(a, b);
  }
};
struct Remainder {
  static constexpr auto name = "remainder";
  static constexpr Types types = kReal;
  template <class T> GRAFT_HD T operator()(T a, T b) const {
    const T rest = Fmod{}(a, b);
    return rest != 0 && (b < 0) != (rest < 0) ? rest + b : rest;
  }
};
struct Pow {
  static constexpr auto name = "pow";
  static constexpr Types types = kNumber;
  template <class T> GRAFT_HD T operator()(T a, T b) const {
    if constexpr (is_real_float<T>) {
      if (b == T(2)) return a * a;
      if (b == T(0.5)) return sqrt(a);
      if (b == T(3)) return a * a * a;
      return pow(a, b);
    } else if constexpr (is_complex_number<T>) return pow(a, b);
    else return integer_power(a, b);
  }
};
struct Atan2 { static constexpr auto name = "atan2"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T a, T b) const { return atan2(a, b); } };
struct Hypot { static constexpr auto name = "hypot"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T a, T b) const { return hypot(a, b); } };
// A NaN on either side wins; in fmax and fmin it loses.
struct Maximum { static constexpr auto name = "maximum"; static constexpr Types types = kReal; template <class T> GRAFT_HD T operator()(T a, T b) const { return a > b || a != a ? a : b; } };
struct Minimum { static constexpr auto name = "minimum"; static constexpr Types types = kReal; template <class T> GRAFT_HD T operator()(T a, T b) const { return a < b || a != a ? a : b; } };
struct Fmax { static constexpr auto name = "fmax"; static constexpr Types types = kReal; template <class T> GRAFT_HD T operator()(T a, T b) const { return a > b || b != b ? a : b; } };
struct Fmin { static constexpr auto name = "fmin"; static constexpr Types types = kReal; template <class T> GRAFT_HD T operator()(T a, T b) const { return a < b || b != b ? a : b; } };

struct Neg { static constexpr auto name = "neg"; static constexpr Types types = kNumber; template <class T> GRAFT_HD T operator()(T x) const { return -x; } };
struct Square { static constexpr auto name = "square"; static constexpr Types types = kNumber; template <class T> GRAFT_HD T operator()(T x) const { return x * x; } };
struct Reciprocal { static constexpr auto name = "reciprocal"; static constexpr Types types = kInexact; template <class T> GRAFT_HD T operator()(T x) const { return T(1) / x; } };
struct Abs {
  static constexpr auto name = "abs";
  static constexpr Types types = kNumber;
  template <class T> GRAFT_HD auto operator()(T x) const {
    if constexpr (is_complex_number<T>) return abs(x);
    else if constexpr (is_real_float<T>) return fabs(x);
    else return x < 0 ? wrapping_neg(x) : x;
  }
};
struct Sign { static constexpr auto name = "sign"; static constexpr Types types = kReal; template <class T> GRAFT_HD T operator()(T x) const { return T(x > 0) - T(x < 0); } };
struct Sgn {
  static constexpr auto name = "sgn";
  static constexpr Types types = kNumber;
  template <class T> GRAFT_HD T operator()(T x) const {
    if constexpr (is_complex_number<T>) return x == T(0) ? x : x / abs(x);
    else return Sign{}(x);
  }
};
struct Floor { static constexpr auto name = "floor"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return floor(x); } };
struct Ceil { static constexpr auto name = "ceil"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return ceil(x); } };
struct Trunc { static constexpr auto name = "trunc"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return trunc(x); } };
struct Frac { static constexpr auto name = "frac"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return x - trunc(x); } };
struct Round {  // halves to even
  static constexpr auto name = "round";
  static constexpr Types types = kFloat;
  using Attrs = RoundAttrs;
  Attrs a;
  template <class T> GRAFT_HD T operator()(T x) const {
    const T p = T(a.power);
    return a.divide ? rint(x / p) * p : p == T(1) ? rint(x) : rint(x * p) / p;
  }
};
struct Real { static constexpr auto name = "real"; static constexpr Types types = kComplex; template <class T> GRAFT_HD auto operator()(T x) const { return x.real(); } };
struct Imag { static constexpr auto name = "imag"; static constexpr Types types = kComplex; template <class T> GRAFT_HD auto operator()(T x) const { return x.imag(); } };
struct Conj { static constexpr auto name = "conj"; static constexpr Types types = kComplex; template <class T> GRAFT_HD T operator()(T x) const { return conj(x); } };
struct TimesI { static constexpr auto name = "times_i"; static constexpr Types types = kComplex; template <class T> GRAFT_HD T operator()(T x) const { return T(-x.imag(), x.real()); } };

struct Addcmul {
  static constexpr auto name = "addcmul";
  static constexpr Types types = kNumber;
  using Attrs = ValueAttrs;
  Attrs a;
  template <class T> GRAFT_HD T operator()(T x, T y, T z) const { return x + T(a.value) * y * z; }
};
struct Addcdiv {
  static constexpr auto name = "addcdiv";
  static constexpr Types types = kInexact;
  using Attrs = ValueAttrs;
  Attrs a;
  template <class T> GRAFT_HD T operator()(T x, T y, T z) const { return x + T(a.value) * y / z; }
};
struct Lerp {
  static constexpr auto name = "lerp";
  static constexpr Types types = kFloat;
  template <class T> GRAFT_HD T operator()(T x, T y, T w) const { return w < T(0.5) && w > T(-0.5) ? x + w * (y - x) : y - (y - x) * (T(1) - w); }
};

}  // namespace
}  // namespace graft::math

// Questions, selections and bits. See arithmetic.h for what a functor is.
#pragma once
#include "graft/kernels/pointwise/arithmetic.h"

namespace graft::inline v1::math {
namespace {

struct Eq { static constexpr auto name = "eq"; static constexpr Types types = kNumber; template <class T> GRAFT_HD bool operator()(T a, T b) const { return a == b; } };
struct Ne { static constexpr auto name = "ne"; static constexpr Types types = kNumber; template <class T> GRAFT_HD bool operator()(T a, T b) const { return a != b; } };
struct Lt { static constexpr auto name = "lt"; static constexpr Types types = kReal; template <class T> GRAFT_HD bool operator()(T a, T b) const { return a < b; } };
struct Le { static constexpr auto name = "le"; static constexpr Types types = kReal; template <class T> GRAFT_HD bool operator()(T a, T b) const { return a <= b; } };
struct Gt { static constexpr auto name = "gt"; static constexpr Types types = kReal; template <class T> GRAFT_HD bool operator()(T a, T b) const { return a > b; } };
struct Ge { static constexpr auto name = "ge"; static constexpr Types types = kReal; template <class T> GRAFT_HD bool operator()(T a, T b) const { return a >= b; } };
struct LogicalAnd { static constexpr auto name = "logical_and"; static constexpr Types types = kNumber; template <class T> GRAFT_HD bool operator()(T a, T b) const { return (int(a != T(0)) & int(b != T(0))) != 0; } };
struct LogicalOr { static constexpr auto name = "logical_or"; static constexpr Types types = kNumber; template <class T> GRAFT_HD bool operator()(T a, T b) const { return (int(a != T(0)) | int(b != T(0))) != 0; } };
struct LogicalXor { static constexpr auto name = "logical_xor"; static constexpr Types types = kNumber; template <class T> GRAFT_HD bool operator()(T a, T b) const { return (a != T(0)) != (b != T(0)); } };
struct LogicalNot { static constexpr auto name = "logical_not"; static constexpr Types types = kNumber; template <class T> GRAFT_HD bool operator()(T a) const { return a == T(0); } };
struct BitwiseAnd { static constexpr auto name = "bitwise_and"; static constexpr Types types = kInt; template <class T> GRAFT_HD T operator()(T a, T b) const { return a & b; } };
struct BitwiseOr { static constexpr auto name = "bitwise_or"; static constexpr Types types = kInt; template <class T> GRAFT_HD T operator()(T a, T b) const { return a | b; } };
struct BitwiseXor { static constexpr auto name = "bitwise_xor"; static constexpr Types types = kInt; template <class T> GRAFT_HD T operator()(T a, T b) const { return a ^ b; } };
struct BitwiseNot { static constexpr auto name = "bitwise_not"; static constexpr Types types = kInt; template <class T> GRAFT_HD T operator()(T a) const { return ~a; } };

struct IsNan { static constexpr auto name = "isnan"; static constexpr Types types = kNumber; template <class T> GRAFT_HD bool operator()(T x) const { return x != x; } };
struct IsInf {
  static constexpr auto name = "isinf";
  static constexpr Types types = kNumber;
  template <class T> GRAFT_HD bool operator()(T x) const {
    if constexpr (is_complex_number<T>) return (*this)(x.real()) || (*this)(x.imag());
    else if constexpr (is_real_float<T>) return fabs(x) == T(__builtin_inf());
    else return false;
  }
};
struct IsFinite {
  static constexpr auto name = "isfinite";
  static constexpr Types types = kNumber;
  template <class T> GRAFT_HD bool operator()(T x) const {
    if constexpr (is_complex_number<T>) return (*this)(x.real()) && (*this)(x.imag());
    else if constexpr (is_real_float<T>) return fabs(x) < T(__builtin_inf());
    else return true;
  }
};

// The condition comes last: the first input selects the kernel. `masked` is where() with 0, and linear in x.
struct Where { static constexpr auto name = "where"; static constexpr Types types = kNumber; template <class T> GRAFT_HD T operator()(T x, T y, T c) const { return c != T(0) ? x : y; } };
struct Masked { static constexpr auto name = "masked"; static constexpr Types types = kNumber; template <class T> GRAFT_HD T operator()(T x, T c) const { return c != T(0) ? x : T(0); } };

struct Clamp {  // NaN passes; low > high gives high
  static constexpr auto name = "clamp";
  static constexpr Types types = kFloat;
  using Attrs = BoundAttrs;
  Attrs a;
  template <class T> GRAFT_HD T operator()(T x) const {
    const T y = x < T(a.low) ? T(a.low) : x;
    return y > T(a.high) ? T(a.high) : y;
  }
};

}  // namespace
}  // namespace graft::math

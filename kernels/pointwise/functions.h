// Elementary and special functions of one number. See arithmetic.h for what a functor is.
#pragma once
#include "graft/kernels/pointwise/arithmetic.h"

namespace graft::inline v1::math {
namespace {

struct Exp { static constexpr auto name = "exp"; static constexpr Types types = kInexact; template <class T> GRAFT_HD T operator()(T x) const { return exp(x); } };
struct Exp2 { static constexpr auto name = "exp2"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return exp2(x); } };
struct Expm1 { static constexpr auto name = "expm1"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return expm1(x); } };
struct Log { static constexpr auto name = "log"; static constexpr Types types = kInexact; template <class T> GRAFT_HD T operator()(T x) const { return log(x); } };
struct Log2 { static constexpr auto name = "log2"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return log2(x); } };
struct Log10 { static constexpr auto name = "log10"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return log10(x); } };
struct Log1p { static constexpr auto name = "log1p"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return log1p(x); } };
struct Sqrt { static constexpr auto name = "sqrt"; static constexpr Types types = kInexact; template <class T> GRAFT_HD T operator()(T x) const { return sqrt(x); } };
struct Rsqrt { static constexpr auto name = "rsqrt"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return T(1) / sqrt(x); } };
struct Sin { static constexpr auto name = "sin"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return sin(x); } };
struct Cos { static constexpr auto name = "cos"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return cos(x); } };
struct Tan { static constexpr auto name = "tan"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return tan(x); } };
struct Asin { static constexpr auto name = "asin"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return asin(x); } };
struct Acos { static constexpr auto name = "acos"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return acos(x); } };
struct Atan { static constexpr auto name = "atan"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return atan(x); } };
struct Sinh { static constexpr auto name = "sinh"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return sinh(x); } };
struct Cosh { static constexpr auto name = "cosh"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return cosh(x); } };
struct Tanh { static constexpr auto name = "tanh"; static constexpr Types types = kInexact; template <class T> GRAFT_HD T operator()(T x) const { return tanh(x); } };
struct Asinh { static constexpr auto name = "asinh"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return asinh(x); } };
struct Acosh { static constexpr auto name = "acosh"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return acosh(x); } };
struct Atanh { static constexpr auto name = "atanh"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return atanh(x); } };
struct Erf { static constexpr auto name = "erf"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return erf(x); } };
struct Erfc { static constexpr auto name = "erfc"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return erfc(x); } };
struct Sigmoid { static constexpr auto name = "sigmoid"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T x) const { return sigmoid(x); } };

// Fused derivatives, with y the function's value.
struct SigmoidGrad { static constexpr auto name = "sigmoid_grad"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T y, T g) const { return g * (y * (T(1) - y)); } };
struct TanhGrad { static constexpr auto name = "tanh_grad"; static constexpr Types types = kFloat; template <class T> GRAFT_HD T operator()(T y, T g) const { return g * (T(1) - y * y); } };

struct NanToNum {
  static constexpr auto name = "nan_to_num";
  static constexpr Types types = kFloat;
  using Attrs = NanToNumAttrs;
  Attrs a;
  template <class T> GRAFT_HD T operator()(T x) const {
    const T inf = T(__builtin_inf());
    return is_nan(x) ? T(a.nan) : x == inf ? T(a.high) : x == -inf ? T(a.low) : x;
  }
};

}  // namespace
}  // namespace graft::math

// The lists of all pointwise functors, by the number of their inputs: the line that makes a new one known.
#pragma once
#include "graft/kernels/pointwise/activation.h"
#include "graft/kernels/pointwise/compare.h"

namespace graft::inline v1::math {
namespace {

template <class... F> struct Functors {};
using Unary = Functors<
    Neg, Square, Reciprocal, Abs, Sign, Sgn, Floor, Ceil, Trunc, Frac, Round, Affine, Real, Imag, Conj, TimesI,
    Exp, Exp2, Expm1, Log, Log2, Log10, Log1p, Sqrt, Rsqrt, Sin, Cos, Tan, Asin, Acos, Atan, Sinh, Cosh, Tanh, Asinh, Acosh,
    Atanh, Erf, Erfc, Sigmoid, NanToNum, LogicalNot, BitwiseNot, IsNan, IsInf, IsFinite, Clamp,
    Relu, LeakyRelu, Elu, Gelu, GeluTanh, Silu, LogSigmoid, Softplus, Mish, Hardsigmoid, Hardswish, Hardshrink,
    Softshrink, Threshold, Tanhshrink, Softsign>;
using Binary = Functors<
    Add, Sub, Mul, Div, AddScaled, DivTrunc, FloorDivide, Fmod, Remainder, Pow, Atan2, Hypot, Maximum, Minimum, Fmax, Fmin,
    Eq, Ne, Lt, Le, Gt, Ge, LogicalAnd, LogicalOr, LogicalXor, BitwiseAnd, BitwiseOr, BitwiseXor, Masked,
    ReluGrad, SigmoidGrad, TanhGrad, GeluGrad, GeluTanhGrad, SiluGrad, Prelu>;
using Ternary = Functors<Addcmul, Addcdiv, Lerp, Where>;
// Binary ones that also exist with a number as their second ("add_scalar") or first ("scalar_sub") input.
using ScalarSecond = Functors<Add, Sub, Mul, Div, DivTrunc, FloorDivide, Fmod, Remainder, Pow, Maximum, Minimum,
                              Eq, Ne, Lt, Le, Gt, Ge, BitwiseAnd, BitwiseOr, BitwiseXor>;
using ScalarFirst = Functors<Sub, Div, DivTrunc, FloorDivide, Remainder, Pow>;

}  // namespace
}  // namespace graft::math

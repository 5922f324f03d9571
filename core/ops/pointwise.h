// Pointwise ops: arithmetic, functions, comparisons, activations. Names, arguments, promotion and numerics are PyTorch's; a
// number from the program (Scalar) does not promote within its category: f16 + 1.5 is f16, computed in f32. Shapes
// broadcast. Integers become f32 where the result is no integer (div, exp, ...). In-place forms are members of Tensor.
#pragma once
#include <string_view>
#include "graft/core/tensor.h"

namespace graft::inline v1 {

// ---- arithmetic ----------------------------------------------------------------------------------------------

Tensor add(const Tensor&, const Tensor&);
Tensor add(const Tensor&, const Tensor&, Scalar alpha);  // a + alpha * b
Tensor add(const Tensor&, Scalar);
Tensor sub(const Tensor&, const Tensor&);
Tensor sub(const Tensor&, const Tensor&, Scalar alpha);
Tensor sub(const Tensor&, Scalar);
Tensor rsub(const Tensor&, Scalar);  // s - x
Tensor mul(const Tensor&, const Tensor&);
Tensor mul(const Tensor&, Scalar);
Tensor div(const Tensor&, const Tensor&);
Tensor div(const Tensor&, Scalar);
Tensor div(Scalar, const Tensor&);
Tensor div(const Tensor&, const Tensor&, std::string_view rounding_mode);  // "trunc", "floor", or "" for none
Tensor div(const Tensor&, Scalar, std::string_view rounding_mode);
Tensor div(Scalar, const Tensor&, std::string_view rounding_mode);
Tensor floor_divide(const Tensor&, const Tensor&);
Tensor floor_divide(const Tensor&, Scalar);
Tensor floor_divide(Scalar, const Tensor&);
Tensor fmod(const Tensor&, const Tensor&);  // the sign of the dividend
Tensor fmod(const Tensor&, Scalar);
Tensor remainder(const Tensor&, const Tensor&);  // the sign of the divisor, as in Python
Tensor remainder(const Tensor&, Scalar);
Tensor remainder(Scalar, const Tensor&);
Tensor pow(const Tensor&, const Tensor&);
Tensor pow(const Tensor&, Scalar exponent);
Tensor pow(Scalar base, const Tensor&);
Tensor atan2(const Tensor& y, const Tensor& x);
Tensor hypot(const Tensor&, const Tensor&);
Tensor maximum(const Tensor&, const Tensor&);  // NaN wins; equal elements share the gradient
Tensor minimum(const Tensor&, const Tensor&);
Tensor fmax(const Tensor&, const Tensor&);  // NaN loses
Tensor fmin(const Tensor&, const Tensor&);
inline Tensor max(const Tensor& a, const Tensor& b) { return maximum(a, b); }
inline Tensor min(const Tensor& a, const Tensor& b) { return minimum(a, b); }
Tensor affine(const Tensor&, double scale, double shift);                                // x * scale + shift
Tensor addcmul(const Tensor& x, const Tensor& a, const Tensor& b, double value = 1);   // x + value * a * b
Tensor addcdiv(const Tensor& x, const Tensor& a, const Tensor& b, double value = 1);   // x + value * a / b
Tensor lerp(const Tensor& start, const Tensor& end, const Tensor& weight);             // start + weight * (end - start)
Tensor lerp(const Tensor& start, const Tensor& end, double weight);
Tensor neg(const Tensor&);
Tensor abs(const Tensor&);
Tensor square(const Tensor&);
Tensor reciprocal(const Tensor&);
Tensor sign(const Tensor&);
Tensor sgn(const Tensor&);  // of complex: x / |x|
Tensor floor(const Tensor&);
Tensor ceil(const Tensor&);
Tensor trunc(const Tensor&);
Tensor round(const Tensor&, int decimals = 0);  // halves to even
Tensor frac(const Tensor&);                     // x - trunc(x)
Tensor clamp(const Tensor&, std::optional<Scalar> min, std::optional<Scalar> max = {});
Tensor clamp(const Tensor&, const Tensor& min, const Tensor& max);  // either may be undefined
Tensor clamp_min(const Tensor&, Scalar);
Tensor clamp_min(const Tensor&, const Tensor&);
Tensor clamp_max(const Tensor&, Scalar);
Tensor clamp_max(const Tensor&, const Tensor&);

// ---- functions -----------------------------------------------------------------------------------------------

Tensor exp(const Tensor&);
Tensor exp2(const Tensor&);
Tensor expm1(const Tensor&);
Tensor log(const Tensor&);
Tensor log2(const Tensor&);
Tensor log10(const Tensor&);
Tensor log1p(const Tensor&);
Tensor sqrt(const Tensor&);
Tensor rsqrt(const Tensor&);
Tensor sin(const Tensor&);
Tensor cos(const Tensor&);
Tensor tan(const Tensor&);
Tensor asin(const Tensor&);
Tensor acos(const Tensor&);
Tensor atan(const Tensor&);
Tensor sinh(const Tensor&);
Tensor cosh(const Tensor&);
Tensor tanh(const Tensor&);
Tensor asinh(const Tensor&);
Tensor acosh(const Tensor&);
Tensor atanh(const Tensor&);
Tensor erf(const Tensor&);
Tensor erfc(const Tensor&);
Tensor sigmoid(const Tensor&);
// Not given: NaN becomes 0, the infinities the largest numbers of the dtype.
Tensor nan_to_num(const Tensor&, std::optional<double> nan = {}, std::optional<double> posinf = {},
                  std::optional<double> neginf = {});

// ---- complex numbers -----------------------------------------------------------------------------------------

Tensor real(const Tensor&);  // copies; of a real tensor itself
Tensor imag(const Tensor&);
Tensor conj(const Tensor&);  // of a real tensor itself

// ---- activations ---------------------------------------------------------------------------------------------

Tensor relu(const Tensor&);
Tensor relu6(const Tensor&);
Tensor leaky_relu(const Tensor&, double negative_slope = 0.01);
Tensor prelu(const Tensor&, const Tensor& weight);  // one slope, or one per channel (dimension 1)
Tensor elu(const Tensor&, double alpha = 1);
Tensor selu(const Tensor&);
Tensor celu(const Tensor&, double alpha = 1);
Tensor gelu(const Tensor&, std::string_view approximate = "none");  // or "tanh"
Tensor silu(const Tensor&);
Tensor mish(const Tensor&);
Tensor log_sigmoid(const Tensor&);
Tensor softplus(const Tensor&, double beta = 1, double threshold = 20);
Tensor hardtanh(const Tensor&, double min_val = -1, double max_val = 1);
Tensor hardsigmoid(const Tensor&);
Tensor hardswish(const Tensor&);
Tensor hardshrink(const Tensor&, double lambda = 0.5);
Tensor softshrink(const Tensor&, double lambda = 0.5);
Tensor tanhshrink(const Tensor&);
Tensor softsign(const Tensor&);
Tensor threshold(const Tensor&, double threshold, double value);

// ---- questions (bool results), selection, bits ---------------------------------------------------------------

Tensor eq(const Tensor&, const Tensor&);
Tensor eq(const Tensor&, Scalar);
Tensor ne(const Tensor&, const Tensor&);
Tensor ne(const Tensor&, Scalar);
Tensor lt(const Tensor&, const Tensor&);
Tensor lt(const Tensor&, Scalar);
Tensor le(const Tensor&, const Tensor&);
Tensor le(const Tensor&, Scalar);
Tensor gt(const Tensor&, const Tensor&);
Tensor gt(const Tensor&, Scalar);
Tensor ge(const Tensor&, const Tensor&);
Tensor ge(const Tensor&, Scalar);
Tensor isnan(const Tensor&);
Tensor isinf(const Tensor&);
Tensor isfinite(const Tensor&);
Tensor logical_and(const Tensor&, const Tensor&);
Tensor logical_or(const Tensor&, const Tensor&);
Tensor logical_xor(const Tensor&, const Tensor&);
Tensor logical_not(const Tensor&);
Tensor bitwise_and(const Tensor&, const Tensor&);  // integers and bool
Tensor bitwise_and(const Tensor&, Scalar);
Tensor bitwise_or(const Tensor&, const Tensor&);
Tensor bitwise_or(const Tensor&, Scalar);
Tensor bitwise_xor(const Tensor&, const Tensor&);
Tensor bitwise_xor(const Tensor&, Scalar);
Tensor bitwise_not(const Tensor&);
Tensor where(const Tensor& condition, const Tensor& x, const Tensor& y);  // x where true; the condition is bool
Tensor where(const Tensor& condition, const Tensor& x, Scalar y);
Tensor where(const Tensor& condition, Scalar x, const Tensor& y);
Tensor masked(const Tensor& x, const Tensor& condition);  // x where true, else 0: what derivatives of pieces are made of

// ---- operators -----------------------------------------------------------------------------------------------

inline Tensor operator-(const Tensor& a) { return neg(a); }
inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator%(const Tensor& a, const Tensor& b) { return remainder(a, b); }
inline Tensor operator+(const Tensor& a, Scalar s) { return add(a, s); }
inline Tensor operator-(const Tensor& a, Scalar s) { return sub(a, s); }
inline Tensor operator*(const Tensor& a, Scalar s) { return mul(a, s); }
inline Tensor operator/(const Tensor& a, Scalar s) { return div(a, s); }
inline Tensor operator%(const Tensor& a, Scalar s) { return remainder(a, s); }
inline Tensor operator+(Scalar s, const Tensor& a) { return add(a, s); }
inline Tensor operator-(Scalar s, const Tensor& a) { return rsub(a, s); }
inline Tensor operator*(Scalar s, const Tensor& a) { return mul(a, s); }
inline Tensor operator/(Scalar s, const Tensor& a) { return div(s, a); }
inline Tensor operator==(const Tensor& a, const Tensor& b) { return eq(a, b); }
inline Tensor operator!=(const Tensor& a, const Tensor& b) { return ne(a, b); }
inline Tensor operator<(const Tensor& a, const Tensor& b) { return lt(a, b); }
inline Tensor operator<=(const Tensor& a, const Tensor& b) { return le(a, b); }
inline Tensor operator>(const Tensor& a, const Tensor& b) { return gt(a, b); }
inline Tensor operator>=(const Tensor& a, const Tensor& b) { return ge(a, b); }
inline Tensor operator==(const Tensor& a, Scalar s) { return eq(a, s); }
inline Tensor operator!=(const Tensor& a, Scalar s) { return ne(a, s); }
inline Tensor operator<(const Tensor& a, Scalar s) { return lt(a, s); }
inline Tensor operator<=(const Tensor& a, Scalar s) { return le(a, s); }
inline Tensor operator>(const Tensor& a, Scalar s) { return gt(a, s); }
inline Tensor operator>=(const Tensor& a, Scalar s) { return ge(a, s); }
inline Tensor operator==(Scalar s, const Tensor& a) { return eq(a, s); }
inline Tensor operator!=(Scalar s, const Tensor& a) { return ne(a, s); }
inline Tensor operator<(Scalar s, const Tensor& a) { return gt(a, s); }
inline Tensor operator<=(Scalar s, const Tensor& a) { return ge(a, s); }
inline Tensor operator>(Scalar s, const Tensor& a) { return lt(a, s); }
inline Tensor operator>=(Scalar s, const Tensor& a) { return le(a, s); }
inline Tensor operator&(const Tensor& a, const Tensor& b) { return bitwise_and(a, b); }
inline Tensor operator|(const Tensor& a, const Tensor& b) { return bitwise_or(a, b); }
inline Tensor operator^(const Tensor& a, const Tensor& b) { return bitwise_xor(a, b); }
inline Tensor operator~(const Tensor& a) { return bitwise_not(a); }

}  // namespace graft

// Cases of the pointwise ops: arithmetic, functions, comparisons, selections, bits.
#include "op_case.h"

namespace graft::cases {
namespace {

template <Tensor (*f)(const Tensor&), double (*expected)(double)> OpCase one(const char* op, const Tensor& x) {
  return {.op = op, .in = {x}, .fn = [](const Tensors& t) { return f(t[0]); },
          .element = [](const double* v) { return expected(v[0]); }};
}
template <Tensor (*f)(const Tensor&, const Tensor&), double (*expected)(double, double)>
OpCase two(const char* op, const Tensor& a, const Tensor& b) {
  return {.op = op, .in = {a, b}, .fn = [](const Tensors& t) { return f(t[0], t[1]); },
          .element = [](const double* v) { return expected(v[0], v[1]); }};
}
template <Tensor (*f)(const Tensor&, Scalar), double (*expected)(double, double)>
OpCase scalar(const char* op, const Tensor& a) {  // with 0.75
  return {.op = op, .in = {a}, .fn = [](const Tensors& t) { return f(t[0], 0.75); },
          .element = [](const double* v) { return expected(v[0], 0.75); }};
}
template <Tensor (*f)(const Tensor&, Scalar), double (*expected)(double, double)>
OpCase integer_scalar(const char* op, const Tensor& a) {  // with 3
  OpCase c{.op = op, .name = "integers", .in = {a}, .fn = [](const Tensors& t) { return f(t[0], 3); },
           .element = [](const double* v) { return expected(v[0], 3); }, .also = {i64, i32, i16, i8}};
  return c;
}
OpCase question(OpCase c) {
  c.grad = false;
  c.also = {i64, i32, i16, i8, boolean};
  return c;
}
OpCase with(OpCase c, std::vector<DType> also) {
  c.also = std::move(also);
  return c;
}
OpCase in_place(OpCase c, const Tensor& (*f)(const Tensors&)) {
  c.in_place = f;
  return c;
}

double plus(double a, double b) { return a + b; }
double minus(double a, double b) { return a - b; }
double times(double a, double b) { return a * b; }
double over(double a, double b) { return a / b; }
double floored(double a, double b) { return std::floor(a / b); }
double modulo(double a, double b) { return a - b * std::floor(a / b); }
double larger(double a, double b) { return a > b ? a : b; }
double smaller(double a, double b) { return a < b ? a : b; }
double equal(double a, double b) { return a == b; }
double unequal(double a, double b) { return a != b; }
double less(double a, double b) { return a < b; }
double not_more(double a, double b) { return a <= b; }
double more(double a, double b) { return a > b; }
double not_less(double a, double b) { return a >= b; }
double both(double a, double b) { return a != 0 && b != 0; }
double either(double a, double b) { return a != 0 || b != 0; }
double one_of(double a, double b) { return (a != 0) != (b != 0); }
double bits_and(double a, double b) { return double(int64_t(a) & int64_t(b)); }
double bits_or(double a, double b) { return double(int64_t(a) | int64_t(b)); }
double bits_xor(double a, double b) { return double(int64_t(a) ^ int64_t(b)); }
double negative(double a) { return -a; }
double squared(double a) { return a * a; }
double inverse(double a) { return 1 / a; }
double inverse_root(double a) { return 1 / std::sqrt(a); }
double fraction(double a) { return a - std::trunc(a); }
double logistic(double a) { return 1 / (1 + std::exp(-a)); }
double nan(double a) { return std::isnan(a); }
double infinite(double a) { return std::isinf(a); }
double finite(double a) { return std::isfinite(a); }
double zero(double a) { return a == 0; }
double flipped(double a) { return double(~int64_t(a)); }
Tensor rounded(const Tensor& x) { return round(x); }
double sign_of(double a) { return double(a > 0) - double(a < 0); }

const Tensor& add_scalar_in_place(const Tensors& t) { return t[0].add_(0.75); }

}  // namespace

static OpCases arithmetic() {
  const Tensor a = ramp({3, 4}), b = ramp({3, 4}, 0.6, 0.21), row = ramp({4}, 0.5), col = ramp({3, 1}, 0.7);
  const std::vector<DType> ints_too{i64, i32, i16, i8};
  return {
      with(in_place(two<add, plus>("add", a, row), [](const Tensors& t) -> const Tensor& { return t[0].add_(t[1]); }), ints_too),
      {.op = "add_scaled", .in = {a, row}, .fn = [](const Tensors& t) { return add(t[0], t[1], 0.3); },
       .element = [](const double* v) { return v[0] + 0.3 * v[1]; },
       .in_place = [](const Tensors& t) -> const Tensor& { return t[0].add_(t[1], 0.3); }},
      with(two<sub, minus>("sub", row, a), ints_too),
      {.op = "sub", .name = "in place", .in = {a, row}, .fn = [](const Tensors& t) { return t[0] - t[1]; },
       .element = [](const double* v) { return v[0] - v[1]; },
       .in_place = [](const Tensors& t) -> const Tensor& { return t[0].sub_(t[1]); }},
      with(two<mul, times>("mul", col, row), ints_too),
      {.op = "mul", .name = "in place", .in = {a, row}, .fn = [](const Tensors& t) { return t[0] * t[1]; },
       .element = [](const double* v) { return v[0] * v[1]; },
       .in_place = [](const Tensors& t) -> const Tensor& { return t[0].mul_(t[1]); }},
      in_place(two<div, over>("div", a, b), [](const Tensors& t) -> const Tensor& { return t[0].div_(t[1]); }),
      in_place(scalar<add, plus>("add_scalar", a), add_scalar_in_place),
      integer_scalar<add, plus>("add_scalar", a),
      in_place(scalar<sub, minus>("sub_scalar", a), [](const Tensors& t) -> const Tensor& { return t[0].sub_(0.75); }),
      {.op = "scalar_sub", .in = {a}, .fn = [](const Tensors& t) { return 2 - t[0]; },
       .element = [](const double* v) { return 2 - v[0]; }, .also = ints_too},
      in_place(scalar<mul, times>("mul_scalar", a), [](const Tensors& t) -> const Tensor& { return t[0].mul_(0.75); }),
      integer_scalar<mul, times>("mul_scalar", a),
      in_place(scalar<div, over>("div_scalar", a), [](const Tensors& t) -> const Tensor& { return t[0].div_(0.75); }),
      {.op = "scalar_div", .in = {a}, .fn = [](const Tensors& t) { return 2 / t[0]; },
       .element = [](const double* v) { return 2 / v[0]; }},
      {.op = "affine", .in = {a}, .fn = [](const Tensors& t) { return affine(t[0], 3, 1); },
       .element = [](const double* v) { return 3 * v[0] + 1; }},
      {.op = "div_trunc", .in = {a, b}, .fn = [](const Tensors& t) { return div(t[0], t[1], "trunc"); },
       .element = [](const double* v) { return std::trunc(v[0] / v[1]); }, .floats = false},
      {.op = "div_trunc", .name = "integers", .in = {ints({3, 4}, -6), ints({4}, 1)},
       .fn = [](const Tensors& t) { return div(t[0], t[1], "trunc"); },
       .element = [](const double* v) { return std::trunc(v[0] / v[1]); }, .also = {i32, i16, i8}},
      {.op = "div_trunc_scalar", .in = {a}, .fn = [](const Tensors& t) { return div(t[0], 0.4, "trunc"); },
       .element = [](const double* v) { return std::trunc(v[0] / 0.4); }},
      two<floor_divide, floored>("floor_divide", a, b),
      {.op = "floor_divide", .name = "integers", .in = {ints({3, 4}, -6), ints({4}, -5)},
       .fn = [](const Tensors& t) { return floor_divide(t[0], t[1]); },
       .element = [](const double* v) { return std::floor(v[0] / v[1]); }, .also = {i32, i16, i8}},
      scalar<floor_divide, floored>("floor_divide_scalar", a),
      {.op = "scalar_floor_divide", .in = {b}, .fn = [](const Tensors& t) { return floor_divide(2.9, t[0]); },
       .element = [](const double* v) { return std::floor(2.9 / v[0]); }},
      {.op = "scalar_div_trunc", .in = {b}, .fn = [](const Tensors& t) { return div(-2.9, t[0], "trunc"); },
       .element = [](const double* v) { return std::trunc(-2.9 / v[0]); }},
      two<fmod, std::fmod>("fmod", a, b),
      scalar<fmod, std::fmod>("fmod_scalar", a),
      {.op = "fmod", .name = "integers", .in = {ints({3, 4}, -6), ints({4}, -5)}, .fn = [](const Tensors& t) { return fmod(t[0], t[1]); },
       .element = [](const double* v) { return std::fmod(v[0], v[1]); }, .also = {i32, i16, i8}},
      two<remainder, modulo>("remainder", a, b),
      scalar<remainder, modulo>("remainder_scalar", a),
      {.op = "remainder", .name = "integers", .in = {ints({3, 4}, -6), ints({4}, -5)},
       .fn = [](const Tensors& t) { return t[0] % t[1]; }, .element = [](const double* v) { return modulo(v[0], v[1]); },
       .also = {i32, i16, i8}},
      {.op = "scalar_remainder", .in = {b}, .fn = [](const Tensors& t) { return remainder(2.9, t[0]); },
       .element = [](const double* v) { return modulo(2.9, v[0]); }},
      {.op = "pow", .in = {b, a}, .fn = [](const Tensors& t) { return pow(t[0], t[1]); },
       .element = [](const double* v) { return std::pow(v[0], v[1]); }, .tolerance = 4},
      {.op = "pow", .name = "integers", .in = {ints({5}, -2), ints({5}, 0)}, .fn = [](const Tensors& t) { return pow(t[0], t[1]); },
       .element = [](const double* v) { return std::pow(v[0], v[1]); }, .also = {i32, i16, i8}},
      {.op = "pow_scalar", .in = {b}, .fn = [](const Tensors& t) { return pow(t[0], 2.3); },
       .element = [](const double* v) { return std::pow(v[0], 2.3); }, .tolerance = 4},
      {.op = "pow_scalar", .name = "squares", .in = {a}, .fn = [](const Tensors& t) { return pow(t[0], 2); },
       .element = [](const double* v) { return v[0] * v[0]; }, .in_place = [](const Tensors& t) -> const Tensor& { return t[0].pow_(2); },
       .also = ints_too},
      {.op = "pow_scalar", .name = "inverse", .in = {a}, .fn = [](const Tensors& t) { return pow(t[0], -1); },
       .element = [](const double* v) { return 1 / v[0]; }},
      {.op = "pow_scalar", .name = "zero", .in = {a}, .fn = [](const Tensors& t) { return pow(t[0], 0); },
       .element = [](const double*) { return 1.; }},
      {.op = "scalar_pow", .in = {a}, .fn = [](const Tensors& t) { return pow(2.5, t[0]); },
       .element = [](const double* v) { return std::pow(2.5, v[0]); }, .tolerance = 4},
      two<atan2, std::atan2>("atan2", a, b),
      two<hypot, std::hypot>("hypot", a, b),
      with(two<maximum, larger>("maximum", a, ramp({4}, 0.9, -0.3)), ints_too),
      with(two<minimum, smaller>("minimum", a, ramp({4}, 0.9, -0.3)), ints_too),
      with(two<fmax, larger>("fmax", a, ramp({4}, 0.9, -0.3)), ints_too),
      with(two<fmin, smaller>("fmin", a, ramp({4}, 0.9, -0.3)), ints_too),
      in_place(scalar<clamp_min, larger>("maximum_scalar", a), [](const Tensors& t) -> const Tensor& { return t[0].clamp_min_(0.75); }),
      in_place(scalar<clamp_max, smaller>("minimum_scalar", a), [](const Tensors& t) -> const Tensor& { return t[0].clamp_max_(0.75); }),
      {.op = "clamp", .in = {a}, .fn = [](const Tensors& t) { return clamp(t[0], -0.6, 1.1); },
       .element = [](const double* v) { return std::min(std::max(v[0], -0.6), 1.1); },
       .in_place = [](const Tensors& t) -> const Tensor& { return t[0].clamp_(-0.6, 1.1); }},
      {.op = "maximum", .name = "clamp by tensors", .in = {a, ramp({4}, -0.5, 0.05), ramp({3, 1}, 0.5)},
       .fn = [](const Tensors& t) { return clamp(t[0], t[1], t[2]); },
       .element = [](const double* v) { return std::min(std::max(v[0], v[1]), v[2]); }},
      {.op = "addcmul", .in = {a, b, row}, .fn = [](const Tensors& t) { return addcmul(t[0], t[1], t[2], 0.7); },
       .element = [](const double* v) { return v[0] + 0.7 * v[1] * v[2]; },
       .in_place = [](const Tensors& t) -> const Tensor& { return t[0].addcmul_(t[1], t[2], 0.7); }},
      {.op = "addcdiv", .in = {a, b, row}, .fn = [](const Tensors& t) { return addcdiv(t[0], t[1], t[2], 0.7); },
       .element = [](const double* v) { return v[0] + 0.7 * v[1] / v[2]; },
       .in_place = [](const Tensors& t) -> const Tensor& { return t[0].addcdiv_(t[1], t[2], 0.7); }},
      {.op = "lerp", .in = {a, b, row}, .fn = [](const Tensors& t) { return lerp(t[0], t[1], t[2]); },
       .element = [](const double* v) { return v[0] + v[2] * (v[1] - v[0]); },
       .in_place = [](const Tensors& t) -> const Tensor& { return t[0].lerp_(t[1], t[2]); }, .tolerance = 3},
      {.op = "lerp", .name = "number", .in = {a, b}, .fn = [](const Tensors& t) { return lerp(t[0], t[1], 0.3); },
       .element = [](const double* v) { return v[0] + 0.3 * (v[1] - v[0]); },
       .in_place = [](const Tensors& t) -> const Tensor& { return t[0].lerp_(t[1], 0.3); }},
      with(one<neg, negative>("neg", a), ints_too),
      with(in_place(one<abs, std::fabs>("abs", a), [](const Tensors& t) -> const Tensor& { return t[0].abs_(); }), ints_too),
      with(in_place(one<square, squared>("square", a), [](const Tensors& t) -> const Tensor& { return t[0].square_(); }), ints_too),
      in_place(one<reciprocal, inverse>("reciprocal", a), [](const Tensors& t) -> const Tensor& { return t[0].reciprocal_(); }),
      with(in_place(one<sign, sign_of>("sign", a), [](const Tensors& t) -> const Tensor& { return t[0].sign_(); }), ints_too),
      with(one<sgn, sign_of>("sgn", a), ints_too),
      with(in_place(one<floor, std::floor>("floor", a), [](const Tensors& t) -> const Tensor& { return t[0].floor_(); }), ints_too),
      with(in_place(one<ceil, std::ceil>("ceil", a), [](const Tensors& t) -> const Tensor& { return t[0].ceil_(); }), ints_too),
      with(in_place(one<trunc, std::trunc>("trunc", a), [](const Tensors& t) -> const Tensor& { return t[0].trunc_(); }), ints_too),
      in_place(one<rounded, std::rint>("round", a), [](const Tensors& t) -> const Tensor& { return t[0].round_(); }),
      {.op = "round", .name = "decimals", .in = {a * 0.377}, .fn = [](const Tensors& t) { return round(t[0], 1); },
       .element = [](const double* v) { return std::rint(v[0] * 10) / 10; }},
      one<frac, fraction>("frac", a),
      {.op = "real", .in = {a, b}, .fn = [](const Tensors& t) { return real(complex(t[0], t[1]) * complex(t[1], t[0])); },
       .element = [](const double* v) { return v[0] * v[1] - v[1] * v[0] + 0 * v[0]; }, .floats = false},
      {.op = "imag", .in = {a, b}, .fn = [](const Tensors& t) { return imag(complex(t[0], t[1]) * complex(t[1], t[0])); },
       .element = [](const double* v) { return v[0] * v[0] + v[1] * v[1]; }, .floats = false},
      {.op = "conj", .in = {a, b}, .fn = [](const Tensors& t) { return real(conj(complex(t[0], t[1])) * complex(t[0], t[1])); },
       .element = [](const double* v) { return v[0] * v[0] + v[1] * v[1]; }, .floats = false},
      {.op = "abs", .name = "complex", .in = {a, b}, .fn = [](const Tensors& t) { return abs(complex(t[0], t[1])); },
       .element = [](const double* v) { return std::hypot(v[0], v[1]); }, .floats = false},
      {.op = "exp", .name = "complex", .in = {a, b}, .fn = [](const Tensors& t) { return imag(exp(complex(t[0], t[1]))); },
       .element = [](const double* v) { return std::exp(v[0]) * std::sin(v[1]); }, .floats = false},
      {.op = "div", .name = "complex", .in = {a, b}, .fn = [](const Tensors& t) { return real(complex(t[0], t[1]) / complex(t[1], t[0] + 4)); },
       .element = [](const double* v) {
         return (std::complex<double>(v[0], v[1]) / std::complex<double>(v[1], v[0] + 4)).real();
       },
       .floats = false},
      {.op = "sgn", .name = "complex", .in = {a, b}, .fn = [](const Tensors& t) { return real(sgn(complex(t[0], t[1]))); },
       .element = [](const double* v) { return v[0] / std::hypot(v[0], v[1]); }, .floats = false},
  };
}

static OpCases functions() {
  const Tensor a = ramp({3, 4}), b = ramp({3, 4}, 0.6, 0.21), unit = ramp({3, 4}, -0.85, 0.15), above = ramp({3, 4}, 1.2, 0.3);
  return {
      in_place(one<exp, std::exp>("exp", a), [](const Tensors& t) -> const Tensor& { return t[0].exp_(); }),
      one<exp2, std::exp2>("exp2", a),
      one<expm1, std::expm1>("expm1", a),
      in_place(one<log, std::log>("log", b), [](const Tensors& t) -> const Tensor& { return t[0].log_(); }),
      one<log2, std::log2>("log2", b),
      one<log10, std::log10>("log10", b),
      one<log1p, std::log1p>("log1p", b),
      in_place(one<sqrt, std::sqrt>("sqrt", b), [](const Tensors& t) -> const Tensor& { return t[0].sqrt_(); }),
      in_place(one<rsqrt, inverse_root>("rsqrt", b), [](const Tensors& t) -> const Tensor& { return t[0].rsqrt_(); }),
      in_place(one<sin, std::sin>("sin", a), [](const Tensors& t) -> const Tensor& { return t[0].sin_(); }),
      in_place(one<cos, std::cos>("cos", a), [](const Tensors& t) -> const Tensor& { return t[0].cos_(); }),
      one<tan, std::tan>("tan", unit),
      one<asin, std::asin>("asin", unit),
      one<acos, std::acos>("acos", unit),
      one<atan, std::atan>("atan", a),
      one<sinh, std::sinh>("sinh", a),
      one<cosh, std::cosh>("cosh", a),
      in_place(one<tanh, std::tanh>("tanh", a), [](const Tensors& t) -> const Tensor& { return t[0].tanh_(); }),
      one<asinh, std::asinh>("asinh", a),
      one<acosh, std::acosh>("acosh", above),
      one<atanh, std::atanh>("atanh", unit),
      one<erf, std::erf>("erf", a),
      one<erfc, std::erfc>("erfc", a),
      in_place(one<sigmoid, logistic>("sigmoid", a), [](const Tensors& t) -> const Tensor& { return t[0].sigmoid_(); }),
      {.op = "nan_to_num", .in = {a}, .fn = [](const Tensors& t) { return nan_to_num(t[0], 1., 2., 3.); },
       .element = [](const double* v) { return v[0]; }},
  };
}

static OpCases comparisons() {
  const Tensor a = ramp({3, 4}), same = ramp({4}), mask = gt(ramp({3, 4}, 0.9, -0.3), 0.1);
  const Tensor m = ints({3, 4}, -6), n = ints({4}, -2);
  return {
      question(two<eq, equal>("eq", a, same)),
      question(two<ne, unequal>("ne", a, same)),
      question(two<lt, less>("lt", a, same)),
      question(two<le, not_more>("le", a, same)),
      question(two<gt, more>("gt", a, same)),
      question(two<ge, not_less>("ge", a, same)),
      question(scalar<eq, equal>("eq_scalar", a)),
      question(scalar<ne, unequal>("ne_scalar", a)),
      question(scalar<lt, less>("lt_scalar", a)),
      question(scalar<le, not_more>("le_scalar", a)),
      question(scalar<gt, more>("gt_scalar", a)),
      question(scalar<ge, not_less>("ge_scalar", a)),
      question(one<isnan, nan>("isnan", a)),
      question(one<isinf, infinite>("isinf", a)),
      question(one<isfinite, finite>("isfinite", a)),
      question(two<logical_and, both>("logical_and", a, same)),
      question(two<logical_or, either>("logical_or", a, same)),
      question(two<logical_xor, one_of>("logical_xor", a, same)),
      question(one<logical_not, zero>("logical_not", a)),
      with(two<bitwise_and, bits_and>("bitwise_and", m, n), {i32, i16, i8, boolean}),
      with(two<bitwise_or, bits_or>("bitwise_or", m, n), {i32, i16, i8, boolean}),
      with(two<bitwise_xor, bits_xor>("bitwise_xor", m, n), {i32, i16, i8, boolean}),
      integer_scalar<bitwise_and, bits_and>("bitwise_and_scalar", m),
      integer_scalar<bitwise_or, bits_or>("bitwise_or_scalar", m),
      integer_scalar<bitwise_xor, bits_xor>("bitwise_xor_scalar", m),
      with(one<bitwise_not, flipped>("bitwise_not", m), {i32, i16, i8}),
      {.op = "where", .in = {a, same, mask}, .fn = [](const Tensors& t) { return where(t[2], t[0], t[1]); },
       .element = [](const double* v) { return v[2] != 0 ? v[0] : v[1]; }},
      {.op = "where", .name = "number", .in = {a, mask}, .fn = [](const Tensors& t) { return where(t[1], 0.25, t[0]); },
       .element = [](const double* v) { return v[1] != 0 ? 0.25 : v[0]; }},
      {.op = "masked", .in = {a, mask}, .fn = [](const Tensors& t) { return masked(t[0], t[1]); },
       .element = [](const double* v) { return v[1] != 0 ? v[0] : 0.; }},
  };
}

OpCases pointwise_cases() {
  OpCases all = arithmetic();
  for (const OpCases& more_cases : {functions(), comparisons()}) all.insert(all.end(), more_cases.begin(), more_cases.end());
  return all;
}

}  // namespace graft::cases

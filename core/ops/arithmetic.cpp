// Arithmetic with tensors and numbers, and its derivatives. The mathematics is in kernels/pointwise/arithmetic.h.
#include "graft/core/ops/pointwise_defs.h"

namespace graft::inline v1 {

static Tensor over(const Tensor& g, const Tensor& x) { return is_complex(x.dtype()) ? g / conj(x) : g / x; }
static Scalar conj(Scalar s) { return s.kind() == Scalar::Kind::complex ? Scalar(std::conj(s.to<std::complex<double>>())) : s; }

// ---- sums and products ---------------------------------------------------------------------------------------

static const OpDef add_op = binary("add", {}, [](Backward& b) { b.to(0) = b.g(), b.to(1) = b.g(); });
static const OpDef sub_op = binary("sub", {}, [](Backward& b) {
  b.to(0) = b.g();
  if (b.needs(1)) b.to(1) = -b.g();
});
static const OpDef add_scaled_op = binary("add_scaled", {}, [](Backward& b) {
  b.to(0) = b.g();
  if (b.needs(1)) b.to(1) = b.g() * b.attrs<math::AlphaAttrs>().alpha;
});
static const OpDef mul_op = binary("mul", {input(1), input(0)}, [](Backward& b) {
  if (b.needs(0)) b.to(0) = times(b.g(), b.input(1));
  if (b.needs(1)) b.to(1) = times(b.g(), b.input(0));
});
static const OpDef div_op = binary("div", {input(1), Reads(input(0) | input(1))}, [](Backward& b) {
  const Tensor q = over(b.g(), b.input(1));
  b.to(0) = q;
  if (b.needs(1)) b.to(1) = -times(q, b.input(0) / b.input(1));
}, Promote::floating);
static const OpDef add_scalar_op = unary("add_scalar", 0, [](Backward& b) { b.to(0) = b.g(); }, Promote::none);
static const OpDef sub_scalar_op = unary("sub_scalar", 0, [](Backward& b) { b.to(0) = b.g(); }, Promote::none);
static const OpDef scalar_sub_op = unary("scalar_sub", 0, [](Backward& b) { b.to(0) = -b.g(); }, Promote::none);
static const OpDef mul_scalar_op =
    unary("mul_scalar", 0, [](Backward& b) { b.to(0) = b.g() * conj(b.attrs<Scalar>()); }, Promote::none);
static const OpDef div_scalar_op =
    unary("div_scalar", 0, [](Backward& b) { b.to(0) = b.g() / conj(b.attrs<Scalar>()); }, Promote::none);
static const OpDef scalar_div_op = unary("scalar_div", input(0) | output(), [](Backward& b) {
  b.to(0) = -times(b.g(), b.output() / b.input(0));
}, Promote::none);
static const OpDef affine_op =
    unary("affine", 0, [](Backward& b) { b.to(0) = b.g() * b.attrs<math::AffineAttrs>().scale; });

Tensor add(const Tensor& a, const Tensor& b) { return apply(add_op, {}, a, b); }
Tensor add(const Tensor& a, Scalar s) { return apply_scalar(add_scalar_op, a, s); }
Tensor sub(const Tensor& a, const Tensor& b) { return apply(sub_op, {}, a, b); }
Tensor sub(const Tensor& a, Scalar s) { return apply_scalar(sub_scalar_op, a, s); }
Tensor rsub(const Tensor& a, Scalar s) { return apply_scalar(scalar_sub_op, a, s); }
Tensor mul(const Tensor& a, const Tensor& b) { return apply(mul_op, {}, a, b); }
Tensor mul(const Tensor& a, Scalar s) { return apply_scalar(mul_scalar_op, a, s); }
Tensor div(const Tensor& a, const Tensor& b) { return apply(div_op, {}, a, b); }
Tensor div(const Tensor& a, Scalar s) { return apply_scalar(div_scalar_op, a, s, true); }
Tensor div(Scalar s, const Tensor& a) { return apply_scalar(scalar_div_op, a, s, true); }
Tensor affine(const Tensor& x, double scale, double shift) { return apply(affine_op, math::AffineAttrs{scale, shift}, x); }
// alpha as a number of its own where a double does not hold it.
static bool plain_alpha(const Tensor& a, const Tensor& b, Scalar alpha) {
  return alpha.kind() <= Scalar::Kind::floating && !is_integral(a.dtype()) && !is_integral(b.dtype());
}
Tensor add(const Tensor& a, const Tensor& b, Scalar alpha) {
  if (!plain_alpha(a, b, alpha)) return a + b * alpha;
  return apply(add_scaled_op, math::AlphaAttrs{alpha.value()}, a, b);
}
Tensor sub(const Tensor& a, const Tensor& b, Scalar alpha) {
  if (!plain_alpha(a, b, alpha)) return a - b * alpha;
  return apply(add_scaled_op, math::AlphaAttrs{-alpha.value()}, a, b);
}

const Tensor& Tensor::add_(const Tensor& o) const { return apply_inplace(add_op, {}, *this, o); }
const Tensor& Tensor::add_(const Tensor& o, double alpha) const {
  return apply_inplace(add_scaled_op, math::AlphaAttrs{alpha}, *this, o);
}
const Tensor& Tensor::add_(Scalar s) const { return apply_scalar_inplace(add_scalar_op, *this, s); }
const Tensor& Tensor::sub_(const Tensor& o) const { return apply_inplace(sub_op, {}, *this, o); }
const Tensor& Tensor::sub_(const Tensor& o, double alpha) const { return add_(o, -alpha); }
const Tensor& Tensor::sub_(Scalar s) const { return apply_scalar_inplace(sub_scalar_op, *this, s); }
const Tensor& Tensor::mul_(const Tensor& o) const { return apply_inplace(mul_op, {}, *this, o); }
const Tensor& Tensor::mul_(Scalar s) const { return apply_scalar_inplace(mul_scalar_op, *this, s); }
const Tensor& Tensor::div_(const Tensor& o) const { return apply_inplace(div_op, {}, *this, o); }
const Tensor& Tensor::div_(Scalar s) const { return apply_scalar_inplace(div_scalar_op, *this, s, true); }

// ---- division with a rest ------------------------------------------------------------------------------------

static const OpDef div_trunc_op = binary("div_trunc", {}, zero_derivative);
static const OpDef floor_divide_op = binary("floor_divide", {}, zero_derivative);
static const OpDef div_trunc_scalar_op = unary("div_trunc_scalar", 0, zero_derivative, Promote::none);
static const OpDef scalar_div_trunc_op = unary("scalar_div_trunc", 0, zero_derivative, Promote::none);
static const OpDef floor_divide_scalar_op = unary("floor_divide_scalar", 0, zero_derivative, Promote::none);
static const OpDef scalar_floor_divide_op = unary("scalar_floor_divide", 0, zero_derivative, Promote::none);
static const OpDef fmod_op = binary("fmod", {0, Reads(input(0) | input(1))}, [](Backward& b) {
  b.to(0) = b.g();
  if (b.needs(1)) b.to(1) = -b.g() * div(b.input(0), b.input(1), "trunc");
});
static const OpDef remainder_op = binary("remainder", {0, Reads(input(0) | input(1))}, [](Backward& b) {
  b.to(0) = b.g();
  if (b.needs(1)) b.to(1) = -b.g() * div(b.input(0), b.input(1), "floor");
});
static const OpDef fmod_scalar_op = unary("fmod_scalar", 0, [](Backward& b) { b.to(0) = b.g(); }, Promote::none);
static const OpDef remainder_scalar_op = unary("remainder_scalar", 0, [](Backward& b) { b.to(0) = b.g(); }, Promote::none);
static const OpDef scalar_remainder_op = unary("scalar_remainder", input(0), [](Backward& b) {
  b.to(0) = -b.g() * floor(b.attrs<Scalar>() / b.input(0));
}, Promote::none);

enum class Rounding { none, trunc, floor };
static Rounding parse_rounding(std::string_view mode) {
  GRAFT_CHECK(mode.empty() || mode == "trunc" || mode == "floor", "div: rounding_mode \"", mode,
              "\" is not one of \"trunc\", \"floor\"");
  return mode.empty() ? Rounding::none : mode == "trunc" ? Rounding::trunc : Rounding::floor;
}
Tensor div(const Tensor& a, const Tensor& b, std::string_view mode) {
  const Rounding r = parse_rounding(mode);
  return r == Rounding::none ? div(a, b) : apply(r == Rounding::trunc ? div_trunc_op : floor_divide_op, {}, a, b);
}
Tensor div(const Tensor& a, Scalar s, std::string_view mode) {
  const Rounding r = parse_rounding(mode);
  if (r == Rounding::none) return div(a, s);
  return apply_scalar(r == Rounding::trunc ? div_trunc_scalar_op : floor_divide_scalar_op, a, s);
}
Tensor div(Scalar s, const Tensor& a, std::string_view mode) {
  const Rounding r = parse_rounding(mode);
  if (r == Rounding::none) return div(s, a);
  return apply_scalar(r == Rounding::trunc ? scalar_div_trunc_op : scalar_floor_divide_op, a, s);
}
Tensor floor_divide(const Tensor& a, const Tensor& b) { return apply(floor_divide_op, {}, a, b); }
Tensor floor_divide(const Tensor& a, Scalar s) { return apply_scalar(floor_divide_scalar_op, a, s); }
Tensor floor_divide(Scalar s, const Tensor& a) { return apply_scalar(scalar_floor_divide_op, a, s); }
Tensor fmod(const Tensor& a, const Tensor& b) { return apply(fmod_op, {}, a, b); }
Tensor fmod(const Tensor& a, Scalar s) { return apply_scalar(fmod_scalar_op, a, s); }
Tensor remainder(const Tensor& a, const Tensor& b) { return apply(remainder_op, {}, a, b); }
Tensor remainder(const Tensor& a, Scalar s) { return apply_scalar(remainder_scalar_op, a, s); }
Tensor remainder(Scalar s, const Tensor& a) { return apply_scalar(scalar_remainder_op, a, s); }

// ---- powers and angles ---------------------------------------------------------------------------------------

static const OpDef pow_op =
    binary("pow", {Reads(input(0) | input(1)), Reads(input(0) | input(1) | output())}, [](Backward& b) {
      const Tensor &x = b.input(0), &e = b.input(1);
      if (b.needs(0)) b.to(0) = masked(times(b.g(), e * pow(x, e - 1)), ne(e, 0));
      if (!b.needs(1)) return;
      const Tensor slope = times(b.g(), b.output() * log(x));
      b.to(1) = is_complex(x.dtype()) ? slope : masked(slope, logical_not(logical_and(eq(x, 0), ge(e, 0))));
    });
static const OpDef pow_scalar_op = unary("pow_scalar", input(0), [](Backward& b) {
  const auto e = b.attrs<Scalar>();
  if (e.kind() == Scalar::Kind::complex) b.to(0) = times(b.g(), pow(b.input(0), e.to<std::complex<double>>() - 1.) * e);
  else if (e.value() == 0) b.to(0) = zeros(b.input_shape(0), b.g().options());
  else b.to(0) = times(b.g(), e.value() == 2 ? b.input(0) * 2 : pow(b.input(0), e.value() - 1) * e);
}, Promote::none);
static const OpDef scalar_pow_op = unary("scalar_pow", output(), [](Backward& b) {
  const auto base = b.attrs<Scalar>().to<std::complex<double>>();
  if (base == 0.) b.to(0) = zeros(b.input_shape(0), b.g().options());
  else if (base.imag() == 0 && base.real() > 0) b.to(0) = b.g() * b.output() * std::log(base.real());
  else if (is_complex(b.output().dtype())) b.to(0) = times(b.g(), b.output() * Scalar(std::log(base)));
  else b.to(0) = b.g() * b.output() * std::log(base.real());  // NaN, as in PyTorch
}, Promote::none);
static const OpDef atan2_op =
    binary("atan2", {Reads(input(0) | input(1)), Reads(input(0) | input(1))}, [](Backward& b) {
      const Tensor &y = b.input(0), &x = b.input(1);
      const Tensor g = b.g() / (y * y + x * x);
      if (b.needs(0)) b.to(0) = g * x;
      if (b.needs(1)) b.to(1) = -(g * y);
    }, Promote::floating);
static const OpDef hypot_op = binary("hypot", {Reads(input(0) | output()), Reads(input(1) | output())}, [](Backward& b) {
  const Tensor g = b.g() / b.output();
  if (b.needs(0)) b.to(0) = g * b.input(0);
  if (b.needs(1)) b.to(1) = g * b.input(1);
}, Promote::floating);

Tensor pow(const Tensor& a, const Tensor& b) { return apply(pow_op, {}, a, b); }
Tensor pow(const Tensor& x, Scalar e) {
  GRAFT_CHECK(!is_integral(x.dtype()) || e.kind() > Scalar::Kind::integer || e.value() >= 0,
              "pow: integers to negative integer powers are not allowed: ", x, " to ", e.value());
  return apply_scalar(pow_scalar_op, x, e);
}
Tensor pow(Scalar base, const Tensor& x) { return apply_scalar(scalar_pow_op, x, base); }
Tensor atan2(const Tensor& y, const Tensor& x) { return apply(atan2_op, {}, y, x); }
Tensor hypot(const Tensor& a, const Tensor& b) { return apply(hypot_op, {}, a, b); }
const Tensor& Tensor::pow_(Scalar e) const { return apply_scalar_inplace(pow_scalar_op, *this, e); }

// ---- larger and smaller --------------------------------------------------------------------------------------

// The winner takes the gradient; equal elements take half each.
static void share(Backward& b, bool first_wins_if_greater, bool nan_loses) {
  const Tensor &x = b.input(0), &y = b.input(1);
  const Tensor half = b.g() * 0.5;
  for (int i = 0; i < 2; ++i) {
    if (!b.needs(i)) continue;
    const Tensor &own = i ? y : x, &other = i ? x : y;
    Tensor wins = first_wins_if_greater ? gt(own, other) : lt(own, other);
    Tensor not_less = first_wins_if_greater ? ge(own, other) : le(own, other);
    const Tensor nan = isnan(nan_loses ? other : own);
    b.to(i) = masked(half, logical_or(wins, nan)) + masked(half, logical_or(not_less, nan));
  }
}
constexpr std::array<Reads, 4> kBoth{Reads(input(0) | input(1)), Reads(input(0) | input(1))};
static const OpDef maximum_op = binary("maximum", kBoth, [](Backward& b) { share(b, true, false); });
static const OpDef minimum_op = binary("minimum", kBoth, [](Backward& b) { share(b, false, false); });
static const OpDef fmax_op = binary("fmax", kBoth, [](Backward& b) { share(b, true, true); });
static const OpDef fmin_op = binary("fmin", kBoth, [](Backward& b) { share(b, false, true); });
static const OpDef maximum_scalar_op = unary("maximum_scalar", input(0), [](Backward& b) {
  b.to(0) = masked(b.g(), gt(b.input(0), b.attrs<Scalar>()));
}, Promote::none);
static const OpDef minimum_scalar_op = unary("minimum_scalar", input(0), [](Backward& b) {
  b.to(0) = masked(b.g(), lt(b.input(0), b.attrs<Scalar>()));
}, Promote::none);
static const OpDef clamp_op = unary("clamp", input(0), [](Backward& b) {
  const auto [low, high] = b.attrs<math::BoundAttrs>();
  b.to(0) = masked(b.g(), logical_and(gt(b.input(0), low), lt(b.input(0), high)));
}, Promote::none);

Tensor maximum(const Tensor& a, const Tensor& b) { return apply(maximum_op, {}, a, b); }
Tensor minimum(const Tensor& a, const Tensor& b) { return apply(minimum_op, {}, a, b); }
Tensor fmax(const Tensor& a, const Tensor& b) { return apply(fmax_op, {}, a, b); }
Tensor fmin(const Tensor& a, const Tensor& b) { return apply(fmin_op, {}, a, b); }
Tensor clamp_min(const Tensor& x, Scalar s) { return apply_scalar(maximum_scalar_op, x, s); }
Tensor clamp_max(const Tensor& x, Scalar s) { return apply_scalar(minimum_scalar_op, x, s); }
Tensor clamp_min(const Tensor& x, const Tensor& low) { return maximum(x, low); }
Tensor clamp_max(const Tensor& x, const Tensor& high) { return minimum(x, high); }
Tensor clamp(const Tensor& x, std::optional<Scalar> min, std::optional<Scalar> max) {
  GRAFT_CHECK(min || max, "clamp: at least one of min and max must be given");
  if (!max) return clamp_min(x, *min);
  if (!min) return clamp_max(x, *max);
  if (!is_floating(x.dtype())) return clamp_max(clamp_min(x, *min), *max);
  return apply(clamp_op, math::BoundAttrs{min->value(), max->value()}, x);
}
Tensor clamp(const Tensor& x, const Tensor& min, const Tensor& max) {
  GRAFT_CHECK(min.defined() || max.defined(), "clamp: at least one of min and max must be given");
  const Tensor y = min.defined() ? maximum(x, min) : x;
  return max.defined() ? minimum(y, max) : y;
}
Tensor hardtanh(const Tensor& x, double low, double high) { return clamp(x, low, high); }
Tensor relu6(const Tensor& x) { return clamp(x, 0, 6); }
const Tensor& Tensor::clamp_min_(Scalar s) const { return apply_scalar_inplace(maximum_scalar_op, *this, s); }
const Tensor& Tensor::clamp_max_(Scalar s) const { return apply_scalar_inplace(minimum_scalar_op, *this, s); }
const Tensor& Tensor::clamp_(std::optional<Scalar> min, std::optional<Scalar> max) const {
  GRAFT_CHECK(min || max, "clamp_: at least one of min and max must be given");
  if (min && max && is_floating(dtype())) return apply_inplace(clamp_op, math::BoundAttrs{min->value(), max->value()}, *this);
  if (min) clamp_min_(*min);
  return max ? clamp_max_(*max) : *this;
}

// ---- three tensors -------------------------------------------------------------------------------------------

static const OpDef addcmul_op = binary("addcmul", {0, input(2), input(1)}, [](Backward& b) {
  const double v = b.attrs<math::ValueAttrs>().value;
  b.to(0) = b.g();
  if (b.needs(1)) b.to(1) = times(b.g() * v, b.input(2));
  if (b.needs(2)) b.to(2) = times(b.g() * v, b.input(1));
});
static const OpDef addcdiv_op = binary("addcdiv", {0, input(2), Reads(input(1) | input(2))}, [](Backward& b) {
  const Tensor q = over(b.g() * b.attrs<math::ValueAttrs>().value, b.input(2));
  b.to(0) = b.g();
  b.to(1) = q;
  if (b.needs(2)) b.to(2) = -times(q, b.input(1) / b.input(2));
}, Promote::floating);
static const OpDef lerp_op = binary("lerp", {input(2), input(2), Reads(input(0) | input(1))}, [](Backward& b) {
  if (b.needs(0)) b.to(0) = b.g() * (1 - b.input(2));
  if (b.needs(1)) b.to(1) = b.g() * b.input(2);
  if (b.needs(2)) b.to(2) = b.g() * (b.input(1) - b.input(0));
}, Promote::none);

Tensor addcmul(const Tensor& x, const Tensor& a, const Tensor& b, double v) { return apply(addcmul_op, math::ValueAttrs{v}, x, a, b); }
Tensor addcdiv(const Tensor& x, const Tensor& a, const Tensor& b, double v) { return apply(addcdiv_op, math::ValueAttrs{v}, x, a, b); }
Tensor lerp(const Tensor& x, const Tensor& y, const Tensor& w) { return apply(lerp_op, {}, x, y, w); }
static Tensor weight_of(const Tensor& x, double w) { return scalar_tensor(w, {x.dtype() == f64 ? f64 : f32, x.device()}); }
Tensor lerp(const Tensor& x, const Tensor& y, double w) { return lerp(x, y, weight_of(x, w)); }
const Tensor& Tensor::addcmul_(const Tensor& a, const Tensor& b, double v) const { return apply_inplace(addcmul_op, math::ValueAttrs{v}, *this, a, b); }
const Tensor& Tensor::addcdiv_(const Tensor& a, const Tensor& b, double v) const { return apply_inplace(addcdiv_op, math::ValueAttrs{v}, *this, a, b); }
const Tensor& Tensor::lerp_(const Tensor& end, const Tensor& w) const { return apply_inplace(lerp_op, {}, *this, end, w); }
const Tensor& Tensor::lerp_(const Tensor& end, double w) const { return lerp_(end, weight_of(*this, w)); }

// ---- one tensor ----------------------------------------------------------------------------------------------

static const OpDef neg_op = unary("neg", 0, [](Backward& b) { b.to(0) = -b.g(); }, Promote::none);
static const OpDef square_op =
    unary("square", input(0), [](Backward& b) { b.to(0) = times(b.g() * 2, b.input(0)); }, Promote::none);
static const OpDef reciprocal_op =
    unary("reciprocal", output(), [](Backward& b) { b.to(0) = -times(b.g(), b.output() * b.output()); });
static const OpDef abs_op{
    .name = "abs",
    .infer = [](Infer& c) { infer_same(c), c.out().dtype = real_of(c.in(0).dtype); },
    .backward = [](Backward& b) { b.to(0) = b.g() * sgn(b.input(0)); },
    .reads = {input(0)},
};
static const OpDef sign_op = unary("sign", 0, zero_derivative, Promote::none);
static const OpDef sgn_op = unary("sgn", Reads(input(0) | output()), [](Backward& b) {
  if (!is_complex(b.input_dtype(0))) return zero_derivative(b);
  const Tensor y = b.output();  // the part of g across y, over |x|
  b.to(0) = (b.g() - y * real(conj(b.g()) * y)) / abs(b.input(0));
}, Promote::none);
static const OpDef floor_op = unary("floor", 0, zero_derivative, Promote::none);
static const OpDef ceil_op = unary("ceil", 0, zero_derivative, Promote::none);
static const OpDef trunc_op = unary("trunc", 0, zero_derivative, Promote::none);
static const OpDef round_op = unary("round", 0, zero_derivative, Promote::none);
static const OpDef frac_op = unary("frac", 0, [](Backward& b) { b.to(0) = b.g(); }, Promote::none);

Tensor neg(const Tensor& x) { return apply(neg_op, {}, x); }
Tensor square(const Tensor& x) { return x.dtype() == boolean ? x.to(i64) : apply(square_op, {}, x); }
Tensor reciprocal(const Tensor& x) { return apply(reciprocal_op, {}, x); }
Tensor abs(const Tensor& x) { return apply(abs_op, {}, x); }
Tensor sign(const Tensor& x) { return apply(sign_op, {}, x); }
Tensor sgn(const Tensor& x) { return apply(sgn_op, {}, x); }
Tensor frac(const Tensor& x) { return apply(frac_op, {}, x); }
static bool is_whole(const Tensor& x) { return is_integral(x.dtype()); }
Tensor floor(const Tensor& x) { return is_whole(x) ? x.clone() : apply(floor_op, {}, x); }
Tensor ceil(const Tensor& x) { return is_whole(x) ? x.clone() : apply(ceil_op, {}, x); }
Tensor trunc(const Tensor& x) { return is_whole(x) ? x.clone() : apply(trunc_op, {}, x); }
static math::RoundAttrs round_attrs(int decimals) { return {std::pow(10., std::abs(decimals)), decimals < 0}; }
Tensor round(const Tensor& x, int decimals) { return is_whole(x) ? x.clone() : apply(round_op, round_attrs(decimals), x); }
const Tensor& Tensor::neg_() const { return apply_inplace(neg_op, {}, *this); }
const Tensor& Tensor::abs_() const { return apply_inplace(abs_op, {}, *this); }
const Tensor& Tensor::square_() const { return apply_inplace(square_op, {}, *this); }
const Tensor& Tensor::reciprocal_() const { return apply_inplace(reciprocal_op, {}, *this); }
const Tensor& Tensor::sign_() const { return apply_inplace(sign_op, {}, *this); }
const Tensor& Tensor::floor_() const { return is_whole(*this) ? *this : apply_inplace(floor_op, {}, *this); }
const Tensor& Tensor::ceil_() const { return is_whole(*this) ? *this : apply_inplace(ceil_op, {}, *this); }
const Tensor& Tensor::trunc_() const { return is_whole(*this) ? *this : apply_inplace(trunc_op, {}, *this); }
const Tensor& Tensor::round_(int decimals) const { return is_whole(*this) ? *this : apply_inplace(round_op, round_attrs(decimals), *this); }

// ---- complex numbers -----------------------------------------------------------------------------------------

static void infer_part(Infer& c) {
  infer_same(c);
  c.out().dtype = real_of(c.in(0).dtype);
}
static const OpDef times_i_op = unary("times_i", 0, [](Backward& b) { b.to(0) = -apply(*b.node().op, {}, b.g()); }, Promote::none);
static const OpDef real_op{.name = "real", .infer = infer_part, .backward = [](Backward& b) { b.to(0) = b.g(); }};
static const OpDef imag_op{
    .name = "imag",
    .infer = infer_part,
    .backward = [](Backward& b) { b.to(0) = apply(times_i_op, {}, b.g().to(b.input_dtype(0))); },
};
static const OpDef conj_op = unary("conj", 0, [](Backward& b) { b.to(0) = conj(b.g()); }, Promote::none);

Tensor real(const Tensor& x) { return is_complex(x.dtype()) ? apply(real_op, {}, x) : x; }
Tensor imag(const Tensor& x) {
  GRAFT_CHECK(is_complex(x.dtype()), ErrorCode::dtype_mismatch, "imag: ", x, " is not complex");
  return apply(imag_op, {}, x);
}
Tensor conj(const Tensor& x) { return is_complex(x.dtype()) ? apply(conj_op, {}, x) : x; }

}  // namespace graft

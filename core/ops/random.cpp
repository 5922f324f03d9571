// Ops that draw random numbers. The position in the generator's stream is an attribute, so that an op is a function of
// its arguments; it is taken before the op runs, and only where values will be written.
#include "graft/core/random.h"

#include <limits>
#include "graft/core/autograd.h"
#include "graft/core/cuda_graph.h"
#include "graft/core/ops.h"
#include "graft/kernels/random/philox.h"

namespace graft::inline v1 {

// What a draw makes: a new tensor of this description, or, in place, one like its input.
struct DrawTarget {
  Shape shape;
  DType dtype = f32;
  Device device;
};
template <class Draw> struct DrawAttrs {
  Draw draw;  // first: the kernel reads it alone
  DrawTarget target;
};
template <class Draw> static const OpDef& draw_op() {
  static const OpDef op{
      .name = Draw::name,
      .infer =
          [](Infer& c) {
            if (c.inputs() > 0) return infer_same(c);
            const DrawTarget& t = c.attrs<DrawAttrs<Draw>>().target;
            set_shape(c.out(), t.shape);
            c.out().dtype = t.dtype;
            c.out().device = t.device;
          },
      .backward = [](Backward&) {},  // in place: what the tensor was no longer matters
  };
  return op;
}

template <class Draw> static Stream take(Generator* g, DType t, Device d, int64_t numel) {
  if (d.type == Device::meta || thread_modes().dry_run) return {};
  const bool integers = std::is_same_v<Draw, IntegerDraw> || std::is_same_v<Draw, PermutationDraw>;
  const int64_t size = is_complex(t) ? size_of(t) / 2 : size_of(t), values = is_complex(t) ? 2 * numel : numel;
  const int64_t per_block = integers || size == 8 ? 2 : 4;
  const auto blocks = uint64_t((values + per_block - 1) / per_block);
  Generator& from = g ? *g : default_generator();
  const Stream taken = from.take(blocks);
  return cuda::is_capturing() ? cuda::detail::follow_draw(from, taken, blocks, d) : taken;
}

template <class Draw> static Tensor make(Draw draw, const Shape& shape, DType t, Device d, Generator* g) {
  draw.stream = take<Draw>(g, t, d, int64_t(numel_of(shape)));
  return apply(draw_op<Draw>(), DrawAttrs<Draw>{draw, {shape, t, d}});
}
template <class Draw> static const Tensor& fill(Draw draw, const Tensor& x, Generator* g) {
  draw.stream = take<Draw>(g, x.dtype(), x.device(), x.numel());
  return apply_inplace(draw_op<Draw>(), DrawAttrs<Draw>{draw, {}}, x);
}

// ---- floating point ------------------------------------------------------------------------------------------

static void check_float(std::string_view op, DType t) {
  GRAFT_CHECK(is_differentiable(t), ErrorCode::dtype_mismatch, op, ": needs a floating or complex dtype, not ", name_of(t));
}
static double checked_std(std::string_view op, double std, DType t) {
  GRAFT_CHECK(std >= 0, op, ": the standard deviation ", std, " is negative");
  return is_complex(t) ? std * std::numbers::sqrt2 / 2 : std;  // shared by the two parts
}

Tensor rand(const Shape& shape, const Options& o, Generator* g) {
  check_float("rand", o.dtype_or(f32));
  return make(UniformDraw{}, shape, o.dtype_or(f32), o.device, g);
}
Tensor randn(const Shape& shape, const Options& o, Generator* g) { return normal(0, 1, shape, o, g); }
Tensor normal(double mean, double std, const Shape& shape, const Options& o, Generator* g) {
  const DType t = o.dtype_or(f32);
  check_float("normal", t);
  return make(NormalDraw{{}, mean, checked_std("normal", std, t)}, shape, t, o.device, g);
}
static Options like(const Tensor& x, std::optional<DType> t) { return {t.value_or(x.dtype()), x.device()}; }
Tensor rand_like(const Tensor& x, std::optional<DType> t, Generator* g) { return rand(x.shape(), like(x, t), g); }
Tensor randn_like(const Tensor& x, std::optional<DType> t, Generator* g) { return randn(x.shape(), like(x, t), g); }

const Tensor& Tensor::uniform_(double from, double to, Generator* g) const {
  check_float("uniform_", dtype());
  GRAFT_CHECK(from <= to, "uniform_: from ", from, " is above to ", to);
  return fill(UniformDraw{{}, from, to}, *this, g);
}
const Tensor& Tensor::normal_(double mean, double std, Generator* g) const {
  check_float("normal_", dtype());
  return fill(NormalDraw{{}, mean, checked_std("normal_", std, dtype())}, *this, g);
}
const Tensor& Tensor::exponential_(double rate, Generator* g) const {
  GRAFT_CHECK(rate > 0, "exponential_: the rate ", rate, " is not positive");
  return fill(ExponentialDraw{{}, rate}, *this, g);
}

// ---- integers ------------------------------------------------------------------------------------------------

static IntegerDraw between(std::string_view op, int64_t low, int64_t high) {
  GRAFT_CHECK(low < high, op, ": needs low < high, not [", low, ", ", high, ")");
  return {{}, low, uint64_t(high) - uint64_t(low)};
}
Tensor randint(int64_t low, int64_t high, const Shape& shape, const Options& o, Generator* g) {
  return make(between("randint", low, high), shape, o.dtype_or(i64), o.device, g);
}
Tensor randint(int64_t high, const Shape& shape, const Options& o, Generator* g) { return randint(0, high, shape, o, g); }
Tensor randint_like(const Tensor& x, int64_t low, int64_t high, std::optional<DType> t, Generator* g) {
  return randint(low, high, x.shape(), like(x, t), g);
}

// The integers that a dtype holds exactly, from 0: all positive ones, or 2 to the bits of its mantissa.
static IntegerDraw all_of(DType t) {
  IntegerDraw draw;
  const bool known = with_type(t, AllTypes{}, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_same_v<T, Half>) draw.range = (1U << 11) + 1;
    else if constexpr (std::is_same_v<T, BFloat16>) draw.range = (1U << 8) + 1;
    else if constexpr (std::is_floating_point_v<T>) draw.range = (uint64_t{1} << std::numeric_limits<T>::digits) + 1;
    else if constexpr (std::is_integral_v<T>) draw.range = uint64_t(std::numeric_limits<T>::max()) + 1;
  });
  GRAFT_CHECK(known && !is_complex(t), ErrorCode::dtype_mismatch, "random_: needs a real dtype, not ", name_of(t));
  return draw;
}
const Tensor& Tensor::random_(Generator* g) const { return fill(all_of(dtype()), *this, g); }
const Tensor& Tensor::random_(int64_t from, int64_t to, Generator* g) const { return fill(between("random_", from, to), *this, g); }
const Tensor& Tensor::random_(int64_t to, Generator* g) const { return random_(0, to, g); }

// Kernel attributes, then what infer needs.
struct PermutationAttrs {
  PermutationDraw draw;
  int64_t n = 0;
  Device device;
};
static const OpDef randperm_op{
    .name = "randperm",
    .infer =
        [](Infer& c) {
          const auto& a = c.attrs<PermutationAttrs>();
          set_shape(c.out(), Shape({a.n}));
          c.out().dtype = i64;
          c.out().device = a.device;
        },
};
Tensor randperm(int64_t n, const Options& o, Generator* g) {
  GRAFT_CHECK(n >= 0, "randperm: n is ", n);
  const Stream stream = take<PermutationDraw>(g, i64, o.device, n);
  return apply(randperm_op, PermutationAttrs{{stream}, n, o.device}).to(o.dtype_or(i64));
}

// ---- by probability ------------------------------------------------------------------------------------------

static double checked_probability(std::string_view op, double p) {
  GRAFT_CHECK(p >= 0 && p <= 1, op, ": the probability ", p, " is not in [0, 1]");
  return p;
}
const Tensor& Tensor::bernoulli_(double p, Generator* g) const {
  return fill(BernoulliDraw{{}, checked_probability("bernoulli_", p)}, *this, g);
}
Tensor bernoulli(const Tensor& x, double p, Generator* g) {
  return make(BernoulliDraw{{}, checked_probability("bernoulli", p)}, x.shape(), x.dtype(), x.device(), g);
}
Tensor bernoulli(const Tensor& p, Generator* g) {
  check_float("bernoulli", p.dtype());
  const NoGrad constant;
  const DType wide = p.dtype() == f64 ? f64 : f32;
  return gt(p.to(wide), rand(p.shape(), {wide, p.device()}, g)).to(p.dtype());
}

// (x[, residual]): linear in both, so the derivative draws the same numbers again.
static Tensor apply_dropout(const DropoutDraw&, const Tensor& x, const Tensor& residual);
static const OpDef dropout_op{
    .name = "dropout",
    .infer =
        [](Infer& c) {
          infer_same(c);
          if (c.inputs() > 1) c.check(same_sizes(c.in(0), c.in(1)) && c.in(0).dtype == c.in(1).dtype, "the residual must have the shape and dtype of the input");
        },
    .backward =
        [](Backward& b) {
          if (b.needs(0)) b.to(0) = apply_dropout(b.attrs<DropoutDraw>(), b.g(), {});
          if (b.inputs() > 1 && b.needs(1)) b.to(1) = b.g();
        },
};
static Tensor apply_dropout(const DropoutDraw& draw, const Tensor& x, const Tensor& residual) {
  return residual.defined() ? apply(dropout_op, draw, x.contiguous(), residual.contiguous()) : apply(dropout_op, draw, x.contiguous());
}
Tensor dropout(const Tensor& x, double p, const Tensor& residual, Generator* g) {
  check_float("dropout", x.dtype());
  GRAFT_CHECK(p >= 0 && p < 1, "dropout: the probability ", p, " is not in [0, 1)");
  DropoutDraw draw{{{}, 1 - p}, 1 / (1 - p)};
  draw.keep.stream = take<BernoulliDraw>(g, x.dtype(), x.device(), x.numel());
  return apply_dropout(draw, x, residual);
}

static const OpDef multinomial_op{
    .name = "multinomial",
    .infer =
        [](Infer& c) {
          const auto& draw = c.attrs<MultinomialDraw>();
          const View& weights = c.in(0);
          c.check(weights.rank > 0 && weights.size[weights.rank - 1] > 0, "needs weights along the last dimension");
          c.check(draw.replacement || draw.samples <= weights.size[weights.rank - 1], "cannot draw ", draw.samples,
                  " without replacement");
          copy_sizes(c.out(), weights);
          c.out().size[weights.rank - 1] = draw.samples;
          c.out().dtype = i64;
        },
};
Tensor multinomial(const Tensor& weights, int64_t samples, bool replacement, Generator* g) {
  GRAFT_CHECK(samples > 0, "multinomial: cannot draw ", samples, " samples");
  check_float("multinomial", weights.dtype());
  cuda::detail::need_readable("multinomial", weights);  // which looks for weights that are none
  const int64_t n = weights.dim() ? weights.size(-1) : 1;
  const int64_t draws = n == 0 ? 0 : weights.numel() / n * (replacement ? samples : n);
  const Stream stream = take<IntegerDraw>(g, i64, weights.device(), draws);
  const NoGrad constant;
  return apply(multinomial_op, MultinomialDraw{stream, samples, replacement}, weights.to(f64).contiguous());
}

}  // namespace graft

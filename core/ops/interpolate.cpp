// Resizing the spatial dimensions of [n, c, d...]: each is resampled for itself, as a weighted sum of a few inputs.
#include <cmath>
#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {

// (x [outer, n, inner], index [m, taps], weight [m, taps]) -> [outer, m, inner]; and its transpose. index ascends along m.
static Tensor resample(const Tensor& x, const Tensor& index, const Tensor& weight);
static Tensor resample_transposed(const Tensor& g, const Tensor& index, const Tensor& weight, int64_t n);
static const OpDef resample_op{
    .name = "resample",
    .infer =
        [](Infer& c) {
          copy_sizes(c.out(), c.in(0));
          c.out().size[1] = c.in(1).size[0];
        },
    .backward = [](Backward& b) { b.to(0) = resample_transposed(b.g(), b.input(1), b.input(2), b.input_shape(0)[1]); },
    .reads = {Reads(input(1) | input(2))},
};
static const OpDef resample_transposed_op{
    .name = "resample_transposed",
    .infer =
        [](Infer& c) {
          copy_sizes(c.out(), c.in(0));
          c.out().size[1] = c.attrs<int64_t>();
        },
    .backward = [](Backward& b) { b.to(0) = resample(b.g(), b.input(1), b.input(2)); },
    .reads = {Reads(input(1) | input(2))},
};
static Tensor resample(const Tensor& x, const Tensor& index, const Tensor& weight) {
  return apply(resample_op, {}, x.contiguous(), index, weight);
}
static Tensor resample_transposed(const Tensor& g, const Tensor& index, const Tensor& weight, int64_t n) {
  return apply(resample_transposed_op, n, g.contiguous(), index, weight);
}

namespace {

struct Taps {
  int64_t per_output = 1;
  std::vector<int64_t> index = {};
  std::vector<double> weight = {};
  void add(int64_t i, double w) { index.push_back(i), weight.push_back(w); }
};

Taps nearest(int64_t in, int64_t out, float scale, bool exact) {  // in f32, as PyTorch does: ties depend on it
  Taps t;
  for (int64_t i = 0; i < out; ++i)
    t.add(std::min(int64_t(std::floor((float(i) + (exact ? 0.5F : 0.0F)) * scale)), in - 1), 1);
  return t;
}
double source(int64_t i, double scale, bool align_corners) {
  return align_corners ? double(i) * scale : (double(i) + 0.5) * scale - 0.5;
}
Taps linear(int64_t in, int64_t out, double scale, bool align_corners) {
  Taps t{.per_output = 2};
  for (int64_t i = 0; i < out; ++i) {
    const double at = std::max(source(i, scale, align_corners), 0.0);
    const int64_t left = std::min(int64_t(at), in - 1);
    const double right = std::clamp(at - double(left), 0.0, 1.0);
    t.add(left, 1 - right);
    t.add(std::min(left + 1, in - 1), right);
  }
  return t;
}
// Cubic convolution (Keys 1981) with a = -0.75.
double cubic(double x) {
  constexpr double a = -0.75;
  x = std::abs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
}
Taps bicubic(int64_t in, int64_t out, double scale, bool align_corners) {
  Taps t{.per_output = 4};
  for (int64_t i = 0; i < out; ++i) {
    const double at = source(i, scale, align_corners), left = std::floor(at);
    for (int k = -1; k <= 2; ++k) t.add(std::clamp<int64_t>(int64_t(left) + k, 0, in - 1), cubic(at - left - k));
  }
  return t;
}
Taps area(int64_t in, int64_t out) {  // adaptive average
  Taps t{.per_output = (in + out - 1) / out + 1};
  for (int64_t i = 0; i < out; ++i) {
    const int64_t from = i * in / out, to = ((i + 1) * in + out - 1) / out;
    for (int64_t k = 0; k < t.per_output; ++k)
      t.add(std::min(from + k, in - 1), from + k < to ? 1.0 / double(to - from) : 0);
  }
  return t;
}

}  // namespace

static Taps taps_of(const InterpolateOptions& o, int64_t in, int64_t out, std::optional<double> factor) {
  const double ratio = factor ? 1 / *factor : double(in) / double(out);
  if (o.mode == "nearest" || o.mode == "nearest-exact")
    return nearest(in, out, factor ? float(1 / *factor) : float(in) / float(out), o.mode != "nearest");
  if (o.mode == "area") return area(in, out);
  const bool align = o.align_corners.value_or(false);
  const double scale = !align ? ratio : out > 1 ? double(in - 1) / double(out - 1) : 0;
  return o.mode == "bicubic" ? bicubic(in, out, scale, align) : linear(in, out, scale, align);
}

static void check_mode(const Tensor& x, const InterpolateOptions& o) {
  const int spatial = x.dim() - 2;
  const bool any = o.mode == "nearest" || o.mode == "nearest-exact" || o.mode == "area";
  GRAFT_CHECK(spatial >= 1 && spatial <= 3, ErrorCode::shape_mismatch, "interpolate: needs 3 to 5 dimensions, not ", x);
  GRAFT_CHECK(!any || !o.align_corners,
              "interpolate: align_corners is only for linear, bilinear, bicubic and trilinear, not ", o.mode);
  const int wanted = o.mode == "linear"                            ? 1
                     : o.mode == "bilinear" || o.mode == "bicubic" ? 2
                     : o.mode == "trilinear"                       ? 3
                                                                   : 0;
  GRAFT_CHECK(any || wanted, "interpolate: mode '", o.mode,
              "' is not one of nearest, nearest-exact, area, linear, bilinear, bicubic, trilinear");
  GRAFT_CHECK(any || wanted == spatial, ErrorCode::shape_mismatch, "interpolate: mode ", o.mode, " needs ", wanted + 2,
              " dimensions, not ", x);
  GRAFT_CHECK(o.size.empty() != o.scale_factor.empty(), "interpolate: either size or scale_factor must be given");
}

Tensor interpolate(const Tensor& x, const InterpolateOptions& o) {
  check_mode(x, o);
  const int spatial = x.dim() - 2;
  const auto entry = [&](const auto& list, int i) {
    GRAFT_CHECK(list.size() == 1 || int(list.size()) == spatial, ErrorCode::shape_mismatch,
                "interpolate: ", list.size(), " sizes or factors for ", spatial, " dimensions");
    return list[list.size() == 1 ? 0 : size_t(i)];
  };
  Tensor y = x;
  for (int i = 0; i < spatial; ++i) {
    const int64_t in = x.size(2 + i);
    std::optional<double> factor;
    if (!o.scale_factor.empty()) factor = entry(o.scale_factor, i);
    const int64_t out = factor ? int64_t(std::floor(double(in) * *factor)) : entry(o.size, i);
    GRAFT_CHECK(in > 0 && out > 0, ErrorCode::shape_mismatch, "interpolate: sizes must be positive, not ", in, " to ",
                out, ": ", x);
    if (o.recompute_scale_factor) factor.reset();
    const Taps t = taps_of(o, in, out, factor);
    Shape shape = y.shape();
    int64_t outer = 1, inner = 1;
    for (int d = 0; d < 2 + i; ++d) outer *= shape[d];
    for (int d = 3 + i; d < shape.rank(); ++d) inner *= shape[d];
    shape[2 + i] = out;
    const Tensor index = tensor(std::span<const int64_t>(t.index), Shape{out, t.per_output}, x.device());
    const Tensor weight = tensor(std::span<const double>(t.weight), Shape{out, t.per_output}, Options(f64, x.device()));
    y = resample(y.reshape({outer, in, inner}), index, weight).reshape(shape);
  }
  return y;
}

}  // namespace graft

// Normalizations: batch norm over all dimensions but the channels; layer, group and RMS norm over rows.
// Both have a fused derivative and, where the derivative itself is to have one, a formula in ops.
#include "graft/kernels/norm/attrs.h"

#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {

constexpr Reads kNormReads = Reads(input(0) | input(1) | output(1) | output(2));

static Tensor as_statistics(const Tensor& t, const Tensor& x) {
  return t.defined() ? t.to(compute_dtype(x.dtype())).contiguous() : t;
}
static bool is_channels_last(const Tensor& x) {
  return x.dim() > 2 && x.view().stride[1] == 1 && is_dense(x.view());
}

// ---- the derivative as a formula -----------------------------------------------------------------------------

// y = xhat w + b with xhat = (x - mean) rstd. `statistics` is x's shape with 1 where it is averaged, w broadcasts to x.
struct NormFormula {
  Tensor x, g, w;
  Shape statistics;
  bool center = true;
  double eps = 0;

  Tensor xhat = {}, dx = {};
  void run() {
    const double part = double(numel_of(statistics)) / double(x.numel());
    const auto mean = [&](const Tensor& t) { return sum_to(t, statistics) * part; };
    const Tensor centered = center ? x - mean(x) : x;
    const Tensor rstd = rsqrt(mean(centered * centered) + eps);
    xhat = centered * rstd;
    const Tensor h = w.defined() ? g * w : g;
    Tensor d = h - xhat * mean(h * xhat);
    if (center) d = d - mean(h);
    dx = d * rstd;
  }
};

// ---- batch norm ----------------------------------------------------------------------------------------------

static Shape channels_of(const Shape& x) {  // [1, channels, 1, 1]
  Shape s = x;
  for (int i = 0; i < s.rank(); ++i)
    if (i != 1) s[i] = 1;
  return s;
}
static void infer_channels(Infer& c, int i, const View& x) {
  View& v = c.out(i);
  v.rank = 1;
  v.size[0] = x.size[1];
  v.dtype = compute_dtype(x.dtype);
}
static void check_channels(const Infer& c, int first) {
  const View& x = c.in(0);
  c.check(x.rank >= 2, "needs at least two dimensions");
  for (int i = first; i < c.inputs(); ++i) {
    const View& v = c.in(i);
    c.check(v.rank == 1 && v.size[0] == x.size[1], "statistics, weight and bias must be [", x.size[1], "]");
    c.check(v.dtype == compute_dtype(x.dtype), "statistics, weight and bias must be ",
            name_of(compute_dtype(x.dtype)));
  }
}

static const OpDef batch_norm_grad_op{  // (x, g, mean, var[, weight]): first order only
    .name = "batch_norm_grad",
    .infer =
        [](Infer& c) {
          infer_same(c);
          infer_channels(c, 1, c.in(0));
          infer_channels(c, 2, c.in(0));
        },
};

static void batch_norm_backward(Backward& b) {
  const auto& a = b.attrs<BatchNormAttrs>();
  const Tensor& x = b.input(0);
  const Tensor w = a.weight ? b.input(1) : Tensor();
  Tensor dw, db;
  if (b.create_graph()) {
    const Shape channels = channels_of(x.shape());
    NormFormula f{.x = x, .g = b.g(), .w = a.weight ? w.reshape(channels) : w, .statistics = channels, .eps = a.eps};
    f.run();
    b.to(0) = f.dx;
    if (a.weight) dw = sum_to(b.g() * f.xhat, channels).reshape(w.shape());
    if (a.bias) db = sum_to(b.g(), channels).reshape({x.size(1)});
  } else {
    std::array<Tensor, 3> out;
    const Tensor g = clone_as(b.g(), x.strides()), mean = b.output(1), var = b.output(2);
    std::array<TensorImpl*, 5> in{x.impl(), g.impl(), mean.impl(), var.impl(), w.impl()};
    apply_into(Call{batch_norm_grad_op, std::span(in).first(a.weight ? 5 : 4), a}, out);
    b.to(0) = out[0];
    dw = out[1];
    db = out[2];
  }
  if (a.weight) b.to(1) = dw;
  if (a.bias) b.to(a.weight ? 2 : 1) = db;
}
static const OpDef batch_norm_op{
    .name = "batch_norm",
    .infer =
        [](Infer& c) {
          check_channels(c, 1);
          infer_same(c);
          infer_channels(c, 1, c.in(0));
          infer_channels(c, 2, c.in(0));
        },
    .backward = batch_norm_backward,
    .reads = {kNormReads, kNormReads, kNormReads},
};

static void batch_norm_eval_backward(Backward& b) {
  const auto& a = b.attrs<BatchNormAttrs>();
  const int bias = a.weight ? 4 : 3;
  const Tensor& g = b.g();
  const Shape channels = channels_of(g.shape());
  const auto wide = [&](const Tensor& t) { return t.reshape(channels).to(g.dtype()); };
  if (a.bias && b.needs(bias)) b.to(bias) = sum_to(g, channels).reshape({g.size(1)});
  if (!b.needs(0) && !(a.weight && b.needs(3))) return;
  const Tensor rstd = rsqrt(b.input(2) + a.eps);
  if (b.needs(0)) b.to(0) = g * wide(a.weight ? rstd * b.input(3) : rstd);
  if (a.weight && b.needs(3))
    b.to(3) = sum_to(g * ((b.input(0) - wide(b.input(1))) * wide(rstd)), channels).reshape({g.size(1)});
}
static const OpDef batch_norm_eval_op{
    .name = "batch_norm_eval",
    .infer = [](Infer& c) { check_channels(c, 1), infer_same(c); },
    .backward = batch_norm_eval_backward,
    .reads = {Reads(input(2) | input(3)), 0, 0, Reads(input(0) | input(1) | input(2))},
};

// Inputs that are undefined are left out; the kernels know by the attributes which are there.
template <size_t N> static void apply_defined(const OpDef& op, const Attrs& attrs, const Tensor* const (&all)[N],
                                              std::span<Tensor> out) {
  std::array<TensorImpl*, N> in{};
  size_t n = 0;
  for (const Tensor* t : all)
    if (t->defined()) in[n++] = t->impl();
  apply_into(Call{op, std::span(in).first(n), attrs}, out);
}
static Tensor in_known_layout(const Tensor& x) { return x.is_contiguous() || is_channels_last(x) ? x : x.contiguous(); }

NormResult batch_norm_train(const Tensor& input, const Tensor& weight, const Tensor& bias, double eps) {
  const Tensor x = in_known_layout(input), w = as_statistics(weight, x), b = as_statistics(bias, x);
  std::array<Tensor, 3> out;
  apply_defined(batch_norm_op, BatchNormAttrs{eps, w.defined(), b.defined()}, {&x, &w, &b}, out);
  return {out[0], out[1], out[2]};
}
Tensor batch_norm_eval(const Tensor& input, const Tensor& mean, const Tensor& var, const Tensor& weight, const Tensor& bias,
                       double eps) {
  const Tensor x = in_known_layout(input), w = as_statistics(weight, x), b = as_statistics(bias, x);
  const Tensor m = as_statistics(mean, x), v = as_statistics(var, x);
  Tensor out;
  apply_defined(batch_norm_eval_op, BatchNormAttrs{eps, w.defined(), b.defined()}, {&x, &m, &v, &w, &b}, {&out, 1});
  return out;
}

// ---- rows: layer, group and RMS norm -------------------------------------------------------------------------

static const OpDef row_norm_grad_op{  // (x, g, mean, rstd[, weight]): first order only
    .name = "row_norm_grad",
    .infer =
        [](Infer& c) {
          infer_same(c);
          const auto& a = c.attrs<RowNormAttrs>();
          for (int i = 1; i < c.outputs(); ++i) {
            c.out(i).rank = 1;
            c.out(i).size[0] = a.length / a.inner * a.groups;
            c.out(i).dtype = compute_dtype(c.in(0).dtype);
          }
        },
};

// Gradients of x, weight and bias; the last two are undefined where there are none.
static std::array<Tensor, 3> row_gradients(Backward& b, const Tensor& x, const Tensor& w) {
  const auto& a = b.attrs<RowNormAttrs>();
  std::array<Tensor, 3> out;
  if (b.create_graph()) {
    const int64_t weights = a.length / a.inner;
    const int64_t lead = x.numel() / std::max<int64_t>(1, a.length * a.groups);
    const Shape wide{lead, a.groups, weights, a.inner}, affine{1, a.groups, weights, 1};
    NormFormula f{.x = x.reshape(wide), .g = b.g().reshape(wide), .w = a.weight ? w.reshape(affine) : w,
                  .statistics = {lead, a.groups, 1, 1}, .center = a.center, .eps = a.eps};
    f.run();
    out[0] = f.dx.reshape(x.shape());
    if (a.weight) out[1] = sum_to(f.g * f.xhat, affine);
    if (a.bias) out[2] = sum_to(f.g, affine);
  } else {
    const Tensor g = b.g().contiguous(), mean = b.output(1), rstd = b.output(2);
    std::array<TensorImpl*, 5> in{x.impl(), g.impl(), mean.impl(), rstd.impl(), w.impl()};
    apply_into(Call{row_norm_grad_op, std::span(in).first(a.weight ? 5 : 4), a},
               std::span(out).first(a.weight || a.bias ? 3 : 1));
  }
  const Shape shape{a.length / a.inner * a.groups};
  out[1] = a.weight ? out[1].reshape(shape) : Tensor();
  out[2] = a.bias ? out[2].reshape(shape) : Tensor();
  return out;
}
static void pass_to_affine(Backward& b, const std::array<Tensor, 3>& d, int first) {  // weight and bias are inputs `first` on
  for (int i = 1; i < 3; ++i)
    if (d[size_t(i)].defined()) b.to(first++) = d[size_t(i)];
}
static void infer_row_norm(Infer& c) {
  const auto& a = c.attrs<RowNormAttrs>();
  const View& x = c.in(0);
  copy_sizes(c.out(), x);
  for (int i = 1; i < 3; ++i) {
    c.out(i).rank = 1;
    c.out(i).size[0] = x.numel / std::max<int64_t>(1, a.length);
    c.out(i).dtype = compute_dtype(x.dtype);
  }
}
static const OpDef row_norm_op{
    .name = "row_norm",
    .infer = infer_row_norm,
    .backward =
        [](Backward& b) {
          const auto d = row_gradients(b, b.input(0), b.attrs<RowNormAttrs>().weight ? b.input(1) : Tensor());
          b.to(0) = d[0];
          pass_to_affine(b, d, 1);
        },
    .reads = {kNormReads, kNormReads, kNormReads},
};
// (x, residual[, weight][, bias]) -> (y, mean, rstd, sum): both inputs get the gradient of their sum.
static constexpr Reads kAddNormReads = Reads(input(2) | output(1) | output(2) | output(3));
static const OpDef add_row_norm_op{
    .name = "add_row_norm",
    .infer =
        [](Infer& c) {
          c.check(same_sizes(c.in(0), c.in(1)) && c.in(0).dtype == c.in(1).dtype, "the residual must have the shape and dtype of the input");
          infer_row_norm(c);
          copy_sizes(c.out(3), c.in(0));
        },
    .backward =
        [](Backward& b) {
          const auto d = row_gradients(b, b.output(3), b.attrs<RowNormAttrs>().weight ? b.input(2) : Tensor());
          b.to(0) = b.to(1) = b.has_g(3) ? d[0] + b.g(3) : d[0];
          pass_to_affine(b, d, 2);
        },
    .reads = {kAddNormReads},
};

// The tensor as one row of what row_norm reads.
static Tensor flat_statistics(const Tensor& t, const Tensor& x) {
  return t.defined() ? as_statistics(t, x).reshape({t.numel()}).contiguous() : t;
}
static std::array<Tensor, 3> row_norm(const Tensor& input, const Tensor& weight, const Tensor& bias, RowNormAttrs a) {
  const Tensor x = input.contiguous();
  const Tensor w = flat_statistics(weight, x), b = flat_statistics(bias, x);
  a.weight = w.defined();
  a.bias = b.defined();
  std::array<Tensor, 3> out;
  apply_defined(row_norm_op, a, {&x, &w, &b}, out);
  return out;
}

static int64_t check_normalized(const char* op, const Tensor& x, const Shape& normalized, const Tensor& w, const Tensor& b) {
  const int lead = x.dim() - normalized.rank();
  bool ok = normalized.rank() > 0 && lead >= 0;
  for (int i = 0; ok && i < normalized.rank(); ++i) ok = x.size(lead + i) == normalized[i];
  GRAFT_CHECK(ok, ErrorCode::shape_mismatch, op, ": expects input with shape [*, ", normalized, "], but got ", x);
  for (const Tensor* t : {&w, &b})
    GRAFT_CHECK(!t->defined() || t->shape() == normalized, ErrorCode::shape_mismatch, op,
                ": weight and bias must be of normalized_shape ", normalized, ", but got ", *t);
  return int64_t(numel_of(normalized));
}

Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight, const Tensor& bias, double eps) {
  const int64_t n = check_normalized("layer_norm", x, normalized_shape, weight, bias);
  return row_norm(x, weight, bias, {.eps = eps, .length = n})[0];
}
AddNormResult add_layer_norm(const Tensor& x, const Tensor& residual, const Shape& normalized_shape, const Tensor& weight, const Tensor& bias,
                             double eps) {
  const int64_t n = check_normalized("add_layer_norm", x, normalized_shape, weight, bias);
  const Tensor in = x.contiguous(), added = residual.contiguous(), w = flat_statistics(weight, x), b = flat_statistics(bias, x);
  std::array<Tensor, 4> out;
  apply_defined(add_row_norm_op, RowNormAttrs{.eps = eps, .length = n, .weight = w.defined(), .bias = b.defined()}, {&in, &added, &w, &b}, out);
  return {out[0], out[3]};
}
Tensor rms_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight, std::optional<double> eps) {
  const int64_t n = check_normalized("rms_norm", x, normalized_shape, weight, {});
  const double epsilon = compute_dtype(x.dtype()) == f64 ? 0x1p-52 : 0x1p-23;
  return row_norm(x, weight, {}, {.eps = eps.value_or(epsilon), .length = n, .center = false})[0];
}
GroupNormResult group_norm_stats(const Tensor& x, int64_t groups, const Tensor& weight, const Tensor& bias, double eps) {
  GRAFT_CHECK(x.dim() >= 2, ErrorCode::shape_mismatch, "group_norm: needs at least two dimensions: ", x);
  const int64_t channels = x.size(1);
  GRAFT_CHECK(groups > 0 && channels % groups == 0, ErrorCode::shape_mismatch, "group_norm: Expected number of channels in input to be divisible by num_groups, but got input of shape ",
              x.shape(), " and num_groups=", groups);
  for (const Tensor* t : {&weight, &bias})
    GRAFT_CHECK(!t->defined() || (t->dim() == 1 && t->numel() == channels), ErrorCode::shape_mismatch,
                "group_norm: weight and bias must be [", channels, "], but got ", *t);
  int64_t inner = 1;
  for (int i = 2; i < x.dim(); ++i) inner *= x.size(i);
  const RowNormAttrs a{.eps = eps, .length = channels / groups * inner, .groups = groups, .inner = std::max<int64_t>(inner, 1)};
  auto out = row_norm(x, weight, bias, a);
  if (is_channels_last(x)) out[0] = clone_as(out[0], x.strides());
  return {out[0], out[1], out[2]};
}
Tensor group_norm(const Tensor& x, int64_t num_groups, const Tensor& weight, const Tensor& bias, double eps) {
  return group_norm_stats(x, num_groups, weight, bias, eps).values;
}

}  // namespace graft

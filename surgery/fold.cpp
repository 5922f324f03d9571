#include "graft/surgery/fold.h"

#include <atomic>
#include "graft/core/op.h"
#include "graft/kernels/parallel.h"
#include "graft/nn/conv.h"
#include "graft/nn/linear.h"
#include "graft/surgery/hook_moves.h"

namespace graft::inline v1::surgery {
namespace {

template <class M> const M* exactly(const nn::Module& m) {
  return typeid(m) == typeid(M) ? static_cast<const M*>(&m) : nullptr;
}

template <int N> bool pads_with_zeros(const nn::ConvNd<N>& c) {
  if (c.padding_mode != nn::PaddingMode::zeros || c.padding.kind == nn::Padding<N>::valid) return false;
  for (int i = 0; i < N; ++i)
    if (c.padding.kind == nn::Padding<N>::same ? c.kernel_size[i] > 1 : c.padding.amount[i] != 0) return true;
  return false;
}
template <int N> bool is_pointwise(const nn::ConvNd<N>& c) {
  for (int i = 0; i < N; ++i)
    if (c.kernel_size[i] != 1 || c.stride[i] != 1) return false;
  const bool padded = c.padding.kind == nn::Padding<N>::sizes && c.padding.amount != nn::Sizes<N>(0);
  return c.groups == 1 && !padded;
}
template <int N> Foldable of(const nn::ConvNd<N>& c) {
  return {&c,           &c.weight.entry(), &c.bias.entry(),    N,              false, c.groups,
          c.in_channels, c.out_channels,    pads_with_zeros(c), is_pointwise(c)};
}
template <int N> Foldable of(const nn::ConvTransposeNd<N>& c) {
  return {&c, &c.weight.entry(), &c.bias.entry(), N, true, c.groups, c.in_channels, c.out_channels, false};
}
Foldable of(const nn::Linear& l) {
  return {&l, &l.weight.entry(), &l.bias.entry(), 0, false, 1, l.in_features, l.out_features, false, true};
}
template <class... M> std::optional<Foldable> first_of(const nn::Module& m) {
  std::optional<Foldable> found;
  ((exactly<M>(m) ? void(found = of(*exactly<M>(m))) : void()), ...);
  return found;
}

Tensor wide(const Tensor& t) { return t.defined() ? t.detach().to(f64) : t; }

struct Affine { Tensor scale, shift; };
Affine affine_of(const nn::BatchNormNd& norm) {
  Affine a;
  a.scale = rsqrt(wide(norm.running_var) + norm.eps);
  if (norm.weight) a.scale = a.scale * wide(norm.weight);
  a.shift = -(wide(norm.running_mean) * a.scale);
  if (norm.bias) a.shift = a.shift + wide(norm.bias);
  return a;
}

// The weight seen as [groups, a, b, kernel...]: [g, out/g, in/g, ...], or [g, in/g, out/g, ...] where it is transposed.
Tensor grouped(const Foldable& l, const Tensor& w) {
  Shape shape{l.groups, w.size(0) / l.groups, w.size(1)};
  for (int d = 2; d < w.dim(); ++d) shape.push_back(w.size(d));
  return w.reshape(shape);
}
// One number per channel, to be multiplied with what grouped() returns along dimension 1 or 2.
Tensor per_channel(const Foldable& l, const Tensor& v, int along) {
  Shape shape{l.groups, along == 1 ? -1 : 1, along == 2 ? -1 : 1};
  for (int d = 0; d < l.dims; ++d) shape.push_back(1);
  return v.reshape(shape);
}

}  // namespace

std::optional<Foldable> foldable(const nn::Module& m) {
  return first_of<nn::Conv2d, nn::Conv1d, nn::Conv3d, nn::Linear, nn::ConvTranspose1d, nn::ConvTranspose2d,
                  nn::ConvTranspose3d>(m);
}
int norm_dims(const nn::Module& m) {
  return exactly<nn::BatchNorm1d>(m) ? 1 : exactly<nn::BatchNorm2d>(m) ? 2 : exactly<nn::BatchNorm3d>(m) ? 3 : 0;
}
bool fits(const Foldable& l, int norm) { return norm > 0 && (l.dims == norm || (l.dims == 0 && norm == 1)); }

Weights weights_of(const Foldable& l) { return {l.weight->value().detach(), wide(l.bias->value()), {}}; }

// With the factors multiplied in.
static Tensor whole(const Foldable& l, const Weights& w) {
  if (!w.scale.defined()) return wide(w.weight);
  return (grouped(l, wide(w.weight)) * per_channel(l, w.scale, l.transposed ? 2 : 1)).reshape(w.weight.shape());
}

Weights fold_behind(const Foldable& l, Weights w, const nn::BatchNormNd& norm) {
  const NoGrad quiet;
  Affine a = affine_of(norm);
  if (norm.num_features == 1 && l.out > 1) a = {a.scale.expand({l.out}), a.shift.expand({l.out})};
  w.scale = w.scale.defined() ? w.scale * a.scale : a.scale;
  w.bias = w.bias.defined() ? w.bias * a.scale + a.shift : a.shift;
  return w;
}

// W (s x + t) + b = (W s) x + (b + sum over the inputs of W t): exact where nothing but x reaches the kernel.
Weights fold_before(const Foldable& l, Weights w, const nn::BatchNormNd& norm) {
  const NoGrad quiet;
  const Affine a = affine_of(norm);
  const Tensor blocks = grouped(l, whole(l, w));
  std::vector<int> inputs;
  for (int d = 2; d < blocks.dim(); ++d) inputs.push_back(d);
  const Tensor shift = sum(blocks * per_channel(l, a.shift, 2), Dims(inputs)).reshape({l.out});
  w.bias = w.bias.defined() ? w.bias + shift : shift;
  w.weight = (blocks * per_channel(l, a.scale, 2)).reshape(w.weight.shape());
  w.scale = {};
  return w;
}

// W2 (W1 x + b1) + b2
Weights fold_pointwise(const Foldable& l, Weights w, const Foldable& next) {
  const NoGrad quiet;
  const Weights second = weights_of(next);
  const Tensor mix = whole(next, second).reshape({next.out, next.in});
  Shape shape = w.weight.shape();
  shape[0] = next.out;
  w.weight = matmul(mix, whole(l, w).reshape({l.out, -1})).reshape(shape);
  w.scale = {};
  if (w.bias.defined()) w.bias = matmul(mix, w.bias);
  if (second.bias.defined()) w.bias = w.bias.defined() ? w.bias + second.bias : second.bias;
  return w;
}

template <int N> static void set_outputs(nn::Module& m, int64_t n) {
  if (auto* conv = dynamic_cast<nn::ConvNd<N>*>(&m)) conv->out_channels = n;
}
static void set_outputs(const Foldable& l, nn::Module& copy, int64_t n) {
  if (l.transposed || n == l.out) return;
  if (auto* linear = dynamic_cast<nn::Linear*>(&copy)) linear->out_features = n;
  set_outputs<1>(copy, n);
  set_outputs<2>(copy, n);
  set_outputs<3>(copy, n);
}

static Tensor cast(const Tensor& t, DType to, const char* what) {
  const Tensor result = t.to(to).contiguous();
  if (result.device().type == Device::meta) return result;
  GRAFT_CHECK(all(isfinite(t)).item<bool>(), ErrorCode::plan_refused, "fusion: the folded ", what, " is not finite");
  GRAFT_CHECK(all(isfinite(result)).item<bool>(), ErrorCode::overflow, "fusion: the folded ", what, " overflows ",
              name_of(to));
  return result;
}

// The weight times its factors, computed in f64 and rounded once, in one pass over memory; undefined where it does not lie
// so that this is possible. What is not finite is an error as in cast().
static Tensor scaled(const Foldable& l, const Weights& w) {
  const Tensor& from = w.weight;
  if (from.device().type != Device::cpu || !from.is_contiguous() || !is_floating(from.dtype()) || from.numel() == 0) return {};
  const Tensor scale = w.scale.contiguous(), to = empty(from.shape(), from.options());
  // A row has one factor: [out, row], or where the layer is transposed [groups, in / groups, out / groups, row].
  const int64_t rows = l.transposed ? from.size(0) * from.size(1) : from.size(0), length = from.numel() / rows;
  const int64_t of_group = l.out / l.groups, inputs = l.transposed ? l.in / l.groups : 1;
  std::atomic<bool> infinite{false}, overflow{false};
  with_type(from.dtype(), FloatTypes{}, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* x = from.data<T>();
    T* y = to.mutable_data<T>();
    const double* s = scale.data<double>();
    parallel_for(0, rows, std::max<int64_t>(1, (1 << 15) / length), [&](int64_t first, int64_t last) {
      bool finite = true, fits = true;
      for (int64_t r = first; r < last; ++r) {
        const double factor = s[l.transposed ? r / of_group / inputs * of_group + r % of_group : r];
        double worst = 0, worst_rounded = 0;  // 0 while all are finite: x - x is NaN otherwise
        for (int64_t i = r * length; i < (r + 1) * length; ++i) {
          const double exact = double(x[i]) * factor;
          y[i] = T(exact);
          worst += exact - exact;
          worst_rounded += double(y[i]) - double(y[i]);
        }
        finite = finite && worst == 0;
        fits = fits && worst_rounded == 0;
      }
      if (!finite) infinite = true;
      if (!fits) overflow = true;
    });
  });
  GRAFT_CHECK(!infinite, ErrorCode::plan_refused, "fusion: the folded weight is not finite");
  GRAFT_CHECK(!overflow, ErrorCode::overflow, "fusion: the folded weight overflows ", name_of(from.dtype()));
  return to;
}

nn::ModulePtr with_weights(const Foldable& l, const Weights& w) {
  const NoGrad quiet;
  const Tensor before = l.weight->value(), bias_before = l.bias->value();
  Tensor weight = w.scale.defined() ? scaled(l, w) : Tensor();
  if (!weight.defined()) weight = cast(whole(l, w), before.dtype(), "weight");
  const Tensor bias =
      w.bias.defined() ? cast(w.bias, bias_before.defined() ? bias_before.dtype() : before.dtype(), "bias") : Tensor();
  const bool learns = l.weight->leaf.defined() && l.weight->leaf.requires_grad();
  const nn::ModulePtr copy = l.module->clone_sharing_parameters();
  drop_call_hooks(*copy);
  set_outputs(l, *copy, weight.size(0));
  copy->find_param("weight")->put(nn::parameter(weight, learns));
  if (bias.defined())
    copy->find_param("bias")->put(
        nn::parameter(bias, bias_before.defined() ? l.bias->leaf.defined() && l.bias->leaf.requires_grad() : learns));
  return copy;
}

}  // namespace graft

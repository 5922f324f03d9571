// Convolution and transposed convolution: three ops whose derivatives are each other.
//   y = forward(x, w)      dx = backward_data(g, w)      dw = backward_weight(g, x)
#include "graft/kernels/conv/attrs.h"

#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::inline v1 {
namespace {

// The gradients have the sizes and the order in memory of what they are the gradient of.
struct ConvGradAttrs {
  ConvAttrs conv;  // first: that is what kernels read
  Shape size;
  bool channels_last = false;
};

bool is_channels_last(const View& v) { return v.rank > 2 && !v.contiguous && v.stride[1] == 1 && is_dense(v); }
void set_channels_last(View& v) {
  int64_t step = 1;
  const auto next = [&](int d) { v.stride[d] = std::exchange(step, step * v.size[d]); };
  next(1);
  for (int d = v.rank - 1; d > 1; --d) next(d);
  next(0);
}
void lay_out(Infer& c, bool channels_last) {
  if (!channels_last) return;
  set_channels_last(c.out());
  c.strided();
}

std::string join(const int64_t* v, int n) {
  std::string text;
  for (int i = 0; i < n; ++i) text += (i ? " x " : "") + std::to_string(v[i]);
  return text;
}

void check_conv(const Infer& c, const ConvAttrs& a) {
  const View &x = c.in(0), &w = c.in(1);
  c.check(w.rank == a.rank + 2, "weight must have ", a.rank + 2, " dimensions");
  c.check(x.rank == a.rank + 2, "expected ", a.rank + 1, "D (unbatched) or ", a.rank + 2, "D (batched) input");
  c.check(x.dtype == w.dtype, "input and weight differ in dtype");
  c.check(a.groups > 0, "groups must be positive, not ", a.groups);
  for (int i = 0; i < a.rank; ++i) {
    c.check(a.stride[i] > 0, "stride must be positive, not ", a.stride[i]);
    c.check(a.dilation[i] > 0, "dilation must be positive, not ", a.dilation[i]);
    c.check(a.padding[i] >= 0, "negative padding is not supported: ", a.padding[i]);
    c.check(w.size[2 + i] > 0, "the kernel is empty");
    c.check(!a.transposed || a.output_padding[i] == 0 || a.output_padding[i] < std::max(a.stride[i], a.dilation[i]),
            "output padding must be smaller than either stride or dilation, but got output_padding ", a.output_padding[i],
            ", stride ", a.stride[i], ", dilation ", a.dilation[i]);
  }
  c.check(w.size[0] % a.groups == 0, "groups=", a.groups, " does not divide the ", w.size[0], " channels of weight");
  const int64_t channels = a.transposed ? w.size[0] : w.size[1] * a.groups;
  c.check(x.size[1] == channels, "Given groups=", a.groups, ", weight of size ", Shape(w), ", expected input", Shape(x),
          " to have ", channels, " channels, but got ", x.size[1], " channels instead");
}

// Of a convolution, `output_padding` is what the high end is padded more than the low end (padding "same").
// Not positive: there is no room for the kernel.
int64_t result_size(int64_t in, int64_t kernel, const ConvAttrs& a, int i) {
  const int64_t span = int64_t(a.dilation[i]) * (kernel - 1), padding = 2 * int64_t(a.padding[i]);
  if (a.transposed) return (in - 1) * a.stride[i] - padding + span + a.output_padding[i] + 1;
  const int64_t room = in + padding + a.output_padding[i] - span - 1;
  return room < 0 ? 0 : room / a.stride[i] + 1;
}
int64_t output_size(const Infer& c, const ConvAttrs& a, int i) {
  const int64_t size = result_size(c.in(0).size[2 + i], c.in(1).size[2 + i], a, i);
  if (a.transposed) c.check(size > 0, "the output would have size ", size, " in spatial dimension ", i);
  if (size <= 0) {
    int64_t padded[3], kernel[3];
    for (int d = 0; d < a.rank; ++d) {
      padded[d] = c.in(0).size[2 + d] + 2 * int64_t(a.padding[d]) + a.output_padding[d];
      kernel[d] = int64_t(a.dilation[d]) * (c.in(1).size[2 + d] - 1) + 1;
    }
    c.check(false, "Calculated padded input size per channel: (", join(padded, a.rank), "). Kernel size: (",
            join(kernel, a.rank), "). Kernel size can't be greater than actual input size");
  }
  return size;
}

void infer_forward(Infer& c) {
  const auto& a = c.attrs<ConvAttrs>();
  check_conv(c, a);
  const View &x = c.in(0), &w = c.in(1);
  View& y = c.out();
  y.rank = x.rank;
  y.size[0] = x.size[0];
  y.size[1] = a.transposed ? w.size[1] * a.groups : w.size[0];
  for (int i = 0; i < a.rank; ++i) y.size[2 + i] = output_size(c, a, i);
  if (a.has_bias) {
    const View& b = c.in(2);
    c.check(b.rank == 1 && b.size[0] == y.size[1], "bias must be [", y.size[1], "]");
    c.check(b.dtype == x.dtype, "input and bias differ in dtype");
  }
  if (a.has_residual) {
    const View& r = c.in(a.has_bias ? 3 : 2);
    c.check(same_sizes(r, y) && r.dtype == y.dtype, "the residual must have the output's shape ", Shape(y));
  }
  lay_out(c, is_channels_last(x) || is_channels_last(w));
}
void infer_grad(Infer& c) {
  const auto& a = c.attrs<ConvGradAttrs>();
  set_shape(c.out(), a.size);
  lay_out(c, a.channels_last);
}

// Has the residual the result's shape? Only then is it added inside of the kernel.
bool has_results_shape(const Tensor& residual, const Tensor& x, const Tensor& weight, const ConvAttrs& a) {
  const int batch = x.dim() - a.rank - 1;  // 1, or 0 without a batch
  if ((batch != 0 && batch != 1) || weight.dim() != a.rank + 2 || residual.dim() != x.dim() || residual.dtype() != x.dtype()) return false;
  if (batch == 1 && residual.size(0) != x.size(0)) return false;
  if (residual.size(batch) != (a.transposed ? weight.size(1) * a.groups : weight.size(0))) return false;
  for (int i = 0; i < a.rank; ++i)
    if (residual.size(batch + 1 + i) != result_size(x.size(batch + 1 + i), weight.size(2 + i), a, i)) return false;
  return true;
}

ConvAttrs bare(ConvAttrs a) {
  a.has_bias = a.has_residual = false;
  a.activation = Activation::none;
  return a;
}

Tensor forward(const Tensor& x, const Tensor& w, const ConvAttrs& a);
Tensor backward_data(const Tensor& g, const Tensor& w, const ConvAttrs& a, const Tensor& like);
Tensor backward_weight(const Tensor& g, const Tensor& x, const ConvAttrs& a, const Tensor& like);

const OpDef backward_data_op{
    .name = "conv_backward_data",
    .infer = infer_grad,
    .backward =
        [](Backward& b) {
          const ConvAttrs& a = b.attrs<ConvGradAttrs>().conv;
          if (b.needs(0)) b.to(0) = forward(b.g(), conj(b.input(1)), a);
          if (b.needs(1)) b.to(1) = backward_weight(conj(b.input(0)), b.g(), a, b.input(1));
        },
    .reads = {input(1), Reads(input(0) | input(1))},
};
const OpDef backward_weight_op{
    .name = "conv_backward_weight",
    .infer = infer_grad,
    .backward =
        [](Backward& b) {
          const ConvAttrs& a = b.attrs<ConvGradAttrs>().conv;
          if (b.needs(0)) b.to(0) = forward(conj(b.input(1)), b.g(), a);
          if (b.needs(1)) b.to(1) = backward_data(conj(b.input(0)), b.g(), a, b.input(1));
        },
    .reads = {input(1), Reads(input(0) | input(1))},
};
const OpDef forward_op{  // with a residual or an activation it is not recorded: see convolution()
    .name = "conv_forward",
    .infer = infer_forward,
    .backward =
        [](Backward& b) {
          const ConvAttrs a = bare(b.attrs<ConvAttrs>());
          if (b.needs(0)) b.to(0) = backward_data(b.g(), conj(b.input(1)), a, b.input(0));
          if (b.needs(1)) b.to(1) = backward_weight(b.g(), conj(b.input(0)), a, b.input(1));
          if (b.inputs() < 3 || !b.needs(2)) return;
          Shape channels = b.g().shape();
          for (int i = 0; i < channels.rank(); ++i)
            if (i != 1) channels[i] = 1;
          b.to(2) = sum_to(b.g(), channels).reshape({channels[1]});
        },
    .reads = {Reads(input(0) | input(1)), Reads(input(0) | input(1)), 0},
    .macs = [](const Call& c, std::span<const Tensor> out) {  // each weight of a filter meets every position of one side
      const View& w = c.in[1]->view;
      const int64_t positions = c.attrs.get<ConvAttrs>().transposed ? c.in[0]->view.numel : out[0].numel();
      return w.numel ? positions * (w.numel / w.size[0]) : 0;
    },
};

Tensor forward(const Tensor& x, const Tensor& w, const ConvAttrs& a) { return apply(forward_op, a, x, w); }
Tensor backward_data(const Tensor& g, const Tensor& w, const ConvAttrs& a, const Tensor& like) {
  return apply(backward_data_op, ConvGradAttrs{a, like.shape(), is_channels_last(like.view())}, g, w);
}
Tensor backward_weight(const Tensor& g, const Tensor& x, const ConvAttrs& a, const Tensor& like) {
  return apply(backward_weight_op, ConvGradAttrs{a, like.shape(), is_channels_last(like.view())}, g, x);
}

bool records(std::initializer_list<const Tensor*> in) {
  const Modes& modes = thread_modes();
  if (!modes.grad || modes.inference) return false;
  return std::ranges::any_of(in, [](const Tensor* t) { return t->defined() && t->requires_grad(); });
}
Tensor activate(const Tensor& y, Activation activation) {
  GRAFT_CHECK(activation != Activation::relu6, ErrorCode::not_implemented, "convolution: relu6 with gradients");
  return activation == Activation::relu ? relu(y) : y;
}

}  // namespace

Tensor convolution(const Tensor& x, const Tensor& weight, const Tensor& bias, ConvAttrs a, const Tensor& residual) {
  GRAFT_CHECK(x.defined() && weight.defined(), "convolution: an input is undefined");
  const bool recorded = (residual.defined() || a.activation != Activation::none) && records({&x, &weight, &bias, &residual});
  if (recorded || (residual.defined() && !has_results_shape(residual, x, weight, a))) {
    const Tensor y = convolution(x, weight, bias, bare(a), {});
    return activate(residual.defined() ? y + residual : y, a.activation);
  }
  if (x.dim() == a.rank + 1) {  // without a batch
    const auto batch = [](const Tensor& t) { return t.defined() ? t.unsqueeze(0) : t; };
    return convolution(batch(x), weight, bias, a, batch(residual)).squeeze(0);
  }
  a.has_bias = bias.defined();
  a.has_residual = residual.defined();
  if (a.has_bias && a.has_residual) return apply(forward_op, a, x, weight, bias, residual);
  if (a.has_bias || a.has_residual) return apply(forward_op, a, x, weight, a.has_bias ? bias : residual);
  return apply(forward_op, a, x, weight);
}

}  // namespace graft

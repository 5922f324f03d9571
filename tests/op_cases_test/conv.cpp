// Cases of convolution and pooling: expected values are the sums of the definition.
#include "graft/nn/functional.h"
#include "op_case.h"

namespace graft::cases {
namespace {

namespace F = nn::functional;

// x [n,c,h,w], w [o,c/groups,kh,kw]; all options alike in both dimensions.
struct Geometry { int64_t stride = 1, padding = 0, dilation = 1, groups = 1; };
Tensor naive_conv(const Tensor& x, const Tensor& w, Geometry g) {
  const auto span = [&](int d) { return g.dilation * (w.size(d) - 1) + 1; };
  const Tensor y = zeros({x.size(0), w.size(0), (x.size(2) + 2 * g.padding - span(2)) / g.stride + 1,
                          (x.size(3) + 2 * g.padding - span(3)) / g.stride + 1}, f64);
  const int64_t each = w.size(0) / g.groups;
  double* out = y.mutable_data<double>();
  for (int64_t n = 0; n < y.size(0); ++n)
    for (int64_t o = 0; o < y.size(1); ++o)
      for (int64_t i = 0; i < y.size(2); ++i)
        for (int64_t j = 0; j < y.size(3); ++j, ++out)
          for (int64_t c = 0; c < w.size(1); ++c)
            for (int64_t k = 0; k < w.size(2); ++k)
              for (int64_t l = 0; l < w.size(3); ++l) {
                const int64_t r = i * g.stride - g.padding + k * g.dilation, s = j * g.stride - g.padding + l * g.dilation;
                if (r < 0 || s < 0 || r >= x.size(2) || s >= x.size(3)) continue;
                *out += x.at({n, o / each * w.size(1) + c, r, s}) * w.at({o, c, k, l});
              }
  return y;
}
Tensor naive_transposed(const Tensor& x, const Tensor& w, Geometry g, int64_t output_padding) {
  const auto size = [&](int d) {
    return (x.size(d) - 1) * g.stride - 2 * g.padding + g.dilation * (w.size(d) - 1) + output_padding + 1;
  };
  const int64_t in = w.size(0) / g.groups, out = w.size(1);
  const Tensor y = zeros({x.size(0), out * g.groups, size(2), size(3)}, f64);
  for (int64_t n = 0; n < x.size(0); ++n)
    for (int64_t c = 0; c < x.size(1); ++c)
      for (int64_t i = 0; i < x.size(2); ++i)
        for (int64_t j = 0; j < x.size(3); ++j)
          for (int64_t o = 0; o < out; ++o)
            for (int64_t k = 0; k < w.size(2); ++k)
              for (int64_t l = 0; l < w.size(3); ++l) {
                const int64_t r = i * g.stride - g.padding + k * g.dilation, s = j * g.stride - g.padding + l * g.dilation;
                if (r < 0 || s < 0 || r >= y.size(2) || s >= y.size(3)) continue;
                y.mutable_data<double>()[((n * y.size(1) + c / in * out + o) * y.size(2) + r) * y.size(3) + s] +=
                    x.at({n, c, i, j}) * w.at({c, o, k, l});
              }
  return y;
}
Tensor with_bias(const Tensor& y, const Tensor& b) { return y + b.reshape({1, b.numel(), 1, 1}); }

// What `fold` makes of the elements of each 2 x 2 window, stride 2, no padding.
template <class F> Tensor naive_pool(const Tensor& x, F fold) {
  const Tensor y = zeros({x.size(0), x.size(1), x.size(2) / 2, x.size(3) / 2}, f64);
  double* out = y.mutable_data<double>();
  for (int64_t n = 0; n < y.size(0); ++n)
    for (int64_t c = 0; c < y.size(1); ++c)
      for (int64_t i = 0; i < y.size(2); ++i)
        for (int64_t j = 0; j < y.size(3); ++j)
          *out++ = fold(x.at({n, c, 2 * i, 2 * j}), x.at({n, c, 2 * i, 2 * j + 1}), x.at({n, c, 2 * i + 1, 2 * j}),
                        x.at({n, c, 2 * i + 1, 2 * j + 1}));
  return y;
}
double largest(double a, double b, double c, double d) { return std::max(std::max(a, b), std::max(c, d)); }
double average(double a, double b, double c, double d) { return (a + b + c + d) / 4; }

}  // namespace

OpCases conv_cases() {
  const Tensor x = ramp({2, 4, 5, 4});
  return {
      {.op = "conv_forward", .name = "stride, padding, bias", .in = {x, ramp({3, 4, 3, 3}, -0.9, 0.11), ramp({3}, 0.3)},
       .fn = [](const Tensors& t) { return F::conv2d(t[0], t[1], t[2], {.stride = 2, .padding = 1}); },
       .expected = [](const Tensors& t) {
         return with_bias(naive_conv(t[0], t[1], {.stride = 2, .padding = 1}), t[2]);
       },
       .pointwise = false, .tolerance = 40},
      {.op = "conv_forward", .name = "groups, dilation", .in = {x, ramp({4, 2, 2, 3}, -0.9, 0.11)},
       .fn = [](const Tensors& t) { return F::conv2d(t[0], t[1], {}, {.padding = 2, .dilation = 2, .groups = 2}); },
       .expected = [](const Tensors& t) {
         return naive_conv(t[0], t[1], {.padding = 2, .dilation = 2, .groups = 2});
       },
       .pointwise = false, .tolerance = 40},
      {.op = "conv_forward", .name = "without a batch, padding same", .in = {ramp({2, 5, 4}), ramp({2, 2, 3, 3}, -0.9, 0.11)},
       .fn = [](const Tensors& t) { return F::conv2d(t[0], t[1], {}, {.padding = "same"}); },
       .expected = [](const Tensors& t) { return naive_conv(t[0].unsqueeze(0), t[1], {.padding = 1}).squeeze(0); },
       .pointwise = false, .tolerance = 40},
      {.op = "conv_forward", .name = "one dimension, padding same, odd total", .in = {ramp({1, 2, 5}), ramp({2, 2, 4}, -0.9, 0.11)},
       .fn = [](const Tensors& t) { return F::conv1d(t[0], t[1], {}, {.padding = "same"}); },
       .expected = [](const Tensors& t) {
         const Tensor padded = cat({zeros({1, 2, 1}, f64), t[0], zeros({1, 2, 2}, f64)}, 2);
         return naive_conv(padded.unsqueeze(2), t[1].unsqueeze(2), {}).squeeze(2);
       },
       .pointwise = false, .tolerance = 40},
      {.op = "conv_forward", .name = "padding reflect", .in = {ramp({1, 2, 4}), ramp({2, 2, 3}, -0.9, 0.11)},
       .fn = [](const Tensors& t) { return F::conv1d(t[0], t[1], {}, {.padding = 2, .padding_mode = "reflect"}); },
       .expected = [](const Tensors& t) {
         Tensors columns;
         for (const int64_t i : {2, 1, 0, 1, 2, 3, 2, 1}) columns.push_back(t[0].narrow(2, i, 1));
         return naive_conv(cat(columns, 2).unsqueeze(2), t[1].unsqueeze(2), {}).squeeze(2);
       },
       .pointwise = false, .tolerance = 40},
      {.op = "conv_forward", .name = "padding circular", .in = {ramp({1, 2, 4}), ramp({2, 2, 3}, -0.9, 0.11)},
       .fn = [](const Tensors& t) { return F::conv1d(t[0], t[1], {}, {.padding = 2, .padding_mode = "circular"}); },
       .expected = [](const Tensors& t) {
         Tensors columns;
         for (const int64_t i : {2, 3, 0, 1, 2, 3, 0, 1}) columns.push_back(t[0].narrow(2, i, 1));
         return naive_conv(cat(columns, 2).unsqueeze(2), t[1].unsqueeze(2), {}).squeeze(2);
       },
       .pointwise = false, .tolerance = 40},
      {.op = "conv_forward", .name = "residual and relu", .in = {x, ramp({3, 4, 1, 1}, -0.9, 0.11), ramp({3}, 0.3), ramp({2, 3, 5, 4})},
       .fn = [](const Tensors& t) { return F::conv2d_bias_act(t[0], t[1], t[2], {}, {.residual = t[3], .relu = true}); },
       .expected = [](const Tensors& t) { return relu(with_bias(naive_conv(t[0], t[1], {}), t[2]) + t[3]); },
       .pointwise = false, .tolerance = 40},
      {.op = "conv_forward", .name = "transposed", .in = {ramp({2, 4, 3, 2}), ramp({4, 2, 3, 3}, -0.9, 0.11), ramp({4}, 0.3)},
       .fn = [](const Tensors& t) {
         return F::conv_transpose2d(t[0], t[1], t[2], {.stride = 2, .padding = 1, .output_padding = 1, .groups = 2});
       },
       .expected = [](const Tensors& t) {
         return with_bias(naive_transposed(t[0], t[1], {.stride = 2, .padding = 1, .groups = 2}, 1), t[2]);
       },
       .pointwise = false, .tolerance = 40},

      {.op = "max_pool", .in = {x}, .fn = [](const Tensors& t) { return F::max_pool2d(t[0], 2); },
       .expected = [](const Tensors& t) { return naive_pool(t[0], largest); }, .pointwise = false},
      {.op = "max_pool", .name = "one dimension, overlapping, padding, dilation", .in = {tensor({3., -1., 4., 1., -5., 9., 2.}, {1, 7}, f64)},
       .fn = [](const Tensors& t) { return F::max_pool1d(t[0], 2, {.stride = 1, .padding = 1, .dilation = 2}); },
       .values = {-1, 4, 1, 4, 9, 2, 9}, .pointwise = false, .strided = false},
      {.op = "avg_pool", .in = {x}, .fn = [](const Tensors& t) { return F::avg_pool2d(t[0], 2); },
       .expected = [](const Tensors& t) { return naive_pool(t[0], average); }, .pointwise = false},
      {.op = "avg_pool", .name = "padding not counted, ceil mode", .in = {tensor({3., -1., 4., 1., -5., 9.}, {1, 1, 6}, f64)},
       .fn = [](const Tensors& t) {
         return F::avg_pool1d(t[0], 3, {.stride = 2, .padding = 1, .ceil_mode = true, .count_include_pad = false});
       },
       .values = {1, 4.0 / 3, 5.0 / 3, 9}, .pointwise = false, .strided = false},
      {.op = "adaptive_avg_pool", .in = {ramp({2, 4, 4, 4})}, .fn = [](const Tensors& t) { return F::adaptive_avg_pool2d(t[0], 2); },
       .expected = [](const Tensors& t) { return naive_pool(t[0], average); }, .pointwise = false},
      {.op = "adaptive_max_pool", .in = {ramp({2, 4, 4, 4})}, .fn = [](const Tensors& t) { return F::adaptive_max_pool2d(t[0], 2); },
       .expected = [](const Tensors& t) { return naive_pool(t[0], largest); }, .pointwise = false},
  };
}

}  // namespace graft::cases

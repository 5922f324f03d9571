// Convolution with the batch norm folded into it, activation and residual, as fused modules run it.
#include "contest.h"
#include "graft/core/ops.h"

using namespace graft;

namespace contest {
namespace {

struct Size { int64_t n, in, out, side, kernel; };

Case conv(DType t, Size size, Size tiny, bool residual) {
  const std::string name = concat(residual ? "conv_bn_add_relu " : "conv_bn_relu ", name_of(t), " ", size.n, "x", size.in, "x", size.side, "x",
                                  size.side, ", ", size.out, " of ", size.kernel, "x", size.kernel);
  return {name, {"fused", "unfused", "cudnn", "cudnn, unfused"}, [=](bool small) {
            const Size s = small ? tiny : size;
            const Tensor x = values({s.n, s.in, s.side, s.side}, t, 1).to(MemoryFormat::channels_last);
            const Tensor w = (values({s.out, s.in, s.kernel, s.kernel}, f32, 2) * 0.05);
            const Tensor gamma = values({s.out}, f32, 3), beta = values({s.out}, f32, 4), mean = values({s.out}, f32, 5),
                         var = abs(values({s.out}, f32, 6)) + 0.5;
            const Tensor add = values({s.n, s.out, s.side, s.side}, t, 7).to(MemoryFormat::channels_last);
            const Tensor scale = gamma * rsqrt(var + 1e-5);
            const Tensor folded = (w * scale.reshape({s.out, 1, 1, 1})).to(t), shift = (beta - mean * scale).to(t), plain = w.to(t);
            const int32_t padding = int32_t(s.kernel / 2);
            ConvAttrs a;
            a.padding[0] = a.padding[1] = padding;
            ConvAttrs f = a;
            f.has_bias = true;
            f.has_residual = residual;
            f.activation = Activation::relu;
            const auto fused = [=] { return Tensors{convolution(x, folded, shift, f, residual ? add : Tensor())}; };
            const auto unfused = [=] {
              const Tensor y = batch_norm_eval(convolution(x, plain, {}, a), mean, var, gamma, beta, 1e-5);
              return Tensors{relu(residual ? y + add : y)};
            };
            const double pixels = double(s.n * s.side * s.side), taps = double(s.kernel * s.kernel);
            const double numbers = pixels * double(s.in + s.out * (residual ? 2 : 1)) + double(s.in * s.out) * taps;
            return Made{{t, numbers * bytes(t), 2 * pixels * double(s.in * s.out) * taps},
                        {{"fused", fused}, {"unfused", unfused}, {"cudnn", fused}, {"cudnn, unfused", unfused}},
                        tolerance(t) * 3};
          }};
}

}  // namespace

Cases convolutions() {
  Cases all;
  for (const DType t : {f32, bf16})
    for (const bool residual : {false, true}) {
      all.push_back(conv(t, {64, 64, 64, 56, 3}, {2, 16, 16, 6, 3}, residual));
      all.push_back(conv(t, {64, 256, 256, 14, 3}, {1, 8, 24, 5, 3}, residual));
      all.push_back(conv(t, {64, 256, 1024, 14, 1}, {1, 16, 32, 4, 1}, residual));
    }
  return all;
}

}  // namespace contest

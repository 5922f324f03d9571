// Convolutions on cuda: which kernel runs, and geometries, layouts and sizes that the small op cases do not reach. Held against
// the direct sums in f64 on cpu, which the inputs make exact (small integers), so that every order of summation gives the same.
#include "cuda_exact.h"
#include "graft/core/autograd.h"
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/kernels/conv/attrs.h"

namespace graft {
namespace {

struct Ran : KernelsRun {
  Ran() : KernelsRun([](std::string_view op) { return op.starts_with("conv_"); }) {}
};
Tensor digits(const Shape& shape, int64_t seed) { return graft::digits(shape, seed, 2); }

struct Geometry {
  const char* name;
  int64_t n, ci, co;
  Shape in, k;
  std::array<int32_t, 3> stride{1, 1, 1}, pad{0, 0, 0}, dilation{1, 1, 1};
  int32_t groups = 1;
  const char* products = "tiles tiles tiles";  // the kernels of the three ops where there are no tensor cores,
  const char* halves = "";                     // and of f16 and bf16 where others
};
// The names are in the order in which the ops run: forward, then the gradients of the input and of the weights.
const Geometry kGeometries[] = {
    {"1d", 2, 9, 10, {33}, {3}, {1}, {1}, {1}},
    {"1d dilated, strided", 1, 8, 9, {40}, {4}, {3}, {2}, {2}},
    {"1x1", 2, 16, 24, {9, 8}, {1, 1}, {1, 1}, {0, 0}, {1, 1}, 1, "tiles tiles tiles", "tensor_cores tensor_cores tiles"},
    {"3x3", 2, 16, 32, {9, 10}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1, "tiles tiles tiles", "tensor_cores tensor_cores tensor_cores"},
    {"3x3 stride 2", 2, 16, 40, {17, 18}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, 1, "tiles tiles tiles", "tensor_cores tensor_cores tensor_cores"},
    {"3 channels, 7x7 stride 2", 2, 3, 16, {21, 20}, {7, 7}, {2, 2}, {3, 3}, {1, 1}, 1, "tiles direct tiles", "tensor_cores direct tiles"},
    {"odd channels", 1, 13, 11, {12, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1, "tiles tiles tiles", "tensor_cores tiles tiles"},
    {"stride over kernel", 1, 10, 12, {13, 13}, {2, 2}, {3, 3}, {0, 0}, {1, 1}, 1, "tiles tiles tiles", "tiles tiles tiles"},
    {"unequal everything", 2, 9, 8, {9, 14}, {2, 5}, {2, 1}, {1, 3}, {3, 2}},
    {"stride and dilation share a factor", 1, 8, 8, {15, 13}, {3, 2}, {4, 2}, {2, 3}, {2, 4}},
    {"padding over kernel", 1, 8, 9, {3, 3}, {2, 2}, {1, 1}, {4, 4}, {1, 1}},
    {"groups", 2, 16, 32, {12, 12}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 2, "tiles tiles tiles", "tensor_cores tensor_cores tensor_cores"},
    {"depthwise", 2, 19, 19, {11, 12}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 19, "direct direct direct"},
    {"depthwise 5x5 stride 2", 1, 32, 32, {19, 18}, {5, 5}, {2, 2}, {2, 2}, {1, 1}, 32, "direct direct direct"},
    {"depthwise dilated, strided", 1, 8, 16, {19, 18}, {3, 3}, {2, 3}, {2, 4}, {3, 2}, 8, "direct direct direct"},
    {"few outputs", 1, 24, 2, {13, 12}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1, "direct tiles direct"},
    {"3d strided, dilated", 1, 8, 17, {6, 7, 8}, {2, 3, 3}, {2, 1, 2}, {1, 2, 1}, {1, 2, 1}},
    {"3d depthwise", 1, 5, 5, {6, 7, 8}, {3, 3, 3}, {1, 2, 1}, {1, 1, 1}, {1, 1, 1}, 5, "direct direct direct"},
    {"no images", 0, 3, 4, {5, 5}, {3, 3}},
    {"no input channels", 2, 0, 9, {5, 5}, {3, 3}},
};

class CudaConv : public OnCuda<testing::TestWithParam<DType>> {};

ConvAttrs attrs_of(const Geometry& g) {
  ConvAttrs a;
  a.rank = uint8_t(g.in.rank());
  a.groups = g.groups;
  for (int d = 0; d < a.rank; ++d) a.stride[d] = g.stride[size_t(d)], a.padding[d] = g.pad[size_t(d)], a.dilation[d] = g.dilation[size_t(d)];
  return a;
}
Shape joined(int64_t a, int64_t b, const Shape& rest) {
  Shape s{a, b};
  for (const int64_t d : rest) s.push_back(d);
  return s;
}
Tensor channels_last(const Tensor& x) {  // the same values in another order
  if (x.dim() < 4) return x.transpose(1, -1).contiguous().transpose(1, -1);
  return x.to(x.dim() == 4 ? MemoryFormat::channels_last : MemoryFormat::channels_last_3d);
}
Tensors result_and_gradients(const Tensors& in, const ConvAttrs& a) {
  Tensor x = in[0].detach().requires_grad_(), w = in[1].detach().requires_grad_();
  const Tensor y = convolution(x, w, in[2], a);
  const Tensors g = grad({y}, {x, w}, {.grad_outputs = {digits(y.shape(), 5).to(y.dtype()).to(y.device())}});
  return {y, g[0], g[1]};
}
void expect_same(const Geometry& g, DType t, bool last_x, bool last_w, bool transposed) {
  SCOPED_TRACE(concat(g.name, " as ", name_of(t), last_x ? ", channels of x inside" : "", last_w ? ", channels of the weights inside" : "",
                      transposed ? ", transposed" : ""));
  ConvAttrs a = attrs_of(g);
  a.transposed = transposed;
  const Tensors in{digits(joined(g.n, transposed ? g.co : g.ci, g.in), 1), digits(joined(g.co, g.ci / g.groups, g.k), 2),
                   digits({transposed ? g.ci : g.co}, 3)};
  const Tensors expected = result_and_gradients(in, a);
  Tensors there;
  for (const Tensor& x : in) there.push_back(x.to(t).to(Device(Device::cuda)));
  if (last_x) there[0] = channels_last(there[0]);
  if (last_w) there[1] = channels_last(there[1]);
  Ran ran;
  Tensors got;
  {
    const Observing look(ran);
    got = result_and_gradients(there, a);
  }
  const std::string_view wanted = size_of(t) == 2 && *g.halves ? g.halves : g.products;
  if (!transposed && g.n > 0 && g.ci > 0 && (size_of(t) != 2 || *g.halves || wanted.starts_with("direct"))) {
    EXPECT_EQ(ran.kernels, wanted) << ran.reasons;
  }
  for (size_t i = 0; i < 3; ++i) {
    const Tensor here = got[i].to(Device(Device::cpu));
    EXPECT_TRUE(same(here, expected[i].to(t))) << (i == 0 ? "y" : i == 1 ? "dx" : "dw") << " by " << ran.kernels << "; largest difference "
                                               << (here.numel() ? max(abs(here.to(f64) - expected[i])).item<double>() : 0);
  }
}

TEST_P(CudaConv, every_geometry_and_layout) {
  for (const Geometry& g : kGeometries)
    for (const bool last_x : {false, true})
      for (const bool last_w : {false, true}) expect_same(g, GetParam(), last_x, last_w, false);
}
TEST_P(CudaConv, transposed) {
  for (const Geometry& g : kGeometries) {
    bool any = g.n > 0 && g.ci > 0;  // results at all
    for (int d = 0; d < g.in.rank(); ++d) {
      const auto i = size_t(d);
      any = any && (g.in[d] - 1) * g.stride[i] + g.dilation[i] * (g.k[d] - 1) >= 2 * g.pad[i];
    }
    if (any) expect_same(g, GetParam(), false, false, true);
  }
}

TEST_P(CudaConv, epilogue_whatever_the_layout_of_the_residual) {
  const NoGrad quiet;
  for (const int64_t groups : {1, 16})
    for (const bool last : {false, true})
      for (const bool last_residual : {false, true}) {
        const Tensors in{digits({2, 16, 9, 8}, 1), digits({32, 16 / groups, 3, 3}, 2), digits({32}, 3), digits({2, 32, 9, 8}, 4)};
        ConvAttrs a;
        a.groups = int32_t(groups);
        a.padding[0] = a.padding[1] = 1;
        for (const Activation f : {Activation::relu, Activation::relu6}) {
          a.activation = f;
          Tensors there;
          for (const Tensor& x : in) there.push_back(x.to(GetParam()).to(Device(Device::cuda)));
          if (last) there[0] = channels_last(there[0]);
          if (last_residual) there[3] = channels_last(there[3]);
          const Tensor y = convolution(there[0], there[1], there[2], a, there[3]);
          EXPECT_TRUE(same(y.to(Device(Device::cpu)), convolution(in[0], in[1], in[2], a, in[3]).to(GetParam())))
              << groups << " groups, " << last << last_residual << ", " << int(f);
        }
      }
}

TEST_P(CudaConv, many_positions_are_summed_in_parts) {
  Geometry g{"many positions", 3, 8, 8, {33, 40}, {3, 3}, {1, 1}, {1, 1}, {1, 1}};
  expect_same(g, GetParam(), false, false, false);
  g.n = 5, g.ci = g.co = g.groups = 4;  // more than 16 positions for each of the 256 threads of a weight
  g.products = g.halves = "direct direct direct";
  expect_same(g, GetParam(), false, false, false);
  expect_same(g, GetParam(), true, false, false);
}

INSTANTIATE_TEST_SUITE_P(Types, CudaConv, testing::Values(f32, f64, f16, bf16), [](const auto& i) { return std::string(name_of(i.param)); });

}  // namespace
}  // namespace graft

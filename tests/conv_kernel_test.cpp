// Convolution kernels: every candidate under every instruction set against the definition, in f64.
#include "graft/kernels/conv/attrs.h"
#include "kernel_arrays.h"

namespace graft::test {
namespace {

struct Case {
  const char* name;
  int64_t n, ci, co;
  std::vector<int64_t> in, k;
  std::vector<int32_t> stride, pad, dilation;
  int32_t groups = 1;
  int64_t extra = 0;  // output positions beyond those of symmetric padding ("same" with an odd total)
};
const Case kCases[] = {
    {"one element", 1, 1, 1, {1}, {1}, {1}, {0}, {1}},
    {"1d", 2, 3, 5, {17}, {3}, {1}, {1}, {1}},
    {"1d dilated, strided", 1, 8, 9, {40}, {4}, {3}, {2}, {2}},
    {"pointwise", 2, 7, 9, {5, 6}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
    {"pointwise strided", 2, 16, 33, {9, 8}, {1, 1}, {2, 2}, {0, 0}, {1, 1}},
    {"3x3 of 3 channels", 1, 3, 16, {11, 13}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"3x3 of 16", 3, 16, 16, {8, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"3x3 of 32, big", 2, 32, 48, {15, 17}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"3x3 of 16, many tiles", 4, 16, 32, {20, 20}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"3x3 of 17 and 31", 1, 17, 31, {7, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"3x3 without padding", 2, 8, 7, {6, 5}, {3, 3}, {1, 1}, {0, 0}, {1, 1}},
    {"3x3 stride 2", 2, 16, 32, {8, 9}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {"7x7 stride 2", 1, 3, 20, {21, 20}, {7, 7}, {2, 2}, {3, 3}, {1, 1}},
    {"stride over kernel", 1, 4, 6, {13, 13}, {2, 2}, {3, 3}, {0, 0}, {1, 1}},
    {"unequal everything", 2, 5, 4, {9, 14}, {2, 5}, {2, 1}, {1, 3}, {3, 2}},
    {"padding over kernel", 1, 2, 3, {3, 3}, {2, 2}, {1, 1}, {4, 4}, {1, 1}},
    {"same, even kernel", 1, 4, 4, {6, 7}, {2, 4}, {1, 1}, {0, 1}, {1, 1}, 1, 1},
    {"groups", 2, 12, 18, {6, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 3},
    {"groups of 16, strided", 2, 32, 64, {9, 9}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, 2},
    {"depthwise", 2, 19, 19, {7, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 19},
    {"depthwise stride 2", 1, 32, 32, {9, 12}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, 32},
    {"depthwise 5x5 dilated", 1, 8, 8, {12, 12}, {5, 5}, {1, 1}, {4, 4}, {2, 2}, 8},
    {"channel multiplier", 1, 6, 12, {7, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 6},
    {"3d", 1, 4, 6, {4, 5, 6}, {3, 2, 3}, {1, 1, 1}, {1, 0, 1}, {1, 1, 1}},
    {"3d strided, dilated", 2, 16, 17, {6, 7, 8}, {2, 3, 3}, {2, 1, 2}, {1, 2, 1}, {1, 2, 1}},
    {"wide map", 1, 8, 8, {3, 150}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"1x1 map", 5, 40, 24, {1, 1}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"no images", 0, 3, 4, {5, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"no input channels", 2, 0, 4, {5, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"no output channels", 2, 3, 0, {5, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
};

struct Shapes { std::vector<int64_t> x, y, w; };
Shapes shapes(const Case& c) {
  Shapes s{.x = {c.n, c.ci}, .y = {c.n, c.co}, .w = {c.co, c.ci / c.groups}};
  for (size_t d = 0; d < c.in.size(); ++d) {
    const int64_t room = c.in[d] + 2 * c.pad[d] - c.dilation[d] * (c.k[d] - 1) - 1;
    s.x.push_back(c.in[d]);
    s.y.push_back(room / c.stride[d] + 1 + c.extra);
    s.w.push_back(c.k[d]);
  }
  return s;
}
ConvAttrs attrs(const Case& c) {
  ConvAttrs a;
  a.rank = uint8_t(c.in.size());
  a.groups = c.groups;
  for (size_t d = 0; d < c.in.size(); ++d) {
    a.stride[d] = c.stride[d];
    a.padding[d] = c.pad[d];
    a.dilation[d] = c.dilation[d];
  }
  return a;
}

// Calls f(index in x, in w, in y), row-major, for every product of the definition.
template <class F> void for_each_product(const Case& c, const Shapes& s, F f) {
  const int rank = int(c.in.size());
  const auto points = [&](const std::vector<int64_t>& v) {
    return std::accumulate(v.begin() + 2, v.end(), int64_t{1}, std::multiplies<>());
  };
  const int64_t cig = c.ci / c.groups, cog = c.co / c.groups, py = points(s.y), pw = points(s.w), px = points(s.x);
  for (int64_t p = 0; p < py; ++p)
    for (int64_t t = 0; t < pw; ++t) {
      int64_t at = 0, scale = 1, rest_p = p, rest_t = t;
      bool inside = true;
      for (int d = rank - 1; d >= 0; --d) {
        const auto u = size_t(d);
        const int64_t i = rest_p % s.y[2 + u] * c.stride[u] - c.pad[u] + rest_t % c.k[u] * c.dilation[u];
        rest_p /= s.y[2 + u];
        rest_t /= c.k[u];
        inside = inside && i >= 0 && i < c.in[u];
        at += i * scale;
        scale *= c.in[u];
      }
      if (!inside) continue;
      for (int64_t n = 0; n < c.n; ++n)
        for (int64_t o = 0; o < c.co; ++o)
          for (int64_t i = 0; i < cig; ++i)
            f((n * c.ci + o / cog * cig + i) * px + at, (o * cig + i) * pw + t, (n * c.co + o) * py + p);
    }
}

// Operands, rounded to T, and the three results, all dense.
template <class T> struct Expected {
  std::vector<double> x, y, w, conv, dx, dw;
  explicit Expected(const Case& c) {
    const Shapes s = shapes(c);
    const auto filled = [](const std::vector<int64_t>& shape, int seed) {
      Array<T> a(shape, Layout::contiguous);
      a.fill(seed);
      std::vector<double> v(size_t(a.view.numel));
      for (size_t i = 0; i < v.size(); ++i) v[i] = a.value(int64_t(i));
      return v;
    };
    x = filled(s.x, 1);
    y = filled(s.y, 2);
    w = filled(s.w, 3);
    dx.resize(x.size());
    conv.resize(y.size());
    dw.resize(w.size());
    for_each_product(c, s, [&](int64_t i, int64_t k, int64_t o) {
      conv[size_t(o)] += x[size_t(i)] * w[size_t(k)];
      dx[size_t(i)] += y[size_t(o)] * w[size_t(k)];
      dw[size_t(k)] += x[size_t(i)] * y[size_t(o)];
    });
  }
};

template <class T> void check_case(const Case& c, const Expected<T>& e, Layout lx, Layout ly, Layout lw) {
  SCOPED_TRACE(c.name);
  SCOPED_TRACE(testing::Message() << "layouts " << int(lx) << int(ly) << int(lw) << " dtype " << name_of(dtype_v<T>));
  const Shapes s = shapes(c);
  Array<T> x(s.x, lx), y(s.y, ly), w(s.w, lw), got_y(s.y, ly), got_x(s.x, lx), got_w(s.w, lw);
  Array<T> bias({c.co}, Layout::gaps), bias_t({c.ci}, Layout::contiguous);
  x.fill(1);
  y.fill(2);
  w.fill(3);
  bias.fill(4);
  bias_t.fill(5);
  const std::vector<double>&conv = e.conv, &dx = e.dx, &dw = e.dw;
  const auto with_bias = [](std::vector<double> v, const Array<T>& b, int64_t n) {
    const int64_t per = v.empty() ? 1 : int64_t(v.size()) / std::max<int64_t>(1, n * b.view.numel);
    for (size_t i = 0; i < v.size(); ++i) v[i] += b.value(int64_t(i) / per % b.view.numel);
    return v;
  };
  const auto run = [&](const char* op, std::vector<const View*> in, Array<T>& out, const ConvAttrs& a,
                       const std::vector<double>& expected) {
    const std::vector<const View*> outs{&out.view};
    for_each_kernel(op, dtype_v<T>, {.in = in, .out = outs, .attrs = &a}, [&] {
      EXPECT_LT(difference(out, expected), tolerance<T>());
      EXPECT_TRUE(out.guards_intact());
      for (int64_t i = 0; i < out.view.numel; ++i) out[i] = T(99);
    });
  };
  ConvAttrs a = attrs(c);
  run("conv_forward", {&x.view, &w.view}, got_y, a, conv);
  run("conv_backward_data", {&y.view, &w.view}, got_x, a, dx);
  run("conv_backward_weight", {&y.view, &x.view}, got_w, a, dw);
  a.has_bias = true;
  run("conv_forward", {&x.view, &w.view, &bias.view}, got_y, a, with_bias(conv, bias, c.n));
  a.has_residual = true;
  a.activation = Activation::relu;
  std::vector<double> fused = with_bias(conv, bias, c.n);
  for (size_t i = 0; i < fused.size(); ++i) fused[i] = std::max(0.0, fused[i] + y.value(int64_t(i)));
  run("conv_forward", {&x.view, &w.view, &bias.view, &y.view}, got_y, a, fused);

  ConvAttrs t = attrs(c);  // the same sums with the roles of x and y exchanged
  t.transposed = true;
  run("conv_backward_data", {&x.view, &w.view}, got_y, t, conv);
  run("conv_backward_weight", {&x.view, &y.view}, got_w, t, dw);
  t.has_bias = true;
  run("conv_forward", {&y.view, &w.view, &bias_t.view}, got_x, t, with_bias(dx, bias_t, c.n));
}

class ConvCase : public testing::TestWithParam<int> {};

TEST_P(ConvCase, f32_in_every_layout_equals_the_definition) {
  const Case& c = kCases[GetParam()];
  const Expected<float> e(c);
  for (Layout lx : kLayouts)
    for (Layout ly : kLayouts) check_case(c, e, lx, ly, Layout::contiguous);
  check_case(c, e, Layout::channels_last, Layout::channels_last, Layout::channels_last);
  check_case(c, e, Layout::contiguous, Layout::contiguous, Layout::gaps);
}
template <class T> void check_some_layouts(const Case& c) {
  const Expected<T> e(c);
  check_case(c, e, Layout::contiguous, Layout::contiguous, Layout::contiguous);
  check_case(c, e, Layout::channels_last, Layout::gaps, Layout::gaps);
}
TEST_P(ConvCase, f64_and_16_bit_types_equal_the_definition) {
  check_some_layouts<double>(kCases[GetParam()]);
  check_some_layouts<Half>(kCases[GetParam()]);
  check_some_layouts<BFloat16>(kCases[GetParam()]);
}
INSTANTIATE_TEST_SUITE_P(Conv, ConvCase, testing::Range(0, int(std::size(kCases))));

}  // namespace
}  // namespace graft::test

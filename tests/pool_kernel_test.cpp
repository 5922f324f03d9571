// Pooling kernels against the definition, in f64, and PyTorch's rules at the edges.
#include "graft/kernels/pool/attrs.h"
#include <limits>
#include "kernel_arrays.h"

namespace graft::test {
namespace {

struct Case {
  const char* name;
  int64_t n, c;
  std::vector<int64_t> in;
  std::vector<int32_t> k, stride, pad, dilation;
  bool ceil = false, include_pad = true;
  int32_t divisor = 0;
};
const Case kCases[] = {
    {"1d", 2, 3, {9}, {3}, {2}, {1}, {1}},
    {"2x2", 2, 7, {8, 8}, {2, 2}, {2, 2}, {0, 0}, {1, 1}},
    {"2x2 of 100 channels", 1, 100, {5, 7}, {2, 2}, {2, 2}, {0, 0}, {1, 1}},
    {"3x3 stride 2 padded", 1, 64, {7, 8}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {"padding excluded", 2, 8, {7, 5}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, false, false},
    {"ceil", 1, 9, {6, 7}, {3, 2}, {2, 2}, {1, 0}, {1, 1}, true},
    {"ceil, padding excluded", 1, 9, {6, 8}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, true, false},
    {"ceil drops a window in the padding", 1, 2, {4, 3}, {2, 2}, {3, 3}, {1, 1}, {1, 1}, true},
    {"divisor", 1, 3, {6, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, false, true, 5},
    {"dilated", 1, 5, {9, 10}, {3, 2}, {1, 2}, {1, 1}, {2, 3}},
    {"3d", 2, 8, {4, 5, 6}, {2, 2, 3}, {2, 1, 2}, {0, 1, 1}, {1, 1, 1}},
    {"no images", 0, 3, {4, 4}, {2, 2}, {2, 2}, {0, 0}, {1, 1}},
    {"no channels", 2, 0, {4, 4}, {2, 2}, {2, 2}, {0, 0}, {1, 1}},
};
PoolAttrs attrs(const Case& c) {
  PoolAttrs a;
  a.rank = uint8_t(c.in.size());
  a.ceil_mode = c.ceil;
  a.count_include_pad = c.include_pad;
  a.divisor_override = c.divisor;
  for (size_t d = 0; d < c.in.size(); ++d) {
    a.kernel[d] = c.k[d];
    a.stride[d] = c.stride[d];
    a.padding[d] = c.pad[d];
    a.dilation[d] = c.dilation[d];
  }
  return a;
}

using Points = std::vector<std::vector<int64_t>>;  // per output position, input positions, -1 in the padding

int64_t product(const std::vector<int64_t>& v) {
  return std::accumulate(v.begin(), v.end(), int64_t{1}, std::multiplies<>());
}
// Positions of every window, the padding included up to its size and no further.
Points sliding(const Case& c, const std::vector<int64_t>& out, bool dilate) {
  Points all(size_t(product(out)));
  const int rank = int(out.size());
  for (size_t o = 0; o < all.size(); ++o) {
    const int64_t taps = product({c.k.begin(), c.k.end()});
    for (int64_t t = 0; t < taps; ++t) {
      int64_t rest_o = int64_t(o), rest_t = t, at = 0, scale = 1;
      bool inside = true, counted = true;
      for (int d = rank - 1; d >= 0; --d) {
        const auto u = size_t(d);
        const int64_t i = rest_o % out[u] * c.stride[u] - c.pad[u] + rest_t % c.k[u] * (dilate ? c.dilation[u] : 1);
        rest_o /= out[u];
        rest_t /= c.k[u];
        inside = inside && i >= 0 && i < c.in[u];
        counted = counted && i < c.in[u] + c.pad[u];
        at += i * scale;
        scale *= c.in[u];
      }
      if (counted) all[o].push_back(inside ? at : -1);
    }
  }
  return all;
}
Points adaptive(const std::vector<int64_t>& in, const std::vector<int64_t>& out) {
  Points all(size_t(product(out)));
  const auto start = [](int64_t o, int64_t i, int64_t n) { return int64_t(std::floor(double(o) * double(i) / double(n))); };
  const auto end = [](int64_t o, int64_t i, int64_t n) { return int64_t(std::ceil(double(o + 1) * double(i) / double(n))); };
  for (size_t o = 0; o < all.size(); ++o)
    for (int64_t p = 0; p < product(in); ++p) {
      int64_t rest_o = int64_t(o), rest_p = p;
      bool inside = true;
      for (size_t d = in.size(); d-- > 0; rest_o /= out[d], rest_p /= in[d]) {
        const int64_t a = rest_o % out[d], i = rest_p % in[d];
        inside = inside && i >= start(a, in[d], out[d]) && i < end(a, in[d], out[d]);
      }
      if (inside) all[o].push_back(p);
    }
  return all;
}

template <class T>
void check(const std::string& name, const Points& max_points, const Points& avg_points, const std::vector<int64_t>& xs,
           const std::vector<int64_t>& max_shape, const std::vector<int64_t>& avg_shape, bool is_adaptive,
           const PoolAttrs& a, Layout layout) {
  SCOPED_TRACE(testing::Message() << name << " layout " << int(layout) << " dtype " << name_of(dtype_v<T>));
  const int64_t planes = xs[0] * xs[1], px = product({xs.begin() + 2, xs.end()});
  const std::string prefix = is_adaptive ? "adaptive_" : "";
  Array<T> x(xs, layout), dx(xs, layout);
  x.fill(1);
  if (x.view.numel > 3) x[2] = x[1];  // of equals the first
  {
    Array<T> y(max_shape, layout), g(max_shape, layout);
    Array<int64_t> at(max_shape, Layout::contiguous);
    g.fill(2);
    std::vector<double> expected(size_t(y.view.numel)), where(size_t(y.view.numel)), grad(size_t(x.view.numel));
    const auto po = int64_t(max_points.size());
    for (int64_t i = 0; i < planes * po; ++i) {
      int64_t best = -1;
      for (int64_t p : max_points[size_t(i % po)])
        if (p >= 0 && (best < 0 || x.value(i / po * px + p) > x.value(i / po * px + best))) best = p;
      where[size_t(i)] = double(best);
      expected[size_t(i)] = x.value(i / po * px + best);
      grad[size_t(i / po * px + best)] += g.value(i);
    }
    std::vector<const View*> in{&x.view}, out{&y.view, &at.view};
    for_each_kernel((prefix + "max_pool").c_str(), dtype_v<T>, {.in = in, .out = out, .attrs = &a}, [&] {
      EXPECT_EQ(difference(y, expected), 0);
      EXPECT_EQ(difference(at, where), 0);
      EXPECT_TRUE(y.guards_intact());
      EXPECT_TRUE(at.guards_intact());
    });
    in = {&g.view, &at.view};
    out = {&dx.view};
    for_each_kernel("max_pool_backward", dtype_v<T>, {.in = in, .out = out, .attrs = &a}, [&] {
      EXPECT_LT(difference(dx, grad), tolerance<T>());
      EXPECT_TRUE(dx.guards_intact());
    });
  }
  Array<T> y(avg_shape, layout), g(avg_shape, layout);
  g.fill(3);
  std::vector<double> expected(size_t(y.view.numel)), grad(size_t(x.view.numel));
  const auto po = int64_t(avg_points.size());
  for (int64_t i = 0; i < planes * po; ++i) {
    const auto& points = avg_points[size_t(i % po)];
    const auto real = std::count_if(points.begin(), points.end(), [](int64_t p) { return p >= 0; });
    const double divisor = a.divisor_override ? a.divisor_override : double(a.count_include_pad ? points.size() : size_t(real));
    for (int64_t p : points) {
      if (p < 0) continue;
      expected[size_t(i)] += x.value(i / po * px + p) / divisor;
      grad[size_t(i / po * px + p)] += g.value(i) / divisor;
    }
  }
  std::vector<const View*> in{&x.view}, out{&y.view};
  for_each_kernel((prefix + "avg_pool").c_str(), dtype_v<T>, {.in = in, .out = out, .attrs = &a}, [&] {
    EXPECT_LT(difference(y, expected), tolerance<T>());
    EXPECT_TRUE(y.guards_intact());
  });
  in = {&g.view};
  out = {&dx.view};
  for_each_kernel((prefix + "avg_pool_backward").c_str(), dtype_v<T>, {.in = in, .out = out, .attrs = &a}, [&] {
    EXPECT_LT(difference(dx, grad), tolerance<T>());
    EXPECT_TRUE(dx.guards_intact());
  });
}
template <class... A> void check_all(const A&... args) {
  for (Layout layout : kLayouts) {
    check<float>(args..., layout);
    check<double>(args..., layout);
    check<Half>(args..., layout);
    check<BFloat16>(args..., layout);
  }
}

TEST(PoolKernels, windows_equal_the_definition) {
  for (const Case& c : kCases) {
    PoolAttrs a = attrs(c), without_dilation = a;
    for (int32_t& d : without_dilation.dilation) d = 1;
    std::vector<int64_t> x{c.n, c.c}, max_out, avg_out;
    for (size_t d = 0; d < c.in.size(); ++d) {
      max_out.push_back(pool_size(a, int(d), c.in[d]));
      avg_out.push_back(pool_size(without_dilation, int(d), c.in[d]));
    }
    x.insert(x.end(), c.in.begin(), c.in.end());
    const auto shape = [&](std::vector<int64_t> s) {
      s.insert(s.begin(), {c.n, c.c});
      return s;
    };
    check_all(c.name, sliding(c, max_out, true), sliding(c, avg_out, false), x, shape(max_out), shape(avg_out), false, a);
  }
}

TEST(PoolKernels, adaptive_windows_equal_the_definition) {
  const std::vector<std::pair<std::vector<int64_t>, std::vector<int64_t>>> cases{
      {{7}, {3}}, {{8, 8}, {1, 1}}, {{7, 5}, {3, 5}}, {{3, 4}, {7, 5}}, {{4, 5, 6}, {2, 3, 4}}};
  for (const auto& [in, out] : cases) {
    PoolAttrs a;
    a.rank = uint8_t(in.size());
    a.adaptive = true;
    std::vector<int64_t> x{2, 9}, y{2, 9};
    x.insert(x.end(), in.begin(), in.end());
    y.insert(y.end(), out.begin(), out.end());
    const Points points = adaptive(in, out);
    check_all("adaptive", points, points, x, y, y, true, a);
  }
}

// Recorded from torch.nn.functional, 2.x.
TEST(PoolKernels, output_sizes_are_those_of_torch) {
  const auto size = [](int64_t in, int32_t k, int32_t s, int32_t p, int32_t d, bool ceil) {
    PoolAttrs a;
    a.kernel[0] = k;
    a.stride[0] = s;
    a.padding[0] = p;
    a.dilation[0] = d;
    a.ceil_mode = ceil;
    return pool_size(a, 0, in);
  };
  EXPECT_EQ(size(6, 3, 2, 1, 1, false), 3);
  EXPECT_EQ(size(6, 3, 2, 1, 1, true), 4);
  EXPECT_EQ(size(4, 2, 3, 1, 1, true), 2);
  EXPECT_EQ(size(5, 2, 3, 1, 1, true), 2);  // a third window would start at 6, in the high padding
  EXPECT_EQ(size(10, 3, 2, 0, 3, false), 2);
  EXPECT_EQ(size(10, 3, 2, 0, 3, true), 3);
  EXPECT_EQ(size(2, 3, 1, 0, 1, false), 0);
}

TEST(PoolKernels, max_passes_nan_on_and_points_at_the_last_of_them) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (Layout layout : kLayouts) {
    Array<float> x({1, 2, 4}, layout), y({1, 2, 1}, layout);
    Array<int64_t> at({1, 2, 1}, layout);
    const float values[] = {1, nan, 9, 0, nan, 5, nan, 7};
    for (int i = 0; i < 8; ++i) x[i] = values[i];
    PoolAttrs a;
    a.rank = 1;
    a.kernel[0] = 4;
    const std::vector<const View*> in{&x.view}, out{&y.view, &at.view};
    for_each_kernel("max_pool", f32, {.in = in, .out = out, .attrs = &a}, [&] {
      EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[1]));
      EXPECT_EQ(at[0], 1);
      EXPECT_EQ(at[1], 2);
    });
  }
}

TEST(PoolKernels, max_of_a_window_of_minus_infinity_points_at_its_first_position) {
  Array<float> x({1, 1, 4}, Layout::contiguous), y({1, 1, 2}, Layout::contiguous);
  Array<int64_t> at({1, 1, 2}, Layout::contiguous);
  for (int i = 0; i < 4; ++i) x[i] = -std::numeric_limits<float>::infinity();
  PoolAttrs a;
  a.rank = 1;
  a.kernel[0] = a.stride[0] = 2;
  const std::vector<const View*> in{&x.view}, out{&y.view, &at.view};
  for_each_kernel("max_pool", f32, {.in = in, .out = out, .attrs = &a}, [&] {
    EXPECT_EQ(y[1], -std::numeric_limits<float>::infinity());
    EXPECT_EQ(at[0], 0);
    EXPECT_EQ(at[1], 2);
  });
}

}  // namespace
}  // namespace graft::test

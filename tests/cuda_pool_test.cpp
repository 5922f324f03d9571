// Poolings and resampling on cuda in geometries that the small op cases do not reach, against cpu: windows that a group of threads
// shares, ties and NaN, layouts, three dimensions.
#include <cmath>
#include "cuda_device.h"
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/kernels/pool/attrs.h"

namespace graft {
namespace {

class CudaPool : public OnCuda<testing::Test> {};

Tensor on_cuda(const Tensor& x) { return x.to(Device(Device::cuda)); }
Tensor waves(const Shape& shape, DType t = f64) { return sin(arange(int64_t(numel_of(shape)), f64) * 1.7 + 0.3).reshape(shape).to(t); }
Tensor channels_last(const Tensor& x) {
  if (x.dim() < 4) return x.transpose(1, -1).contiguous().transpose(1, -1);
  return x.to(x.dim() == 4 ? MemoryFormat::channels_last : MemoryFormat::channels_last_3d);
}
void expect_close(const Tensor& there, const Tensor& here, double tolerance) {
  const Tensor got = there.to(Device(Device::cpu));
  ASSERT_EQ(got.shape(), here.shape());
  ASSERT_EQ(got.dtype(), here.dtype());
  if (here.numel() == 0) return;
  EXPECT_LE(max(abs(got.to(f64) - here.to(f64))).item<double>(), tolerance);
}
// The value and the gradient of f, for contiguous and channels-last memory of what comes in and of what comes back.
template <class F> void expect_same(const Tensor& x, F f, double tolerance) {
  const auto run = [&](Tensor leaf, bool last_back) {
    leaf = leaf.detach().requires_grad_();
    const Tensor y = f(leaf), g = waves(y.shape(), y.dtype()).to(y.device());
    return Tensors{y, grad({y}, {leaf}, {.grad_outputs = {last_back ? channels_last(g) : g}})[0]};
  };
  const Tensors here = run(x, false);
  for (const auto& [last, last_back] : {std::pair{false, false}, {true, false}, {true, true}}) {
    SCOPED_TRACE(concat(last ? "channels inside" : "channels outside", last_back ? ", and of the gradient" : ""));
    const Tensors there = run(last ? channels_last(on_cuda(x)) : on_cuda(x), last_back);
    for (size_t i = 0; i < 2; ++i) expect_close(there[i], here[i], tolerance);
  }
}

struct Case {
  const char* name;
  Shape x;
  std::array<int32_t, 3> k, stride, pad, dilation;
  bool ceil = false, count_pad = true;
  int32_t divisor = 0;
};
const Case kCases[] = {
    {"3x3 stride 2, many blocks", {3, 10, 17, 18}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {"a large window", {2, 5, 40, 41}, {17, 19}, {7, 5}, {8, 9}, {1, 1}},
    {"of 16 channels", {3, 16, 17, 18}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {"of 40 channels, padding not counted", {2, 40, 9, 7}, {3, 2}, {1, 3}, {1, 1}, {1, 1}, true, false},
    {"a large window of 8 channels", {2, 8, 40, 41}, {17, 19}, {7, 5}, {8, 9}, {2, 1}},
    {"3d of 8 channels", {2, 8, 5, 6, 7}, {2, 3, 2}, {2, 1, 3}, {1, 1, 1}, {2, 1, 1}},
    {"1d of 24 channels", {3, 24, 50}, {3}, {2}, {1}, {1}},
    {"a large window, padding not counted", {2, 5, 40, 41}, {17, 19}, {7, 5}, {8, 9}, {1, 1}, true, false},
    {"dilated", {2, 5, 21, 22}, {3, 4}, {1, 2}, {1, 2}, {3, 2}},
    {"3d", {2, 9, 8, 9, 10}, {2, 3, 4}, {2, 1, 3}, {1, 1, 2}, {1, 1, 1}},
    {"3d, one window", {2, 9, 8, 9, 10}, {8, 9, 10}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}},
    {"1d, ceil mode, divisor", {2, 9, 50}, {3}, {4}, {1}, {1}, true, true, 7},
    {"no images", {0, 3, 8, 8}, {2, 2}, {2, 2}, {0, 0}, {1, 1}},
};

TEST_F(CudaPool, windows_of_every_size_and_layout) {
  for (const Case& c : kCases) {
    PoolAttrs a;
    a.rank = uint8_t(c.x.rank() - 2);
    a.ceil_mode = c.ceil, a.count_include_pad = c.count_pad;
    for (int d = 0; d < a.rank; ++d)
      a.kernel[d] = c.k[size_t(d)], a.stride[d] = c.stride[size_t(d)], a.padding[d] = c.pad[size_t(d)], a.dilation[d] = c.dilation[size_t(d)];
    for (const DType t : {f64, f32, f16, bf16}) {
      SCOPED_TRACE(concat(c.name, " ", name_of(t)));
      const double tolerance = t == f64 ? 1e-13 : t == f32 ? 2e-6 : t == f16 ? 4e-3 : 3e-2;
      expect_same(waves(c.x, t), [&](const Tensor& x) { return max_pool(x, a).values; }, tolerance);
      PoolAttrs b = a;
      std::fill_n(b.dilation, 3, 1);
      b.divisor_override = c.divisor;
      expect_same(waves(c.x, t), [&](const Tensor& x) { return avg_pool(x, b); }, tolerance);
    }
  }
}

TEST_F(CudaPool, adaptive_windows) {
  const std::pair<Shape, Shape> cases[] = {
      {{2, 9, 7, 8}, {3, 5}}, {{2, 9, 33, 40}, {1, 1}}, {{2, 8, 33, 40}, {1, 1}}, {{2, 24, 7, 8}, {3, 5}}, {{2, 9, 3, 4}, {7, 5}}, {{2, 9, 31}, {4}}, {{2, 9, 5, 6, 7}, {2, 3, 9}}, {{0, 9, 5}, {2}}};
  for (const auto& [in, out] : cases) {
    SCOPED_TRACE(concat(in, " to ", out));
    expect_same(waves(in), [&](const Tensor& x) { return adaptive_avg_pool(x, out); }, 1e-13);
    expect_same(waves(in), [&](const Tensor& x) { return adaptive_max_pool(x, out).values; }, 0);
  }
}

TEST_F(CudaPool, of_equals_the_first_of_nan_the_last_and_of_minus_infinity_the_first) {
  for (const int64_t channels : {3, 8}) {  // one by one, and in packs
    const Tensor x = (remainder(arange(2 * channels * 30 * 20, i64) * 7, 5) - 2).reshape({2, channels, 30, 20}).to(f32);
    for (int64_t i = 0; i < 40; ++i) x.mutable_data<float>()[i * 37] = i % 2 ? NAN : -INFINITY;
    x.narrow(0, 1, 1).narrow(1, 1, 1).fill_(-INFINITY);
    for (const int32_t k : {2, 10}) {  // a thread, and a group of threads
      PoolAttrs a;
      a.kernel[0] = a.kernel[1] = a.stride[0] = a.stride[1] = k;
      for (const bool last : {false, true}) {
        const MaxResult here = max_pool(x, a), there = max_pool(last ? channels_last(on_cuda(x)) : on_cuda(x), a);
        EXPECT_TRUE(all(eq(there.indices.to(Device(Device::cpu)), here.indices)).item<bool>());
        const Tensor v = there.values.to(Device(Device::cpu));
        EXPECT_TRUE(all(logical_or(eq(v, here.values), logical_and(isnan(v), isnan(here.values)))).item<bool>());
      }
    }
  }
}
TEST_F(CudaPool, channels_that_do_not_begin_at_16_bytes) {
  const int64_t n = 2 * 6 * 7 * 16;
  const Tensor odd = empty({n + 1}, {f32, Device(Device::cuda)}).narrow(0, 1, n).reshape({2, 6, 7, 16}).permute({0, 3, 1, 2});
  const Tensor x = waves({2, 16, 6, 7}, f32);
  odd.copy_(x);
  const PoolAttrs a{.kernel = {3, 3, 1}, .stride = {2, 2, 1}, .padding = {1, 1, 0}};
  expect_close(max_pool(odd, a).values, max_pool(x, a).values, 0);
  expect_close(avg_pool(odd, a), avg_pool(x, a), 2e-6);
}

TEST_F(CudaPool, resampling_up_and_down) {
  const Tensor x = waves({3, 5, 23, 31});
  const auto check = [&](const InterpolateOptions& o) {
    SCOPED_TRACE(concat(o.mode, " to ", o.size[0], " x ", o.size[1]));
    expect_same(x, [&](const Tensor& t) { return interpolate(t, o); }, 1e-13);
    expect_same(x.to(f16), [&](const Tensor& t) { return interpolate(t, o); }, 2e-2);
  };
  for (const std::vector<int64_t>& size : {std::vector<int64_t>{7, 9}, {50, 40}, {23, 1}}) {
    for (const char* mode : {"nearest", "area", "bilinear", "bicubic"}) check({.size = size, .mode = mode});
    check({.size = size, .mode = "bilinear", .align_corners = true});
  }
}

}  // namespace
}  // namespace graft

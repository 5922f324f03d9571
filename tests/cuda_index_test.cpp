// Writing and reading by index on cuda, and elements placed elsewhere, at sizes that the small op cases do not reach: many
// items for one slot, several blocks, odd strides, every dtype. Held against the cpu, whose values are recorded elsewhere; values
// are small integers, whose sums are exact in every order.
#include "cuda_device.h"
#include "graft/core/ops.h"

namespace graft {
namespace {

const Device kCuda(Device::cuda), kCpu(Device::cpu);

bool same(const Tensor& cuda, const Tensor& cpu) {
  const Tensor a = cuda.to(kCpu);
  return a.dtype() == cpu.dtype() && a.shape() == cpu.shape() && all(eq(a, cpu)).item<bool>();
}
// Integers from low to below high.
Tensor digits(const Shape& shape, int64_t low, int64_t high, int64_t seed, DType t = i64) {
  const Tensor i = arange(int64_t(numel_of(shape)), i64);
  return (remainder(i * i * 7919 + i * (seed * 31 + 17) + seed, high - low) + low).reshape(shape).to(t);
}

class CudaIndex : public OnCuda<testing::TestWithParam<DType>> {};

TEST_P(CudaIndex, many_items_for_one_slot) {
  const DType t = GetParam();
  for (const char* reduce : {"", "sum", "prod", "amin", "amax"})
    for (const int64_t n : {1, 40, 1500}) {
      SCOPED_TRACE(concat("reduce '", reduce, "', ", n, " items"));
      const bool product = std::string(reduce) == "prod";
      const Tensor x = digits({3, 5}, product ? 1 : 0, 2, 1, t), index = digits({3, n}, 0, 5, 2);
      const Tensor src = product ? (eq(digits({3, n}, 0, 40, 3), 3).to(i64) + 1).to(t) : digits({3, n}, 0, 3, 3, t);
      const Tensor y = *reduce ? scatter_reduce(x, 1, index, src, reduce) : scatter(x, 1, index, src);
      const Tensor i = index.to(kCuda), s = src.to(kCuda);
      EXPECT_TRUE(same(*reduce ? scatter_reduce(x.to(kCuda), 1, i, s, reduce) : scatter(x.to(kCuda), 1, i, s), y));
      const Tensor strided = x.to(kCuda).t().contiguous().t(), turned = s.t().contiguous().t();
      EXPECT_TRUE(same(*reduce ? scatter_reduce(strided, 1, i, turned, reduce) : scatter(strided, 1, i, turned), y));
    }
}

TEST_P(CudaIndex, several_index_tensors_and_slices) {
  const DType t = GetParam();
  const Tensor rows = digits({50, 1}, -9, 9, 4), columns = digits({30}, 0, 5, 5), values = digits({50, 30, 6}, 0, 2, 6, t);
  for (const bool accumulate : {false, true}) {
    SCOPED_TRACE(accumulate);
    const auto put = [&](Device d, bool turned) {
      Tensor x = zeros({9, 6, 5}, {t, d});
      if (turned) x = zeros({5, 6, 9}, {t, d}).transpose(0, 2);
      x.index_put_({rows.to(d), Slice(), columns.to(d)}, values.to(d), accumulate);
      return x;
    };
    EXPECT_TRUE(same(put(kCuda, false), put(kCpu, false)));
    EXPECT_TRUE(same(put(kCuda, true), put(kCpu, false)));
    const auto add_rows = [&](Device d) {
      Tensor x = zeros({4, 300}, {t, d}).narrow(1, 10, 280);
      const Tensor which = digits({70}, 0, 4, 8).to(d);
      x.index_put_({which}, digits({70, 280}, 0, 2, 9, t).to(d), accumulate);
      return x;
    };
    EXPECT_TRUE(same(add_rows(kCuda), add_rows(kCpu)));
  }
}

TEST_P(CudaIndex, nonzero_of_several_tiles_and_odd_strides) {
  const DType t = GetParam();
  for (const int64_t n : {1, 255, 4096, 9001}) {
    const Tensor x = digits({n}, 0, 2, n, t);
    EXPECT_TRUE(same(nonzero(x.to(kCuda)), nonzero(x))) << n;
  }
  const Tensor x = digits({40, 30, 5}, 0, 3, 2, t);
  EXPECT_TRUE(same(nonzero(x.to(kCuda).transpose(0, 2)), nonzero(x.transpose(0, 2))));
  EXPECT_EQ(nonzero(zeros({0, 3}, {t, kCuda})).shape(), Shape({0, 2}));
  EXPECT_EQ(nonzero(ones({}, {t, kCuda})).shape(), Shape({1, 0}));
}

TEST_P(CudaIndex, elements_placed_elsewhere) {
  const DType t = GetParam();
  const Tensor x = digits({3, 70, 50}, 0, 9, 1, t);
  const auto check = [&](auto f) {
    const Tensor y = x.to(kCuda), turned = y.transpose(1, 2).contiguous().transpose(1, 2);
    EXPECT_TRUE(same(f(y), f(x)));
    EXPECT_TRUE(same(f(turned), f(x)));
  };
  check([](const Tensor& v) { return v.transpose(1, 2).contiguous(); });
  check([](const Tensor& v) { return v.permute({2, 0, 1}).contiguous(); });
  check([](const Tensor& v) { return v.permute({2, 1, 0}).contiguous(); });
  check([](const Tensor& v) { return v.narrow(1, 3, 64).narrow(2, 1, 33).transpose(1, 2).contiguous(); });
  check([](const Tensor& v) {
    const Tensor y = zeros({3, 50, 70}, v.options());
    y.transpose(1, 2).copy_(v);
    return y;
  });
  check([](const Tensor& v) { return flip(v, {0, 2}); });
  check([](const Tensor& v) { return roll(v, {17, -3}, {1, 2}); });
  check([](const Tensor& v) { return roll(v, {1234}, {}); });
  for (const int64_t diagonal : {-80, -3, 0, 5, 60}) {
    SCOPED_TRACE(diagonal);
    check([=](const Tensor& v) { return tril(v, diagonal); });
    check([=](const Tensor& v) { return triu(v, diagonal); });
    check([=](const Tensor& v) { return v.clone().triu_(diagonal); });
  }
  check([](const Tensor& v) { return pad(v, {2, 3, -1, 4}, "constant", 1); });
  check([](const Tensor& v) { return pad(v, {-20, -30}, "constant", 1); });
  for (const char* mode : {"reflect", "replicate", "circular"}) check([=](const Tensor& v) { return pad(v, {7, 2}, mode); });
}

TEST_P(CudaIndex, sequences_of_every_type) {
  const DType t = GetParam();
  if (t == boolean) return;  // has none
  for (const int64_t n : {1, 100, 127, 256, 300}) {
    SCOPED_TRACE(n);
    const bool wide = size_of(t) > 1;
    if (wide || n <= 127) {
      EXPECT_TRUE(same(arange(0, n, 1, {t, kCuda}), arange(0, n, 1, t)));
    }
    if (wide) {
      EXPECT_TRUE(same(arange(-5, 3 * n - 5, 3, {t, kCuda}), arange(-5, 3 * n - 5, 3, t)));
    }
  }
}

class CudaCopies : public OnCuda<testing::Test> {};
TEST_F(CudaCopies, of_sixteen_bytes_are_turned_as_well) {
  const Tensor x = digits({2, 70, 50}, 0, 99, 1).to(c128) * std::complex<double>(1, -2);
  EXPECT_TRUE(same(x.to(kCuda).transpose(1, 2).contiguous(), x.transpose(1, 2).contiguous()));
  EXPECT_TRUE(same(x.to(kCuda).permute({2, 1, 0}).contiguous(), x.permute({2, 1, 0}).contiguous()));
}

INSTANTIATE_TEST_SUITE_P(Types, CudaIndex, testing::Values(f32, f64, f16, bf16, i64, i32, i16, i8, u8, boolean),
                         [](const auto& i) { return std::string(name_of(i.param)); });

class CudaRows : public OnCuda<testing::TestWithParam<DType>> {};

TEST_P(CudaRows, rows_that_are_used_several_times_are_renormed_once) {
  const Tensor index = digits({40}, 0, 6, 3);
  for (const double p : {1., 2., double(INFINITY)}) {
    Tensor here = digits({9, 700}, -3, 4, 1, GetParam()), there = here.to(kCuda);
    embedding_renorm_(here, index, 2.5, p);
    embedding_renorm_(there, index.to(kCuda), 2.5, p);
    const double tolerance = GetParam() == f64 ? 1e-12 : GetParam() == f32 ? 1e-6 : 1e-3;
    EXPECT_LE(max(abs(there.to(kCpu).to(f64) - here.to(f64))).item<double>(), tolerance) << p;
    EXPECT_EQ(there.index({8, 3}).item<double>(), here.index({8, 3}).item<double>());  // no index names it
  }
}

TEST_P(CudaRows, sequences_are_those_of_the_cpu) {
  const Options here(GetParam()), there(GetParam(), kCuda);
  EXPECT_TRUE(same(arange(-0.3, 700, 0.1, there), arange(-0.3, 700, 0.1, here)));
  EXPECT_TRUE(same(linspace(-1, 2, 5000, there), linspace(-1, 2, 5000, here)));
  EXPECT_TRUE(same(linspace(3, 2, 1, there), linspace(3, 2, 1, here)));
}

INSTANTIATE_TEST_SUITE_P(Types, CudaRows, testing::Values(f32, f64, f16, bf16), [](const auto& i) { return std::string(name_of(i.param)); });

}  // namespace
}  // namespace graft

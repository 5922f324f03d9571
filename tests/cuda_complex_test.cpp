// Complex numbers on cuda: functions against std::complex, sums and products of whole numbers against the cpu.
#include <complex>
#include <functional>
#include "cuda_device.h"
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"
#include "graft/nn/functional.h"

namespace graft {
namespace {

using C = std::complex<double>;
const Device kCuda(Device::cuda), kCpu(Device::cpu);

std::vector<C> numbers(const Tensor& x) {
  const Tensor y = x.detach().to(kCpu).to(c128).contiguous();
  return {y.data<C>(), y.data<C>() + y.numel()};
}
// Of all quadrants, some on the axes.
Tensor points(const Shape& shape, double scale = 1) {
  std::vector<C> z;
  for (int64_t i = 0; i < int64_t(numel_of(shape)); ++i)
    z.emplace_back(double(i * 37 % 23 - 11) * 0.25 * scale, double(i * 17 % 19 - 9) * 0.3 * scale);
  return tensor(std::span<const C>(z), shape, c128);
}
Tensor whole(const Shape& shape, int64_t seed, DType t) {  // both parts integers of -3 to 3
  const Tensor i = arange(int64_t(numel_of(shape)), i64);
  const auto part = [&](int64_t s) { return (remainder(i * i * 7919 + i * s + s * 3, 7) - 3).to(f64); };
  return complex(part(seed), part(seed + 4)).reshape(shape).to(t);
}
Tensor turned(const Tensor& x) { return x.transpose(-1, -2).contiguous().transpose(-1, -2); }

class CudaComplex : public OnCuda<testing::TestWithParam<DType>> {
 protected:
  double tolerance() const { return GetParam() == c128 ? 1e-13 : 2e-6; }
  void expect_close(const Tensor& got, const std::vector<C>& expected) const {
    const std::vector<C> y = numbers(got);
    ASSERT_EQ(y.size(), expected.size());
    for (size_t i = 0; i < y.size(); ++i)
      EXPECT_LE(std::abs(y[i] - expected[i]), tolerance() * (1 + std::abs(expected[i]))) << "element " << i << ": " << y[i] << ", not " << expected[i];
  }
  void expect_same(const std::function<Tensor(const Tensor&, const Tensor&)>& f, const Tensor& a, const Tensor& b) const {
    const std::vector<C> expected = numbers(f(a, b));
    EXPECT_EQ(numbers(f(a.to(kCuda), b.to(kCuda))), expected);
    EXPECT_EQ(numbers(f(turned(a.to(kCuda)), turned(b.to(kCuda)))), expected);
  }
};

TEST_P(CudaComplex, functions_of_one_number) {
  const std::pair<Tensor (*)(const Tensor&), C (*)(C)> functions[] = {
      {[](const Tensor& x) { return exp(x); }, [](C z) { return std::exp(z); }},
      {[](const Tensor& x) { return log(x); }, [](C z) { return std::log(z); }},
      {[](const Tensor& x) { return sqrt(x); }, [](C z) { return std::sqrt(z); }},
      {[](const Tensor& x) { return tanh(x); }, [](C z) { return std::tanh(z); }},
      {[](const Tensor& x) { return abs(x); }, [](C z) { return C(std::abs(z)); }},
      {[](const Tensor& x) { return sgn(x); }, [](C z) { return z == C(0) ? z : z / std::abs(z); }},
      {[](const Tensor& x) { return real(x); }, [](C z) { return C(z.real()); }},
      {[](const Tensor& x) { return imag(x); }, [](C z) { return C(z.imag()); }},
      {[](const Tensor& x) { return conj(x); }, [](C z) { return std::conj(z); }},
      {[](const Tensor& x) { return -x; }, [](C z) { return -z; }},
      {[](const Tensor& x) { return reciprocal(x + 10.); }, [](C z) { return 1. / (z + 10.); }},
      {[](const Tensor& x) { return square(x); }, [](C z) { return z * z; }},
      {[](const Tensor& x) { return pow(x + 7., 3.); }, [](C z) { return std::pow(z + 7., C(3)); }},
      {[](const Tensor& x) { return 2. / (x + 7.3); }, [](C z) { return 2. / (z + 7.3); }}};
  for (size_t f = 0; f < std::size(functions); ++f)
    for (const double scale : {1., 7.}) {
      SCOPED_TRACE(concat("function ", f, ", scale ", scale));
      const Tensor x = points({5, 31}, scale).to(GetParam());
      std::vector<C> expected, in = numbers(x);
      const bool has_pole = f == 1;
      for (C& z : in) expected.push_back(has_pole && z == C(0) ? C(0) : functions[f].second(z));
      for (const Tensor& y : {x.to(kCuda), turned(x.to(kCuda))}) {
        Tensor got = functions[f].first(y);
        if (has_pole) got = where(eq(y, 0), zeros({}, got.options()), got);
        expect_close(got, expected);
      }
    }
}

TEST_P(CudaComplex, functions_of_two_numbers) {
  const std::pair<Tensor (*)(const Tensor&, const Tensor&), C (*)(C, C)> functions[] = {
      {[](const Tensor& x, const Tensor& y) { return x + y; }, [](C x, C y) { return x + y; }},
      {[](const Tensor& x, const Tensor& y) { return x - y; }, [](C x, C y) { return x - y; }},
      {[](const Tensor& x, const Tensor& y) { return x * y; }, [](C x, C y) { return x * y; }},
      {[](const Tensor& x, const Tensor& y) { return x / (y + 20.); }, [](C x, C y) { return x / (y + 20.); }},
      {[](const Tensor& x, const Tensor& y) { return pow(x + 12., y); }, [](C x, C y) { return std::pow(x + 12., y); }},
      {[](const Tensor& x, const Tensor& y) { return addcmul(x, x, y, 0.5); }, [](C x, C y) { return x + 0.5 * x * y; }},
      {[](const Tensor& x, const Tensor& y) { return eq(x, y).to(c64); }, [](C x, C y) { return C(x == y); }}};
  const Tensor a = points({6, 31}).to(GetParam()), b = points({31}, 0.5).to(GetParam());
  const std::vector<C> x = numbers(a), y = numbers(b);
  for (const auto& [f, g] : functions) {
    std::vector<C> expected;
    for (size_t i = 0; i < x.size(); ++i) expected.push_back(g(x[i], y[i % 31]));
    SCOPED_TRACE(&f - &functions[0].first);
    expect_close(f(a.to(kCuda), b.to(kCuda)), expected);
    expect_close(f(turned(a.to(kCuda)), b.to(kCuda)), expected);
  }
}

TEST_P(CudaComplex, reductions_and_running_sums) {
  const Tensor a = whole({3, 70, 40}, 1, GetParam()), one = whole({2, 5}, 2, GetParam());
  for (const Dims& dims : {Dims{}, Dims{0}, Dims{1}, Dims{2}, Dims{0, 2}}) {
    expect_same([&](const Tensor& x, const Tensor&) { return sum(x, dims); }, a, one);
    expect_same([&](const Tensor& x, const Tensor&) { return any(x, dims).to(f32) + all(x, dims).to(f32) * 2; }, a, one);
  }
  expect_same([](const Tensor& x, const Tensor&) { return mean(x.narrow(1, 0, 64), Dims{1}); }, a, one);
  expect_same([](const Tensor& x, const Tensor&) { return cumsum(x, 1); }, a, one);
  expect_same([](const Tensor&, const Tensor& y) { return prod(y, 1); }, a, one);
  expect_same([](const Tensor&, const Tensor& y) { return cumprod(y, 1); }, a, one);
  expect_same([](const Tensor& x, const Tensor&) { return nonzero(x); }, a, one);
}

TEST_P(CudaComplex, products_of_matrices) {
  const DType t = GetParam();
  const auto product = [](const Tensor& x, const Tensor& y) { return matmul(x, y); };
  expect_same(product, whole({67, 33}, 1, t), whole({33, 65}, 2, t));
  expect_same(product, whole({3, 20, 48}, 3, t), whole({48, 70}, 4, t));
  expect_same(product, whole({5, 1030}, 1, t), whole({1030, 3}, 2, t));  // k in parts
  expect_same(product, whole({4, 0}, 1, t), whole({0, 3}, 2, t));
  const Tensor bias = whole({9}, 7, t);
  expect_same([&](const Tensor& x, const Tensor& w) { return linear(x, w, bias.to(x.device())); }, whole({6, 11}, 5, t), whole({9, 11}, 6, t));
}

TEST_P(CudaComplex, convolutions) {
  const DType t = GetParam();
  const auto results = [&](Device d, int64_t groups, bool strided) {
    Tensor x = whole({2, 4, 9, 7}, 1, t).to(d), w = whole({6, 4 / groups, 3, 2}, 2, t).to(d);
    if (strided) x = turned(x), w = turned(w);
    x.requires_grad_(), w.requires_grad_();
    const Tensor y = nn::functional::conv2d(x, w, whole({6}, 3, t).to(d), {.stride = {2, 1}, .padding = {1, 0}, .groups = groups});
    const Tensors g = grad({y}, {x, w}, {.grad_outputs = {whole(y.shape(), 4, t).to(d)}});
    return std::array{numbers(y), numbers(g[0]), numbers(g[1])};
  };
  for (const int64_t groups : {1, 2})
    for (const bool strided : {false, true}) EXPECT_EQ(results(kCuda, groups, strided), results(kCpu, groups, false)) << groups << strided;
}

TEST_P(CudaComplex, elements_by_index_and_elsewhere) {
  const DType t = GetParam();
  const Tensor x = whole({4, 6}, 1, t), src = whole({4, 300}, 2, t), index = remainder(arange(1200) * 7, 6).reshape({4, 300});
  expect_same([&](const Tensor& a, const Tensor& b) { return scatter_add(a, 1, index.to(a.device()), b); }, x, src);
  expect_same([&](const Tensor& a, const Tensor& b) { return scatter(a, 1, index.to(a.device()), b); }, x, src);
  expect_same([](const Tensor& a, const Tensor& b) { return pad(triu(a), {1, 2}) + flip(pad(a, {2, 1}), {0}) + sum(b); }, x, src);
  EXPECT_THROW(scatter_reduce(x.to(kCuda), 1, index.to(kCuda), src.to(kCuda), "amax"), Error);
  EXPECT_THROW(scatter_reduce(x, 1, index, src, "amax"), Error);
  expect_close(linspace(C(1, -2), C(3, 5), 9, {t, kCuda}), numbers(linspace(C(1, -2), C(3, 5), 9, {t, kCpu})));
}

TEST_P(CudaComplex, conversions_and_random_numbers) {
  const DType t = GetParam();
  const Tensor x = points({4, 9}).to(t);
  for (const DType to : {c64, c128, f32, f64, f16}) EXPECT_EQ(numbers(x.to(kCuda).to(to)), numbers(x.to(to))) << name_of(to);
  for (const DType from : {f32, f16, i64, boolean}) EXPECT_EQ(numbers(real(x).to(from).to(kCuda).to(t)), numbers(real(x).to(from).to(t))) << name_of(from);
  Generator here(5), there(5);
  expect_close(randn({3, 7}, {t, kCuda}, &there), numbers(randn({3, 7}, {t, kCpu}, &here)));
  const Tensor a = empty({6, 5}, {t, kCpu}), b = empty({6, 5}, {t, kCuda});
  a.t().uniform_(-1, 1, &here);
  b.t().uniform_(-1, 1, &there);
  EXPECT_EQ(numbers(b), numbers(a));
}

TEST_P(CudaComplex, gradients_are_those_of_the_cpu) {
  const auto gradients = [&](Device d) {
    const Tensor a = points({5, 6}).to(c128).to(d).requires_grad_(), b = (points({6, 4}) + 3.).to(d).requires_grad_();
    const Tensor windows = matmul(a, b).as_strided({6, 3}, {2, 1});  // elements that a region repeats
    return grad({sum(abs(tanh(matmul(a, b)) / (exp(b.narrow(0, 0, 5)) + 5.))) + sum(abs(windows))}, {a, b});
  };
  const Tensors got = gradients(kCuda), expected = gradients(kCpu);
  for (size_t i = 0; i < 2; ++i) {
    const std::vector<C> x = numbers(got[i]), y = numbers(expected[i]);
    for (size_t k = 0; k < x.size(); ++k) ASSERT_LE(std::abs(x[k] - y[k]), 1e-12 * (1 + std::abs(y[k]))) << i << "," << k;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, CudaComplex, testing::Values(c64, c128), [](const auto& i) { return std::string(name_of(i.param)); });

}  // namespace
}  // namespace graft

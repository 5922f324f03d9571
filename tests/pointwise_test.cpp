// Pointwise ops: accuracy over all floats, instruction sets, large and odd sizes, promotion with numbers, errors.
#include <bit>
#include <cmath>
#include <limits>
#include <gtest/gtest.h>
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/kernels/isa.h"

using namespace graft;

namespace {

struct UseIsa {
  explicit UseIsa(cpu::Isa i) : before(cpu::set_isa(i)) {}
  ~UseIsa() { cpu::set_isa(before); }
  cpu::Isa before;
};
constexpr cpu::Isa kIsas[] = {cpu::Isa::baseline, cpu::Isa::avx2, cpu::Isa::avx512};

// Every 997th float, NaN and infinities among them.
Tensor many_floats() {
  const int64_t n = (int64_t(1) << 32) / 997;
  const Tensor x = empty({n});
  auto* p = x.mutable_data<float>();
  for (int64_t i = 0; i < n; ++i) p[i] = std::bit_cast<float>(uint32_t(i * 997));
  return x;
}
// In units of the last place of the f32 nearest to `exact`; results below the normal range count from there.
double ulps(float got, double exact) {
  const auto nearest = float(exact);
  if (std::isnan(exact)) return std::isnan(got) ? 0 : 1e9;
  if (got == nearest) return 0;
  if (std::isinf(got) || std::isinf(nearest)) return std::abs(exact) > 3.4028e38 && std::abs(got) > 3.4028e38 ? 0 : 1e9;
  const double unit = std::ldexp(1., std::max(std::ilogb(exact == 0 ? 1e-300 : exact), -126) - 23);
  return std::abs(double(got) - exact) / unit;
}

struct Function {
  const char* name;
  Tensor (*f)(const Tensor&);
  double (*exact)(double);
  double limit;
};
double logistic(double x) { return 1 / (1 + std::exp(-x)); }

TEST(Pointwise, f32_functions_are_accurate_over_all_floats_on_every_instruction_set) {
  const Function functions[] = {{"exp", exp, std::exp, 2},     {"expm1", expm1, std::expm1, 2}, {"log", log, std::log, 2},
                                {"log2", log2, std::log2, 2},  {"log10", log10, std::log10, 2}, {"log1p", log1p, std::log1p, 2.5},
                                {"tanh", tanh, std::tanh, 2.5},  {"erf", erf, std::erf, 2},       {"sigmoid", sigmoid, logistic, 2.5}};
  const Tensor x = many_floats();
  const auto* p = x.data<float>();
  for (const Function& f : functions) {
    std::vector<double> exact(size_t(x.numel()));
    for (int64_t i = 0; i < x.numel(); ++i) exact[size_t(i)] = f.exact(p[i]);
    for (const cpu::Isa isa : kIsas) {
      const UseIsa use(isa);
      const Tensor y = f.f(x);
      double worst = 0;
      float at = 0;
      for (int64_t i = 0; i < x.numel(); ++i)
        if (const double u = ulps(y.data<float>()[i], exact[size_t(i)]); u > worst) worst = u, at = p[i];
      EXPECT_LE(worst, f.limit) << f.name << " on " << cpu::name_of(isa) << " at " << at;
    }
  }
}

TEST(Pointwise, results_do_not_depend_on_size_alignment_strides_or_aliasing) {
  for (const int64_t n : {0, 1, 7, 8, 9, 511, 512, 513, 70001, 1100000}) {
    const Tensor memory = empty({n + 3});
    for (int64_t i = 0; i < n + 3; ++i) memory.mutable_data<float>()[i] = float(i % 1001) * 0.01F - 5;
    const Tensor a = memory.narrow(0, 1, n), b = memory.narrow(0, 3, n);
    const Tensor y = a + b, g = gt(a, 0.5);
    Tensor h = a.clone();
    h.add_(b);
    int64_t wrong = 0;
    for (int64_t i = 0; i < n; ++i) {
      const float s = memory.data<float>()[i + 1] + memory.data<float>()[i + 3];
      wrong += y.data<float>()[i] != s || h.data<float>()[i] != s || g.data<bool>()[i] != (memory.data<float>()[i + 1] > 0.5F);
    }
    EXPECT_EQ(wrong, 0) << n;
  }
  const Tensor m = arange(0, 1200000, 1, f32).reshape({400, 3000}), row = arange(0, 3000, 1, f32), col = arange(0, 400, 1, f32).reshape({400, 1});
  const Tensor s = m + row, t = m.transpose(0, 1) + col.transpose(0, 1), c = m * col;
  int64_t wrong = 0;
  for (int64_t i = 0; i < 400; ++i)
    for (int64_t j = 0; j < 3000; ++j) {
      const auto v = float(i * 3000 + j);
      wrong += s.data<float>()[i * 3000 + j] != v + float(j);
      wrong += c.data<float>()[i * 3000 + j] != v * float(i);
      wrong += t.data<float>()[i * t.stride(1) + j * t.stride(0)] != v + float(i);
    }
  EXPECT_EQ(wrong, 0);
}

TEST(Pointwise, numbers_promote_by_category_only_and_16_bit_types_see_them_in_f32) {
  const Tensor h = full({2}, 1.0, f16), i = full({2}, 7, i32), b = full({2}, 1, boolean);
  EXPECT_EQ((h + 1.5).dtype(), f16);
  EXPECT_EQ((h + 0.00048828125).at({0}), double(float(Half(1.00048828125F))));
  EXPECT_EQ((i + 1).dtype(), i32);
  EXPECT_EQ((i + 1.5).dtype(), f32);
  EXPECT_EQ((i / 2).at({0}), 3.5);
  EXPECT_EQ((b + 1).dtype(), i64);
  EXPECT_EQ((b * true).dtype(), boolean);
  EXPECT_EQ((2 - i).at({1}), -5);
  EXPECT_EQ(floor_divide(i, -2).at({0}), -4);
  EXPECT_EQ(div(i, -2, "trunc").at({0}), -3);
  EXPECT_EQ((i % -4).at({0}), -1);
  EXPECT_EQ((full({1}, int64_t(9007199254740993)) + 2).item<int64_t>(), 9007199254740995);
  EXPECT_EQ((i > 6.5).dtype(), boolean);
  EXPECT_TRUE(graft::all((1 < i) & (i == 7)).item<bool>());
}

TEST(Pointwise, special_values_are_PyTorchs) {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor x = tensor({nan, -inf, inf, -0.5});
  EXPECT_TRUE(std::isnan(relu(x).at({0})) && std::isnan(clamp(x, -1, 1).at({0})));
  EXPECT_EQ(sign(x).at({0}), 0);
  EXPECT_TRUE(std::isnan(maximum(x, zeros({4})).at({0})));
  EXPECT_EQ(fmax(x, zeros({4})).at({0}), 0);
  EXPECT_EQ(nan_to_num(x).at({2}), double(std::numeric_limits<float>::max()));
  EXPECT_EQ(round(tensor({2.5, 3.5})).at({0}), 2);
  EXPECT_EQ(clamp(x, 1, -1).at({3}), -1);  // low > high gives high
}

TEST(Pointwise, at_a_kink_the_subgradient_is_PyTorchs) {
  const auto slope = [](Tensor (*f)(const Tensor&), double at) {
    const Tensor x = full({1}, at).requires_grad_();
    return grad({f(x)}, {x})[0].item<double>();
  };
  EXPECT_EQ(slope(relu, 0), 0);
  EXPECT_EQ(slope(abs, 0), 0);
  EXPECT_EQ(slope([](const Tensor& x) { return clamp(x, -1, 0.5); }, 0.5), 0);
  EXPECT_EQ(slope([](const Tensor& x) { return maximum(x, full({1}, 1.0)); }, 1), 0.5);
  EXPECT_EQ(slope([](const Tensor& x) { return pow(x, 0); }, 0), 0);
}

TEST(Pointwise, mistakes_are_errors_that_say_what_was_given) {
  const Tensor i = full({2}, 4, i64), b = full({2}, 1, boolean), f = full({2}, 1.5);
  EXPECT_THROW(floor_divide(i, 0), Error);
  EXPECT_THROW(i % zeros({2}, i64), Error);
  EXPECT_THROW(pow(i, -1), Error);
  EXPECT_THROW(b - b, Error);
  EXPECT_THROW(-b, Error);
  EXPECT_THROW(f & f, Error);
  EXPECT_THROW(i.add_(0.5), Error);
  EXPECT_THROW(i.div_(2), Error);
  EXPECT_THROW(div(f, f, "up"), Error);
  EXPECT_THROW(where(f, f, f), Error);
  EXPECT_THROW(clamp(f, std::nullopt), Error);
}

}  // namespace

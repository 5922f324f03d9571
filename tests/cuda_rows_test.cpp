// Kernels that read 16 bytes at a time and keep rows in registers, at lengths that end within a pack, a warp and a block, and past
// what registers hold: against what the formulas give in f64.
#include <algorithm>
#include <cmath>
#include <limits>
#include "cuda_device.h"
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/optim/adam.h"
#include "graft/optim/sgd.h"

namespace graft {
namespace {

constexpr int64_t kLengths[] = {1, 3, 4, 8, 12, 64, 72, 1000, 1024, 1032, 4096, 4104, 8192, 8200};
const Device kCuda(Device::cuda);

Tensor waves(const Shape& shape, double seed, DType t) {
  return (sin(arange(numel_of(shape), f64) * 1.7 + seed) * 3).reshape(shape).to(t);
}
Tensor exact(const Tensor& x) { return x.cpu().to(f64); }

class CudaRows : public OnCuda<testing::TestWithParam<DType>> {
 protected:
  double tolerance() const { return GetParam() == f64 ? 1e-13 : GetParam() == f32 ? 2e-6 : GetParam() == f16 ? 2e-3 : 2e-2; }
  void expect_close(const Tensor& got, const Tensor& expected) const {
    ASSERT_EQ(got.shape(), expected.shape());
    ASSERT_EQ(got.dtype(), GetParam());
    EXPECT_LE(max(abs(exact(got) - expected)).item<double>(), tolerance() * (1 + max(abs(expected)).item<double>()));
  }
};

TEST_P(CudaRows, softmax_and_its_derivatives_are_their_formulas) {
  for (const int64_t n : kLengths) {
    SCOPED_TRACE(concat("rows of ", n));
    const Tensor x = waves({5, n}, 0.1, GetParam()), g = waves({5, n}, 0.2, GetParam());
    const Tensor e = exp(exact(x) - amax(exact(x), {-1}, true)), p = e / sum(e, {-1}, true);
    const Tensor a = x.to(kCuda).requires_grad_(), b = x.to(kCuda).requires_grad_();
    const Tensor y = softmax(a, -1), z = log_softmax(b, -1);
    expect_close(y, p);
    expect_close(z, log(p));
    const Tensor c = x.to(kCuda).requires_grad_(), sums = logsumexp(c, -1), of_rows = waves({5}, 0.4, GetParam());
    expect_close(sums, log(sum(exp(exact(x)), {-1})));
    sums.backward(of_rows.to(kCuda));
    expect_close(c.grad(), p * exact(of_rows).unsqueeze(1));
    y.backward(g.to(kCuda));
    z.backward(g.to(kCuda));
    expect_close(a.grad(), p * (exact(g) - sum(exact(g) * p, {-1}, true)));
    // The sum of n rounded inputs carries into every element.
    const Tensor of_log = exact(g) - p * sum(exact(g), {-1}, true);
    EXPECT_LE(max(abs(exact(b.grad()) - of_log)).item<double>(), tolerance() * (2 + max(abs(of_log)).item<double>()));
  }
}
TEST_P(CudaRows, softmax_of_infinities_and_nan_is_that_of_exponentials) {
  const double inf = INFINITY, nan = std::numeric_limits<double>::quiet_NaN();
  for (const int64_t n : {8, 1024}) {
    std::vector<double> v(size_t(4 * n), -inf);
    v[size_t(n - 1)] = 2;                          // all but one are impossible
    std::fill_n(v.begin() + n, n, 0.5);
    v[size_t(n + 3)] = nan;                        // a NaN among numbers
    v[size_t(2 * n + 5)] = inf;                    // an infinity; the last row has nothing
    const Tensor y = exact(softmax(tensor(std::span<const double>(v), {4, n}, f64).to(GetParam()).to(kCuda), -1));
    const double* p = y.data<double>();
    for (int64_t i = 0; i < n; ++i) {
      EXPECT_EQ(p[i], i == n - 1 ? 1 : 0) << i;
      EXPECT_TRUE(std::isnan(p[n + i])) << i;
      EXPECT_TRUE(std::isnan(p[3 * n + i])) << i;
    }
    EXPECT_TRUE(std::isnan(p[2 * n + 5]));
    v[size_t(n + 4)] = inf;
    for (const Device& d : {Device(Device::cpu), kCuda}) {  // of a NaN and an infinity NaN; the others are infinite, but for the first
      const Tensor x = tensor(std::span<const double>(v), {4, n}, f64).to(GetParam()).to(d).requires_grad_();
      const Tensor sums = logsumexp(x, 1), s = exact(sums.detach());
      EXPECT_EQ(s.at({0}), 2);
      EXPECT_TRUE(std::isnan(s.at({1})));
      EXPECT_EQ(s.at({2}), inf);
      EXPECT_EQ(s.at({3}), -inf);
      sum(sums).backward();
      const Tensor g = exact(x.grad());
      EXPECT_EQ(g.at({0, n - 1}), 1);
      EXPECT_EQ(g.at({0, 0}), 0);
      EXPECT_TRUE(std::isnan(g.at({2, 5})) && std::isnan(g.at({3, 0})));
      EXPECT_EQ(g.at({2, 6}), 0);
    }
  }
}
TEST_P(CudaRows, cross_entropy_and_its_derivative_are_their_formulas) {
  for (const int64_t n : kLengths)
    for (const double smoothing : {0.0, 0.25}) {
      SCOPED_TRACE(concat("rows of ", n, ", smoothing ", smoothing));
      const Tensor x = waves({5, n}, 0.1, GetParam()), g = waves({5}, 0.2, GetParam()), w = abs(waves({n}, 0.3, GetParam()));
      const Tensor label = tensor({int64_t{0}, n - 1, int64_t{-100}, n / 2, n / 3});
      const Tensor e = exp(exact(x) - amax(exact(x), {-1}, true)), p = e / sum(e, {-1}, true);
      const Tensor counted = ne(label, int64_t{-100}).to(f64).unsqueeze(1);
      const Tensor q = (one_hot(tensor({int64_t{0}, n - 1, int64_t{0}, n / 2, n / 3}), n).to(f64) * (1 - smoothing) + smoothing / double(n)) * exact(w) * counted;
      const Tensor a = x.to(kCuda).requires_grad_();
      const Tensor loss = cross_entropy(a, label.to(kCuda), w.to(kCuda), -100, smoothing).loss;
      const Tensor want = -sum(q * log(p), {-1}), want_grad = exact(g).unsqueeze(1) * (p * sum(q, {-1}, true) - q);
      expect_close(loss, want);
      loss.backward(g.to(kCuda));
      expect_close(a.grad(), want_grad);
      EXPECT_EQ(max(abs(exact(a.grad()).select(0, 2))).item<double>(), 0) << "ignored";
      const Tensor odd = empty({5 * n + 1}, {GetParam(), kCuda}).narrow(0, 1, 5 * n).reshape({5, n});  // not at 16 bytes
      odd.copy_(x);
      const NoGrad quiet;
      expect_close(cross_entropy(odd, label.to(kCuda), w.to(kCuda), -100, smoothing).loss, want);
    }
}
TEST_P(CudaRows, cross_entropy_of_impossible_classes_is_infinite_where_smoothing_asks_for_them) {
  const double inf = INFINITY;
  for (const bool whole_packs : {true, false}) {
    std::vector<double> v(whole_packs ? 64 : 63, 0.0);
    v[0] = -inf;
    const Tensor x = tensor(std::span<const double>(v), {1, int64_t(v.size())}, f64).to(GetParam()).to(kCuda), label = tensor({5}).to(kCuda);
    EXPECT_NEAR(exact(cross_entropy(x, label).loss).item<double>(), std::log(double(v.size() - 1)), 10 * tolerance());
    EXPECT_EQ(exact(cross_entropy(x, label, {}, -100, 0.25).loss).item<double>(), inf);
    EXPECT_EQ(exact(cross_entropy(x, tensor({0}).to(kCuda)).loss).item<double>(), inf);
  }
}
TEST_P(CudaRows, derivatives_of_layer_and_rms_norm_are_those_of_f64) {
  for (const int64_t n : kLengths)
    for (const bool weighted : {false, true}) {
      if (n < 8) continue;  // 1 / sqrt(var) of few numbers may be large
      SCOPED_TRACE(concat("rows of ", n, weighted ? ", weighted" : ""));
      const Tensor x = waves({5, n}, 0.1, GetParam()), g = waves({5, n}, 0.2, GetParam());
      const DType statistics = compute_dtype(GetParam());
      const Tensor w = weighted ? waves({n}, 0.3, statistics) : Tensor();
      const auto run = [&](const Tensor& at, const Tensor& back, const Tensor& weight, bool center) {
        const Tensor leaf = at.detach().requires_grad_();
        const Tensor y = center ? layer_norm(leaf, {n}, weight) : rms_norm(leaf, {n}, weight, 1e-5);
        return grad({y}, {leaf}, {.grad_outputs = {back}})[0];
      };
      for (const bool center : {false, true}) {
        const Tensor there = run(x.to(kCuda), g.to(kCuda), weighted ? w.to(kCuda) : w, center);
        const Tensor here = run(exact(x), exact(g), weighted ? exact(w) : w, center);
        EXPECT_LE(max(abs(exact(there) - here)).item<double>(), 4 * tolerance() * (1 + max(abs(here)).item<double>()));
      }
    }
}
TEST_P(CudaRows, layer_and_rms_norm_are_their_formulas) {
  for (const int64_t n : kLengths) {
    if (n == 1) continue;  // 0 / 0 but for eps
    SCOPED_TRACE(concat("rows of ", n));
    const DType affine = GetParam();
    const Tensor x = waves({5, n}, 0.1, GetParam()), r = waves({5, n}, 0.4, GetParam());
    const Tensor w = waves({n}, 0.2, affine), b = waves({n}, 0.3, affine);
    const auto normal = [](const Tensor& s) {
      const Tensor d = s - mean(s, {-1}, true);
      return d / sqrt(mean(d * d, {-1}, true) + 1e-5);
    };
    const NoGrad quiet;
    expect_close(layer_norm(x.to(kCuda), {n}), normal(exact(x)));
    expect_close(layer_norm(x.to(kCuda), {n}, w.to(kCuda), b.to(kCuda)), normal(exact(x)) * exact(w) + exact(b));
    expect_close(layer_norm(x.to(kCuda), {n}, w.to(kCuda)), normal(exact(x)) * exact(w));
    expect_close(rms_norm(x.to(kCuda), {n}, w.to(kCuda), 1e-5), exact(x) / sqrt(mean(exact(x) * exact(x), {-1}, true) + 1e-5) * exact(w));
    const auto [y, total] = add_layer_norm(x.to(kCuda), r.to(kCuda), {n}, w.to(kCuda), b.to(kCuda));
    expect_close(total, exact((exact(x) + exact(r)).to(GetParam())));
    expect_close(y, normal(exact((exact(x) + exact(r)).to(GetParam()))) * exact(w) + exact(b));
  }
}
TEST_P(CudaRows, reductions_of_rows_in_packs) {
  for (const int64_t n : kLengths) {
    SCOPED_TRACE(concat("rows of ", n));
    const Tensor x = waves({7, n}, 0.1, GetParam()), there = x.to(kCuda);
    const auto expect_sum = [&](const Tensor& got, const Tensor& of) {  // its error is that of the terms
      EXPECT_LE(max(abs(exact(got) - sum(of, {-1}))).item<double>(), tolerance() * (1 + max(sum(abs(of), {-1})).item<double>()) / 4);
    };
    expect_sum(sum(there, {-1}), exact(x));
    expect_close(mean(there, {-1}), mean(exact(x), {-1}));
    expect_close(amax(there, {-1}), amax(exact(x), {-1}));
    const auto [values, places] = max(there, -1);
    const Tensor here = places.cpu(), all = exact(x).contiguous();
    for (int64_t row = 0; row < 7; ++row) {
      const double* p = all.data<double>() + row * n;
      EXPECT_EQ(here.data<int64_t>()[row], std::max_element(p, p + n) - p) << "the first of equals, row " << row;
    }
    if (n > 8) expect_sum(sum(there.narrow(1, 1, n - 1), {-1}), exact(x).narrow(1, 1, n - 1));  // not aligned
  }
}
TEST_P(CudaRows, casts_between_floats_round_once) {
  for (const int64_t n : {1, 2, 3, 4, 5, 9, 1023, 1025, 4099})
    for (const DType to : {f32, f64, f16, bf16}) {
      const Tensor x = waves({n}, 0.1, GetParam());
      const Tensor got = x.to(kCuda).to(to).cpu(), expected = x.to(to);
      ASSERT_EQ(got.dtype(), to);
      EXPECT_EQ(max(abs(got.to(f64) - expected.to(f64))).item<double>(), 0) << n << " to " << name_of(to);
    }
}
TEST_P(CudaRows, optimizers_update_packs_and_what_is_left_over) {
  if (GetParam() == f16) return;  // squares of small gradients vanish there, on cpu and cuda
  for (const int64_t n : {1, 3, 8, 2047, 2048, 2049, 5003}) {
    SCOPED_TRACE(concat(n, " parameters"));
    const auto run = [&](const Device& device, auto make) {
      const Tensor p = waves({n}, 0.1, GetParam()).to(device).requires_grad_();
      const auto optimizer = make(Tensors{p});
      for (int step = 0; step < 3; ++step) {
        optimizer->zero_grad();
        sum(p * waves({n}, step, GetParam()).to(device)).backward();
        optimizer->step();
      }
      return exact(p.detach());
    };
    const auto compare = [&](auto make) {
      const Tensor expected = run(Device(Device::cpu), make), got = run(kCuda, make);
      EXPECT_LE(max(abs(got - expected)).item<double>(), tolerance());
    };
    compare([](const Tensors& p) { return std::make_unique<optim::SGD>(p, optim::SGDOptions{.lr = 0.1}); });
    compare([](const Tensors& p) { return std::make_unique<optim::SGD>(p, optim::SGDOptions{.lr = 0.1, .momentum = 0.9, .nesterov = true}); });
    compare([](const Tensors& p) { return std::make_unique<optim::Adam>(p, optim::AdamOptions{.lr = 0.1}); });
    compare([](const Tensors& p) { return std::make_unique<optim::Adam>(p, optim::AdamOptions{.lr = 0.1, .amsgrad = true}); });
  }
}
INSTANTIATE_TEST_SUITE_P(DTypes, CudaRows, testing::Values(f32, f64, f16, bf16), [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace graft

// Kernels on cuda at sizes past one block, along both directions of memory: softmax, norms, reductions, losses by label, embedding,
// pointwise ops. The op cases are smaller than a warp. Held against the cpu, whose values other tests hold.
#include <cmath>
#include "cuda_device.h"
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/nn/functional.h"

namespace graft {
namespace {

namespace F = nn::functional;
const Device kCuda(Device::cuda), kCpu(Device::cpu);

Tensor waves(const Shape& shape, double seed) { return sin(arange(int64_t(numel_of(shape)), f64) * 1.7 + seed).reshape(shape); }
Tensor channels_last(const Tensor& x) { return x.transpose(1, -1).contiguous().transpose(1, -1); }

class CudaBlocks : public OnCuda<testing::TestWithParam<DType>> {
 protected:
  void expect_close(const Tensor& there, const Tensor& here) const {
    const Tensor got = there.to(kCpu);
    ASSERT_EQ(got.shape(), here.shape());
    ASSERT_EQ(got.dtype(), here.dtype());
    const Tensor a = got.to(f64), b = here.to(f64), both_nan = logical_and(isnan(a), isnan(b));
    const double tolerance = GetParam() == f64 ? 1e-12 : GetParam() == f32 ? 3e-5 : 3e-2;
    const Tensor scale = max(abs(where(isnan(b), 0.0, b))) + 1.0;
    EXPECT_TRUE(all(logical_or(both_nan, le(abs(a - b), scale * tolerance))).item<bool>()) << here.view();
  }
  // f of the inputs, and its gradients of those that are floating.
  template <class F> void expect_same(const Tensors& in, F f, bool last = false) const {
    const auto run = [&](Device d) {
      Tensors x, leaves;
      for (const Tensor& t : in) {
        x.push_back((is_floating(t.dtype()) ? t.to(GetParam()) : t).to(d));
        if (last && x.size() == 1 && d == kCuda) x[0] = channels_last(x[0]);
        if (is_floating(t.dtype())) leaves.push_back(x.back() = x.back().detach().requires_grad_());
      }
      const Tensor y = f(x);
      Tensors all{y.detach()};
      if (y.requires_grad())
        for (const Tensor& g : grad({y}, leaves, {.grad_outputs = {waves(y.shape(), 0.9).to(y.dtype()).to(d)}, .allow_unused = true}))
          all.push_back(g);
      return all;
    };
    const Tensors here = run(kCpu), there = run(kCuda);
    for (size_t i = 0; i < here.size(); ++i) {
      SCOPED_TRACE(concat("number ", i));
      if (here[i].defined()) expect_close(there[i], here[i]);
    }
  }
};

TEST_P(CudaBlocks, softmax) {
  const std::pair<Shape, int> cases[] = {{{300, 5}, 1}, {{3, 700}, 1}, {{700, 3}, 0}, {{2, 30, 70}, 1}, {{1, 1}, 0}};
  for (const auto& [shape, dim] : cases) {
    SCOPED_TRACE(concat(shape, " along ", dim));
    expect_same({waves(shape, 0.1) * 3.0}, [&, d = dim](const Tensors& x) { return softmax(x[0], d); });
    expect_same({waves(shape, 0.1) * 3.0}, [&, d = dim](const Tensors& x) { return log_softmax(x[0], d); });
    expect_same({waves(shape, 0.1) * 3.0}, [&, d = dim](const Tensors& x) { return logsumexp(x[0], d); });
  }
  const Tensor odd = waves({4, 30}, 0.1);
  odd.select(0, 1).narrow(0, 7, 1).fill_(NAN);
  odd.select(0, 2).narrow(0, 1, 28).fill_(-INFINITY);
  const NoGrad quiet;
  expect_close(softmax(odd.to(GetParam()).to(kCuda), 1), softmax(odd.to(GetParam()), 1));
}

TEST_P(CudaBlocks, cross_entropy) {
  for (const Shape& shape : {Shape{300, 5}, Shape{3, 700}, Shape{2, 30, 70}, Shape{3, 7, 5, 9}, Shape{1, 1}, Shape{5}}) {
    SCOPED_TRACE(concat(shape));
    std::vector<int64_t> sizes(shape.begin(), shape.end());
    const auto classes = sizes.begin() + (shape.rank() > 1 ? 1 : 0);
    const int64_t n = *classes;
    sizes.erase(classes);
    const Shape places{std::span<const int64_t>(sizes)};
    const Tensor label = remainder(arange(numel_of(places), i64) * 7, n).reshape(places);
    const Tensor w = abs(waves({n}, 0.4)) + 0.1;
    for (const double smoothing : {0.0, 0.25})
      expect_same({waves(shape, 0.1) * 3.0}, [&](const Tensors& x) {
        return cross_entropy(x[0], label.to(x[0].device()), w.to(x[0].device()), 1, smoothing).loss;
      });
  }
}
TEST_P(CudaBlocks, batch_norm) {
  const DType type = GetParam() == f64 ? f64 : f32;
  const auto in = [type](const Tensor& t) { return t.to(type); };
  // Planes of whole packs or not, channels that go in packs or not; of the last three, several blocks have a share of a channel.
  for (const Shape& shape : {Shape{5, 33, 70}, Shape{3, 33, 6, 7}, Shape{5, 3, 72}, Shape{3, 32, 5, 7}, Shape{300, 33}, Shape{40, 32},
                             Shape{1, 700, 3}, Shape{9, 3, 1001}, Shape{9, 2, 8000}, Shape{9000, 3}})
    for (const bool last : {false, true}) {
      if (last && shape.rank() == 2) continue;
      SCOPED_TRACE(concat("batch norm of ", shape, last ? ", channels last" : ""));
      const Tensor w = waves({shape[1]}, 0.2), b = waves({shape[1]}, 0.3), mean = waves({shape[1]}, 0.4), var = waves({shape[1]}, 0.5) + 1.5;
      expect_same({waves(shape, 0.1), w, b}, [&](const Tensors& x) {
        return F::batch_norm(x[0], {}, {}, in(x[1]), in(x[2]), {.training = true});
      }, last);
      expect_same({waves(shape, 0.1)}, [](const Tensors& x) { return F::batch_norm(x[0], {}, {}, {}, {}, {.training = true}); }, last);
      expect_same({waves(shape, 0.1), w, b}, [&](const Tensors& x) {
        return F::batch_norm(x[0], in(mean).to(x[0].device()), in(var).to(x[0].device()), in(x[1]), in(x[2]), {.training = false});
      }, last);
    }
  expect_same({waves({2 * 3 * 64 + 1}, 0.1)}, [](const Tensors& x) {  // whole packs that do not lie on 16 bytes
    return F::batch_norm(x[0].narrow(0, 1, 2 * 3 * 64).reshape({2, 3, 64}), {}, {}, {}, {}, {.training = true});
  });
}
TEST_P(CudaBlocks, norms) {
  const DType type = GetParam() == f64 ? f64 : f32;
  const auto in = [type](const Tensor& t) { return t.to(type); };
  expect_same({waves({70, 300}, 0.1), waves({300}, 0.2), waves({300}, 0.3)},
              [&](const Tensors& x) { return layer_norm(x[0], {300}, in(x[1]), in(x[2])); });
  expect_same({waves({300, 9}, 0.1), waves({9}, 0.2), waves({9}, 0.3)}, [&](const Tensors& x) { return layer_norm(x[0], {9}, in(x[1]), in(x[2])); });
  expect_same({waves({3, 12, 50}, 0.1), waves({12}, 0.2), waves({12}, 0.3)}, [&](const Tensors& x) { return group_norm(x[0], 4, in(x[1]), in(x[2])); });
}

TEST_P(CudaBlocks, reductions) {
  const Tensor x = waves({37, 150, 5}, 0.1), ties = (remainder(arange(37 * 150 * 5, i64) * 7, 11) - 5).reshape({37, 150, 5}).to(f64);
  for (const Shape& dims : {Shape{0}, Shape{1}, Shape{2}, Shape{0, 2}, Shape{0, 1, 2}}) {
    SCOPED_TRACE(concat("over ", dims));
    const Dims d(std::vector<int>(dims.begin(), dims.end()));
    expect_same({x}, [&](const Tensors& t) { return sum(t[0], d); });
    expect_same({x}, [&](const Tensors& t) { return mean(t[0], d); });
    expect_same({x}, [&](const Tensors& t) { return var(t[0], d); });
    expect_same({x}, [&](const Tensors& t) { return amax(t[0], d); });
  }
  const NoGrad quiet;
  const Tensor odd = ties.clone();
  odd.select(0, 3).select(0, 140).fill_(NAN);
  for (const Tensor& t : {ties.to(GetParam()), odd.to(GetParam())})
    for (const int d : {0, 1, 2}) {
      const MaxResult here = max(t, d), there = max(t.to(kCuda), d), low = min(t, d), low_there = min(t.to(kCuda), d);
      expect_close(there.values, here.values);
      expect_close(low_there.values, low.values);
      EXPECT_TRUE(all(eq(there.indices.to(kCpu), here.indices)).item<bool>()) << d;
      EXPECT_TRUE(all(eq(low_there.indices.to(kCpu), low.indices)).item<bool>()) << d;
    }
  for (const auto& [shape, dim] : {std::pair{Shape{3, 40000}, 1}, {Shape{9001, 3}, 0}}) {  // several blocks have a share of an output
    SCOPED_TRACE(concat(shape, " over ", dim));
    const Tensor equals = (remainder(arange(int64_t(numel_of(shape)), i64) * 7, 11) - 5).reshape(shape).to(GetParam());
    const MaxResult here = max(equals, dim), there = max(equals.to(kCuda), dim);
    expect_close(there.values, here.values);
    EXPECT_TRUE(all(eq(there.indices.to(kCpu), here.indices)).item<bool>());
    const Tensor x = waves(shape, 0.1).to(GetParam());
    expect_close(mean(x.to(kCuda), {dim}), mean(x, {dim}));
    expect_close(var(x.to(kCuda), {dim}), var(x, {dim}));
    expect_close(amin(x.to(kCuda), {dim}), amin(x, {dim}));
  }
  expect_same({waves({300, 40}, 0.1)}, [](const Tensors& t) { return cumsum(t[0], 1); });
  expect_same({waves({40, 300}, 0.1)}, [](const Tensors& t) { return cumsum(t[0], 0); });
  for (const int64_t n : {2500, 2501, 2502}) expect_same({waves({3, n}, 0.1)}, [](const Tensors& t) { return cumsum(t[0], 1); });
  expect_same({waves({1030, 3}, 0.1)}, [](const Tensors& t) { return cumsum(t[0], 0); });
  const Tensor factors = (waves({2, 1300}, 0.4) * 0.01 + 1.0).to(GetParam());
  expect_close(cumprod(factors.to(kCuda), 1), cumprod(factors, 1));
  const Tensor whole = remainder(arange(5000, i64) * 7, 23).reshape({2, 2500});
  EXPECT_TRUE(all(eq(cumsum(whole.to(kCuda), 1).to(kCpu), cumsum(whole, 1))).item<bool>());
  const Tensor bytes = (remainder(arange(3000, i64) * 7, 200) + 50).to(DType::u8).reshape({3, 1000});
  EXPECT_TRUE(all(eq(sum(bytes.to(kCuda), {1}).to(kCpu), sum(bytes, {1}))).item<bool>());
}

TEST_P(CudaBlocks, labels) {
  const auto labels = [](const Shape& shape, int64_t classes) { return remainder(arange(int64_t(numel_of(shape)), i64) * 7, classes).reshape(shape); };
  const Tensor weight = waves({9}, 0.4) + 2.0, ignored = labels({700}, 9), places = labels({3, 5, 40}, 9);
  ignored.narrow(0, 100, 20).fill_(-100);
  for (const int64_t ignore : {int64_t{-100}, int64_t{4}}) {
    const F::NllOptions o{.ignore_index = ignore};
    expect_same({waves({3, 9, 5, 40}, 0.1), places}, [&](const Tensors& x) { return F::nll_loss(x[0], x[1], o); });
  }
  expect_same({waves({700, 9}, 0.1), ignored, weight},
              [](const Tensors& x) { return F::nll_loss(x[0], x[1], {.weight = x[2].detach(), .reduction = nn::Reduction::sum}); });
  for (const bool frequency : {false, true})
    expect_same({waves({12, 1100}, 0.1), labels({600}, 11)}, [&](const Tensors& x) { return embedding(x[0], x[1], 3, frequency); });
  const Tensor which = labels({700}, 9);
  EXPECT_TRUE(all(eq(one_hot(which.to(kCuda), 9).to(kCpu), one_hot(which, 9))).item<bool>());
}

TEST_P(CudaBlocks, pointwise) {
  for (const int64_t n : {1, 7, 1023, 5000}) {
    SCOPED_TRACE(n);
    expect_same({waves({n}, 0.1), waves({n}, 0.2)}, [](const Tensors& x) { return x[0] * x[1]; });
    const NoGrad quiet;
    const Tensor a = waves({n + 1}, 0.1).to(GetParam()), b = waves({n}, 0.2).to(GetParam()), there = a.to(kCuda);
    expect_close(there.narrow(0, 1, n) + b.to(kCuda), a.narrow(0, 1, n) + b);  // an address that is no multiple of 16 bytes
    expect_close(gt(there.narrow(0, 0, n), b.to(kCuda)), gt(a.narrow(0, 0, n), b));
  }
  expect_same({waves({300, 7}, 0.1), waves({7}, 0.2)}, [](const Tensors& x) { return x[0] * x[1]; });
  expect_same({waves({7, 300}, 0.1), waves({300, 7}, 0.2)}, [](const Tensors& x) { return x[0].t() - x[1]; });
}

INSTANTIATE_TEST_SUITE_P(Types, CudaBlocks, testing::Values(f32, f64, f16), [](const auto& i) { return std::string(name_of(i.param)); });

}  // namespace
}  // namespace graft

// Fused kernels on cuda past the sizes of the op cases, against cpu: linear with its activation, dropout with a residual, layer norm
// of a sum.
#include "cuda_device.h"
#include "graft/core/autograd.h"
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"

namespace graft {
namespace {

struct Ran : Observer {
  std::string kernels;
  void after(const Call& call, std::span<const Tensor>, const Candidate* c) override {
    if (c && call.op.name == "linear_act") kernels += concat(c->name, " ");
  }
};
Tensor waves(const Shape& shape, double seed) { return sin(arange(int64_t(numel_of(shape)), f64) * 1.7 + seed).reshape(shape); }
Tensor there(const Tensor& x) { return x.to(Device(Device::cuda)); }
void expect_close(const Tensor& got, const Tensor& expected, double tolerance) {
  ASSERT_EQ(got.shape(), expected.shape());
  ASSERT_EQ(got.dtype(), expected.dtype());
  EXPECT_LE(max(abs(got.to(Device(Device::cpu)).to(f64) - expected.to(f64))).item<double>(),
            tolerance * (1 + max(abs(expected.to(f64))).item<double>()));
}

class CudaFused : public OnCuda<testing::TestWithParam<DType>> {
 protected:
  double tolerance() const { return GetParam() == f64 ? 1e-13 : GetParam() == f32 ? 3e-6 : GetParam() == f16 ? 4e-3 : 3e-2; }
};

TEST_P(CudaFused, linear_with_an_activation_is_one_kernel) {
  const DType t = GetParam();
  const NoGrad quiet;
  for (const int64_t k : {40, 37, 1040}) {  // by packs, one by one, in parts
    const Tensor x = waves({3, 45, k}, 0.1).to(t), w = (waves({72, k}, 0.2) * 0.1).to(t), b = waves({72}, 0.3).to(t);
    for (const LinearActivation f : {LinearActivation::relu, LinearActivation::gelu, LinearActivation::gelu_tanh}) {
      Ran ran;
      Tensor y;
      {
        const Observing look(ran);
        y = linear_act(there(x), there(w), there(b), f);
      }
      EXPECT_EQ(ran.kernels, size_of(t) == 2 && k % 8 == 0 ? "tensor_cores " : "tiles ");
      expect_close(y, linear_act(x, w, b, f), tolerance() * 2);
      const Tensor sums = linear(x.to(f64), w.to(f64), b.to(f64));
      const Tensor exact = f == LinearActivation::relu ? relu(sums) : gelu(sums, f == LinearActivation::gelu ? "none" : "tanh");
      expect_close(y.to(f64), exact, tolerance() * 3);
    }
  }
}

TEST_P(CudaFused, dropout_drops_what_it_drops_on_cpu_and_so_does_its_derivative) {
  const DType t = GetParam();
  for (const int64_t n : {0, 1, 7, 1025}) {
    const Tensor x = waves({n, 3}, 0.1).to(t), r = waves({n, 3}, 0.2).to(t), g = waves({n, 3}, 0.3).to(t);
    const auto run = [&](const auto& on) {
      Generator seed(7);
      const Tensor a = on(x).requires_grad_(), b = on(r).requires_grad_();
      const Tensor y = dropout(a, 0.3, b, &seed);
      Tensors all = grad({y}, {a, b}, {.grad_outputs = {on(g)}});
      all.push_back(y);
      return all;
    };
    const Tensors got = run(there), expected = run([](const Tensor& v) { return v.clone(); });
    for (size_t i = 0; n && i < 3; ++i) expect_close(got[i], expected[i], tolerance());
  }
}

TEST_P(CudaFused, layer_norm_of_a_sum) {
  const DType t = GetParam();
  for (const Shape& shape : {Shape{70, 9}, Shape{5, 1500}, Shape{2, 3, 4, 64}}) {
    const int64_t n = shape[shape.rank() - 1];
    const DType s = t == f64 ? f64 : f32;
    const Tensors in{waves(shape, 0.1).to(t), waves(shape, 0.2).to(t), waves({n}, 0.3).to(s), waves({n}, 0.4).to(s)};
    const Tensor g = waves(shape, 0.5).to(t), h = waves(shape, 0.6).to(t);
    const auto run = [&](const auto& on) {
      Tensors x;
      for (const Tensor& v : in) x.push_back(on(v).requires_grad_());
      const AddNormResult r = add_layer_norm(x[0], x[1], {n}, x[2], x[3]);
      Tensors all = grad({r.values, r.sum}, x, {.grad_outputs = {on(g), on(h)}});
      all.push_back(r.values), all.push_back(r.sum);
      return all;
    };
    const Tensors got = run(there), expected = run([](const Tensor& v) { return v.clone(); });
    for (size_t i = 0; i < got.size(); ++i) {
      SCOPED_TRACE(concat("number ", i, " of ", shape));
      expect_close(got[i], expected[i], tolerance() * 8);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, CudaFused, testing::Values(f32, f64, f16, bf16), [](const auto& i) { return std::string(name_of(i.param)); });

}  // namespace
}  // namespace graft

// Attention on cuda: which kernel runs, sizes past one tile, layouts, masks and their gradients, against the sums in f64 on cpu.
#include <cmath>
#include "cuda_device.h"
#include "graft/core/autograd.h"
#include "graft/core/op.h"
#include "graft/core/ops.h"

namespace graft {
namespace {

struct Ran : Observer {
  std::string kernel, backward, reasons;
  void declined(const Call&, const Candidate& c, const char* why) override { reasons += concat(c.name, ": ", why, "; "); }
  void after(const Call& call, std::span<const Tensor>, const Candidate* c) override {
    if (c && call.op.name == "scaled_dot_product_attention") kernel = c->name;
    if (c && call.op.name == "scaled_dot_product_attention_backward") backward = c->name;
  }
};
Tensor waves(const Shape& shape, double seed) { return sin(arange(int64_t(numel_of(shape)), f64) * 1.7 + seed).reshape(shape); }

struct Case {
  const char* name;
  Shape q, k, v;
  bool causal = false;
  Tensor mask = {};
  const char* halves = "tiles";  // the kernel for f16 and bf16
};
std::vector<Case> cases() {
  return {
      {"one tile", {2, 3, 20, 16}, {2, 3, 20, 16}, {2, 3, 20, 16}, false, {}, "tensor_cores"},
      {"several tiles", {2, 130, 32}, {2, 150, 32}, {2, 150, 40}, false, {}, "tensor_cores"},
      {"causal", {2, 130, 64}, {2, 130, 64}, {2, 130, 64}, true, {}, "tensor_cores"},
      {"causal, more keys than queries", {70, 24}, {150, 24}, {150, 16}, true, {}, "tensor_cores"},
      {"causal, fewer keys than queries", {150, 24}, {70, 24}, {70, 16}, true, {}, "tensor_cores"},
      {"wide", {33, 128}, {65, 128}, {65, 72}, false, {}, "tensor_cores"},
      {"wider than a tile of results", {33, 20}, {35, 20}, {35, 200}},
      {"odd sizes", {3, 67, 19}, {3, 70, 19}, {3, 70, 21}, true},
      {"leading dimensions that broadcast", {2, 1, 40, 16}, {3, 40, 16}, {2, 3, 40, 16}, false, {}, "tensor_cores"},
      {"a bool mask, queries that see nothing", {2, 70, 16}, {2, 90, 16}, {2, 90, 16}, false,
       logical_and(gt(waves({70, 90}, 0.1), -0.3), ge(remainder(arange(70, f64), 5).reshape({70, 1}), 1)), "tensor_cores"},
      {"a mask of keys", {2, 3, 30, 16}, {2, 3, 90, 16}, {2, 3, 90, 16}, false, gt(waves({2, 1, 1, 90}, 0.1), -0.3), "tensor_cores"},
      {"a mask that is added", {2, 70, 16}, {2, 90, 16}, {2, 90, 16}, false, waves({2, 70, 90}, 0.1), "tensor_cores"},
      {"one query", {2, 1, 16}, {2, 90, 16}, {2, 90, 16}},
      {"no keys", {2, 20, 16}, {2, 0, 16}, {2, 0, 16}, false, {}, "tensor_cores"},
      {"no queries", {2, 0, 16}, {2, 9, 16}, {2, 9, 16}, false, {}, "tensor_cores"},
      {"no columns, several tiles of keys", {2, 70, 0}, {2, 150, 0}, {2, 150, 3}},
  };
}

// By the formula, in ops.
Tensor expected_result(const Case& c, const Tensors& x) {
  Tensor scores = matmul(x[0] * (c.q[c.q.rank() - 1] ? 1 / std::sqrt(double(c.q[c.q.rank() - 1])) : 0.0), x[1].transpose(-2, -1));
  if (c.causal) scores = where(tril(ones({scores.size(-2), scores.size(-1)}, DType::boolean)), scores, -INFINITY);
  if (!c.mask.defined()) return matmul(softmax(scores, -1), x[2]);
  scores = c.mask.dtype() == DType::boolean ? where(c.mask, scores, -INFINITY) : scores + c.mask;
  const Tensor blind = eq(max(scores.detach(), -1).values, -INFINITY).unsqueeze(-1).expand(scores.shape());
  return matmul(where(blind, 0.0, softmax(where(blind, 0.0, scores), -1)), x[2]);
}
template <class F> Tensors with_gradients(Tensors x, F f) {
  for (Tensor& t : x) t = t.detach().requires_grad_();
  const Tensor y = f(x);
  Tensors all = grad({y}, x, {.grad_outputs = {waves(y.shape(), 0.9).to(y.dtype()).to(y.device())}});
  all.insert(all.begin(), y);
  return all;
}

class CudaAttention : public OnCuda<testing::TestWithParam<DType>> {};

// The inputs in memory as they are used most: [n, length, heads, columns], and with other strides.
Tensor heads_inside(const Tensor& x) { return x.dim() < 3 ? x : x.transpose(-3, -2).contiguous().transpose(-3, -2); }
Tensor columns_outside(const Tensor& x) { return x.transpose(-1, -2).contiguous().transpose(-1, -2); }

TEST_P(CudaAttention, values_and_gradients) {
  const DType t = GetParam();
  const double tolerance = t == f64 ? 1e-12 : t == f32 ? 1e-5 : t == f16 ? 6e-3 : 4e-2;
  for (const Case& c : cases())
    for (Tensor (*layout)(const Tensor&) : {heads_inside, columns_outside}) {
      SCOPED_TRACE(concat(c.name, layout == columns_outside ? ", columns outside" : ""));
      Tensors rounded, there;
      for (const Shape* s : {&c.q, &c.k, &c.v}) {
        rounded.push_back(waves(*s, 0.2 * double(rounded.size())).to(t).to(f64));
        there.push_back(layout(rounded.back().to(t).to(Device(Device::cuda))));
      }
      Case exact = c;
      if (c.mask.defined() && c.mask.dtype() != DType::boolean) exact.mask = c.mask.to(t).to(f64);
      const Tensors expected = with_gradients(rounded, [&](const Tensors& x) { return expected_result(exact, x); });
      Tensor mask;
      if (c.mask.defined()) mask = (c.mask.dtype() == DType::boolean ? c.mask : c.mask.to(t)).to(Device(Device::cuda));
      Ran ran;
      Tensors got;
      {
        const Observing look(ran);
        got = with_gradients(there, [&](const Tensors& x) { return scaled_dot_product_attention(x[0], x[1], x[2], mask, c.causal); });
      }
      const bool by_packs = layout == heads_inside || c.q[c.q.rank() - 2] == 0;
      EXPECT_EQ(ran.kernel, size_of(t) == 2 && by_packs ? c.halves : "tiles") << ran.reasons;
      if (numel_of(c.q) > 0) {
        EXPECT_EQ(ran.backward, ran.kernel) << ran.reasons;
      }
      for (size_t i = 0; i < 4; ++i) {
        const Tensor here = got[i].to(Device(Device::cpu)).to(f64);
        ASSERT_EQ(here.shape(), expected[i].shape());
        if (here.numel() == 0) continue;
        EXPECT_LE(max(abs(here - expected[i])).item<double>(), tolerance * (1 + max(abs(expected[i])).item<double>())) << "number " << i;
      }
    }
}

INSTANTIATE_TEST_SUITE_P(Types, CudaAttention, testing::Values(f32, f64, f16, bf16), [](const auto& i) { return std::string(name_of(i.param)); });

}  // namespace
}  // namespace graft

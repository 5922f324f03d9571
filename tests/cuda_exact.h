// For tests of products and convolutions on device cuda: inputs whose sums are exact in every order, and which kernels made them.
#pragma once
#include <string>
#include <string_view>
#include "cuda_device.h"
#include "graft/core/op.h"
#include "graft/core/ops.h"

namespace graft {

// The kernels of those ops on cuda that `counts` names, and why others declined.
struct KernelsRun : Observer {
  explicit KernelsRun(bool (*counts)(std::string_view op)) : counts(counts) {}
  void declined(const Call&, const Candidate& c, const char* why) override { reasons += concat(c.name, ": ", why, "; "); }
  void after(const Call& call, std::span<const Tensor> out, const Candidate* c) override {
    if (!c || !counts(call.op.name) || out[0].device() != Device::cuda) return;
    kernel = c->name;
    kernels += concat(kernels.empty() ? "" : " ", c->name);
  }
  bool (*counts)(std::string_view op);
  std::string kernel, kernels, reasons;  // the last; all, in order
};

// Integers of -most to most, in an order that no row length repeats.
inline Tensor digits(const Shape& shape, int64_t seed, int64_t most) {
  const Tensor i = arange(int64_t(numel_of(shape)), i64);
  return (remainder(remainder(i * i * 3 + i * seed + seed * 7, 101), 2 * most + 1) - most).reshape(shape).to(f64);
}
inline bool same(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() && all(eq(a, b)).item<bool>();
}

}  // namespace graft

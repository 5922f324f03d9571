// Clipping of gradients by total norm and by value.
#include <cmath>
#include <limits>
#include "graft/core/ops.h"
#include "graft/optim/optimizer.h"

namespace graft::inline v1::optim {

template <class F> static void each_grad(const Tensors& params, F&& f) {
  for (const Tensor& p : params)
    if (const Tensor g = p.grad(); g.defined()) f(g);
}

// Calls f with each element of the contiguous form of g, as double.
template <class F> static void each_element(const Tensor& g, F&& f) {
  const Tensor x = g.contiguous();
  with_type(x.dtype(), AllTypes{}, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* p = x.data<T>();
    for (int64_t i = 0; i < x.numel(); ++i) {
      if constexpr (is_complex_v<T>) f(double(std::abs(p[i])));
      else f(std::abs(double(p[i])));
    }
  });
}

Tensor clip_grad_norm_(const Tensors& params, double max_norm, double norm_type, bool error_if_nonfinite) {
  GRAFT_CHECK(norm_type > 0, "clip_grad_norm_: norm_type is ", norm_type, "; it must be positive");
  GRAFT_CHECK(max_norm >= 0, "clip_grad_norm_: max_norm is ", max_norm, "; it must not be negative");
  const NoGrad quiet;
  const bool largest = std::isinf(norm_type);
  double total = 0;
  each_grad(params, [&](const Tensor& g) {
    each_element(g, [&](double x) {
      if (largest) total = x > total || std::isnan(x) ? x : total;
      else total += norm_type == 2 ? x * x : std::pow(x, norm_type);
    });
  });
  if (!largest) total = norm_type == 2 ? std::sqrt(total) : std::pow(total, 1 / norm_type);
  GRAFT_CHECK(!error_if_nonfinite || std::isfinite(total), "clip_grad_norm_: the total norm of the gradients is ", total);
  const double factor = max_norm / (total + 1e-6);
  if (factor < 1 || std::isnan(factor))
    each_grad(params, [&](const Tensor& g) { g.mul_(scalar_tensor(factor, {g.dtype(), g.device()})); });
  return scalar_tensor(total, f32);
}

}  // namespace graft

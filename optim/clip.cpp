// Clipping of gradients by total norm and by value. Made of ops alone: on no device does the host wait for the result,
// unless error_if_nonfinite asks for it.
#include <cmath>
#include <unordered_set>
#include "graft/core/ops.h"
#include "graft/optim/optimizer.h"

namespace graft::inline v1::optim {

// The gradients that there are, of parameters that are listed twice only once.
static Tensors grads_of(const Tensors& params) {
  Tensors grads;
  std::unordered_set<const TensorImpl*> seen;
  for (const Tensor& p : params)
    if (const Tensor g = p.grad(); g.defined() && g.numel() > 0 && seen.insert(p.impl()).second) grads.push_back(g);
  return grads;
}

Tensor clip_grad_norm_(const Tensors& params, double max_norm, double norm_type, bool error_if_nonfinite) {
  GRAFT_CHECK(norm_type > 0, "clip_grad_norm_: norm_type is ", norm_type, "; it must be positive");
  GRAFT_CHECK(max_norm >= 0, "clip_grad_norm_: max_norm is ", max_norm, "; it must not be negative");
  const NoGrad quiet;
  const Tensors grads = grads_of(params);
  if (grads.empty()) return scalar_tensor(0.0, f32);
  Tensors norms;
  for (const Tensor& g : grads) {  // f16 and bf16 in f32: their squares overflow
    const DType real = real_of(g.dtype());
    const Tensor wide = real == f16 || real == bf16 ? g.to(f32) : g;
    norms.push_back(linalg::vector_norm(wide, norm_type).to(grads[0].device()));
  }
  const Tensor total = linalg::vector_norm(stack(norms), norm_type);
  GRAFT_CHECK(!error_if_nonfinite || std::isfinite(total.item<double>()), "clip_grad_norm_: the total norm of the gradients is ",
              total.item<double>());
  const Tensor factor = clamp(max_norm / (total + 1e-6), {}, 1);
  for (const Tensor& g : grads) g.mul_(factor.to(Options(real_of(g.dtype()), g.device())));
  return total;
}

void clip_grad_value_(const Tensors& params, double clip_value) {
  GRAFT_CHECK(clip_value >= 0, "clip_grad_value_: clip_value is ", clip_value, "; it must not be negative");
  const NoGrad quiet;
  const Tensors grads = grads_of(params);
  for (const Tensor& g : grads)
    GRAFT_CHECK(!is_complex(g.dtype()), ErrorCode::dtype_mismatch, "clip_grad_value_: complex gradients have no order: ", g);
  for (const Tensor& g : grads) g.clamp_(-clip_value, clip_value);
}

}  // namespace graft

// Dropout: of elements, of whole channels, and the form that keeps mean and variance of a SELU's output.
#include <cmath>
#include "graft/core/op.h"
#include "graft/core/random.h"
#include "graft/nn/functional.h"

namespace graft::inline v1::nn::functional {
namespace {

void check_p(double p) {
  GRAFT_CHECK(p >= 0 && p <= 1, "dropout probability has to be between 0 and 1, but got ", p);
}
// 1 where x stays, of the shape of x or of its first `kept` dimensions with 1 after them.
Tensor mask_for(const Tensor& x, double p, int kept) {
  Shape shape = x.shape();
  for (int i = kept; i < shape.rank(); ++i) shape[i] = 1;
  const NoGrad quiet;
  return bernoulli(kept >= x.dim() ? x.detach() : empty(shape, x.options()), 1 - p);
}
Tensor drop(const Tensor& x, double p, int kept) {
  if (p == 0) return x;
  if (p == 1) return x * 0.0;
  return x * (mask_for(x, p, kept) * (1 / (1 - p)));
}
Tensor drop_channels(const Tensor& x, double p, bool training, int spatial) {
  check_p(p);
  GRAFT_CHECK(x.dim() == spatial + 1 || x.dim() == spatial + 2, ErrorCode::shape_mismatch, "dropout", spatial,
              "d: needs ", spatial + 1, " or ", spatial + 2, " dimensions: ", x);
  return training ? drop(x, p, x.dim() - spatial) : x;
}
// y = a (x m + alpha (1 - m)) + b, with a and b so that mean 0 and variance 1 remain.
Tensor alpha_drop(const Tensor& x, double p, bool training, int kept) {
  check_p(p);
  if (!training || p == 0) return x;
  if (p == 1) return x * 0.0;
  constexpr double alpha = -1.7580993408473766;
  const double a = 1 / std::sqrt((alpha * alpha * p + 1) * (1 - p));
  const Tensor m = mask_for(x, p, kept);
  return x * (m * a) + affine(m, -alpha * a, alpha * a + -alpha * a * p);
}

}  // namespace

Tensor dropout(const Tensor& input, double p, bool training) {
  check_p(p);
  if (!training || p == 0) return input;
  // In another order of memory it keeps that order.
  return p < 1 && input.is_contiguous() && is_floating(input.dtype()) ? graft::dropout(input, p) : drop(input, p, input.dim());
}
Tensor dropout_add(const Tensor& input, const Tensor& residual, double p, bool training) {
  check_p(p);
  const bool fused = training && p > 0 && p < 1 && is_floating(input.dtype()) && input.shape() == residual.shape() && input.dtype() == residual.dtype();
  return fused ? graft::dropout(input, p, residual) : dropout(input, p, training) + residual;
}
Tensor dropout1d(const Tensor& input, double p, bool training) { return drop_channels(input, p, training, 1); }
Tensor dropout2d(const Tensor& input, double p, bool training) { return drop_channels(input, p, training, 2); }
Tensor dropout3d(const Tensor& input, double p, bool training) { return drop_channels(input, p, training, 3); }
Tensor alpha_dropout(const Tensor& input, double p, bool training) { return alpha_drop(input, p, training, input.dim()); }
Tensor feature_alpha_dropout(const Tensor& input, double p, bool training) { return alpha_drop(input, p, training, 2); }

}  // namespace graft::nn::functional

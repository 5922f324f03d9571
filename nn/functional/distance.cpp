// What is made of p-norms along one dimension: distances, similarity, normalize, and the poolings by norm.
#include <cmath>
#include "graft/nn/functional.h"

namespace graft::inline v1::nn::functional {
namespace {

// (sum |x|^p)^(1/p) with size 1 left; its gradient is 0 where the norm is.
Tensor norm(const Tensor& x, double p, int dim) {
  if (p == 1) return sum(abs(x), {dim}, true);
  if (p == 0) return sum(ne(x, 0.0), {dim}, true).to(x.dtype());
  if (std::isinf(p)) {
    const Tensor a = p > 0 ? abs(x) : -abs(x);
    const Tensor top = graft::max(a, dim).values.unsqueeze(dim < 0 ? dim + x.dim() : dim);
    return p > 0 ? top : -top;
  }
  const Tensor total = sum(p == 2 ? x * x : pow(abs(x), p), {dim}, true);
  const Tensor some = ne(total, 0.0), safe = where(some, total, 1.0);
  return masked(p == 2 ? sqrt(safe) : pow(safe, 1 / p), some);
}

template <int N, class Pool>
Tensor lp_pool(const Tensor& x, double p, const Sizes<N>& kernel, const std::optional<Sizes<N>>& stride, bool ceil_mode, Pool pool) {
  double count = 1;
  for (const int64_t k : kernel) count *= double(k);
  AvgPoolOptions<N> options;
  options.stride = stride;
  options.ceil_mode = ceil_mode;
  return pow(relu(pool(pow(x, p), kernel, options)) * count, 1 / p);
}

}  // namespace

Tensor normalize(const Tensor& input, double p, int dim, double eps) { return input / clamp_min(norm(input, p, dim), eps); }
Tensor cosine_similarity(const Tensor& x1, const Tensor& x2, int dim, double eps) {
  const int rank = std::max(x1.dim(), x2.dim());
  const int from_end = dim < 0 ? dim : dim - rank;
  const auto unit = [&](const Tensor& x) { return x / clamp_min(norm(x, 2, from_end), eps); };
  return sum(unit(x1) * unit(x2), {from_end});
}
Tensor pairwise_distance(const Tensor& x1, const Tensor& x2, double p, double eps, bool keepdim) {
  const Tensor d = norm(x1 - x2 + eps, p, -1);
  return keepdim ? d : d.squeeze(-1);
}

Tensor lp_pool1d(const Tensor& x, double p, const Sizes<1>& k, std::optional<Sizes<1>> stride, bool ceil_mode) {
  return lp_pool(x, p, k, stride, ceil_mode, avg_pool1d);
}
Tensor lp_pool2d(const Tensor& x, double p, const Sizes<2>& k, std::optional<Sizes<2>> stride, bool ceil_mode) {
  return lp_pool(x, p, k, stride, ceil_mode, avg_pool2d);
}
Tensor lp_pool3d(const Tensor& x, double p, const Sizes<3>& k, std::optional<Sizes<3>> stride, bool ceil_mode) {
  return lp_pool(x, p, k, stride, ceil_mode, avg_pool3d);
}

// x / (k + alpha * mean of x^2 over `size` neighbouring channels)^beta
Tensor local_response_norm(const Tensor& input, int64_t size, double alpha, double beta, double k) {
  GRAFT_CHECK(input.dim() >= 3, ErrorCode::shape_mismatch, "local_response_norm: needs at least three dimensions: ", input);
  GRAFT_CHECK(size > 0, "local_response_norm: size must be positive, but got ", size);
  if (input.numel() == 0) return input;
  const int64_t n = input.size(0), c = input.size(1);
  const Tensor square = (input * input).reshape({n, 1, c, input.numel() / (n * c)});
  const auto border = [&](int64_t width) { return zeros({n, 1, width, square.size(3)}, square.options()); };
  const Tensor mean = avg_pool2d(cat({border(size / 2), square, border((size - 1) / 2)}, 2), {size, 1}, {.stride = 1});
  return input / pow(mean.reshape(input.shape()) * alpha + k, beta);
}

}  // namespace graft::nn::functional

#include "graft/surgery/low_rank.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>
#include "graft/core/op.h"
#include "graft/core/ops.h"

namespace graft::inline v1::surgery {
namespace {

Tensor wide_on_cpu(const Tensor& t) { return t.detach().to(graft::Options(f64, Device::cpu)).contiguous(); }

using Columns = std::vector<std::vector<double>>;
double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}
void rotate(std::vector<double>& a, std::vector<double>& b, double c, double s) {
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = a[i], y = b[i];
    a[i] = c * x - s * y;
    b[i] = s * x + c * y;
  }
}

// Rotates pairs of columns of `a` until all are orthogonal, and those of `v` alike: what was a is a v^T then.
void orthogonalise(Columns& a, Columns& v) {
  constexpr int kSweeps = 60;
  constexpr double kTiny = 1e-15;
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    bool rotated = false;
    for (size_t i = 0; i < a.size(); ++i)
      for (size_t j = i + 1; j < a.size(); ++j) {
        const double p = dot(a[i], a[j]), aa = dot(a[i], a[i]), bb = dot(a[j], a[j]);
        if (std::abs(p) <= kTiny * std::sqrt(aa * bb)) continue;
        const double zeta = (bb - aa) / (2 * p);
        const double t = std::copysign(1 / (std::abs(zeta) + std::hypot(1, zeta)), zeta);
        const double c = 1 / std::hypot(1, t);
        rotate(a[i], a[j], c, c * t);
        rotate(v[i], v[j], c, c * t);
        rotated = true;
      }
    if (!rotated) return;
  }
}

Tensor from_columns(const Columns& columns, const std::vector<size_t>& order, size_t rows) {
  const Tensor t = zeros({int64_t(rows), int64_t(order.size())}, f64);
  double* out = t.mutable_data<double>();
  for (size_t r = 0; r < rows; ++r)
    for (const size_t c : order) *out++ = columns[c][r];
  return t;
}

int64_t smallest_rank(const Svd& d, double share) {
  const double* s = d.s.data<double>();
  const int64_t k = d.s.numel();
  const double whole = std::inner_product(s, s + k, s, 0.0);
  double kept = 0;
  for (int64_t r = 0; r < k; ++r) {
    if (kept >= share * whole && r > 0) return r;
    kept += s[r] * s[r];
  }
  return k;
}

}  // namespace

Svd svd(const Tensor& matrix) {
  const NoGrad quiet;
  GRAFT_CHECK(matrix.dim() == 2, ErrorCode::shape_mismatch, "svd: a matrix was expected, not ", matrix.view());
  if (matrix.size(0) < matrix.size(1)) {
    Svd d = svd(matrix.t());
    return {d.v, d.s, d.u};
  }
  const Tensor w = wide_on_cpu(matrix);
  GRAFT_CHECK(all(isfinite(w)).item<bool>(), "svd: the matrix is not finite");
  const size_t m = size_t(w.size(0)), n = size_t(w.size(1));
  Columns a(n, std::vector<double>(m)), v(n, std::vector<double>(n));
  for (size_t c = 0; c < n; ++c) {
    v[c][c] = 1;
    for (size_t r = 0; r < m; ++r) a[c][r] = w.data<double>()[r * n + c];
  }
  orthogonalise(a, v);
  std::vector<double> norms(n);
  for (size_t c = 0; c < n; ++c) {
    norms[c] = std::sqrt(dot(a[c], a[c]));
    if (norms[c] > 0)
      for (double& x : a[c]) x /= norms[c];
  }
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t i, size_t j) { return norms[i] > norms[j]; });
  const Tensor s = zeros({int64_t(n)}, f64);
  for (size_t c = 0; c < n; ++c) s.mutable_data<double>()[c] = norms[order[c]];
  return {from_columns(a, order, m), s, from_columns(v, order, n)};
}

Tensor least_squares(const Tensor& a, const Tensor& b) {
  const NoGrad quiet;
  const Svd d = svd(a);
  const double floor = d.s.numel() > 0 ? 1e-12 * d.s.at({0}) : 0;
  const Tensor inverse = where(gt(d.s, floor), reciprocal(d.s), zeros(d.s.shape(), f64));
  return matmul(d.v * inverse, matmul(d.u.t(), wide_on_cpu(b)));
}

Factors truncate(const Svd& d, int64_t rank) {
  const NoGrad quiet;
  GRAFT_CHECK(rank > 0 && rank <= d.s.numel(), "truncate: the rank is 1 to ", d.s.numel(), ", not ", rank);
  const Tensor root = sqrt(d.s.narrow(0, 0, rank));
  return {d.u.narrow(1, 0, rank) * root, (d.v.narrow(1, 0, rank) * root).t().contiguous()};
}
int64_t rank_for_energy(const Svd& d, double energy) {
  GRAFT_CHECK(energy > 0 && energy <= 1, "rank_for_energy: a share of 0 to 1 was expected, not ", energy);
  return smallest_rank(d, energy);
}
int64_t rank_for_error(const Svd& d, double error) {
  GRAFT_CHECK(error >= 0 && error < 1, "rank_for_error: a relative error of 0 to 1 was expected, not ", error);
  return smallest_rank(d, 1 - error * error);
}

MatrixFactors factorize_matrix(const Tensor& x_given, const Tensor& y_given, const Tensor& wa_given,
                               const FactorizeMatrixOptions& o) {
  const NoGrad quiet;
  const Tensor x = wide_on_cpu(x_given), y = wide_on_cpu(y_given);
  const Tensor bias = o.bias.defined() ? wide_on_cpu(o.bias) : zeros({y.size(1)}, f64);
  const Tensor y0 = y - bias;
  MatrixFactors f{wide_on_cpu(wa_given), o.wb.defined() ? wide_on_cpu(o.wb) : Tensor(), {}, -1, 0};
  const int64_t rank = o.rank < 1 ? std::max<int64_t>(1, int64_t(o.rank * double(x.size(1)))) : int64_t(o.rank);
  if (rank >= x.size(1) || rank >= y.size(1)) {
    f.wa = least_squares(x, y0);
    f.wb = Tensor();
  } else if (!f.wb.defined() || rank < f.wa.size(1)) {
    const Factors start = truncate(svd(f.wb.defined() ? matmul(f.wa, f.wb) : f.wa), rank);
    f.wa = start.a;
    f.wb = start.b;
    f.rank = rank;
    const Tensor exact = least_squares(x, y0);
    for (int i = 0; i < o.n_iters; ++i) {
      f.wb = least_squares(matmul(x, f.wa), y0);
      f.wa = least_squares(f.wb.t(), exact.t()).t();
    }
  }
  const Tensor fitted = f.wb.defined() ? matmul(matmul(x, f.wa), f.wb) : matmul(x, f.wa);
  f.bias = mean(y0 - fitted, 0) + bias;
  const Tensor off = y - fitted - f.bias, centred = y - mean(y);
  const double variance = sum(centred * centred).item<double>() / double(y.numel() - 1);
  f.nmse = mean(off * off).item<double>() / variance;
  return f;
}

}  // namespace graft::inline v1::surgery

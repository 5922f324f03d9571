#include "graft/nn/init.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "graft/core/op.h"
#include "graft/core/ops.h"

namespace graft::inline v1::nn::init {

double calculate_gain(std::string_view f, double param) {
  if (f == "linear" || f.starts_with("conv") || f == "sigmoid") return 1;
  if (f == "tanh") return 5.0 / 3;
  if (f == "relu") return std::sqrt(2.0);
  if (f == "leaky_relu") return std::sqrt(2 / (1 + param * param));
  if (f == "selu") return 0.75;
  fail("calculate_gain: Unsupported nonlinearity ", f);
}

Fans calculate_fan_in_and_fan_out(const Tensor& t) {
  GRAFT_CHECK(t.dim() >= 2, ErrorCode::shape_mismatch,
              "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions: ", t.view());
  int64_t field = 1;
  for (int d = 2; d < t.dim(); ++d) field *= t.size(d);
  return {t.size(1) * field, t.size(0) * field};
}

const Tensor& uniform_(const Tensor& t, double a, double b, Generator* g) {
  const NoGrad quiet;
  t.uniform_(a, b, g);
  return t;
}
const Tensor& normal_(const Tensor& t, double mean, double std, Generator* g) {
  const NoGrad quiet;
  t.normal_(mean, std, g);
  return t;
}
const Tensor& constant_(const Tensor& t, double value) {
  const NoGrad quiet;
  t.copy_(full({}, value, t.options()));
  return t;
}
const Tensor& zeros_(const Tensor& t) { return constant_(t, 0); }
const Tensor& ones_(const Tensor& t) { return constant_(t, 1); }

// Values computed one by one in double, then copied in the dtype of `t`.
static const Tensor& assign(const Tensor& t, const std::vector<double>& values) {
  if (t.device().type == Device::meta) return t;
  const NoGrad quiet;
  t.copy_(tensor(std::span<const double>(values), t.shape(), f64).to(t.options()));
  return t;
}

const Tensor& eye_(const Tensor& t) {
  GRAFT_CHECK(t.dim() == 2, ErrorCode::shape_mismatch, "eye_: Only tensors with 2 dimensions are supported, not ", t.view());
  std::vector<double> v(size_t(t.numel()));
  for (int64_t i = 0; i < std::min(t.size(0), t.size(1)); ++i) v[size_t(i * t.size(1) + i)] = 1;
  return assign(t, v);
}
const Tensor& dirac_(const Tensor& t, int64_t groups) {
  GRAFT_CHECK(t.dim() >= 3 && t.dim() <= 5, ErrorCode::shape_mismatch,
              "dirac_: Only tensors with 3, 4, or 5 dimensions are supported, not ", t.view());
  GRAFT_CHECK(groups > 0 && t.size(0) % groups == 0, "dirac_: dim 0 must be divisible by groups, not ", t.size(0), " by ",
              groups);
  int64_t field = 1, centre = 0;
  for (int d = 2; d < t.dim(); ++d) {
    centre = centre * t.size(d) + t.size(d) / 2;
    field *= t.size(d);
  }
  const int64_t per_group = t.size(0) / groups, n = std::min(per_group, t.size(1));
  std::vector<double> v(size_t(t.numel()));
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t d = 0; d < n; ++d) v[size_t(((g * per_group + d) * t.size(1) + d) * field + centre)] = 1;
  return assign(t, v);
}

// By the inverse of the normal's distribution function, as PyTorch does: u uniform between its values at a and b.
const Tensor& trunc_normal_(const Tensor& t, double mean, double std, double a, double b, Generator* g) {
  if (t.device().type == Device::meta) return t;
  const auto cdf = [](double x) { return (1 + std::erf(x / std::sqrt(2.0))) / 2; };
  const auto inverse_erf = [](double y) {  // Winitzki's closed form, then Newton steps
    const double w = -std::log((1 - y) * (1 + y));
    const double k = 2 / (std::numbers::pi * 0.147) - w / 2;
    double x = std::copysign(std::sqrt(std::sqrt(k * k + w / 0.147) - k), y);
    for (int i = 0; i < 3; ++i) x -= (std::erf(x) - y) * std::sqrt(std::numbers::pi) / 2 * std::exp(x * x);
    return x;
  };
  const double low = cdf((a - mean) / std), high = cdf((b - mean) / std);
  const Tensor u = graft::rand(t.shape(), f64, g).contiguous();
  std::vector<double> v(size_t(t.numel()));
  for (size_t i = 0; i < v.size(); ++i) {
    const double y = 2 * (low + u.data<double>()[i] * (high - low)) - 1;
    v[i] = std::clamp(mean + std * std::sqrt(2.0) * inverse_erf(std::clamp(y, -1 + 1e-15, 1 - 1e-15)), a, b);
  }
  return assign(t, v);
}

const Tensor& xavier_uniform_(const Tensor& t, double gain, Generator* g) {
  const Fans f = calculate_fan_in_and_fan_out(t);
  const double bound = gain * std::sqrt(6.0 / double(f.in + f.out));
  return uniform_(t, -bound, bound, g);
}
const Tensor& xavier_normal_(const Tensor& t, double gain, Generator* g) {
  const Fans f = calculate_fan_in_and_fan_out(t);
  return normal_(t, 0, gain * std::sqrt(2.0 / double(f.in + f.out)), g);
}

static double kaiming_std(const Tensor& t, double a, Fan fan, std::string_view nonlinearity) {
  const Fans f = calculate_fan_in_and_fan_out(t);
  return calculate_gain(nonlinearity, a) / std::sqrt(double(fan == Fan::in ? f.in : f.out));
}
const Tensor& kaiming_uniform_(const Tensor& t, double a, Fan fan, std::string_view nonlinearity, Generator* g) {
  if (t.numel() == 0) return t;
  const double bound = std::sqrt(3.0) * kaiming_std(t, a, fan, nonlinearity);
  return uniform_(t, -bound, bound, g);
}
const Tensor& kaiming_normal_(const Tensor& t, double a, Fan fan, std::string_view nonlinearity, Generator* g) {
  if (t.numel() == 0) return t;
  return normal_(t, 0, kaiming_std(t, a, fan, nonlinearity), g);
}

// Gram-Schmidt, twice, on the shorter side of [size(0), rest]; the signs are those of the random matrix.
const Tensor& orthogonal_(const Tensor& t, double gain, Generator* g) {
  GRAFT_CHECK(t.dim() >= 2, ErrorCode::shape_mismatch, "orthogonal_: Only tensors with 2 or more dimensions are supported, not ",
              t.view());
  if (t.numel() == 0 || t.device().type == Device::meta) return t;
  const int64_t rows = t.size(0), cols = t.numel() / rows;
  const bool tall = rows > cols;
  const int64_t n = tall ? cols : rows, length = tall ? rows : cols;
  const Tensor noise = randn({n, length}, f64, g).contiguous();
  std::vector<std::vector<double>> q;
  for (int64_t i = 0; i < n; ++i) {
    std::vector<double> v(noise.data<double>() + i * length, noise.data<double>() + (i + 1) * length);
    for (int pass = 0; pass < 2; ++pass)
      for (const auto& u : q) {
        double dot = 0;
        for (size_t k = 0; k < v.size(); ++k) dot += u[k] * v[k];
        for (size_t k = 0; k < v.size(); ++k) v[k] -= dot * u[k];
      }
    double norm = 0;
    for (const double x : v) norm += x * x;
    norm = std::sqrt(norm);
    for (double& x : v) x /= norm;
    q.push_back(std::move(v));
  }
  std::vector<double> values(size_t(t.numel()));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c)
      values[size_t(r * cols + c)] = gain * (tall ? q[size_t(c)][size_t(r)] : q[size_t(r)][size_t(c)]);
  return assign(t, values);
}

const Tensor& sparse_(const Tensor& t, double sparsity, double std, Generator* g) {
  GRAFT_CHECK(t.dim() == 2, ErrorCode::shape_mismatch, "sparse_: Only tensors with 2 dimensions are supported, not ", t.view());
  const int64_t rows = t.size(0), cols = t.size(1);
  const auto zero = int64_t(std::ceil(sparsity * double(rows)));
  normal_(t, 0, std, g);
  if (t.device().type == Device::meta) return t;
  const NoGrad quiet;
  Tensor dense = t.detach().cpu().to(f64).clone(MemoryFormat::contiguous);
  for (int64_t c = 0; c < cols; ++c) {
    const Tensor order = randperm(rows, i64, g);
    for (int64_t i = 0; i < std::min(zero, rows); ++i) dense.mutable_data<double>()[order.data<int64_t>()[i] * cols + c] = 0;
  }
  t.copy_(dense);
  return t;
}

}  // namespace graft::nn::init

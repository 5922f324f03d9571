// Cases of the reductions: against a fold over the elements, written here once.
#include <algorithm>
#include <limits>
#include "op_case.h"

namespace graft::cases {
namespace {

// f over each group of elements of t that share their index in the dimensions that are not reduced (a bit per dimension).
Tensor folded(const Tensor& t, unsigned mask, bool keep, double (*f)(const std::vector<double>&)) {
  const std::vector<double> v = elements(t);
  Shape shape;
  for (int d = 0; d < t.dim(); ++d) {
    if (!(mask >> d & 1)) shape.push_back(t.size(d));
    else if (keep) shape.push_back(1);
  }
  std::vector<std::vector<double>> groups(numel_of(shape));
  for (size_t i = 0; i < v.size(); ++i) {
    size_t group = 0, rest = i, stride = 1;
    for (int d = t.dim() - 1; d >= 0; --d) {
      const auto n = size_t(t.size(d));
      if (!(mask >> d & 1)) group += rest % n * stride, stride *= n;
      rest /= n;
    }
    groups[group].push_back(v[i]);
  }
  std::vector<double> result;
  for (const auto& g : groups) result.push_back(f(g));
  return tensor(std::span<const double>(result), shape, f64);
}
using Group = const std::vector<double>&;
double total(Group v) {
  double s = 0;
  for (const double x : v) s += x;
  return s;
}
double average(Group v) { return total(v) / double(v.size()); }
double product(Group v) {
  double s = 1;
  for (const double x : v) s *= x;
  return s;
}
double largest(Group v) { return *std::max_element(v.begin(), v.end()); }
double smallest(Group v) { return *std::min_element(v.begin(), v.end()); }
double at_largest(Group v) { return double(std::max_element(v.begin(), v.end()) - v.begin()); }
double at_smallest(Group v) { return double(std::min_element(v.begin(), v.end()) - v.begin()); }
double squares(Group v) {
  double s = 0;
  for (const double x : v) s += (x - average(v)) * (x - average(v));
  return s;
}
double variance(Group v) { return squares(v) / double(v.size() - 1); }
double deviation(Group v) { return std::sqrt(squares(v) / double(v.size())); }
double norm2(Group v) {
  double s = 0;
  for (const double x : v) s += x * x;
  return std::sqrt(s);
}
double norm3(Group v) {
  double s = 0;
  for (const double x : v) s += std::pow(std::abs(x), 3);
  return std::cbrt(s);
}
double norm_inf(Group v) {
  double s = 0;
  for (const double x : v) s = std::max(s, std::abs(x));
  return s;
}
double log_sum_exp(Group v) {
  double s = 0;
  for (const double x : v) s += std::exp(x);
  return std::log(s);
}
double any_positive(Group v) { return largest(v) > 0; }
double all_positive(Group v) { return smallest(v) > 0; }

Tensor running(const Tensor& t, bool multiply) {  // along dimension 1 of three
  std::vector<double> v = elements(t);
  const auto n = size_t(t.size(1)), inner = size_t(t.size(2));
  for (size_t i = 0; i < v.size(); ++i)
    if (i / inner % n) v[i] = multiply ? v[i] * v[i - inner] : v[i] + v[i - inner];
  return tensor(std::span<const double>(v), t.shape(), f64);
}

}  // namespace

OpCases reduce_cases() {
  const Tensor x = ramp({2, 3, 4}), long_row = ramp({3, 70}), wide = ramp({5, 40}), one = ramp({});
  const Tensor with_zero = tensor({1.5, 0., -0.7, 2., 0., 0., 1.1, 0.4}, {2, 2, 2}, f64);
  OpCases all{
      {.op = "sum", .in = {x}, .fn = [](const Tensors& t) { return sum(t[0]); },
       .expected = [](const Tensors& t) { return folded(t[0], 7, false, total); }},
      {.op = "sum", .name = "last", .in = {long_row}, .fn = [](const Tensors& t) { return sum(t[0], 1); },
       .expected = [](const Tensors& t) { return folded(t[0], 2, false, total); }},
      {.op = "sum", .name = "first", .in = {wide}, .fn = [](const Tensors& t) { return sum(t[0], 0); },
       .expected = [](const Tensors& t) { return folded(t[0], 1, false, total); }},
      {.op = "sum", .name = "outer and inner, kept", .in = {x}, .fn = [](const Tensors& t) { return sum(t[0], {0, -1}, true); },
       .expected = [](const Tensors& t) { return folded(t[0], 5, true, total); }},
      {.op = "sum", .name = "0-dim", .in = {one}, .fn = [](const Tensors& t) { return sum(t[0], -1); },
       .expected = [](const Tensors& t) { return t[0]; }},
      {.op = "sum", .name = "integers", .in = {ints({2, 3})}, .fn = [](const Tensors& t) { return sum(t[0].to(i8), 1); },
       .expected = [](const Tensors& t) { return folded(t[0], 2, false, total); }},
      {.op = "mean", .in = {x}, .fn = [](const Tensors& t) { return mean(t[0], 1); },
       .expected = [](const Tensors& t) { return folded(t[0], 2, false, average); }},
      {.op = "mean", .name = "of all", .in = {x}, .fn = [](const Tensors& t) { return mean(t[0]); },
       .expected = [](const Tensors& t) { return folded(t[0], 7, false, average); }},
      {.op = "prod", .in = {x}, .fn = [](const Tensors& t) { return prod(t[0], 2); },
       .expected = [](const Tensors& t) { return folded(t[0], 4, false, product); }, .tolerance = 8},
      {.op = "prod", .name = "of all, with zeros", .in = {with_zero}, .fn = [](const Tensors& t) { return prod(t[0]); },
       .expected = [](const Tensors& t) { return folded(t[0], 7, false, product); }},
      {.op = "prod", .name = "a zero in a row", .in = {with_zero}, .fn = [](const Tensors& t) { return prod(t[0], 0, true); },
       .expected = [](const Tensors& t) { return folded(t[0], 1, true, product); }},
      {.op = "amax", .in = {x}, .fn = [](const Tensors& t) { return amax(t[0], {0, 2}); },
       .expected = [](const Tensors& t) { return folded(t[0], 5, false, largest); }},
      {.op = "amin", .in = {wide}, .fn = [](const Tensors& t) { return amin(t[0], 0, true); },
       .expected = [](const Tensors& t) { return folded(t[0], 1, true, smallest); }},
      {.op = "amax", .name = "max of all", .in = {x}, .fn = [](const Tensors& t) { return max(t[0]); },
       .expected = [](const Tensors& t) { return folded(t[0], 7, false, largest); }},
      {.op = "max", .name = "values", .in = {x}, .fn = [](const Tensors& t) { return max(t[0], 1).values; },
       .expected = [](const Tensors& t) { return folded(t[0], 2, false, largest); }},
      {.op = "min", .name = "values", .in = {x}, .fn = [](const Tensors& t) { return min(t[0], 2, true).values; },
       .expected = [](const Tensors& t) { return folded(t[0], 4, true, smallest); }},
      {.op = "max", .name = "argmax", .in = {x}, .fn = [](const Tensors& t) { return argmax(t[0], 1); },
       .expected = [](const Tensors& t) { return folded(t[0], 2, false, at_largest); }, .grad = false},
      {.op = "min", .name = "argmin of all", .in = {x}, .fn = [](const Tensors& t) { return argmin(t[0]); },
       .expected = [](const Tensors& t) { return folded(t[0], 7, false, at_smallest); }, .grad = false},
      {.op = "any", .in = {x}, .fn = [](const Tensors& t) { return any(gt(t[0], 0), 2); },
       .expected = [](const Tensors& t) { return folded(t[0], 4, false, any_positive); }, .grad = false},
      {.op = "all", .in = {x}, .fn = [](const Tensors& t) { return graft::all(gt(t[0], 0), 0); },
       .expected = [](const Tensors& t) { return folded(t[0], 1, false, all_positive); }, .grad = false},
      {.op = "sum", .name = "count_nonzero", .in = {with_zero}, .fn = [](const Tensors& t) { return count_nonzero(t[0]); },
       .values = {5}, .grad = false, .strided = false},
      {.op = "var", .in = {x}, .fn = [](const Tensors& t) { return var(t[0], {0, 2}); },
       .expected = [](const Tensors& t) { return folded(t[0], 5, false, variance); }, .tolerance = 4},
      {.op = "var", .name = "std without correction", .in = {x}, .fn = [](const Tensors& t) { return graft::std(t[0], 1, 0, true); },
       .expected = [](const Tensors& t) { return folded(t[0], 2, true, deviation); }, .strided = false, .tolerance = 4},
      {.op = "var", .name = "mean of var_mean", .in = {x},
       .fn = [](const Tensors& t) { const VarMean v = var_mean(t[0], 1); return v.mean * v.var; },
       .expected = [](const Tensors& t) {
         return folded(t[0], 2, false, [](Group v) { return average(v) * variance(v); });
       }, .tolerance = 4},
      {.op = "sqrt", .name = "norm", .in = {x}, .fn = [](const Tensors& t) { return norm(t[0], 2, {1}); },
       .expected = [](const Tensors& t) { return folded(t[0], 2, false, norm2); }},
      {.op = "pow_scalar", .name = "3-norm", .in = {x}, .fn = [](const Tensors& t) { return linalg::vector_norm(t[0], 3, 0, true); },
       .expected = [](const Tensors& t) { return folded(t[0], 1, true, norm3); }, .tolerance = 4},
      {.op = "amax", .name = "maximum norm", .in = {x},
       .fn = [](const Tensors& t) { return norm(t[0], std::numeric_limits<double>::infinity()); },
       .expected = [](const Tensors& t) { return folded(t[0], 7, false, norm_inf); }},
      {.op = "logsumexp", .in = {x}, .fn = [](const Tensors& t) { return logsumexp(t[0], 1, true); },
       .expected = [](const Tensors& t) { return folded(t[0], 2, true, log_sum_exp); }},
      {.op = "logsumexp", .name = "of the first and the last", .in = {x}, .fn = [](const Tensors& t) { return logsumexp(t[0], {0, 2}, true); },
       .expected = [](const Tensors& t) { return folded(t[0], 5, true, log_sum_exp); }},
      {.op = "logsumexp", .name = "of two", .in = {x}, .fn = [](const Tensors& t) { return logsumexp(t[0], {0, 1}); },
       .expected = [](const Tensors& t) { return folded(t[0], 3, false, log_sum_exp); }},
      {.op = "cumsum", .in = {x}, .fn = [](const Tensors& t) { return cumsum(t[0], 1); },
       .expected = [](const Tensors& t) { return running(t[0], false); }},
      {.op = "cumprod", .in = {x}, .fn = [](const Tensors& t) { return cumprod(t[0], 1); },
       .expected = [](const Tensors& t) { return running(t[0], true); }, .tolerance = 4},
      {.op = "cumprod", .name = "with zeros", .in = {with_zero}, .fn = [](const Tensors& t) { return cumprod(t[0], 1); },
       .expected = [](const Tensors& t) { return running(t[0], true); }},
  };
  for (OpCase& c : all) c.pointwise = false;
  return all;
}

}  // namespace graft::cases

// Cases of the normalizations, and of ops that pick by label.
#include <numeric>
#include "graft/nn/functional.h"
#include "op_case.h"

namespace graft::cases {
namespace {

namespace F = nn::functional;

// (x - mean) / sqrt(var + eps) over each group of elements; group(i) numbers the group of element i.
template <class G> std::vector<double> normalized(const Tensor& x, G group, bool center = true, double eps = 1e-5) {
  std::vector<double> v = elements(x), mean(64), var(64), count(64);
  for (size_t i = 0; i < v.size(); ++i) mean[group(i)] += v[i], ++count[group(i)];
  for (size_t g = 0; g < mean.size(); ++g) mean[g] = center ? mean[g] / count[g] : 0;
  for (size_t i = 0; i < v.size(); ++i) var[group(i)] += (v[i] - mean[group(i)]) * (v[i] - mean[group(i)]);
  for (size_t i = 0; i < v.size(); ++i)
    v[i] = (v[i] - mean[group(i)]) / std::sqrt(var[group(i)] / count[group(i)] + eps);
  return v;
}
Tensor affine_of(const std::vector<double>& v, const Shape& shape, const Tensor& w, const Tensor& b, const Shape& wide) {
  return tensor(std::span<const double>(v), shape, f64) * w.reshape(wide) + b.reshape(wide);
}
Tensor channel_norm(const Tensors& t) {  // of [2, 3, 2, 2]
  const auto v = normalized(t[0], [](size_t i) { return i / 4 % 3; });
  return affine_of(v, {2, 3, 2, 2}, t[1], t[2], {1, 3, 1, 1});
}

const double kClassWeights[] = {0.5, 2, 3};
Tensor class_weights(const Tensor& x) { return tensor(std::span<const double>(kClassWeights), {3}, x.dtype()).to(x.device()); }
// Of x[n, 3, places] and labels, by the definition: sum over c of q_c w_c -log softmax(x)_c, q being the smoothed label.
Tensor cross_entropy_of(const Tensor& x, const Tensor& label, bool weighted, double smoothing) {
  const auto v = elements(x), l = elements(label);
  const size_t places = l.size() / size_t(x.size(0));
  std::vector<double> loss;
  for (size_t i = 0; i < l.size(); ++i) {
    const auto at = [&](size_t c) { return v[(i / places * 3 + c) * places + i % places]; };
    const double total = std::log(std::exp(at(0)) + std::exp(at(1)) + std::exp(at(2)));
    double sum = 0;
    for (size_t c = 0; c < 3 && l[i] >= 0; ++c)
      sum += (smoothing / 3 + (double(c) == l[i] ? 1 - smoothing : 0)) * (weighted ? kClassWeights[c] : 1) * (total - at(c));
    loss.push_back(sum);
  }
  return tensor(std::span<const double>(loss), label.shape(), f64);
}

}  // namespace

OpCases norm_cases() {
  const Tensor x = ramp({2, 3, 2, 2}), w = ramp({3}, 0.7, 0.2), b = ramp({3}, -0.4);
  const Tensor labels = tensor({2, 0, 1}), rows = tensor({3, 0, 3, 1}, {2, 2});
  return {
      {.op = "batch_norm", .in = {x, w, b},
       .fn = [](const Tensors& t) { return F::batch_norm(t[0], {}, {}, t[1], t[2], {.training = true}); },
       .expected = channel_norm, .pointwise = false, .tolerance = 20},
      {.op = "batch_norm", .name = "rank 2, no weight", .in = {ramp({5, 3})},
       .fn = [](const Tensors& t) { return F::batch_norm(t[0], {}, {}, {}, {}, {.training = true}); },
       .expected = [](const Tensors& t) {
         return tensor(std::span<const double>(normalized(t[0], [](size_t i) { return i % 3; })), {5, 3}, f64);
       },
       .pointwise = false, .strided = false, .tolerance = 20},
      {.op = "batch_norm_eval", .in = {x, w, b},
       .fn = [](const Tensors& t) {
         const Tensor mean = tensor({0.1, -0.2, 0.3}, t[0].dtype()), var = tensor({0.5, 2.0, 1.5}, t[0].dtype());
         const Options o(t[1].dtype(), t[1].device());
         return F::batch_norm(t[0], mean.to(o), var.to(o), t[1], t[2]);
       },
       .expected = [](const Tensors& t) {
         std::vector<double> v = elements(t[0]);
         const double mean[] = {0.1, -0.2, 0.3}, var[] = {0.5, 2, 1.5};
         for (size_t i = 0; i < v.size(); ++i) v[i] = (v[i] - mean[i / 4 % 3]) / std::sqrt(var[i / 4 % 3] + 1e-5);
         return affine_of(v, {2, 3, 2, 2}, t[1], t[2], {1, 3, 1, 1});
       },
       .pointwise = false, .meta = false, .tolerance = 20},
      {.op = "row_norm", .name = "layer norm", .in = {ramp({3, 2, 4}), ramp({2, 4}, 0.7, 0.2), ramp({2, 4}, -0.4)},
       .fn = [](const Tensors& t) { return F::layer_norm(t[0], {2, 4}, t[1], t[2]); },
       .expected = [](const Tensors& t) {
         return affine_of(normalized(t[0], [](size_t i) { return i / 8; }), {3, 2, 4}, t[1], t[2], {1, 2, 4});
       },
       .pointwise = false, .strided = false, .tolerance = 20},
      {.op = "add_row_norm", .name = "the normalized", .in = {ramp({3, 2, 4}), ramp({3, 2, 4}, 0.4, -0.13), ramp({2, 4}, 0.7, 0.2), ramp({2, 4}, -0.4)},
       .fn = [](const Tensors& t) { return F::add_layer_norm(t[0], t[1], {2, 4}, t[2], t[3]).values; },
       .expected = [](const Tensors& t) {
         return affine_of(normalized(t[0] + t[1], [](size_t i) { return i / 8; }), {3, 2, 4}, t[2], t[3], {1, 2, 4});
       },
       .pointwise = false, .strided = false, .tolerance = 20},
      {.op = "add_row_norm", .name = "both results", .in = {ramp({3, 4}), ramp({3, 4}, 0.4, -0.13)},
       .fn = [](const Tensors& t) {
         const AddNormResult r = F::add_layer_norm(t[0], t[1], {4});
         return r.values * r.sum;
       },
       .expected = [](const Tensors& t) {
         return tensor(std::span<const double>(normalized(t[0] + t[1], [](size_t i) { return i / 4; })), {3, 4}, f64) * (t[0] + t[1]);
       },
       .pointwise = false, .tolerance = 20},
      {.op = "row_norm", .name = "rms norm", .in = {ramp({3, 4}), ramp({4}, 0.7, 0.2)},
       .fn = [](const Tensors& t) { return F::rms_norm(t[0], {4}, t[1], 1e-3); },
       .expected = [](const Tensors& t) {
         const auto v = normalized(t[0], [](size_t i) { return i / 4; }, false, 1e-3);
         return affine_of(v, {3, 4}, t[1], zeros({4}, f64), {1, 4});
       },
       .pointwise = false, .tolerance = 20},
      {.op = "row_norm", .name = "group norm", .in = {ramp({2, 4, 3}), ramp({4}, 0.7, 0.2), ramp({4}, -0.4)},
       .fn = [](const Tensors& t) { return F::group_norm(t[0], 2, t[1], t[2]); },
       .expected = [](const Tensors& t) {
         return affine_of(normalized(t[0], [](size_t i) { return i / 6; }), {2, 4, 3}, t[1], t[2], {1, 4, 1});
       },
       .pointwise = false, .tolerance = 20},
      {.op = "row_norm", .name = "instance norm", .in = {x, w, b},
       .fn = [](const Tensors& t) { return F::instance_norm(t[0], {}, {}, t[1], t[2]); },
       .expected = [](const Tensors& t) {
         return affine_of(normalized(t[0], [](size_t i) { return i / 4; }), {2, 3, 2, 2}, t[1], t[2], {1, 3, 1, 1});
       },
       .pointwise = false, .strided = false, .tolerance = 20},

      {.op = "log_softmax", .in = {ramp({3, 4})}, .fn = [](const Tensors& t) { return log_softmax(t[0], 0); },
       .expected = [](const Tensors& t) {
         std::vector<double> v = elements(t[0]);
         for (size_t c = 0; c < 4; ++c) {
           const double total = std::exp(v[c]) + std::exp(v[c + 4]) + std::exp(v[c + 8]);
           for (size_t r = 0; r < 3; ++r) v[r * 4 + c] -= std::log(total);
         }
         return tensor(std::span<const double>(v), {3, 4}, f64);
       },
       .pointwise = false},
      {.op = "nll", .in = {ramp({3, 3}), labels},
       .fn = [](const Tensors& t) { return nll(t[0], t[1], class_weights(t[0])).loss; },
       .expected = [](const Tensors& t) {
         const auto x = elements(t[0]), label = elements(t[1]);
         std::vector<double> loss;
         for (size_t i = 0; i < 3; ++i) loss.push_back(-kClassWeights[size_t(label[i])] * x[i * 3 + size_t(label[i])]);
         return tensor(std::span<const double>(loss), {3}, f64);
       },
       .pointwise = false, .strided = false, .meta = false},
      {.op = "nll", .name = "places, ignored", .in = {ramp({2, 3, 2}), tensor({2, 0, -100, 1}, {2, 2})},
       .fn = [](const Tensors& t) { return nll(t[0], t[1]).loss; },
       .expected = [](const Tensors& t) {
         return tensor({-t[0].at({0, 2, 0}), -t[0].at({0, 0, 1}), 0.0, -t[0].at({1, 1, 1})}, {2, 2}, f64);
       },
       .pointwise = false, .strided = false},
      {.op = "cross_entropy", .in = {ramp({3, 3}), labels}, .fn = [](const Tensors& t) { return cross_entropy(t[0], t[1]).loss; },
       .expected = [](const Tensors& t) { return cross_entropy_of(t[0], t[1], false, 0); },
       .pointwise = false, .strided = false},
      {.op = "cross_entropy", .name = "weights, smooth", .in = {ramp({3, 3}), labels},
       .fn = [](const Tensors& t) { return cross_entropy(t[0], t[1], class_weights(t[0]), -100, 0.3).loss; },
       .expected = [](const Tensors& t) { return cross_entropy_of(t[0], t[1], true, 0.3); },
       .pointwise = false, .strided = false, .meta = false},
      {.op = "cross_entropy", .name = "places, ignored, smooth", .in = {ramp({2, 3, 2}), tensor({2, 0, -100, 1}, {2, 2})},
       .fn = [](const Tensors& t) { return cross_entropy(t[0], t[1], {}, -100, 0.2).loss; },
       .expected = [](const Tensors& t) { return cross_entropy_of(t[0], t[1], false, 0.2); },
       .pointwise = false, .strided = false},
      {.op = "embedding", .in = {ramp({4, 2}), rows}, .fn = [](const Tensors& t) { return F::embedding(t[1], t[0], {.padding_idx = 0}); },
       .expected = [](const Tensors& t) {
         const auto w = elements(t[0]), row = elements(t[1]);
         std::vector<double> y;
         for (const double r : row) y.insert(y.end(), {w[size_t(r) * 2], w[size_t(r) * 2 + 1]});
         return tensor(std::span<const double>(y), {2, 2, 2}, f64);
       },
       .pointwise = false, .grad = false, .strided = false},  // row 0 has no gradient
      {.op = "embedding", .name = "no padding", .in = {ramp({4, 2}), rows},
       .fn = [](const Tensors& t) { return F::embedding(t[1], t[0]); },
       .expected = [](const Tensors& t) {
         return cat({t[0].narrow(0, 3, 1), t[0].narrow(0, 0, 1), t[0].narrow(0, 3, 1), t[0].narrow(0, 1, 1)}).reshape({2, 2, 2});
       },
       .pointwise = false, .strided = false},
      {.op = "embedding_renorm", .in = {tensor({3., 4., 0.3, 0.4}, {2, 2}, f64), tensor({0, 1})},
       .fn = [](const Tensors& t) {
         const Tensor w = t[0].clone();
         F::embedding(t[1], w, {.max_norm = 1});
         return w;
       },
       .values = {0.6 * 5 / (5 + 1e-7), 0.8 * 5 / (5 + 1e-7), 0.3, 0.4}, .pointwise = false, .grad = false, .strided = false,
       .meta = false},
      {.op = "one_hot", .in = {tensor({2, 0})}, .fn = [](const Tensors& t) { return one_hot(t[0], 3); },
       .values = {0, 0, 1, 1, 0, 0}, .pointwise = false, .grad = false},
  };
}

}  // namespace graft::cases

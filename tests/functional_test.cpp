// The functions under the layers: what op cases cannot say. Expected values: closed forms, or PyTorch 2.x where said.
#include <cmath>
#include <gtest/gtest.h>
#include "graft/core/autograd.h"
#include "graft/core/random.h"
#include "graft/nn/functional.h"

using namespace graft;
namespace F = nn::functional;

namespace {

#define EXPECT_REFUSED(expr, text)                                                  \
  do {                                                                              \
    try {                                                                           \
      expr;                                                                         \
      ADD_FAILURE() << "no error from " #expr;                                      \
    } catch (const Error& e) {                                                      \
      EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what();   \
    }                                                                               \
  } while (0)

Tensor ramp(const Shape& shape, Options o = f64) {
  Tensor t = empty(shape, f64);
  for (int64_t i = 0; i < t.numel(); ++i) t.mutable_data<double>()[i] = -1.3 + 0.37 * double((i * 7) % 11) + 0.01 * double(i);
  return t.to(o);
}
double worst(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape(), b.shape());
  const NoGrad quiet;
  const Tensor x = a.to(f64).contiguous(), y = b.to(f64).contiguous();
  double most = 0;
  for (int64_t i = 0; i < x.numel(); ++i) most = std::max(most, std::abs(x.data<double>()[i] - y.data<double>()[i]));
  return most;
}

TEST(Contract, KT1_batch_norm_in_training_needs_more_than_one_value_per_channel) {
  const auto train = [](const Shape& s) { return F::batch_norm(zeros(s), {}, {}, {}, {}, {.training = true}); };
  EXPECT_REFUSED(train({1, 3}), "Expected more than 1 value per channel when training, got input size [1,3]");
  EXPECT_REFUSED(train({1, 3, 1, 1}), "Expected more than 1 value per channel when training, got input size [1,3,1,1]");
  EXPECT_REFUSED(train({0, 3, 2, 2}), "Expected more than 1 value per channel");
  EXPECT_EQ(train({1, 3, 2, 2}).shape(), Shape({1, 3, 2, 2}));
  EXPECT_EQ(F::conv2d(zeros({0, 3, 4, 4}), zeros({2, 3, 3, 3})).shape(), Shape({0, 2, 2, 2}));
  EXPECT_EQ(F::linear(zeros({0, 3}), zeros({2, 3}), zeros({2})).shape(), Shape({0, 2}));
  EXPECT_EQ(F::max_pool2d(zeros({0, 3, 4, 4}), 2).shape(), Shape({0, 3, 2, 2}));
}

TEST(Contract, KT11_a_label_out_of_range_is_an_error_that_names_it_and_the_number_of_classes) {
  const Tensor x = ramp({2, 3});
  EXPECT_REFUSED(F::cross_entropy(x, tensor({0, 3})), "label 3 is out of range for 3 classes");
  EXPECT_REFUSED(F::cross_entropy(x, tensor({-1, 0})), "label -1 is out of range for 3 classes");
  EXPECT_REFUSED(F::nll_loss(x, tensor({7, 0})), "label 7 is out of range for 3 classes");
  EXPECT_REFUSED(F::embedding(tensor({4}), ramp({4, 2})), "index 4 is out of range for 4 rows");
  EXPECT_REFUSED(F::embedding(tensor({0}), zeros({0, 2})), "index 0 is out of range for 0 rows");
  EXPECT_REFUSED(F::cross_entropy(x, tensor({INT64_MAX, int64_t{0}})), "label 9223372036854775807 is out of range for 3 classes");
  EXPECT_REFUSED(gather(x, 1, tensor({{INT64_MIN}, {INT64_MAX}})), "index -9223372036854775808 is out of range for dimension 1 with size 3");
  EXPECT_REFUSED(index_select(zeros({0, 3}), 0, tensor({0})), "index 0 is out of range for dimension 0 with size 0");
  EXPECT_TRUE(std::isfinite(F::cross_entropy(x, tensor({-100, 0})).item<double>()));
}

TEST(BatchNorm, running_statistics_move_in_place_without_history_unbiased_and_not_in_a_dry_run) {
  const Tensor x = tensor({1., 2., 3., 6.}, {4, 1}, f64).requires_grad_();
  const Tensor mean = zeros({1}, f64), var = ones({1}, f64);
  F::batch_norm(x, mean, var, {}, {}, {.training = true, .momentum = 0.5});
  EXPECT_DOUBLE_EQ(mean.item<double>(), 1.5);              // 0.5 * 0 + 0.5 * 3
  EXPECT_DOUBLE_EQ(var.item<double>(), 0.5 + 0.5 * 14 / 3.0);
  EXPECT_FALSE(mean.requires_grad());
  F::batch_norm(x, mean, var, {}, {}, {.training = true, .momentum = {}, .num_batches = 4});
  EXPECT_DOUBLE_EQ(mean.item<double>(), 1.5 * 0.75 + 3 * 0.25);
  const double before = mean.item<double>();
  const uint32_t version = mean.version();
  {
    const DryRun dry;
    F::batch_norm(x, mean, var, {}, {}, {.training = true});
  }
  EXPECT_EQ(mean.item<double>(), before);
  EXPECT_EQ(mean.version(), version);
}

TEST(BatchNorm, f16_input_has_f32_statistics) {
  const NormResult r = batch_norm_train(ramp({4, 3, 2, 2}, f16), {}, {}, 1e-5);
  EXPECT_EQ(r.values.dtype(), f16);
  EXPECT_EQ(r.mean.dtype(), f32);
  EXPECT_LT(worst(r.mean, batch_norm_train(ramp({4, 3, 2, 2}, f16).to(f64), {}, {}, 1e-5).mean), 1e-6);
}

TEST(BatchNorm, statistics_do_not_cancel_far_from_zero) {
  const Tensor x = ramp({64, 5, 4, 4}) + 1e4;
  const Tensor exact = batch_norm_train(x.to(f32).to(f64), {}, {}, 1e-5).var;
  EXPECT_LT(worst(batch_norm_train(x.to(f32), {}, {}, 1e-5).var, exact), 1e-5);
}

Tensor channels_last(const Tensor& x) {
  return x.transpose(1, 3).contiguous().transpose(1, 3);  // [n, w, h, c] in memory: dense, channels innermost
}
Tensor nhwc(const Tensor& x) { return x.permute({0, 2, 3, 1}).contiguous().permute({0, 3, 1, 2}); }

TEST(Layout, channels_last_goes_in_and_comes_out_of_convolution_pooling_and_norm_forward_and_backward) {
  const Tensor plain = ramp({2, 4, 6, 6}, f32), w = ramp({8, 4, 3, 3}, f32);
  const auto net = [&](const Tensor& x) {
    Tensor y = F::conv2d(x, w, {}, {.padding = 1});
    y = F::batch_norm(y, {}, {}, {}, {}, {.training = true});
    y = F::max_pool2d(relu(y), 2);
    return F::avg_pool2d(y, 3, {.stride = 1, .padding = 1});
  };
  const Tensor a = plain.clone().requires_grad_(), b = nhwc(plain).detach().requires_grad_();
  const Tensor y = net(a), z = net(b);
  EXPECT_TRUE(y.is_contiguous());
  EXPECT_TRUE(z.is_contiguous(MemoryFormat::channels_last));
  EXPECT_LT(worst(y, z), 1e-5);
  const Tensor seed = ramp(y.shape(), f32);
  sum(y * seed).backward();
  sum(z * seed).backward();
  EXPECT_LT(worst(a.grad(), b.grad()), 2e-5);
  EXPECT_LT(worst(F::adaptive_avg_pool2d(nhwc(plain), 1), F::adaptive_avg_pool2d(plain, 1)), 1e-6);
  EXPECT_LT(worst(F::group_norm(channels_last(plain), 2), F::group_norm(plain, 2)), 1e-5);
}

TEST(Errors, say_which_shapes_were_given_and_what_would_fit) {
  EXPECT_REFUSED(F::conv2d(zeros({1, 4, 5, 5}), zeros({2, 3, 3, 3})),
                 "Given groups=1, weight of size [2,3,3,3], expected input[1,4,5,5] to have 3 channels, but got 4 channels instead");
  EXPECT_REFUSED(F::conv2d(zeros({1, 3, 2, 2}), zeros({2, 3, 3, 3})),
                 "Calculated padded input size per channel: (2 x 2). Kernel size: (3 x 3). Kernel size can't be greater than actual input size");
  EXPECT_REFUSED(F::conv2d(zeros({1, 3, 4, 4}), zeros({2, 3, 3, 3}), {}, {.stride = 2, .padding = "same"}),
                 "padding='same' is not supported for strided convolutions");
  EXPECT_REFUSED(F::conv2d(zeros({1, 3, 4, 4}), zeros({2, 3, 3, 3}), {}, {.stride = 0}), "stride must be positive");
  EXPECT_REFUSED(F::conv2d(zeros({1, 3, 4, 4}), zeros({3, 1, 3, 3}), {}, {.groups = 2}), "does not divide");
  EXPECT_REFUSED(F::max_pool2d(zeros({1, 1, 4, 4}), 2, {.padding = 2}), "pad should be at most half of effective kernel size");
  EXPECT_REFUSED(F::max_pool2d(zeros({1, 1, 1, 1}), 3), "Output size is too small");
  EXPECT_REFUSED(F::linear(zeros({2, 3}), zeros({4, 5})), "in_features differ");
  EXPECT_REFUSED(F::layer_norm(zeros({2, 3}), {4}), "expects input with shape [*, [4]], but got");
  EXPECT_REFUSED(matmul(zeros({2, 3}), zeros({2, 3})), "inner sizes differ");
  EXPECT_REFUSED(F::dropout(zeros({2}), 1.5), "dropout probability has to be between 0 and 1, but got 1.5");
  EXPECT_REFUSED(F::mse_loss(zeros({2}), zeros({2}), "avg"), "avg is not a valid value for reduction");
}

TEST(Complex, the_gradient_of_a_product_is_the_conjugate_of_the_other_factor) {
  using C = std::complex<double>;
  const Tensor a = tensor({C(1, 2)}, {1, 1}).requires_grad_(), b = tensor({C(3, -1)}, {1, 1}).requires_grad_();
  const auto expect_conjugates = [&](const Tensor& y) {
    const Tensors g = grad({y}, {a, b}, {.grad_outputs = {ones(y.shape(), c128)}});
    EXPECT_EQ(*g[0].contiguous().data<C>(), C(3, 1));
    EXPECT_EQ(*g[1].contiguous().data<C>(), C(1, -2));
  };
  expect_conjugates(matmul(a, b));
  expect_conjugates(F::linear(a, b));
  expect_conjugates(F::conv1d(a.unsqueeze(2), b.unsqueeze(2)));
}

TEST(Dropout, scales_what_it_keeps_drops_whole_channels_and_does_nothing_in_eval) {
  manual_seed(3);
  const Tensor x = ones({64, 64});
  const Tensor y = F::dropout(x, 0.25);
  int64_t zero = 0;
  for (int64_t i = 0; i < y.numel(); ++i) {
    const float v = y.data<float>()[i];
    EXPECT_TRUE(v == 0 || std::abs(v - 4.0F / 3) < 1e-6F);
    zero += v == 0;
  }
  EXPECT_NEAR(double(zero) / 4096, 0.25, 0.03);
  EXPECT_TRUE(F::dropout(x, 0.25, false).is_same(x));
  const Tensor c = F::dropout2d(ones({8, 8, 3, 3}), 0.5);
  for (int64_t i = 0; i < 64; ++i)
    for (int64_t j = 1; j < 9; ++j) EXPECT_EQ(c.data<float>()[i * 9 + j], c.data<float>()[i * 9]);
  const DryRun dry;
  EXPECT_EQ(F::dropout(x).shape(), x.shape());
}
TEST(Dropout, derivative_drops_the_same_elements_and_the_residual_passes) {
  for (const DType t : {f64, f32, f16}) {
    const Tensor x = full({31, 7}, 3.0, t).requires_grad_(), r = full({31, 7}, 0.5, t).requires_grad_();
    manual_seed(5);
    const Tensor y = F::dropout_add(x, r, 0.25), kept = ne(y.detach(), 0.5).to(f64);
    EXPECT_TRUE(all(eq(y.detach().to(t), (kept * 4.0 + 0.5).to(t))).item<bool>());
    EXPECT_GT(sum(kept).item<double>(), 120);
    const Tensor g = arange(217, f64).reshape({31, 7}).to(t);
    const Tensors d = grad({y}, {x, r}, {.grad_outputs = {g}});
    EXPECT_LE(max(abs(d[0].to(f64) - kept * g.to(f64) * (4.0 / 3))).item<double>(), t == f64 ? 1e-13 : t == f32 ? 1e-4 : 0.2);
    EXPECT_TRUE(all(eq(d[1], g)).item<bool>());
    manual_seed(5);
    EXPECT_TRUE(all(eq(F::dropout(x.detach(), 0.25), kept.to(t) * 4.0)).item<bool>());
    EXPECT_TRUE(all(eq(F::dropout_add(x, r, 0.25, false), x + r)).item<bool>());
  }
}


TEST(CrossEntropy, weighs_ignores_smooths_and_takes_probabilities) {
  const Tensor x = tensor({0.5, -1.0, 2.0, 1.5, 0.25, -0.75}, {2, 3}, f64), y = tensor({2, 0}), w = tensor({0.5, 2., 1.}, f64);
  const auto value = [&](const F::CrossEntropyOptions& o) { return F::cross_entropy(x, y, o).item<double>(); };
  // -log softmax by hand
  const double a = -2.0 + std::log(std::exp(0.5) + std::exp(-1.0) + std::exp(2.0));
  const double b = -1.5 + std::log(std::exp(1.5) + std::exp(0.25) + std::exp(-0.75));
  EXPECT_NEAR(value({}), (a + b) / 2, 1e-14);
  EXPECT_NEAR(value({.reduction = "sum"}), a + b, 1e-14);
  EXPECT_NEAR(value({.weight = w}), (a + 0.5 * b) / 1.5, 1e-14);
  EXPECT_NEAR(value({.ignore_index = 0}), a, 1e-14);
  const double all = -(0.5 - 1 + 2) + 3 * (a + 2.0) - (1.5 + 0.25 - 0.75) + 3 * (b + 1.5);  // -sum of log p
  EXPECT_NEAR(value({.label_smoothing = 0.3}), 0.7 * (a + b) / 2 + 0.3 / 3 * all / 2, 1e-14);
  const Tensor p = tensor({0., 0., 1., 1., 0., 0.}, {2, 3}, f64);
  EXPECT_NEAR(F::cross_entropy(x, p).item<double>(), (a + b) / 2, 1e-14);
  EXPECT_NEAR(F::cross_entropy(x, p, {.label_smoothing = 0.3}).item<double>(), 0.7 * (a + b) / 2 + 0.3 / 3 * all / 2, 1e-14);
  EXPECT_NEAR(F::cross_entropy(x.narrow(0, 0, 1).reshape({3}), scalar_tensor(2)).item<double>(), a, 1e-14);
  const Tensor places = x.reshape({1, 2, 3}).transpose(1, 2);  // [1, 3, 2]: two places
  EXPECT_NEAR(F::cross_entropy(places, tensor({2, 0}, {1, 2})).item<double>(), (a + b) / 2, 1e-14);
}
TEST(CrossEntropy, keeps_what_is_small_beside_large_inputs_and_does_not_look_at_what_is_ignored) {
  // The same lines 16384 higher, where neighbouring numbers of f32 are 2^-9 apart.
  const Tensor x = tensor({0.5, -1.0, 2.0, 1.5, 0.25, -0.75}, {2, 3}, f32), y = tensor({2, 0});
  for (const double smoothing : {0.0, 0.25}) {
    const Tensor low = x.detach().requires_grad_(), high = (x + 16384.0).detach().requires_grad_();
    const Tensor a = F::cross_entropy(low, y, {.label_smoothing = smoothing}), b = F::cross_entropy(high, y, {.label_smoothing = smoothing});
    a.backward();
    b.backward();
    EXPECT_NEAR(a.item<double>(), b.item<double>(), 1e-6);
    EXPECT_LE(max(abs(low.grad() - high.grad())).item<double>(), 1e-7);
  }
  const Tensor odd = tensor({0.5, -1.0, 2.0, double(NAN), 0.25, double(INFINITY)}, {2, 3}, f32).requires_grad_();
  const Tensor loss = F::cross_entropy(odd, tensor({2, -100}));
  EXPECT_NEAR(loss.item<double>(), F::cross_entropy(x.narrow(0, 0, 1), tensor({2})).item<double>(), 1e-7);
  loss.backward();
  EXPECT_TRUE(all(eq(odd.grad().narrow(0, 1, 1), 0.0)).item<bool>());
  EXPECT_EQ(F::cross_entropy(zeros({2, 0}), tensor({-100, -100}), {.reduction = "sum"}).item<double>(), 0) << "no class at all";
  EXPECT_EQ(F::cross_entropy(zeros({0, 3}), zeros({0}, i64), {.reduction = "none"}).shape(), Shape({0}));
  // Impossible classes: smoothing asks for them.
  const Tensor masked = tensor({double(-INFINITY), 0.0, 0.0}, {1, 3}, f32);
  EXPECT_NEAR(F::cross_entropy(masked, tensor({1})).item<double>(), std::log(2.0), 1e-6);
  EXPECT_EQ(F::cross_entropy(masked, tensor({1}), {.label_smoothing = 0.1}).item<double>(), INFINITY);
}

}  // namespace

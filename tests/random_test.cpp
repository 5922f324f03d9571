// Random numbers: known answers of Philox, moments, independence of layout, what leaves the generator alone.
#include <cmath>
#include <set>
#include <thread>
#include <gtest/gtest.h>
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"
#include "graft/kernels/random/philox.h"

using namespace graft;

namespace {

std::vector<double> values(const Tensor& t) {
  const Tensor flat = t.to(f64).contiguous();
  return {flat.data<double>(), flat.data<double>() + flat.numel()};
}
double mean(const std::vector<double>& v) {
  double sum = 0;
  for (const double x : v) sum += x;
  return sum / double(v.size());
}
double variance(const std::vector<double>& v) {
  const double m = mean(v);
  double sum = 0;
  for (const double x : v) sum += (x - m) * (x - m);
  return sum / double(v.size() - 1);
}

// The known-answer vectors of Random123's philox4x32-10 whose counter has zeros in its upper half.
TEST(Random, philox_gives_the_published_words) {
  EXPECT_EQ(philox::words(0, 0), (philox::Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
}

TEST(Random, the_same_seed_gives_the_same_numbers_another_seed_others) {
  manual_seed(7);
  const auto first = values(randn({1000})), second = values(randn({1000}));
  manual_seed(7);
  EXPECT_EQ(values(randn({1000})), first);
  EXPECT_EQ(values(randn({1000})), second);
  EXPECT_NE(first, second);
  manual_seed(8);
  EXPECT_NE(values(randn({1000})), first);
}

TEST(Random, a_value_depends_on_its_logical_index_not_on_the_layout_of_memory) {
  const Tensor plain = empty({3, 4, 5}, f64), permuted = empty({5, 4, 3}, f64).transpose(0, 2);
  Generator a(3), b(3);
  plain.normal_(0, 1, &a);
  permuted.normal_(0, 1, &b);
  EXPECT_EQ(values(plain), values(permuted));
  const Tensor plain_complex = empty({3, 5}, c64), permuted_complex = empty({5, 3}, c64).transpose(0, 1);
  plain_complex.uniform_(0, 1, &a);
  permuted_complex.uniform_(0, 1, &b);
  EXPECT_EQ(plain_complex.scalar_at(std::array<int64_t, 2>{2, 1}).to<std::complex<float>>(),
            permuted_complex.scalar_at(std::array<int64_t, 2>{2, 1}).to<std::complex<float>>());
  EXPECT_EQ(a.offset(), b.offset());
}

TEST(Random, a_long_draw_begins_with_the_numbers_of_a_short_one) {
  Generator a(5), b(5);
  const auto few = values(rand({10}, {}, &a)), many = values(rand({1000}, {}, &b));
  EXPECT_TRUE(std::equal(few.begin(), few.end(), many.begin()));
  EXPECT_EQ(a.offset(), 3U);  // four to a counter
  EXPECT_EQ(b.offset(), 250U);
}

TEST(Random, uniform_numbers_fill_their_interval_evenly_in_every_float_dtype) {
  for (const DType t : {f32, f64, f16, bf16}) {
    manual_seed(1);
    const auto v = values(rand({40000}, t));
    for (const double x : v) ASSERT_TRUE(x >= 0 && x < 1) << name_of(t);
    EXPECT_NEAR(mean(v), 0.5, 0.01) << name_of(t);
    EXPECT_NEAR(variance(v), 1.0 / 12, 0.002) << name_of(t);
    const auto w = values(empty({40000}, t).uniform_(-3, 5));
    for (const double x : w) ASSERT_TRUE(x >= -3 && x < 5) << name_of(t);
    EXPECT_NEAR(mean(w), 1, 0.05) << name_of(t);
  }
}

TEST(Random, normal_numbers_have_the_moments_and_tails_of_the_normal_distribution) {
  for (const DType t : {f32, f64, f16, bf16}) {
    manual_seed(2);
    const auto v = values(randn({100000}, t));
    EXPECT_NEAR(mean(v), 0, 0.012) << name_of(t);
    EXPECT_NEAR(variance(v), 1, 0.02) << name_of(t);
    double third = 0, fourth = 0;
    int beyond = 0;
    for (const double x : v) third += x * x * x, fourth += x * x * x * x, beyond += std::abs(x) > 1.959964;
    EXPECT_NEAR(third / 1e5, 0, 0.04) << name_of(t);
    EXPECT_NEAR(fourth / 1e5, 3, 0.12) << name_of(t);
    EXPECT_NEAR(beyond / 1e5, 0.05, 0.004) << name_of(t);
    double lag = 0;  // neighbours come from one pair of words and must not be correlated
    for (size_t i = 0; i + 1 < v.size(); ++i) lag += v[i] * v[i + 1];
    EXPECT_NEAR(lag / 1e5, 0, 0.012) << name_of(t);
  }
  manual_seed(2);
  const auto shifted = values(normal(3, 0.5, {40000}));
  EXPECT_NEAR(mean(shifted), 3, 0.01);
  EXPECT_NEAR(variance(shifted), 0.25, 0.01);
  const Tensor z = randn({20000}, c128);
  double power = 0;
  for (int64_t i = 0; i < z.numel(); ++i) power += std::norm(z.data<std::complex<double>>()[i]);
  EXPECT_NEAR(power / 20000, 1, 0.03);
}

TEST(Random, exponential_numbers_have_mean_and_deviation_one_over_the_rate) {
  manual_seed(3);
  const auto v = values(empty({50000}, f64).exponential_(4));
  for (const double x : v) ASSERT_TRUE(x >= 0 && std::isfinite(x));
  EXPECT_NEAR(mean(v), 0.25, 0.005);
  EXPECT_NEAR(variance(v), 0.0625, 0.003);
}

TEST(Random, integers_cover_their_range_evenly_and_agree_between_dtypes) {
  manual_seed(4);
  const auto v = values(randint(-2, 5, {70000}));
  std::vector<int> count(7);
  for (const double x : v) {
    ASSERT_TRUE(x >= -2 && x < 5 && x == std::floor(x));
    ++count[size_t(x + 2)];
  }
  for (const int c : count) EXPECT_NEAR(c, 10000, 450);
  for (const DType t : {i32, i16, i8, f32, f64}) {
    manual_seed(4);
    EXPECT_EQ(values(randint(-2, 5, {70000}, t)), v) << name_of(t);
  }
  const Tensor wide = randint(INT64_MIN, INT64_MAX, {1000});
  int negative = 0;
  for (int64_t i = 0; i < 1000; ++i) negative += wide.data<int64_t>()[i] < 0;
  EXPECT_NEAR(negative, 500, 80);
  for (const double x : values(empty({1000}, u8).random_())) ASSERT_TRUE(x >= 0 && x <= 127 + 128);
  for (const double x : values(empty({1000}, f16).random_())) ASSERT_TRUE(x >= 0 && x <= 2048);
  EXPECT_NEAR(mean(values(empty({4000}, boolean).random_(2))), 0.5, 0.04);
}

TEST(Random, randperm_is_a_permutation_and_every_order_of_three_is_equally_likely) {
  manual_seed(5);
  const auto v = values(randperm(1000));
  EXPECT_EQ(std::set<double>(v.begin(), v.end()).size(), 1000U);
  EXPECT_EQ(*std::ranges::max_element(v), 999);
  std::map<std::vector<double>, int> count;
  for (int i = 0; i < 6000; ++i) ++count[values(randperm(3))];
  EXPECT_EQ(count.size(), 6U);
  for (const auto& [order, n] : count) EXPECT_NEAR(n, 1000, 130);
  EXPECT_EQ(randperm(0).numel(), 0);
  EXPECT_EQ(randperm(3, i32).dtype(), i32);
}

TEST(Random, bernoulli_follows_its_probabilities_and_never_draws_the_impossible) {
  manual_seed(6);
  EXPECT_NEAR(mean(values(empty({40000}).bernoulli_(0.3))), 0.3, 0.01);
  EXPECT_EQ(mean(values(empty({4000}).bernoulli_(0))), 0);
  EXPECT_EQ(mean(values(empty({4000}).bernoulli_(1))), 1);
  const Tensor p = tensor({0.0, 1.0, 0.25}).expand({20000, 3});
  const Tensor drawn = sum(bernoulli(p), {0});
  EXPECT_EQ(drawn.at({0}), 0);
  EXPECT_EQ(drawn.at({1}), 20000);
  EXPECT_NEAR(drawn.at({2}), 5000, 300);
}

TEST(Random, multinomial_follows_its_weights_with_and_without_replacement) {
  manual_seed(7);
  const Tensor weights = tensor({1.0, 0.0, 3.0});
  std::vector<int> count(3);
  for (const double x : values(multinomial(weights, 20000, true))) ++count[size_t(x)];
  EXPECT_EQ(count[1], 0);
  EXPECT_NEAR(count[0], 5000, 300);
  int first = 0;
  for (int i = 0; i < 4000; ++i) {
    const auto pair = values(multinomial(weights, 2));
    EXPECT_EQ(pair[0] + pair[1], 2);  // 0 and 2 in some order
    first += pair[0] == 0;
  }
  EXPECT_NEAR(first, 1000, 140);
  EXPECT_THROW(multinomial(weights, 3), Error);
  EXPECT_THROW(multinomial(tensor({-1.0, 2.0}), 1), Error);
  EXPECT_EQ(multinomial(rand({4, 5}), 3).shape(), Shape({4, 3}));
}

TEST(Random, the_state_of_a_generator_can_be_kept_and_restored) {
  Generator g(11);
  randn({5}, {}, &g);
  const Tensor kept = g.state();
  const auto next = values(randn({5}, {}, &g));
  Generator other;
  other.set_state(kept);
  EXPECT_EQ(values(randn({5}, {}, &other)), next);
  Generator copy = other;
  EXPECT_EQ(copy.position(), other.position());
  EXPECT_THROW(g.set_state(zeros({16})), Error);
}

TEST(Random, meta_tensors_and_dry_runs_have_shapes_and_draw_nothing) {
  manual_seed(9);
  EXPECT_EQ(randn({2, 3}, Device::meta).shape(), Shape({2, 3}));
  const Tensor x = zeros({4});
  {
    const DryRun dry;
    EXPECT_EQ(rand({5}).device(), Device::meta);
    randperm(5);
    x.normal_();
    bernoulli(x);
    multinomial(zeros({2, 3}), 2);
  }
  EXPECT_EQ(sum(x).item<float>(), 0);
  EXPECT_EQ(default_generator().offset(), 0U);
}

TEST(Random, a_thread_with_a_generator_of_its_own_draws_the_same_numbers_whatever_others_do) {
  auto draw = [](uint64_t seed) {
    Generator mine(seed);
    const UseGenerator scope(mine);
    std::vector<double> all;
    for (int i = 0; i < 100; ++i)
      for (const double x : values(randn({7}))) all.push_back(x);
    return all;
  };
  const auto expected1 = draw(1), expected2 = draw(2);
  std::vector<double> got1, got2;
  std::thread a([&] { got1 = draw(1); }), b([&] { got2 = draw(2); });
  a.join();
  b.join();
  EXPECT_EQ(got1, expected1);
  EXPECT_EQ(got2, expected2);
}

TEST(Random, a_tensor_that_is_overwritten_by_random_numbers_passes_no_gradient) {
  const Tensor x = ones({3}).requires_grad_(), y = x * 2;
  y.narrow(0, 0, 2).uniform_();
  const Tensor g = grad({sum(y)}, {x})[0];
  EXPECT_EQ(g.at({0}), 0);
  EXPECT_EQ(g.at({2}), 2);
  EXPECT_THROW(x.normal_(), Error);
}

TEST(Random, arguments_that_make_no_sense_are_errors) {
  EXPECT_THROW(rand({2}, i64), Error);
  EXPECT_THROW(randint(3, 3, {2}), Error);
  EXPECT_THROW(zeros({2}).normal_(0, -1), Error);
  EXPECT_THROW(zeros({2}).uniform_(2, 1), Error);
  EXPECT_THROW(zeros({2}).bernoulli_(1.5), Error);
  EXPECT_THROW(zeros({2}).exponential_(0), Error);
  EXPECT_THROW(randperm(-1), Error);
}

}  // namespace

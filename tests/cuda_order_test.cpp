// Ordering on cuda, at sizes that the small op cases do not reach: several blocks and tiles, ties, NaN and both zeros, every
// dtype; and permutations and draws by weight, which are the cpu's. Orders are held against std::stable_sort.
#include <algorithm>
#include <limits>
#include <numeric>
#include "cuda_device.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"

namespace graft {
namespace {

const Device kCuda(Device::cuda), kCpu(Device::cpu);

std::vector<double> doubles(const Tensor& x) {
  const Tensor y = x.to(kCpu).to(f64).contiguous();
  return {y.data<double>(), y.data<double>() + y.numel()};
}
std::vector<int64_t> integers(const Tensor& x) {
  const Tensor y = x.to(kCpu).contiguous();
  return {y.data<int64_t>(), y.data<int64_t>() + y.numel()};
}
bool before(double a, double b) { return a < b || (std::isnan(b) && !std::isnan(a)); }
bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

// Many ties; of a floating dtype also NaN, both zeros and infinities.
Tensor mixed(const Shape& shape, DType t, int64_t seed = 1) {
  std::vector<double> v(size_t(numel_of(shape)));
  uint64_t state = uint64_t(seed);
  for (double& x : v) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    const auto r = int64_t(state >> 33);
    x = double(r % 201 - 100) * (is_floating(t) ? 0.25 : 1);
    if (is_floating(t) && r % 13 == 0) x = r % 2 ? -0.0 : std::numeric_limits<double>::quiet_NaN();
    if (is_floating(t) && r % 31 == 0) x = r % 2 ? INFINITY : -INFINITY;
  }
  return tensor(std::span<const double>(v), shape, f64).to(t);
}
// The places of a line in order; equals keep theirs.
std::vector<int64_t> order_of(const double* line, int64_t n, bool descending) {
  std::vector<int64_t> places(static_cast<size_t>(n));
  std::iota(places.begin(), places.end(), 0);
  std::ranges::stable_sort(places, [&](int64_t a, int64_t b) { return descending ? before(line[b], line[a]) : before(line[a], line[b]); });
  return places;
}

class CudaOrder : public OnCuda<testing::TestWithParam<DType>> {};
class CudaDraws : public OnCuda<testing::Test> {};

constexpr int64_t kLengths[] = {1, 2, 7, 2048, 2049, 5000};

TEST_P(CudaOrder, sorting_lines_of_any_length_is_stable) {
  for (const int64_t n : kLengths)
    for (const bool descending : {false, true}) {
      const int64_t lines = n < 100 ? 300 : n == 2049 ? 12 : 2;  // many blocks, many counts
      SCOPED_TRACE(concat(lines, " lines of ", n, descending ? ", descending" : ""));
      const Tensor x = mixed({lines, n}, GetParam(), n);
      const auto [values, places] = sort(x.to(kCuda), -1, descending);
      const std::vector<double> in = doubles(x), got = doubles(values);
      const std::vector<int64_t> at = integers(places);
      for (int64_t r = 0; r < lines; ++r) {
        const std::vector<int64_t> expected = order_of(in.data() + r * n, n, descending);
        ASSERT_TRUE(std::equal(expected.begin(), expected.end(), at.begin() + r * n)) << "line " << r;
        for (int64_t i = 0; i < n; ++i) ASSERT_TRUE(same(got[size_t(r * n + i)], in[size_t(r * n + expected[size_t(i)])])) << r << "," << i;
      }
    }
}

TEST_P(CudaOrder, topk_gives_the_first_values_and_where_they_are) {
  for (const int64_t n : {5, 2048, 4500})
    for (const int64_t k : {1, 5, 70, 2048, 3000})
      for (const bool largest : {false, true}) {
        if (k > n) continue;
        SCOPED_TRACE(concat("k = ", k, " of ", n, largest ? ", largest" : ""));
        const Tensor x = mixed({2, n}, GetParam(), n + k);
        const auto [values, places] = topk(x.to(kCuda), k, -1, largest);
        const std::vector<double> in = doubles(x), got = doubles(values);
        const std::vector<int64_t> at = integers(places);
        for (int64_t r = 0; r < 2; ++r) {
          const std::vector<int64_t> expected = order_of(in.data() + r * n, n, largest);
          std::vector<int64_t> mine(at.begin() + r * k, at.begin() + (r + 1) * k);
          for (int64_t i = 0; i < k; ++i) {
            ASSERT_TRUE(same(got[size_t(r * k + i)], in[size_t(r * n + expected[size_t(i)])])) << r << "," << i;
            ASSERT_TRUE(same(got[size_t(r * k + i)], in[size_t(r * n + mine[size_t(i)])])) << r << "," << i;
          }
          std::ranges::sort(mine);
          ASSERT_EQ(std::ranges::adjacent_find(mine), mine.end()) << "a place twice";
        }
      }
}

TEST_P(CudaOrder, kthvalue_and_median_agree_with_the_cpu) {
  for (const int64_t n : {1, 6, 3000}) {
    const Tensor x = mixed({4, n}, GetParam(), n), y = x.to(kCuda);
    for (const int64_t k : {int64_t{1}, (n + 1) / 2, n}) {
      SCOPED_TRACE(concat("k = ", k, " of ", n));
      const Sorted a = kthvalue(x, k), b = kthvalue(y, k);
      EXPECT_TRUE(std::ranges::equal(doubles(a.values), doubles(b.values), same));
      EXPECT_EQ(integers(a.indices), integers(b.indices));
    }
    const Sorted a = median(x, -1), b = median(y, -1);
    EXPECT_TRUE(std::ranges::equal(doubles(a.values), doubles(b.values), same));
    EXPECT_EQ(integers(a.indices), integers(b.indices));
  }
}

TEST_P(CudaOrder, runs_of_equals_agree_with_the_cpu) {
  for (const int64_t n : {0, 1, 300, 9000}) {
    SCOPED_TRACE(n);
    const Tensor x = mixed({n}, GetParam(), n);
    const Unique pairs[][2] = {{unique(x), unique(x.to(kCuda))}, {unique_consecutive(x), unique_consecutive(x.to(kCuda))}};
    for (const auto& [a, b] : pairs) {
      EXPECT_TRUE(std::ranges::equal(doubles(a.values), doubles(b.values), same));
      EXPECT_EQ(integers(a.inverse), integers(b.inverse));
      EXPECT_EQ(integers(a.counts), integers(b.counts));
    }
  }
}

TEST_P(CudaOrder, search_agrees_with_the_cpu) {
  for (const bool right : {false, true}) {
    const Tensor sorted = sort(mixed({3, 700}, GetParam(), 5)).values, x = mixed({3, 400}, GetParam(), 6);
    EXPECT_EQ(integers(searchsorted(sorted.to(kCuda), x.to(kCuda), right)), integers(searchsorted(sorted, x, right)));
    const Tensor edges = sorted.select(0, 0);
    EXPECT_EQ(integers(bucketize(x.to(kCuda), edges.to(kCuda), right)), integers(bucketize(x, edges, right)));
  }
}

INSTANTIATE_TEST_SUITE_P(Types, CudaOrder, testing::Values(f32, f64, f16, bf16, i64, i32, i16, i8, u8, boolean),
                         [](const auto& i) { return std::string(name_of(i.param)); });

TEST_F(CudaDraws, a_permutation_is_that_of_the_cpu) {
  for (const int64_t n : {0, 1, 10, 2049, 5000}) {
    Generator here(7), there(7);
    EXPECT_EQ(integers(randperm(n, {i64, kCuda}, &there)), integers(randperm(n, i64, &here))) << n;
  }
}

TEST_F(CudaDraws, draws_by_weight_are_those_of_the_cpu) {
  for (const int64_t n : {1, 9, 3000})
    for (const bool replacement : {false, true}) {
      Generator values(3), here(7), there(7);
      Tensor w = rand({4, n}, f32, &values);
      if (n > 1) w = masked_fill(w, lt(w, 0.2), 0);
      const int64_t samples = replacement ? 500 : std::max<int64_t>(1, n / 4);
      EXPECT_EQ(integers(multinomial(w.to(kCuda), samples, replacement, &there)), integers(multinomial(w, samples, replacement, &here)))
          << n << replacement;
    }
}

TEST_F(CudaDraws, weights_that_are_none_are_refused) {
  const auto message = [](const Tensor& w, int64_t samples, bool replacement) {
    try {
      (void)multinomial(w.to(kCuda), samples, replacement);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_NE(message(tensor({1., -1.}), 1, true).find("a weight is negative, infinite or NaN"), std::string::npos);
  EXPECT_NE(message(tensor({1., double(NAN)}), 1, true).find("a weight is negative"), std::string::npos);
  EXPECT_NE(message(tensor({1., double(INFINITY)}), 1, true).find("a weight is negative"), std::string::npos);
  EXPECT_NE(message(tensor({1., 0., 0.}), 2, false).find("too few weights are positive"), std::string::npos);
  EXPECT_EQ(message(tensor({1., 0., 0.}), 2, true), "");
}

}  // namespace
}  // namespace graft

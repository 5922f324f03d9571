// Packed weights are kept with a weight's memory: right for several threads at once, and after the weight has changed.
#include <cmath>
#include <thread>
#include <gtest/gtest.h>
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/kernels/packed.h"

using namespace graft;

namespace {

Tensor wave(const Shape& shape, double step) {
  const Tensor t = empty(shape);
  for (int64_t i = 0; i < t.numel(); ++i) t.mutable_data<float>()[i] = float(std::sin(step * double(i)));
  return t;
}
double worst(const Tensor& a, const Tensor& b) {
  double most = 0;
  for (int64_t i = 0; i < a.numel(); ++i) most = std::max(most, double(std::abs(a.data<float>()[i] - b.data<float>()[i])));
  return most;
}

TEST(Packed, four_threads_make_the_first_call_of_one_weight_together) {
  const Tensor x = wave({6, 64}, 0.3), w = wave({48, 64}, 0.7), bias = wave({48}, 1.1);
  const Tensor expected = linear(x, w, bias);
  std::vector<Tensor> results(4);
  std::vector<std::thread> threads;
  for (Tensor& r : results)
    threads.emplace_back([&] {
      const InferenceMode quiet;
      for (int i = 0; i < 20; ++i) r = linear(x, w, bias);
    });
  for (std::thread& t : threads) t.join();
  for (const Tensor& r : results) EXPECT_LT(worst(r, expected), 1e-5);
}

TEST(Packed, a_write_to_the_weight_is_seen_by_the_next_call) {
  const Tensor x = wave({6, 64}, 0.3), w = wave({48, 64}, 0.7);
  const InferenceMode quiet;
  const Tensor before = linear(x, w);
  w.mul_(full({}, 2.0));
  EXPECT_LT(worst(linear(x, w), before * 2), 1e-5);
  w.mutable_data<float>()[0] += 1;
  EXPECT_NEAR(linear(x, w).data<float>()[0], before.data<float>()[0] * 2 + x.data<float>()[0], 1e-5);
  const Tensor half = w.narrow(0, 24, 24);  // other rows of the same memory
  EXPECT_LT(worst(linear(x, half), linear(x, w).narrow(1, 24, 24).contiguous()), 1e-5);
}

TEST(Packed, it_is_made_once_per_version_and_key_and_goes_with_the_storage) {
  Packs packs;
  int made = 0;
  const auto get = [&](int64_t kind) {
    return packed(packs, PackKey{kind}, 4, [&](float* to) { to[0] = float(++made); });
  };
  const float* first = get(1);
  EXPECT_EQ(get(1), first);
  EXPECT_EQ(made, 1);
  EXPECT_NE(get(2), first);
  packs.version = 1;
  EXPECT_EQ(get(1)[0], 3);
  for (int64_t k = 3; k <= 8; ++k) EXPECT_NE(get(k), nullptr);
  EXPECT_EQ(get(9), nullptr);  // enough
  release_packs(packs);
  EXPECT_EQ(packs.entries.load(), nullptr);
}

}  // namespace

// Tensors, ops and autograd used by several threads at once. What one thread computes alone is what is expected.
#include <cmath>
#include <cstring>
#include <latch>
#include <thread>
#include <vector>
#include <gtest/gtest.h>
#include "graft/core/autograd.h"
#include "graft/core/ops.h"

using namespace graft;

namespace {

// Values between -1 and 1 that repeat nowhere soon.
Tensor wave(const Shape& shape, double step) {
  const Tensor t = empty(shape);
  float* to = t.mutable_data<float>();
  for (int64_t i = 0; i < t.numel(); ++i) to[i] = float(std::sin(step * double(i + 1)));
  return t;
}

Tensor network(const Tensor& x, const Tensor& w1, const Tensor& w2) { return matmul(relu(matmul(x, w1)), w2); }

struct Weights {
  Tensor w1 = wave({8, 16}, 0.37), w2 = wave({16, 3}, 0.73);
};

// Forty steps of gradient descent on weights of its own; the step is written in place.
Weights train() {
  const Weights w;
  const Tensor x = wave({12, 8}, 0.21), target = wave({12, 3}, 0.11);
  w.w1.requires_grad_();
  w.w2.requires_grad_();
  for (int step = 0; step < 40; ++step) {
    w.w1.set_grad({});
    w.w2.set_grad({});
    const Tensor error = network(x, w.w1, w.w2) - target;
    sum(error * error).backward();
    const NoGrad quiet;
    w.w1.add_(w.w1.grad(), -0.001);
    w.w2.add_(w.w2.grad(), -0.001);
  }
  return w;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.data<float>(), b.data<float>(), size_t(a.nbytes())) == 0;
}

// Runs work(i) on `count` threads that start together.
template <class Work> void on_threads(int count, Work work) {
  std::latch start(count);
  std::vector<std::jthread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      start.arrive_and_wait();
      work(i);
    });
  }
}

}  // namespace

// This one is first, so that the library's very first call is made by four threads at once.
TEST(CoreThread, four_threads_run_one_network_in_inference_the_first_call_included) {
  std::vector<Tensor> out(4);
  const Weights w;
  const Tensor x = wave({5, 8}, 0.21);
  on_threads(4, [&](int i) {
    const InferenceMode inference;
    for (int round = 0; round < 50; ++round) out[size_t(i)] = network(x, w.w1, w.w2);
  });
  const Tensor alone = network(x, w.w1, w.w2);
  for (const Tensor& t : out) EXPECT_TRUE(same_bits(t, alone));
}

TEST(CoreThread, two_threads_train_two_models_as_one_thread_does) {
  std::vector<Weights> trained(2);
  on_threads(2, [&](int i) { trained[size_t(i)] = train(); });
  const Weights alone = train();
  EXPECT_FALSE(same_bits(alone.w1, Weights().w1));
  for (const Weights& w : trained) {
    EXPECT_TRUE(same_bits(w.w1, alone.w1));
    EXPECT_TRUE(same_bits(w.w2, alone.w2));
  }
}

TEST(CoreThread, a_tensor_is_made_on_one_thread_and_dies_on_another) {
  std::vector<Tensor> made(200);
  for (int round = 0; round < 5; ++round) {
    on_threads(2, [&](int i) {  // each fills one half
      for (size_t k = size_t(i) * 100; k < size_t(i + 1) * 100; ++k) made[k] = full({int64_t(k) + 1}, double(k));
    });
    on_threads(2, [&](int i) {  // and drops the other's
      for (size_t k = size_t(1 - i) * 100; k < size_t(2 - i) * 100; ++k) {
        EXPECT_EQ(made[k].at({0}), double(k));
        made[k] = {};
      }
    });
  }
}

TEST(CoreThread, grad_mode_belongs_to_a_thread) {
  const Tensor x = wave({4}, 0.3).requires_grad_();
  std::latch quiet(2), done(2);
  std::jthread other([&] {
    const NoGrad guard;
    quiet.arrive_and_wait();
    EXPECT_FALSE((x * x).requires_grad());
    done.arrive_and_wait();
  });
  quiet.arrive_and_wait();
  EXPECT_TRUE((x * x).requires_grad());
  done.arrive_and_wait();
}

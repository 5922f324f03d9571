// Models on several threads: distinct models train without locks, one model infers on many threads, from the first call.
#include <gtest/gtest.h>

#include <cstring>
#include <latch>
#include <thread>
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"
#include "graft/nn/nn.h"
#include "graft/optim/optim.h"

namespace {

using namespace graft;

std::shared_ptr<nn::Sequential> small_net(uint64_t seed) {
  Generator generator(seed);
  const UseGenerator scope(generator);
  return nn::make<nn::Sequential>(nn::make<nn::Conv2d>(1, 4, 3, nn::Conv2dOptions{.padding = 1}), nn::make<nn::BatchNorm2d>(4),
                                  nn::make<nn::ReLU>(), nn::make<nn::MaxPool2d>(2), nn::make<nn::Flatten>(), nn::make<nn::Linear>(16, 3));
}
Tensor images(int64_t n) {
  const Tensor t = empty({n, 1, 4, 4});
  float* p = t.mutable_data<float>();
  for (int64_t i = 0; i < t.numel(); ++i) p[i] = float(i * 37 % 101) / 50 - 1;
  return t;
}
bool same_bits(const Tensor& a, const Tensor& b) {
  const Tensor x = a.detach().contiguous(), y = b.detach().contiguous();
  return x.shape() == y.shape() && std::memcmp(x.data<float>(), y.data<float>(), size_t(x.nbytes())) == 0;
}
std::vector<Tensor> trained(uint64_t seed) {
  auto net = small_net(seed);
  optim::SGD sgd(net->parameters(), {.lr = 0.05, .momentum = 0.9});
  const Tensor x = images(8), labels = tensor({0, 1, 2, 0, 1, 2, 0, 1});
  for (int step = 0; step < 20; ++step) {
    sgd.zero_grad();
    nn::functional::cross_entropy((*net)(x), labels).backward();
    sgd.step();
  }
  return net->parameters();
}
template <class Work> void on_threads(int count, Work work) {
  std::latch start(count);
  std::vector<std::jthread> threads;
  for (int i = 0; i < count; ++i)
    threads.emplace_back([&, i] {
      start.arrive_and_wait();
      work(i);
    });
}

TEST(Contract, KD1_two_threads_train_two_models_with_the_bits_of_a_serial_run) {
  const std::vector<std::vector<Tensor>> expected{trained(1), trained(2)};
  std::vector<std::vector<Tensor>> got(2);
  on_threads(2, [&](int i) { got[size_t(i)] = trained(uint64_t(i) + 1); });
  for (size_t i = 0; i < 2; ++i)
    for (size_t k = 0; k < expected[i].size(); ++k) EXPECT_TRUE(same_bits(got[i][k], expected[i][k])) << i << ' ' << k;
}

TEST(ModelThread, four_threads_call_one_model_in_inference_the_very_first_call_included) {
  const Tensor x = images(8);
  auto net = small_net(3), twin = small_net(3);
  net->eval(), twin->eval();
  Tensor expected;
  {
    const InferenceMode quiet;
    expected = (*twin)(x);
  }
  std::vector<Tensor> got(4);
  on_threads(4, [&](int i) {
    const InferenceMode quiet;
    for (int k = 0; k < 20; ++k) got[size_t(i)] = (*net)(x);
  });
  for (const Tensor& y : got) EXPECT_TRUE(same_bits(y, expected));
}

}  // namespace

// Concurrent calls of one model write nothing to it.
#include <gtest/gtest.h>

#include <thread>

#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/nn/containers.h"
#include "graft/nn/linear.h"

namespace {

using namespace graft;
using nn::make;

TEST(ModuleThreads, t21_several_threads_call_one_model_the_very_first_call_included) {
  auto net = make<nn::Sequential>(make<nn::Linear>(4, 8), make<nn::Identity>(), make<nn::Linear>(8, 1));
  (*net)[1]->register_forward_hook([](nn::Module&, const nn::Values&, nn::Value&) {});
  net->eval();
  std::vector<double> results(4);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < results.size(); ++i)
    threads.emplace_back([&, i] {
      const InferenceMode quiet;
      for (int k = 0; k < 200; ++k) results[i] = (*net)(ones({1, 4})).at({0, 0});
    });
  for (std::thread& t : threads) t.join();
  for (const double r : results) EXPECT_EQ(r, results[0]);
}
TEST(ModuleThreads, two_models_are_trained_by_two_threads) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i)
    threads.emplace_back([] {
      auto net = make<nn::Sequential>(make<nn::Linear>(4, 4), make<nn::Linear>(4, 1));
      for (int k = 0; k < 50; ++k) {
        net->zero_grad();
        sum((*net)(ones({2, 4}))).backward();
        for (const Tensor& p : net->parameters()) {
          const NoGrad quiet;
          p.add_(p.grad(), -0.01);
        }
      }
      EXPECT_EQ(net->clone()->parameters().size(), 4U);
    });
  for (std::thread& t : threads) t.join();
}

}  // namespace

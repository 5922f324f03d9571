// What the examples share: a training loop with a progress bar, accuracy, outputs in inference mode.
#pragma once
#include <ios>
#include <string>
#include "graft/examples/datasets.h"
#include "graft/examples/progress.h"
#include "graft/nn/nn.h"
#include "graft/optim/optim.h"

namespace graft::inline v1 {

inline Tensor outputs(nn::Layer& net, const Tensor& x) {
  const InferenceMode quiet;
  net.eval();
  return net(x);
}
inline double accuracy(nn::Layer& net, const datasets::Images& data) {
  return 100 * mean(eq(argmax(outputs(net, data.test_images), 1), data.test_labels).to(f64)).item<double>();
}
inline void train(nn::Layer& net, optim::SGD& sgd, const datasets::Images& data, int64_t epochs, double lr,
                  const std::string& what) {
  const int64_t n = data.train_images.size(0), batch = 64, steps = n / batch;
  Tensor order;
  optim::OneCycleLR schedule(sgd, {.max_lr = lr, .total_steps = epochs * steps + 1, .cycle_momentum = false});
  Progress bar(what, epochs * steps);
  net.train();
  for (int64_t step = 0; step < epochs * steps; ++step) {
    if (step % steps == 0) order = randperm(n);
    const Tensor pick = order.narrow(0, step % steps * batch, batch);
    sgd.zero_grad();
    const Tensor loss = nn::functional::cross_entropy(net(index_select(data.train_images, 0, pick)),
                                                      index_select(data.train_labels, 0, pick));
    loss.backward();
    sgd.step(), schedule.step();
    bar.step(concat("loss ", loss.item<double>()));
  }
}
inline bool same_bits(const Tensor& a, const Tensor& b) { return a.shape() == b.shape() && all(eq(a, b)).item<bool>(); }
inline std::string bits(const Tensor& y) {
  return concat(std::hexfloat, y.at({0, 0}), ' ', y.at({1, 1}), ' ', y.at({2, 2}));
}

}  // namespace graft::inline v1

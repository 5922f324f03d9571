// The gradient of every sample alone, from one pass over the batch: surgery puts in layers that take a weight for each
// sample, functional_call gives them these weights. Held against one backward pass per sample.
#include <cmath>
#include <cstdio>
#include <iostream>
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"
#include "graft/nn/functional_call.h"
#include "graft/nn/nn.h"
#include "graft/surgery/plan.h"
using namespace graft;

namespace {

struct Residual : nn::Layer {
  nn::Child<nn::Sequential> branch;
  explicit Residual(int64_t width)
      : branch(this, "branch", nn::make<nn::Sequential>(nn::make<nn::Linear>(width, width), nn::make<nn::Tanh>())) {}
  Tensor forward(const Tensor& x) override { return x + branch(x); }
};

// As the Linear whose parameters it shares; but they may also have a dimension of samples in front.
struct LinearOfEach : nn::Layer {
  nn::Param weight, bias;
  explicit LinearOfEach(const nn::Linear& l)
      : weight(this, "weight", nn::Parameter(l.weight.leaf())), bias(this, "bias", nn::Parameter(l.bias.leaf())) {}
  Tensor forward(const Tensor& x) override {  // [n, out, in] x [n, in, 1]
    const Tensor y = matmul(weight.value(), x.unsqueeze(-1)).squeeze(-1);
    return bias ? y + bias : y;
  }
};

Tensor loss(const Tensor& y, const Tensor& labels) {
  return nn::functional::cross_entropy(y, labels, {.reduction = nn::Reduction::sum});
}

// By parameter: [samples, shape of the parameter].
nn::StateDict in_one_pass(nn::Sequential& net, const Tensor& x, const Tensor& labels) {
  surgery::Edit edit =
      surgery::replace(net, {surgery::on<nn::Linear>([](const nn::Linear& l) { return nn::make<LinearOfEach>(l); })});
  nn::StateDict of_each;
  Tensors leaves;
  for (const auto& [path, p] : net.named_parameters()) {  // "2.branch.0.weight"
    Shape shape{x.size(0)};
    for (const int64_t size : p.shape()) shape.push_back(size);
    leaves.push_back(p.detach().expand(shape).requires_grad_());  // no copy: every sample has the same memory
    of_each.set(path, leaves.back());
  }
  const Tensors gradients = grad({loss(nn::functional_call(net, of_each, x), labels)}, leaves);
  nn::StateDict result;
  for (size_t i = 0; i < gradients.size(); ++i) result.set(of_each.items()[i].first, gradients[i]);
  edit.undo();
  return result;
}

nn::StateDict one_by_one(nn::Sequential& net, const Tensor& x, const Tensor& labels) {
  std::vector<Tensors> of(net.parameters().size());
  for (int64_t i = 0; i < x.size(0); ++i) {
    const Tensors gradients = grad({loss(net(x.narrow(0, i, 1)), labels.narrow(0, i, 1))}, net.parameters());
    for (size_t p = 0; p < of.size(); ++p) of[p].push_back(gradients[p]);
  }
  nn::StateDict result;
  for (size_t p = 0; p < of.size(); ++p) result.set(net.named_parameters()[p].first, stack(of[p]));
  return result;
}

}  // namespace

int main() try {
  manual_seed(1);
  constexpr int64_t samples = 8, features = 10, classes = 3;
  const auto net = nn::make<nn::Sequential>(nn::make<nn::Linear>(features, 16), nn::make<nn::Tanh>(), nn::make<Residual>(16),
                                            nn::make<nn::Linear>(16, classes));
  const Tensor x = randn({samples, features}), labels = tensor({0, 1, 2, 0, 1, 2, 0, 1});

  const nn::StateDict together = in_one_pass(*net, x, labels), alone = one_by_one(*net, x, labels);
  std::printf("sample  norm of its gradient\n");
  for (int64_t i = 0; i < samples; ++i) {
    double squares = 0;
    for (const auto& [path, g] : together) squares += sum(square(g.select(0, i))).item<double>();
    std::printf("%6d  %.4f\n", int(i), std::sqrt(squares));
  }
  double worst = 0, largest = 0;
  for (const auto& [path, g] : together) {
    worst = std::max(worst, max(abs(g - alone.at(path))).item<double>());
    largest = std::max(largest, max(abs(g)).item<double>());
  }
  std::printf("largest difference from one backward pass per sample: %.1e, in gradients of up to %.2f\n", worst, largest);
  return worst <= 1e-5 * largest ? 0 : 1;
} catch (const std::exception& e) {
  std::cerr << "per_sample_gradients: " << e.what() << '\n';
  return 1;
}

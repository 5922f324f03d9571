// A training step of many short kernels: launched one by one by the host, and replayed as a graph.
#include <memory>
#include <optional>
#include "contest.h"
#include "graft/core/autograd.h"
#include "graft/core/cuda_graph.h"
#include "graft/core/op.h"
#include "graft/nn/nn.h"
#include "graft/optim/adam.h"

using namespace graft;

namespace contest {
namespace {

struct Training {
  std::shared_ptr<nn::Sequential> net = nn::make<nn::Sequential>();
  std::optional<optim::Adam> adam;
  Tensor x, label;
  std::optional<cuda::Graph> graph;

  Training(int layers, int64_t width, int64_t batch) {
    for (int i = 0; i < layers; ++i) net->append(nn::make<nn::Linear>(width, width)).append(nn::make<nn::ReLU>());
    net->append(nn::make<nn::Linear>(width, int64_t{4}));
    for (const Tensor& p : net->parameters()) p.set_data(values(p.shape(), f32, double(p.numel())) * 0.2);
    adam.emplace(net->parameters(), optim::AdamOptions{.lr = 1e-3});
    x = values({batch, width}, f32, 0.5);
    label = zeros({batch}, Options(i64, Device(Device::cuda)));
  }
  void step() {
    const EnableGrad on;
    adam->zero_grad();
    nn::functional::cross_entropy((*net)(x), label).backward();
    adam->step();
  }
  Tensors results() const { return net->parameters(); }
};

Case training(const char* name, int layers, int64_t width, int64_t batch) {
  return {name, {"replayed", "eager"}, [=](bool tiny) {
            const int deep = tiny ? 2 : layers;
            const int64_t wide = tiny ? 8 : width, many = tiny ? 3 : batch;
            const auto replayed = std::make_shared<Training>(deep, wide, many), eager = std::make_shared<Training>(deep, wide, many);
            const double weights = double(deep) * double(wide * wide);
            return Made{{f32, 4 * 12 * weights, 6 * weights * double(many)},  // forward, two products backward, seven passes of Adam
                        {{"replayed",
                          [replayed] {
                            if (!replayed->graph) replayed->graph = cuda::Graph::capture([&] { replayed->step(); });
                            replayed->graph->replay();
                            return replayed->results();
                          }},
                         {"eager",
                          [eager] {
                            eager->step();
                            return eager->results();
                          }}},
                        1e-5};
          }};
}

}  // namespace

Cases steps() {
  return {training("training step, 16 layers of 256, batch 32", 16, 256, 32),
          training("training step, 16 layers of 2048, batch 512", 16, 2048, 512)};
}

}  // namespace contest

// How close to one core's peak is a training step (forward, backward, SGD with momentum), and how many images a second?
// ResNet-20 at 32x32 and a perceptron 784-512-512-10, batches of 64. `training --profile` lists the ops instead.
#include <cstring>
#include <iostream>
#include <string>
#include "graft/core/autograd.h"
#include "graft/core/random.h"
#include "graft/kernels/parallel.h"
#include "graft/nn/functional.h"
#include "graft/optim/sgd.h"
#include "peak.h"
#include "resnet.h"
#include "run.h"

using namespace graft;
using cpu::Isa;

namespace {

constexpr int64_t kBatch = 64;
enum Net { resnet20, perceptron };

struct Task {
  explicit Task(Net which) {
    manual_seed(1);
    label = randint(0, 10, {kBatch});
    if (which == resnet20) {
      net = resnet::resnet20();
      x = randn({kBatch, 3, 32, 32}).to(MemoryFormat::channels_last);
    } else {
      net = nn::make<nn::Sequential>(nn::make<nn::Linear>(784, 512), nn::make<nn::ReLU>(), nn::make<nn::Linear>(512, 512),
                                     nn::make<nn::ReLU>(), nn::make<nn::Linear>(512, 10));
      x = randn({kBatch, 784});
    }
    // Backward computes two products for each of forward, but no gradient of the first layer's input.
    flops = 3 * resnet::flops(*net, x) - resnet::flops(*(*net)[0], x);
    optimizer = std::make_unique<optim::SGD>(net->parameters(), optim::SGDOptions{.lr = 1e-3, .momentum = 0.9});
  }
  void step() {
    optimizer->zero_grad();
    nn::functional::cross_entropy((*net)(x), label).backward();
    optimizer->step();
  }

  std::shared_ptr<nn::Sequential> net;
  Tensor x, label;
  double flops = 0;
  std::unique_ptr<optim::SGD> optimizer;
};

void step(benchmark::State& state) {
  const auto isa = Isa(state.range(1));
  if (isa > cpu::best_isa()) return state.SkipWithError("not on this machine");
  set_num_threads(1);
  const Isa before = cpu::set_isa(isa);
  Task task{Net(state.range(0))};
  task.step();
  for (auto _ : state) task.step();
  cpu::set_isa(before);
  const double work = task.flops * double(state.iterations());
  state.SetLabel(std::string(cpu::name_of(isa)) + (state.range(0) == resnet20 ? " ResNet-20" : " perceptron"));
  state.counters["images/s"] = benchmark::Counter(double(kBatch * state.iterations()), benchmark::Counter::kIsRate);
  state.counters["peak%"] = benchmark::Counter(work * 1e-7 / peak::gflops(isa), benchmark::Counter::kIsRate);
}
void cases(benchmark::internal::Benchmark* b) {
  for (const int net : {resnet20, perceptron})
    for (const int isa : {2, 1}) b->Args({net, isa});
  b->ArgNames({"net", "isa"})->Unit(benchmark::kMillisecond)->Repetitions(5)->ReportAggregatesOnly()->MinTime(0.2);
}
BENCHMARK(step)->Apply(cases);

int print_profiles() {
  set_num_threads(1);
  for (const Net which : {resnet20, perceptron}) {
    Task task(which);
    task.step();
    Profile profile;
    {
      const Observing scope(profile);
      for (int i = 0; i < 5; ++i) task.step();
    }
    std::cout << (which == resnet20 ? "ResNet-20" : "perceptron") << ", 5 steps\n" << profile.table() << "\n";
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--profile") == 0) return print_profiles();
  return bench::run(argc, argv);
}

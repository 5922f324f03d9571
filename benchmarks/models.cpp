// How close to one core's peak is inference of whole networks, as written and with convolution, norm and ReLU fused?
// ResNet-20 at 32x32 and ResNet-18 at 224x224, channels last, one thread. `models --profile` lists the ops instead.
#include <cstring>
#include <iostream>
#include <map>
#include <string>
#include <tuple>
#include "graft/core/autograd.h"
#include "graft/core/random.h"
#include "graft/kernels/parallel.h"
#include "peak.h"
#include "resnet.h"
#include "run.h"
#include "graft/surgery/fuse.h"

using namespace graft;
using cpu::Isa;

namespace {

struct Model { std::shared_ptr<nn::Sequential> net; double flops; };  // flops: of one image, norms not counted

Tensor input(int depth, int64_t n) {
  const int64_t size = depth == 18 ? 224 : 32;
  return randn({n, 3, size, size}).to(MemoryFormat::channels_last);
}
// Made once for all repetitions.
Model& model(int depth, bool fused) {
  static std::map<std::pair<int, bool>, Model> made;
  Model& m = made[{depth, fused}];
  if (m.net) return m;
  manual_seed(1);
  m.net = depth == 18 ? resnet::resnet18() : resnet::resnet20();
  m.net->eval();
  const Tensor x = input(depth, 1);
  m.flops = resnet::flops(*m.net, x);
  if (fused) surgery::fuse(*m.net, {x});
  return m;
}

void inference(benchmark::State& state) {
  const int depth = int(state.range(0));
  const int64_t n = state.range(1);
  const bool fused = state.range(2);
  const auto isa = Isa(state.range(3));
  if (isa > cpu::best_isa()) return state.SkipWithError("not on this machine");
  set_num_threads(1);
  const Isa before = cpu::set_isa(isa);
  Model& m = model(depth, fused);
  const Tensor x = input(depth, n);
  {
    const InferenceMode guard;
    (*m.net)(x);
    for (auto _ : state) benchmark::DoNotOptimize((*m.net)(x));
  }
  cpu::set_isa(before);
  const double work = m.flops * double(n) * double(state.iterations());
  state.SetLabel(std::string(cpu::name_of(isa)) + (fused ? " fused" : " as written"));
  state.counters["flop/s"] = benchmark::Counter(work, benchmark::Counter::kIsRate);
  state.counters["peak%"] = benchmark::Counter(work * 1e-7 / peak::gflops(isa), benchmark::Counter::kIsRate);
}
void cases(benchmark::internal::Benchmark* b) {
  for (const int depth : {20, 18})
    for (const int n : {1, 8})
      for (const int fused : {0, 1})
        for (const int isa : {2, 1}) b->Args({depth, n, fused, isa});
  b->ArgNames({"resnet", "n", "fused", "isa"})->Unit(benchmark::kMillisecond);
  b->Repetitions(5)->ReportAggregatesOnly()->MinTime(0.1);
}
BENCHMARK(inference)->Apply(cases);

int print_profiles() {
  set_num_threads(1);
  for (const int depth : {20, 18}) {
    for (const bool fused : {false, true}) {
      Model& m = model(depth, fused);
      const Tensor x = input(depth, 8);
      const InferenceMode guard;
      (*m.net)(x);
      Profile profile;
      {
        const Observing scope(profile);
        for (int i = 0; i < 5; ++i) (*m.net)(x);
      }
      std::cout << "ResNet-" << depth << (fused ? " fused" : " as written") << ", 5 x 8 images\n" << profile.table() << "\n";
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--profile") == 0) return print_profiles();
  return bench::run(argc, argv);
}

// How close to one core's peak are the f32 convolutions? Shapes of ResNet-18 and ResNet-20, all three passes, weights
// packed in every call; contestants take turns with: conv --benchmark_enable_random_interleaving=true
#include <benchmark/benchmark.h>

#include <string>
#include <vector>
#include "graft/kernels/conv/channels_last.h"
#include "graft/kernels/parallel.h"
#include "peak.h"

namespace {

using graft::cpu::Isa;
namespace conv = graft::conv;

struct Shape { const char* name; int64_t n, ci, co, size, k, stride; };
const Shape kShapes[] = {
    {"resnet18 stem", 1, 3, 64, 224, 7, 2},   {"resnet18 64@56", 1, 64, 64, 56, 3, 1},
    {"resnet18 128@28", 1, 128, 128, 28, 3, 1}, {"resnet18 256@14", 1, 256, 256, 14, 3, 1},
    {"resnet18 512@7", 8, 512, 512, 7, 3, 1}, {"1x1 256-64@56", 1, 256, 64, 56, 1, 1},
    {"resnet20 16@32", 8, 16, 16, 32, 3, 1},  {"resnet20 32@16", 8, 32, 32, 16, 3, 1},
    {"resnet20 64@8", 8, 64, 64, 8, 3, 1},    {"digits 16@8", 64, 16, 16, 8, 3, 1},
    {"digits 32@4", 64, 32, 32, 4, 3, 1},     {"digits 16-32@8 stride 2", 64, 16, 32, 8, 3, 2},
};
const char* const kPasses[] = {"forward", "backward data", "backward weight"};

conv::Strides strides(int64_t channels, int64_t size, bool channels_last) {
  if (channels_last) return {channels * size * size, 1, {0, channels * size, channels}};
  return {channels * size * size, size * size, {0, size, 1}};
}

void pass(benchmark::State& state) {
  const auto isa = Isa(state.range(0));
  const Shape& s = kShapes[state.range(3)];
  if (isa > graft::cpu::best_isa()) return state.SkipWithError("not on this machine");
  graft::set_num_threads(1);
  const Isa before = graft::cpu::set_isa(isa);
  const int64_t pad = s.k / 2, out = (s.size + 2 * pad - s.k) / s.stride + 1;
  conv::Geometry g;
  g.n = s.n;
  g.ci = s.ci;
  g.co = s.co;
  for (int d = 1; d < 3; ++d) {
    g.in[d] = s.size;
    g.out[d] = out;
    g.k[d] = s.k;
    g.stride[d] = s.stride;
    g.pad[d] = pad;
  }
  std::vector<float> x(size_t(s.n * s.ci * s.size * s.size), 1), y(size_t(s.n * s.co * out * out), 1);
  std::vector<float> w(size_t(s.co * s.ci * s.k * s.k), 1);
  const conv::Strides xs = strides(s.ci, s.size, state.range(2)), ys = strides(s.co, out, state.range(2));
  const conv::Strides ws{s.ci * s.k * s.k, s.k * s.k, {0, s.k, 1}};
  for (auto _ : state) {
    if (state.range(1) == 0) conv::forward_channels_last(g, {x.data(), xs}, {w.data(), ws}, {y.data(), ys}, {});
    if (state.range(1) == 1) conv::backward_data_channels_last(g, {y.data(), ys}, {w.data(), ws}, {x.data(), xs}, {});
    if (state.range(1) == 2) conv::backward_weight_channels_last(g, {x.data(), xs}, {y.data(), ys}, {w.data(), ws});
    benchmark::ClobberMemory();
  }
  graft::cpu::set_isa(before);
  const double flops = 2.0 * double(s.n * s.co * s.ci * s.k * s.k * out * out) * double(state.iterations());
  state.SetLabel(std::string(graft::cpu::name_of(isa)) + " " + kPasses[state.range(1)] +
                 (state.range(2) ? " channels-last " : " contiguous ") + s.name);
  state.counters["peak%"] = benchmark::Counter(flops * 1e-7 / peak::gflops(isa), benchmark::Counter::kIsRate);
}
void cases(benchmark::internal::Benchmark* b) {
  for (int isa : {2, 1})
    for (int layout : {1, 0})
      for (int p : {0, 1, 2})
        for (int s = 0; s < int(std::size(kShapes)); ++s) b->Args({isa, p, layout, s});
  b->ArgNames({"isa", "pass", "nhwc", "shape"})->Repetitions(5)->ReportAggregatesOnly()->MinTime(0.05);
}
BENCHMARK(pass)->Apply(cases);

}  // namespace

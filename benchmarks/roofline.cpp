// What this machine can do at most: multiply-adds per instruction set, copy and triad by working set, a parallel_for.
#include <benchmark/benchmark.h>

#include <cstring>
#include <string>
#include <vector>
#include "graft/kernels/parallel.h"
#include "peak.h"

namespace {

using graft::cpu::Isa;

void fma(benchmark::State& state) {
  const auto isa = Isa(state.range(0));
  if (isa > graft::cpu::best_isa()) return state.SkipWithError("not on this machine");
  const peak::Loop loop = peak::loop(isa);
  for (auto _ : state) benchmark::DoNotOptimize(loop.run(10000));
  state.SetLabel(std::string(graft::cpu::name_of(isa)));
  state.counters["flop/s"] =
      benchmark::Counter(loop.flops * 10000 * double(state.iterations()), benchmark::Counter::kIsRate);
}
BENCHMARK(fma)->DenseRange(0, 2)->Repetitions(5)->ReportAggregatesOnly();

void copy(benchmark::State& state) {
  const auto n = size_t(state.range(0));
  std::vector<float> a(n / 4, 1), b(n / 4);
  for (auto _ : state) {
    std::memcpy(b.data(), a.data(), n);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0) * 2);
}
void triad(benchmark::State& state) {
  const auto n = size_t(state.range(0)) / 4;
  std::vector<float> a(n, 1), b(n, 2), c(n);
  for (auto _ : state) {
    for (size_t i = 0; i < n; ++i) c[i] = a[i] + 3 * b[i];
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0) * 3);
}
BENCHMARK(copy)->RangeMultiplier(16)->Range(16 << 10, 64 << 20)->Repetitions(3)->ReportAggregatesOnly();
BENCHMARK(triad)->RangeMultiplier(16)->Range(16 << 10, 64 << 20)->Repetitions(3)->ReportAggregatesOnly();

void fork_and_join(benchmark::State& state) {
  const int before = graft::num_threads();
  graft::set_num_threads(int(state.range(0)));
  for (auto _ : state) graft::parallel_for(0, 64, 1, [](int64_t first, int64_t) { benchmark::DoNotOptimize(first); });
  graft::set_num_threads(before);
}
BENCHMARK(fork_and_join)->Arg(1)->Arg(2)->UseRealTime();

}  // namespace

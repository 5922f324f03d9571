// How close to one core's peak are the f32 matrix products? Weights packed beforehand, and everything packed per call;
// contestants take turns with: gemm --benchmark_enable_random_interleaving=true
#include <benchmark/benchmark.h>

#include <string>
#include <vector>
#include "graft/kernels/gemm/gemm.h"
#include "graft/kernels/parallel.h"
#include "peak.h"

namespace {

using graft::cpu::Isa;
namespace gemm = graft::gemm;

enum Form { packed, nn, nt, tn };
const char* const kForms[] = {"packed", "a b", "a b^T", "a^T b"};

void product(benchmark::State& state) {
  const auto isa = Isa(state.range(0));
  const auto form = Form(state.range(1));
  const int64_t m = state.range(2), n = state.range(3), k = state.range(4);
  if (isa > graft::cpu::best_isa()) return state.SkipWithError("not on this machine");
  graft::set_num_threads(1);
  const Isa before = graft::cpu::set_isa(isa);
  std::vector<float> a(size_t(m * k), 1), b(size_t(k * n), 1), c(size_t(m * n)), p(size_t(gemm::packed_size(k, n)));
  const gemm::Matrix left = form == tn ? gemm::Matrix{a.data(), 1, m} : gemm::Matrix{a.data(), k, 1};
  const gemm::Matrix right = form == nt ? gemm::Matrix{b.data(), 1, k} : gemm::Matrix{b.data(), n, 1};
  gemm::pack(k, n, right, p.data());
  for (auto _ : state) {
    if (form == packed) gemm::multiply_packed(m, n, k, left, p.data(), {c.data(), n, 1});
    else gemm::multiply(m, n, k, left, right, {c.data(), n, 1});
    benchmark::ClobberMemory();
  }
  graft::cpu::set_isa(before);
  const double flops = 2.0 * double(m) * double(n) * double(k) * double(state.iterations());
  state.SetLabel(std::string(graft::cpu::name_of(isa)) + " " + kForms[form]);
  state.counters["peak%"] = benchmark::Counter(flops * 1e-7 / peak::gflops(isa), benchmark::Counter::kIsRate);
}
void sizes(benchmark::internal::Benchmark* b) {
  for (int isa : {2, 1, 0})
    for (int form : {packed, nn, nt, tn})
      for (int n : {64, 256, 512, 1024, 2048}) b->Args({isa, form, n, n, n});
  for (int isa : {2, 1})
    for (int m : {1, 4, 64})
      for (int n : {8, 64, 512}) b->Args({isa, nt, m, n, n});
  b->ArgNames({"isa", "form", "m", "n", "k"})->Repetitions(5)->ReportAggregatesOnly()->MinTime(0.05);
}
BENCHMARK(product)->Apply(sizes);

}  // namespace

// How close to the speed of memory are the ops that do little else? 1e7 elements, one thread. Bytes are what an op must
// read and write; copy% is relative to memcpy of as many elements, measured here: a yardstick, not a limit.
#include <chrono>
#include <cstring>
#include <memory>
#include <vector>
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"
#include "graft/kernels/denormal.h"
#include "graft/kernels/parallel.h"
#include "graft/optim/adam.h"
#include "graft/optim/sgd.h"
#include "run.h"

using namespace graft;

namespace {

constexpr int64_t kCount = 10'000'000;

// Bytes a second of memcpy, read and written, the best of several.
double copy_speed() {
  static const double speed = [] {
    std::vector<float> a(kCount, 1), b(kCount);
    double best = 0;
    for (int r = 0; r < 20; ++r) {
      const auto start = std::chrono::steady_clock::now();
      std::memcpy(b.data(), a.data(), kCount * 4);
      benchmark::ClobberMemory();
      best = std::max(best, 8.0 * kCount / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return best;
  }();
  return speed;
}
// `touched`: f32 numbers read and written per element.
template <class F> void measure(benchmark::State& state, double touched, F op) {
  set_num_threads(1);
  const NoGrad guard;
  op();
  for (auto _ : state) op();
  const double bytes = touched * 4 * kCount * double(state.iterations());
  state.counters["bytes/s"] = benchmark::Counter(bytes, benchmark::Counter::kIsRate);
  state.counters["copy%"] = benchmark::Counter(100 * bytes / copy_speed(), benchmark::Counter::kIsRate);
}

void add(benchmark::State& state) {
  const Tensor a = full({kCount}, 1.0), b = full({kCount}, 2.0);
  measure(state, 3, [&] { benchmark::DoNotOptimize(a + b); });
}
void add_in_place(benchmark::State& state) {
  const Tensor a = full({kCount}, 1.0), b = full({kCount}, 2.0);
  measure(state, 3, [&] { a.add_(b); });
}
void relu(benchmark::State& state) {
  const Tensor a = randn({kCount});
  measure(state, 2, [&] { benchmark::DoNotOptimize(graft::relu(a)); });
}
// What numbers below 1.2e-38 cost: one to be halved in four, as they are, and flushed to zero (KT16).
void halve(benchmark::State& state) {
  const bool denormal = state.range(0) > 0, flush = state.range(0) > 1;
  const Tensor a = full({kCount}, 1.0);
  if (denormal) a.view({kCount / 4, 4}).select(1, 0).fill_(1e-39);
  const bool before = flush_denormal();
  set_flush_denormal(flush);
  measure(state, 2, [&] { benchmark::DoNotOptimize(a * 0.5); });
  set_flush_denormal(before);
  state.SetLabel(flush ? "a quarter denormal, flushed" : denormal ? "a quarter denormal" : "all normal");
}
void copy(benchmark::State& state) {
  const Tensor a = full({kCount}, 1.0), b = empty({kCount});
  measure(state, 2, [&] { b.copy_(a); });
}
void softmax(benchmark::State& state) {
  const Tensor a = randn({kCount / 1000, 1000});
  measure(state, 2, [&] { benchmark::DoNotOptimize(graft::softmax(a, 1)); });
}
void layer_norm(benchmark::State& state) {
  const Tensor a = randn({kCount / 1000, 1000}), w = full({1000}, 1.0), b = full({1000}, 0.0);
  measure(state, 2, [&] { benchmark::DoNotOptimize(graft::layer_norm(a, {1000}, w, b)); });
}

Tensors parameters() {  // 1000 of 10,000
  Tensors all;
  for (int i = 0; i < 1000; ++i) {
    all.push_back(full({kCount / 1000}, 1.0).requires_grad_());
    all.back().set_grad(full({kCount / 1000}, 1e-3));
  }
  return all;
}
void sgd(benchmark::State& state) {  // parameter, gradient, momentum; two of them written
  optim::SGD optimizer(parameters(), {.lr = 1e-6, .momentum = 0.9});
  measure(state, 5, [&] { optimizer.step(); });
}
void adam(benchmark::State& state) {
  optim::Adam optimizer(parameters(), {.lr = 1e-6});
  measure(state, 7, [&] { optimizer.step(); });
}

void defaults(benchmark::internal::Benchmark* b) {
  b->Unit(benchmark::kMillisecond)->Repetitions(5)->ReportAggregatesOnly()->MinTime(0.1);
}
BENCHMARK(copy)->Apply(defaults);
BENCHMARK(add)->Apply(defaults);
BENCHMARK(add_in_place)->Apply(defaults);
BENCHMARK(relu)->Apply(defaults);
BENCHMARK(halve)->Arg(0)->Arg(1)->Arg(2)->Apply(defaults);
BENCHMARK(softmax)->Apply(defaults);
BENCHMARK(layer_norm)->Apply(defaults);
BENCHMARK(sgd)->Apply(defaults);
BENCHMARK(adam)->Apply(defaults);

}  // namespace

int main(int argc, char** argv) { return bench::run(argc, argv); }

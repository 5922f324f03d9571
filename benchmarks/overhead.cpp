// What does a call cost beside its arithmetic? Tiny tensors, one thread. "goal_ns" is what the project holds itself
// to; "time/goal" below 1 meets it.
#include <ctime>
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/nn/containers.h"
#include "graft/nn/linear.h"
#include "run.h"

using namespace graft;

namespace {

// goal: nanoseconds a call, 0 where none is set.
template <class F> void ask(const char* question, double goal, F call) {
  benchmark::RegisterBenchmark(question, [call, goal](benchmark::State& state) mutable {
    const std::clock_t start = std::clock();
    for (auto _ : state) call();
    const double took = 1e9 * double(std::clock() - start) / CLOCKS_PER_SEC;  // of the processor: others may be using it
    if (goal == 0) return;
    state.counters["goal_ns"] = goal;
    state.counters["time/goal"] = took / double(state.iterations()) / goal;
  })->Repetitions(9)->ReportAggregatesOnly()->MinTime(0.02);
}
// The same where no gradient is recorded.
template <class F> void ask_quiet(const char* question, double goal, F call) {
  ask(question, goal, [call] {
    const NoGrad guard;
    call();
  });
}

void register_forward() {
  const Tensor a = full({16}, 1.01), b = full({16}, 0.99), x = full({1, 8}, 0.5);
  const Tensor w = full({8, 8}, 0.1), row = full({4, 4}, 0.5), vec = full({4}, 2.0);
  ask_quiet("empty({16})", 0, [] { const Tensor t = empty({16}); });
  ask_quiet("a + b", 55, [=] { const Tensor t = a + b; });
  ask("a + b in inference mode", 55, [=] {
    const InferenceMode guard;
    const Tensor t = a + b;
  });
  ask_quiet("a + b, [4,4] and [4]", 0, [=] { const Tensor t = row + vec; });
  ask_quiet("a.add_(b)", 0, [=] { a.add_(b, 1e-9); });
  ask_quiet("relu(a)", 0, [=] { const Tensor t = relu(a); });
  ask_quiet("a.reshape({4,4}), a view", 0, [=] { const Tensor t = a.reshape({4, 4}); });
  ask_quiet("sum(a)", 0, [=] { const Tensor t = sum(a); });
  ask_quiet("softmax of 10", 0, [s = full({1, 10}, 0.1)] { const Tensor t = softmax(s, 1); });
  ask_quiet("matmul 1x8 8x8", 0, [=] { const Tensor t = matmul(x, w); });
  ask_quiet("linear(8, 8), the function", 70, [=, bias = full({8}, 0.1)] { const Tensor t = linear(x, w, bias); });
  const auto layer = nn::make<nn::Linear>(8, 8);
  const auto net = nn::make<nn::Sequential>(layer);
  ask_quiet("Linear(8, 8), the module", 100, [=] { const Tensor t = (*layer)(x); });
  ask_quiet("the same in a slot of a Sequential", 110, [=] { const Tensor t = (*net)(x); });
}

void register_backward() {
  const Tensor g = full({16}, 1.01).requires_grad_(), b = full({16}, 0.99), x = full({1, 8}, 0.5);
  ask("a + b, recorded", 110, [=] { const Tensor t = g + b; });
  ask("a * b, recorded", 0, [=] { const Tensor t = g * b; });
  ask("chain of 10, forward", 0, [=] {
    Tensor t = g;
    for (int i = 0; i < 10; ++i) t = t * b;
  });
  ask("chain of 10, forward and backward", 2500, [=] {
    Tensor t = g;
    for (int i = 0; i < 10; ++i) t = t * b;
    sum(t).backward();
    Tensor(g).set_grad({});
  });
  const Tensor w = full({8, 8}, 0.1).requires_grad_(), bias = full({8}, 0.1).requires_grad_();
  ask("linear(8, 8), forward", 0, [=] { const Tensor t = linear(x, w, bias); });
  ask("linear(8, 8), forward and backward", 1000, [=] { sum(linear(x, w, bias)).backward(); });
  const Tensors p{full({8, 8}, 0.1).requires_grad_(), full({8}, 0.1).requires_grad_(),
                  full({8, 8}, 0.1).requires_grad_(), full({8}, 0.1).requires_grad_()};
  ask("MLP of 2 layers of 8, a step of SGD", 2500, [=] {
    for (Tensor t : p) t.set_grad({});
    sum(linear(relu(linear(x, p[0], p[1])), p[2], p[3])).backward();
    const NoGrad guard;
    for (const Tensor& t : p) t.add_(t.grad(), -1e-9);
  });
}

}  // namespace

int main(int argc, char** argv) {
  register_forward();
  register_backward();
  return bench::run(argc, argv);
}

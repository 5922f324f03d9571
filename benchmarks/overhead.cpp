// What does the choke point cost? Tiny tensors, one thread, against libtorch when built WITH_TORCH.
#include <algorithm>
#include <cstdio>
#include "contest.h"
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/nn/containers.h"
#include "graft/nn/linear.h"

using namespace graft;

static void enter_graft(Contest& c) {
  const char* who = "graft";
  const Tensor a = full({16}, 1.01), b = full({16}, 0.99), x = full({1, 8}, 0.5);
  const Tensor w = full({8, 8}, 0.1), row = full({4, 4}, 0.5), vec = full({4}, 2.0);
  auto quiet = [&](const char* q, auto f) {
    enter(c, q, who, [f] {
      const NoGrad guard;
      f();
    });
  };
  quiet("01 empty({16})", [] { const Tensor t = empty({16}); });
  quiet("02 a+b n=16, no grad", [=] { const Tensor t = a + b; });
  quiet("03 a+b n=16, inference mode", [=] {
    const InferenceMode guard;
    const Tensor t = a + b;
  });
  quiet("04 a+b [4,4]+[4] broadcast, no grad", [=] { const Tensor t = row + vec; });
  quiet("05 a.add_(b) n=16, no grad", [=] { a.add_(b, 1e-9); });
  quiet("06 relu n=16, no grad", [=] { const Tensor t = relu(a); });
  quiet("07 view({4,4}), no grad", [=] { const Tensor t = a.reshape({4, 4}); });
  quiet("08 sum n=16, no grad", [=] { const Tensor t = sum(a); });
  quiet("09 matmul 1x8*8x8, no grad", [=] { const Tensor t = matmul(x, w); });
  const Tensor lw = full({8, 8}, 0.1).requires_grad_(), lb = full({8}, 0.1).requires_grad_();
  quiet("10 Linear(8,8) forward, no grad", [=] { const Tensor t = linear(x, lw, lb); });

  const auto layer = nn::make<nn::Linear>(8, 8);
  const auto net = nn::make<nn::Sequential>(layer);
  quiet("10b Linear(8,8) module, no grad", [=] { const Tensor t = (*layer)(x); });
  quiet("10c the same through a slot of a Sequential", [=] { const Tensor t = (*net)(x); });

  const Tensor g = full({16}, 1.01).requires_grad_();
  enter(c, "11 a+b n=16, grad", who, [=] { const Tensor t = g + b; });
  enter(c, "12 a*b n=16, grad", who, [=] { const Tensor t = g * b; });
  enter(c, "13 10-op chain forward, grad", who, [=] {
    Tensor t = g;
    for (int i = 0; i < 10; ++i) t = t * b;
  });
  enter(c, "14 10-op chain forward+backward", who, [=]() mutable {
    Tensor t = g;
    for (int i = 0; i < 10; ++i) t = t * b;
    sum(t).backward();
    Tensor(g).set_grad({});
  });
  enter(c, "15 Linear(8,8) forward, grad", who, [=] { const Tensor t = linear(x, lw, lb); });
  enter(c, "16 Linear(8,8) forward+backward", who, [=] { sum(linear(x, lw, lb)).backward(); });

  const Tensors p{full({8, 8}, 0.1).requires_grad_(), full({8}, 0.1).requires_grad_(),
                  full({8, 8}, 0.1).requires_grad_(), full({8}, 0.1).requires_grad_()};
  enter(c, "17 2-layer MLP(8) SGD step", who, [=] {
    for (Tensor t : p) t.set_grad({});
    sum(linear(relu(linear(x, p[0], p[1])), p[2], p[3])).backward();
    const NoGrad guard;
    for (const Tensor& t : p) t.add_(t.grad(), -1e-9);
  });
}

#ifndef WITH_TORCH
void enter_torch(Contest&) {}
#endif

int main() {
  Contest contest;
  enter_graft(contest);
  enter_torch(contest);
  constexpr int kRounds = 25;
  for (auto& [question, all] : contest) {
    std::map<std::string, long> calls;
    for (auto& [who, one] : all) {
      one.seconds(200);
      calls[who] = std::max<long>(1, long(0.004 / (one.seconds(200) / 200)));
    }
    for (int r = 0; r < kRounds; ++r)
      for (auto& [who, one] : all) one.ns.push_back(one.seconds(calls[who]) / double(calls[who]) * 1e9);
    std::printf("%-38s", question.c_str());
    for (auto& [who, one] : all) {
      std::ranges::sort(one.ns);
      std::printf("  %s min %8.1f med %8.1f ns", who.c_str(), one.ns.front(), one.ns[one.ns.size() / 2]);
    }
    std::printf("\n");
  }
}

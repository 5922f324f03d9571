// A program of somebody who uses graft: computes, differentiates, catches an error of the library.
#include <cstdio>
#include "graft/core/ops.h"
#include "graft/core/tensor.h"
#include "graft/core/version.h"

int main() {
  const graft::Tensor x = graft::tensor({1., 2., 3.}).requires_grad_();
  graft::sum(x * x).backward();
  if (x.grad().at({2}) != 6) return 1;
  try {
    (void)(x + graft::zeros({2}));
    return 2;
  } catch (const graft::Error& e) {
    std::printf("graft %s: %s\n", graft::kVersion, e.what());
  }
  return 0;
}

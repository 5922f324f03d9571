// The steps of docs/cuda.md: y = (s - mean(s)) / sqrt(var(s) + 1e-5) for the rows of s = x + r, [rows][n].
#pragma once

namespace graft::walkthrough {

struct Operands {
  float *y, *sum;
  const float *x, *r;
  int rows, n;
};

void by_threads(const Operands&, void* stream);              // two kernels
void by_blocks(const Operands&, bool barrier, void* stream);  // n = 1024; `barrier`: not forgotten
void by_warps(const Operands&, void* stream);                // n = 1024
void in_registers(const Operands&, void* stream);            // n = 1024
void fused(const Operands&, void* stream);                   // n = 1024, one kernel

}  // namespace graft::walkthrough

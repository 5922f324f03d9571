// The traffic of what a function launches, and the kernels that are bound by memory, with the bytes that they cannot do without.
#pragma once
#include <functional>
#include "graft/core/cuda.h"
#include "graft/core/tensor.h"
#include "graft/kernels/cuda/emulation/emulation.h"
#include "graft/kernels/cuda/emulation/traffic.h"

namespace graft::traffic_test {

inline std::vector<cuda::emulation::LaunchTraffic> measured(const std::function<void()>& run) {
  cuda::synchronize();
  cuda::emulation::take_traffic();
  cuda::emulation::settings().traffic = true;
  run();
  cuda::synchronize();
  cuda::emulation::settings().traffic = false;
  return cuda::emulation::take_traffic();
}

struct MemoryBound {
  const char* name;
  DType dtype;
  int read, written;  // bytes of an element of the result, or of what is reduced
  std::function<std::function<void()>(Shape)> prepare;  // what is to be measured, on tensors of this shape
};
const std::vector<MemoryBound>& memory_bound();

// Markdown: what each kernel takes at named sizes if memory or arithmetic is used to the full.
std::string table_of_expected_times();

}  // namespace graft::traffic_test

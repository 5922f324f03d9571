// What a kernel moves, counted on the emulated device: for each line of its source the sectors that warps ask of global memory and
// the wavefronts that shared memory takes for them, each beside the least that would do. Counted where settings().traffic is on.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace graft::inline v1::cuda::emulation {

// One line that reads or writes. A request is what the lanes of a warp do together: the n-th time that each comes here.
struct AccessLine {
  std::string line;  // "kernels/softmax/cuda.cu:41"
  bool shared = false, write = false;
  int64_t requests = 0;
  int64_t bytes = 0;         // distinct ones of each request
  int64_t transactions = 0;  // global memory: sectors of 32 bytes; shared: wavefronts, one per word and bank
  int64_t ideal = 0;         // transactions of the same bytes where they are neighbours, or in different banks
};

struct LaunchTraffic {
  std::string kernel;
  int64_t blocks = 0, threads = 0;  // threads of a block
  int64_t unique_read = 0, unique_written = 0;  // bytes of global memory, each counted once
  std::vector<AccessLine> lines;

  int64_t unique() const { return unique_read + unique_written; }
  int64_t moved() const;       // bytes that warps ask of global memory
  double coalescing() const;   // least sectors / sectors, in [0, 1]
  int64_t conflicts() const;   // wavefronts of shared memory beyond the least
};

std::vector<LaunchTraffic> take_traffic();  // of the launches since the last call
std::string describe(const LaunchTraffic&);  // a table, as text

}  // namespace graft::cuda::emulation

// Where the random numbers of one op begin.
#pragma once
#include <cstdint>

namespace graft::inline v1 {

// Of a generator while a graph is replayed: where it is then. Lies on the device.
struct StreamCell {
  uint64_t seed = 0, moved = 0;  // since the graph was captured
};

// Counters first, first + 1, ... of the stream `seed`: four 32-bit words each. Kernels of a graph ask `cell` before.
struct Stream {
  uint64_t seed = 0, first = 0;
  const StreamCell* cell = nullptr;
  friend bool operator==(const Stream&, const Stream&) = default;
};

}  // namespace graft

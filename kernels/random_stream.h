// Where the random numbers of one op begin.
#pragma once
#include <cstdint>

namespace graft::inline v1 {

// Counters first, first + 1, ... of the stream `seed`: four 32-bit words each.
struct Stream {
  uint64_t seed = 0, first = 0;
  friend bool operator==(const Stream&, const Stream&) = default;
};

}  // namespace graft

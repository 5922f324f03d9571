// Attributes of the reductions.
#pragma once
#include <cstdint>

namespace graft::inline v1 {

// Bits are dimensions of the input. A reduced dimension stays with size 1 if it is also in `keep`.
struct ReduceAttrs { uint8_t reduce = 0, keep = 0; };
struct VarAttrs { ReduceAttrs dims; double correction = 1; };
struct ScanAttrs { int dim = 0; };

}  // namespace graft

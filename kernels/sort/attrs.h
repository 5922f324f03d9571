// Attributes of the ops that order elements, along the last dimension of contiguous inputs.
#pragma once
#include <cstdint>

namespace graft::inline v1 {

struct SortAttrs { bool descending = false; };
struct TopkAttrs { int64_t k = 1; bool largest = true, sorted = true; };
struct KthAttrs { int64_t k = 1; bool nan_wins = false; };  // k counts from 1
struct SearchAttrs { bool right = false; };

}  // namespace graft

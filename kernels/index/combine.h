// What scatter and index_put do where something already is. Shared by the kernels of all devices.
#pragma once
#include "graft/kernels/dtype.h"
#include "graft/kernels/index/attrs.h"

namespace graft::inline v1 {

inline constexpr const char* kUnordered = "of complex numbers none is the greatest";

template <class T, Put put> GRAFT_HD inline compute_t<T> combined(compute_t<T> a, compute_t<T> b) {
  using C = compute_t<T>;
  if constexpr (put == Put::assign) return b;
  else if constexpr (std::is_same_v<T, bool>) return put == Put::add || put == Put::greatest ? a || b : a && b;
  else if constexpr (put == Put::add) return C(a + b);
  else if constexpr (put == Put::multiply) return C(a * b);
  else if constexpr (is_complex_v<T>) return a;  // declined before
  else if constexpr (put == Put::least) return b < a || (b != b) ? b : a;
  else return a < b || (b != b) ? b : a;
}

}  // namespace graft

// What may stand in x.index({...}): integers, slices, Ellipsis, None (a new dimension), masks and index tensors.
#pragma once
#include <concepts>
#include "graft/core/tensor.h"

namespace graft::inline v1 {

struct NoneType {};
struct EllipsisType {};
inline constexpr NoneType None;
inline constexpr EllipsisType Ellipsis;

// start:stop:step, as in Python; step > 0. Slice() is everything, Slice(1, None, 2) every second from 1.
struct Slice {
  struct Bound : std::optional<int64_t> {
    Bound(NoneType) {}                                     // NOLINT(google-explicit-constructor)
    Bound(int64_t at) : std::optional<int64_t>(at) {}      // NOLINT(google-explicit-constructor)
  };
  Slice() = default;
  Slice(Bound from, Bound to, int64_t by = 1) : start(from), stop(to), step(by) {}
  explicit Slice(Bound to) : stop(to) {}
  Bound start = None, stop = None;
  int64_t step = 1;
};

class TensorIndex {
 public:
  enum class Kind : uint8_t { integer, slice, none, ellipsis, boolean, tensor };
  template <std::integral I>
    requires(!std::same_as<I, bool>)
  TensorIndex(I i) : kind(Kind::integer), integer(int64_t(i)) {}  // NOLINT(google-explicit-constructor)
  template <std::same_as<bool> B>
  TensorIndex(B b) : kind(Kind::boolean), integer(b) {}             // NOLINT(google-explicit-constructor)
  TensorIndex(Slice s) : kind(Kind::slice), slice(s) {}              // NOLINT(google-explicit-constructor)
  TensorIndex(NoneType) : kind(Kind::none) {}                        // NOLINT(google-explicit-constructor)
  TensorIndex(EllipsisType) : kind(Kind::ellipsis) {}                // NOLINT(google-explicit-constructor)
  TensorIndex(Tensor t) : kind(Kind::tensor), tensor(std::move(t)) {}  // NOLINT(google-explicit-constructor)

  Kind kind;
  int64_t integer = 0;
  Slice slice;
  Tensor tensor;  // bool: a mask; i64 or i32: indices
};

}  // namespace graft

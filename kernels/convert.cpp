#include "graft/kernels/convert.h"

namespace graft::inline v1 {
namespace {

template <class To, class From> void row(const Operand* o, int64_t n, const void* /*attrs*/) {
  auto* __restrict y = reinterpret_cast<To*>(o[0].data);
  auto* __restrict x = reinterpret_cast<const From*>(o[1].data);
  const int64_t to = o[0].step, from = o[1].step;
  if (to == 1 && from == 1)
    for (int64_t i = 0; i < n; ++i) y[i] = convert<To>(x[i]);
  else if (from == 0)
    for (const To value = convert<To>(*x); n-- > 0; y += to) *y = value;
  else
    for (int64_t i = 0; i < n; ++i) y[i * to] = convert<To>(x[i * from]);
}

// Elements of one size are moved as bits: one instance per size instead of one per dtype.
template <class Bits> void move_row(const Operand* o, int64_t n, const void* attrs) { row<Bits, Bits>(o, n, attrs); }
Row move_row_of(DType t) {
  switch (size_of(t)) {
    case 1: return move_row<uint8_t>;
    case 2: return move_row<int16_t>;
    case 4: return move_row<int32_t>;
    case 8: return move_row<int64_t>;
    default: return move_row<std::complex<double>>;
  }
}
template <class... T> Row row_of(DType to, DType from, TypeList<T...>) {
  Row found = nullptr;
  with_type(to, AllTypes{}, [&](auto tag) {
    using To = typename decltype(tag)::type;
    constexpr Row rows[kDTypes] = {row<To, T>...};
    found = rows[size_t(from)];
  });
  return found;
}

}  // namespace

Row convert_row(DType to, DType from) { return to == from ? move_row_of(to) : row_of(to, from, AllTypes{}); }

}  // namespace graft

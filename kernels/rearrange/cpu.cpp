// Kernels on cpu that place elements elsewhere: flip, roll, triangles, padding; and the sequences arange and linspace.
#include "graft/kernels/rearrange/parts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include "graft/kernels/move/copy.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

Decline flip(const Launch& l) {
  copy_into(*l.out[0], flipped(*l.in[0], l.attrs_as<FlipAttrs>().dims));
  return kRan;
}

Decline roll(const Launch& l) {
  each_part_of_roll(l, [](const View& to, const View& from) { copy_into(to, from); });
  return kRan;
}

Decline triangle(const Launch& l) {
  const auto [diagonal, upper] = l.attrs_as<TriangleAttrs>();
  const View& y = *l.out[0];
  if (y.numel == 0) return kRan;
  if (y.data != l.in[0]->data) copy_into(y, *l.in[0]);
  const int row = y.rank - 2, column = y.rank - 1;
  const int64_t bytes = size_of(y.dtype), rows = y.size[row], columns = y.size[column];
  std::array<int64_t, kMaxRank> at{};
  for (int64_t matrices = y.numel / (rows * columns); matrices > 0; --matrices) {
    std::byte* p = y.data;
    for (int d = 0; d < row; ++d) p += at[size_t(d)] * y.stride[d] * bytes;
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t edge = std::clamp<int64_t>(i + diagonal + (upper ? 0 : 1), 0, columns);
      for (int64_t j = upper ? 0 : edge; j < (upper ? edge : columns); ++j)
        std::memset(p + (i * y.stride[row] + j * y.stride[column]) * bytes, 0, size_t(bytes));
    }
    for (int d = row - 1; d >= 0 && ++at[size_t(d)] == y.size[d]; --d) at[size_t(d)] = 0;
  }
  return kRan;
}

template <class T> Decline pad(const Launch& l) {
  const auto& a = l.attrs_as<PadAttrs>();
  View y = *l.out[0], x = *l.in[0];
  T value = a.value.to<T>();
  View fill;
  fill.dtype = y.dtype;
  fill.data = reinterpret_cast<std::byte*>(&value);
  fill.numel = 1;
  copy_into(y, fill);
  for (int d = 0; d < x.rank; ++d) {
    const int64_t from = std::max<int64_t>(-a.before[d], 0), to = x.size[d] - std::max<int64_t>(-a.after[d], 0);
    const int64_t length = std::max<int64_t>(to - from, 0);
    x = part(x, d, from, length);
    y = part(y, d, std::max<int64_t>(a.before[d], 0), length);
  }
  copy_into(y, x);
  return kRan;
}

template <class T> Decline arange(const Launch& l) {
  const auto& a = l.attrs_as<SequenceAttrs>();
  T* y = l.out[0]->as<T>();
  if constexpr (std::is_integral_v<T>) {
    if (a.start.kind() <= Scalar::Kind::integer && a.step.kind() <= Scalar::Kind::integer) {
      const auto start = uint64_t(a.start.to<int64_t>()), step = uint64_t(a.step.to<int64_t>());
      for (int64_t i = 0; i < a.n; ++i) y[i] = T(int64_t(start + uint64_t(i) * step));
      return kRan;
    }
  }
  const double start = a.start.value(), step = a.step.value();
  for (int64_t i = 0; i < a.n; ++i) y[i] = convert<T>(start + double(i) * step);
  return kRan;
}

template <class T> Decline linspace(const Launch& l) {  // from both ends, so that both are met exactly
  const auto& a = l.attrs_as<SequenceAttrs>();
  using C = std::conditional_t<is_complex_v<T>, std::complex<double>, double>;
  const C start = a.start.to<C>(), end = a.end.to<C>();
  const C step = a.n > 1 ? (end - start) / double(a.n - 1) : C(0);
  T* y = l.out[0]->as<T>();
  for (int64_t i = 0; i < a.n; ++i) {
    C value = i < a.n / 2 || a.n == 1 ? start + step * double(i) : end - step * double(a.n - 1 - i);
    if (a.base != 0) value = std::pow(C(a.base), value);
    y[i] = convert<T>(value);
  }
  return kRan;
}

}  // namespace

void register_rearrange_cpu() {
  for_each_type(AllTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr DType t = dtype_v<T>;
    add_kernel("flip", Device::cpu, t, "rows", flip);
    add_kernel("roll", Device::cpu, t, "rows", roll);
    for (const char* op : {"tril", "triu"}) add_kernel(op, Device::cpu, t, "rows", triangle);
    add_kernel("pad", Device::cpu, t, "rows", pad<T>);
    if constexpr (!std::is_same_v<T, bool>) add_kernel("linspace", Device::cpu, t, "reference", linspace<T>);
    if constexpr (!std::is_same_v<T, bool> && !is_complex_v<T>)
      add_kernel("arange", Device::cpu, t, "reference", arange<T>);
  });
}

}  // namespace graft

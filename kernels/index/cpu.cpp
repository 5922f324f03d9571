// Kernels on cpu that find elements by index: gather and index read, scatter and index_put write. Indices were checked
// before; negative ones count from the end. Also masks: masked_fill, nonzero.
#include "graft/kernels/index/combine.h"
#include "graft/kernels/index/geometry.h"

#include <array>
#include <cmath>
#include "graft/kernels/move/copy.h"
#include "graft/kernels/rows.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

// Operands of a row: out, in, then the index tensors.
int64_t offset(const Picks& p, const Operand* index, int64_t i) {
  int64_t at = 0;
  for (int k = 0; k < p.n; ++k) {
    const int64_t j = reinterpret_cast<const int64_t*>(index[k].data)[i * index[k].step];
    at += (j < 0 ? j + p.size[size_t(k)] : j) * p.stride[size_t(k)];
  }
  return at;
}
bool constant(const Picks& p, const Operand* index) {  // along the row
  for (int k = 0; k < p.n; ++k)
    if (index[k].step != 0) return false;
  return true;
}

// Rows that only move elements know their size, not their type.
template <size_t N> void copy_elements(std::byte* y, int64_t y_step, const std::byte* x, int64_t x_step, int64_t n) {
  if (y_step == 1 && x_step == 1) return void(std::memcpy(y, x, size_t(n) * N));
  for (int64_t i = 0; i < n; ++i) std::memcpy(y + i * y_step * int64_t(N), x + i * x_step * int64_t(N), N);
}
template <size_t N> void gather_row(const Operand* o, int64_t n, const void* attrs) {
  const auto& picks = *static_cast<const Picks*>(attrs);
  constexpr auto kSize = int64_t(N);
  if (constant(picks, o + 2))
    return copy_elements<N>(o[0].data, o[0].step, o[1].data + offset(picks, o + 2, 0) * kSize, o[1].step, n);
  for (int64_t i = 0; i < n; ++i)
    std::memcpy(o[0].data + i * o[0].step * kSize, o[1].data + (i * o[1].step + offset(picks, o + 2, i)) * kSize, N);
}
template <size_t N> void put_row(const Operand* o, int64_t n, const void* attrs) {
  const auto& picks = *static_cast<const Picks*>(attrs);
  constexpr auto kSize = int64_t(N);
  if (constant(picks, o + 2))
    return copy_elements<N>(o[0].data + offset(picks, o + 2, 0) * kSize, o[0].step, o[1].data, o[1].step, n);
  for (int64_t i = 0; i < n; ++i)
    std::memcpy(o[0].data + (i * o[0].step + offset(picks, o + 2, i)) * kSize, o[1].data + i * o[1].step * kSize, N);
}
template <template <size_t> class F> Row row_of_size(int64_t bytes) {
  switch (bytes) {
    case 1: return F<1>::row;
    case 2: return F<2>::row;
    case 4: return F<4>::row;
    case 8: return F<8>::row;
    default: return F<16>::row;
  }
}
template <size_t N> struct GatherRow { static constexpr Row row = gather_row<N>; };
template <size_t N> struct PutRow { static constexpr Row row = put_row<N>; };

template <class T, Put put> void combine_row(const Operand* o, int64_t n, const void* attrs) {
  const auto& picks = *static_cast<const Picks*>(attrs);
  T* y = reinterpret_cast<T*>(o[0].data);
  const T* x = reinterpret_cast<const T*>(o[1].data);
  const bool fixed = constant(picks, o + 2);
  if (fixed) y += offset(picks, o + 2, 0);
  for (int64_t i = 0; i < n; ++i) {
    T& at = y[i * o[0].step + (fixed ? 0 : offset(picks, o + 2, i))];
    at = T(combined<T, put>(compute_t<T>(at), compute_t<T>(x[i * o[1].step])));
  }
}
template <class T> Row put_row_of(Put put) {
  switch (put) {
    case Put::add: return combine_row<T, Put::add>;
    case Put::multiply: return combine_row<T, Put::multiply>;
    case Put::least: return combine_row<T, Put::least>;
    case Put::greatest: return combine_row<T, Put::greatest>;
    default: return row_of_size<PutRow>(sizeof(T));
  }
}

// ---- gather, scatter -----------------------------------------------------------------------------------------

void walk(const View& out, const View& in, std::span<const View* const> index, const Picks& picks, Row row) {
  std::array<const View*, 1 + kMaxIndices> inputs{&in};
  std::ranges::copy(index, inputs.begin() + 1);
  const View* outs[] = {&out};
  for_each_row({{inputs.data(), 1 + index.size()}, outs, &picks}, row);
}

Decline gather(const Launch& l) {  // x, index
  Picks picks;
  const View x = along_index(*l.in[0], *l.in[1], l.attrs_as<ScatterAttrs>().dim, picks);
  walk(*l.out[0], x, l.in.subspan(1, 1), picks, row_of_size<GatherRow>(size_of(x.dtype)));
  return kRan;
}
void start_with(const View& x, const View& out) {
  if (out.data != x.data) copy_into(out, x);
}
template <class T> Decline scatter(const Launch& l) {  // x, index, src
  const auto& a = l.attrs_as<ScatterAttrs>();
  if (is_complex_v<T> && a.put >= Put::least) return kUnordered;
  start_with(*l.in[0], *l.out[0]);
  Picks picks;
  const View y = along_index(*l.out[0], *l.in[1], a.dim, picks);
  View src = *l.in[2];
  copy_sizes(src, *l.in[1]);  // a larger src is not read beyond the index
  walk(y, src, l.in.subspan(1, 1), picks, put_row_of<T>(a.put));
  return kRan;
}

// ---- index, index_put ----------------------------------------------------------------------------------------

void walk_indexed(const View& result, const View& through, const View& plain, bool reads,
                  std::span<const View* const> index, const IndexAttrs& a, const Picks& picks, Row row) {
  std::array<View, kMaxIndices> aligned;
  std::array<const View*, kMaxIndices> ptrs{};
  for (size_t k = 0; k < index.size(); ++k) {
    aligned[k] = in_result(*index[k], result, a);
    ptrs[k] = &aligned[k];
  }
  const std::span<const View* const> all(ptrs.data(), index.size());
  reads ? walk(plain, through, all, picks, row) : walk(through, plain, all, picks, row);
}
Decline index(const Launch& l) {  // x, index...
  const auto& a = l.attrs_as<IndexAttrs>();
  Picks picks;
  const View& y = *l.out[0];
  const View x = through_index(*l.in[0], y, *l.in[1], a, picks);
  walk_indexed(y, x, y, true, l.in.subspan(1), a, picks, row_of_size<GatherRow>(size_of(y.dtype)));
  return kRan;
}
template <class T> Decline index_put(const Launch& l) {  // x, values, index...
  const auto& a = l.attrs_as<IndexAttrs>();
  start_with(*l.in[0], *l.out[0]);
  Picks picks;
  const View& values = *l.in[1];
  const View y = through_index(*l.out[0], values, *l.in[2], a, picks);
  walk_indexed(values, y, values, false, l.in.subspan(2), a, picks, put_row_of<T>(a.put));
  return kRan;
}

// Whether there is an index outside of the range, and the first.
void range_row(const Operand* o, int64_t n, const void* attrs) {
  const auto& range = *static_cast<const RangeAttrs*>(attrs);
  auto* found = reinterpret_cast<int64_t*>(o[0].data);
  for (int64_t i = 0; i < n && !found[0]; ++i) {
    const int64_t j = reinterpret_cast<const int64_t*>(o[1].data)[i * o[1].step];
    if (!range.has(j)) found[0] = 1, found[1] = j;
  }
}
Decline first_outside(const Launch& l) {
  std::fill_n(l.out[0]->as<int64_t>(), 2, 0);
  View out = *l.in[0];
  out.data = l.out[0]->data;
  out.contiguous = false;
  std::fill_n(out.stride, out.rank, 0);
  const View* outs[] = {&out};
  for_each_row({l.in, outs, l.attrs}, range_row);
  return kRan;
}

// ---- masks ---------------------------------------------------------------------------------------------------

template <size_t N> void mask_row(const Operand* o, int64_t n, const void* attrs) {  // y, x, mask, value
  const bool where = *static_cast<const bool*>(attrs);
  constexpr auto kSize = int64_t(N);
  for (int64_t i = 0; i < n; ++i) {
    const bool filled = *reinterpret_cast<const bool*>(o[2].data + i * o[2].step) == where;
    const Operand& from = o[filled ? 3 : 1];
    std::memcpy(o[0].data + i * o[0].step * kSize, from.data + i * from.step * kSize, N);
  }
}
template <size_t N> struct MaskRow { static constexpr Row row = mask_row<N>; };
Decline masked_fill(const Launch& l) {
  for_each_row(l, row_of_size<MaskRow>(size_of(l.out[0]->dtype)));
  return kRan;
}

template <class T> void count_row(const Operand* o, int64_t n, const void* /*attrs*/) {
  auto& count = *reinterpret_cast<int64_t*>(o[0].data);
  for (int64_t i = 0; i < n; ++i) count += reinterpret_cast<const T*>(o[1].data)[i * o[1].step] != T(0);
}
template <class T> Decline count(const Launch& l) {
  *l.out[0]->as<int64_t>() = 0;
  View out = *l.in[0];
  out.data = l.out[0]->data;
  out.contiguous = false;
  std::fill_n(out.stride, out.rank, 0);
  const View* outs[] = {&out};
  for_each_row({l.in, outs}, count_row<T>);
  return kRan;
}
template <class T> Decline nonzero(const Launch& l) {  // [count, rank], in row-major order
  const View& x = *l.in[0];
  auto* y = l.out[0]->as<int64_t>();
  std::array<int64_t, kMaxRank> at{};
  for (int64_t n = x.numel; n > 0; --n) {
    int64_t offset = 0;
    for (int d = 0; d < x.rank; ++d) offset += at[size_t(d)] * x.stride[d];
    if (x.as<T>()[offset] != T(0)) y = std::copy_n(at.begin(), x.rank, y);
    for (int d = x.rank - 1; d >= 0 && ++at[size_t(d)] == x.size[d]; --d) at[size_t(d)] = 0;
  }
  return kRan;
}

}  // namespace

void register_index_cpu() {
  for_each_type(AllTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr DType t = dtype_v<T>;
    add_kernel("gather", Device::cpu, t, "rows", gather);
    for (const char* op : {"index", "index_select"}) add_kernel(op, Device::cpu, t, "rows", index);
    add_kernel("scatter", Device::cpu, t, "rows", scatter<T>);
    add_kernel("index_put", Device::cpu, t, "rows", index_put<T>);
    add_kernel("masked_fill", Device::cpu, t, "rows", masked_fill);
    add_kernel("nonzero_count", Device::cpu, t, "rows", count<T>);
    add_kernel("nonzero", Device::cpu, t, "reference", nonzero<T>);
  });
  add_kernel("first_outside", Device::cpu, DType::i64, "rows", first_outside);
}

}  // namespace graft

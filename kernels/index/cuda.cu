// Elements found by index on cuda: gather and index read; masked_fill; the check of indices. Indices were checked before;
// negative ones count from the end. A thread has an element of the result.
#include "graft/kernels/cuda/compat.h"

#include "graft/kernels/cuda/register.h"
#include "graft/kernels/cuda/runtime.h"
#include "graft/kernels/cuda/strided.h"
#include "graft/kernels/index/geometry.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

struct alignas(16) Sixteen { uint64_t of[2]; };

// ---- gather, index ---------------------------------------------------------------------------------------------

template <int n> struct PickedBytes {
  int64_t size[n], step[n];
};
template <int n, class E>
__global__ __launch_bounds__(kThreads) void pick_elements(const __grid_constant__ Strided<2 + n> s, const __grid_constant__ PickedBytes<n> p) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= s.count) return;
  int64_t at[2 + n];
  s.offsets(i, at);
  int64_t from = at[1];
  for (int k = 0; k < n; ++k) {
    const int64_t j = *reinterpret_cast<const int64_t*>(s.data[2 + k] + at[2 + k]);
    from += (j < 0 ? j + p.size[k] : j) * p.step[k];
  }
  *reinterpret_cast<E*>(s.data[0] + at[0]) = *reinterpret_cast<const E*>(s.data[1] + from);
}

template <int n, class E> void run_picks(const Launch& l, const Picks& picks) {
  PickedBytes<n> p;
  for (int k = 0; k < n; ++k) {  // an index that is repeated to fill up adds nothing
    p.size[k] = k < picks.n ? picks.size[size_t(k)] : 0;
    p.step[k] = k < picks.n ? picks.stride[size_t(k)] * int64_t(sizeof(E)) : 0;
  }
  for_each_part<2 + n>(l, [&](const Strided<2 + n>& s) { launch(pick_elements<n, E>, blocks_for(s.count), kThreads, 0, l.stream, s, p); });
}
template <int n> void run_picks_of(const Launch& l, const Picks& picks) {
  switch (size_of(l.out[0]->dtype)) {
    case 1: return run_picks<n, uint8_t>(l, picks);
    case 2: return run_picks<n, uint16_t>(l, picks);
    case 4: return run_picks<n, uint32_t>(l, picks);
    case 8: return run_picks<n, uint64_t>(l, picks);
    default: return run_picks<n, Sixteen>(l, picks);
  }
}
// y, x and the index tensors in the dimensions of y.
void pick(const Launch& l, const View& x, std::span<const View* const> index, const Picks& picks) {
  std::array<const View*, 1 + kMaxIndices> in{&x};
  const size_t n = index.size() == 1 ? 1 : index.size() == 2 ? 2 : kMaxIndices;
  for (size_t k = 0; k < n; ++k) in[1 + k] = index[k < index.size() ? k : 0];
  Launch part{{in.data(), 1 + n}, l.out, nullptr};
  part.stream = l.stream;
  n == 1 ? run_picks_of<1>(part, picks) : n == 2 ? run_picks_of<2>(part, picks) : run_picks_of<kMaxIndices>(part, picks);
}

Decline gather(const Launch& l) {  // x, index
  Picks picks;
  const View x = along_index(*l.in[0], *l.in[1], l.attrs_as<ScatterAttrs>().dim, picks);
  return pick(l, x, l.in.subspan(1, 1), picks), kRan;
}
Decline index(const Launch& l) {  // x, index...
  const auto& a = l.attrs_as<IndexAttrs>();
  Picks picks;
  const View& y = *l.out[0];
  const View x = through_index(*l.in[0], y, *l.in[1], a, picks);
  std::array<View, kMaxIndices> aligned;
  std::array<const View*, kMaxIndices> ptrs{};
  for (size_t k = 0; k + 1 < l.in.size(); ++k) {
    aligned[k] = in_result(*l.in[k + 1], y, a);
    ptrs[k] = &aligned[k];
  }
  return pick(l, x, {ptrs.data(), l.in.size() - 1}, picks), kRan;
}

// ---- masks -----------------------------------------------------------------------------------------------------

template <class E> __global__ __launch_bounds__(kThreads) void fill_masked(const __grid_constant__ Strided<4> s, bool where) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= s.count) return;
  int64_t at[4];
  s.offsets(i, at);
  const bool filled = *reinterpret_cast<const bool*>(s.data[2] + at[2]) == where;
  *reinterpret_cast<E*>(s.data[0] + at[0]) = *reinterpret_cast<const E*>(filled ? s.data[3] + at[3] : s.data[1] + at[1]);
}
template <class E> Decline masked_fill(const Launch& l) {  // x, mask, value
  const bool where = l.attrs_as<bool>();
  for_each_part<4>(l, [&](const Strided<4>& s) { launch(fill_masked<E>, blocks_for(s.count), kThreads, 0, l.stream, s, where); });
  return kRan;
}

// ---- the check of indices --------------------------------------------------------------------------------------

// The place of the first that is not in [low, high); before any was found all bits of it are set.
__global__ __launch_bounds__(kThreads) void find_outside(unsigned long long* place, const __grid_constant__ Strided<2> s, RangeAttrs range) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= s.count) return;
  int64_t at[2];
  s.offsets(i, at);
  const int64_t j = *reinterpret_cast<const int64_t*>(s.data[1] + at[1]);
  if (j < range.low || j >= range.high) atomicMin(place, static_cast<unsigned long long>(i));
}
__global__ void place_to_value(unsigned long long* place, const __grid_constant__ Strided<2> s) {
  int64_t at[2], found = INT64_MAX;
  if (*place != ~0ULL) {
    s.offsets(unsigned(*place), at);
    found = *reinterpret_cast<const int64_t*>(s.data[1] + at[1]);
  }
  *reinterpret_cast<int64_t*>(place) = found;
}
Decline first_outside(const Launch& l) {
  if (l.in[0]->numel > INT32_MAX) return "2^31 indices or more";
  auto* place = l.out[0]->as<unsigned long long>();
  if (!runtime::set_bytes(place, 0xff, sizeof(*place), l.stream).ok()) return "the runtime reports an error";
  View out = *l.in[0];
  out.data = l.out[0]->data;
  out.contiguous = false;
  std::fill_n(out.stride, out.rank, 0);
  const View* outs[] = {&out};
  Strided<2> all{};
  for_each_part<2>({l.in, outs, l.attrs}, [&](const Strided<2>& s) {
    all = s;
    launch(find_outside, blocks_for(s.count), kThreads, 0, l.stream, place, s, l.attrs_as<RangeAttrs>());
  });
  launch(place_to_value, 1, 1, 0, l.stream, place, all);
  return kRan;
}

}  // namespace

void register_index_cuda() {
  for_each_type(AllTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr DType t = dtype_v<T>;
    using E = std::conditional_t<sizeof(T) == 1, uint8_t, std::conditional_t<sizeof(T) == 2, uint16_t,
              std::conditional_t<sizeof(T) == 4, uint32_t, std::conditional_t<sizeof(T) == 8, uint64_t, Sixteen>>>>;
    add_kernel("gather", Device::cuda, t, "elements", gather);
    for (const char* op : {"index", "index_select"}) add_kernel(op, Device::cuda, t, "elements", index);
    add_kernel("masked_fill", Device::cuda, t, "elements", masked_fill<E>);
  });
  add_kernel("first_outside", Device::cuda, DType::i64, "elements", first_outside);
}

}  // namespace graft

// Elements found by index on cuda: gather and index read; masked_fill, nonzero; the check of indices. Indices were checked
// before; negative ones count from the end. A thread has an element of the result. cuda_put.cu has what writes by index.
#include "graft/kernels/cuda/compat.h"

#include "graft/kernels/cuda/bits.h"
#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/cuda/runtime.h"
#include "graft/kernels/cuda/strided.h"
#include "graft/kernels/index/cuda_dimensions.h"
#include "graft/kernels/index/geometry.h"
#include "graft/kernels/sort/cuda.h"
#include "graft/kernels/sort/cuda_block.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

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
    default: return run_picks<n, Bits16>(l, picks);
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

// A block has a tile of x, in logical order.
constexpr unsigned kCounted = kThreads * 16;
struct Elements {
  const void* data;
  Dimensions place;
};
template <class T> __device__ inline bool is_set(const Elements& x, unsigned i) {
  using C = compute_t<T>;
  return convert_element<C>(static_cast<const T*>(x.data)[x.place.offset(i)]) != C(0);
}
template <class T>
__global__ __launch_bounds__(kThreads) void count_set(const __grid_constant__ Elements x, unsigned* counts, unsigned long long* sum) {
  GRAFT_SHARED(unsigned, part, [kWarps]);
  const unsigned end = min(x.place.count, (blockIdx.x + 1) * kCounted);
  unsigned own = 0, total = 0;
  for (unsigned i = blockIdx.x * kCounted + threadIdx.x; i < end; i += kThreads) own += is_set<T>(x, i);
  scan_block(own, part, total);
  if (threadIdx.x != 0) return;
  if (counts) counts[blockIdx.x] = total;
  else atomicAdd(sum, static_cast<unsigned long long>(total));
}
template <class T>
__global__ __launch_bounds__(kThreads) void list_set(const __grid_constant__ Elements x, const unsigned* before, int64_t* y) {
  GRAFT_SHARED(unsigned, part, [kWarps]);
  unsigned seen = before[blockIdx.x];
  const unsigned end = min(x.place.count, (blockIdx.x + 1) * kCounted);
  for (unsigned start = blockIdx.x * kCounted; start < end; start += kThreads) {
    unsigned i = start + threadIdx.x, total = 0;
    const bool set = i < end && is_set<T>(x, i);
    const unsigned own = seen + scan_block(set, part, total);
    seen += total;
    if (!set) continue;
    for (int d = x.place.rank - 1; d >= 0; --d) {
      const unsigned next = x.place.size[d].divide(i);
      y[size_t(own) * unsigned(x.place.rank) + unsigned(d)] = i - next * x.place.size[d].divisor;
      i = next;
    }
  }
}
Decline elements_of(const View& x, Elements& e) {
  if (x.numel > INT32_MAX) return "2^31 elements or more";
  e.data = x.data;
  e.place = dimensions_of(x, 0, x.rank);
  return kRan;
}
template <class T> Decline nonzero_count(const Launch& l) {
  Elements x;
  if (const Decline why = elements_of(*l.in[0], x)) return why;
  auto* sum = l.out[0]->as<unsigned long long>();
  (void)runtime::set_bytes(sum, 0, sizeof(*sum), l.stream);
  if (x.place.count) launch(count_set<T>, blocks_for(x.place.count, kCounted), kThreads, 0, l.stream, x, nullptr, sum);
  return kRan;
}
template <class T> Decline nonzero(const Launch& l) {  // [count, rank], in row-major order
  Elements x;
  if (const Decline why = elements_of(*l.in[0], x)) return why;
  if (l.out[0]->numel == 0) return kRan;
  const unsigned blocks = blocks_for(x.place.count, kCounted);
  const Workspace memory(*l.in[0], blocks * sizeof(unsigned));
  auto* counts = reinterpret_cast<unsigned*>(memory.get());
  if (!counts) return "no memory is left for it";
  launch(count_set<T>, blocks, kThreads, 0, l.stream, x, counts, nullptr);
  if (!sum_before(*l.in[0], counts, blocks, l.stream)) return "no memory is left for it";
  launch(list_set<T>, blocks, kThreads, 0, l.stream, x, counts, l.out[0]->as<int64_t>());
  return kRan;
}

// ---- the check of indices --------------------------------------------------------------------------------------

// The place of the first that is outside of a range; before any was found all bits of it are set.
__global__ __launch_bounds__(kThreads) void find_outside(unsigned long long* place, const __grid_constant__ Strided<2> s, RangeAttrs range) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= s.count) return;
  int64_t at[2];
  s.offsets(i, at);
  const int64_t j = *reinterpret_cast<const int64_t*>(s.data[1] + at[1]);
  if (!range.has(j)) atomicMin(place, static_cast<unsigned long long>(i));
}
// {whether there was one, its value}, the first of which is the place until then.
__global__ void place_to_value(int64_t* found, const __grid_constant__ Strided<2> s) {
  const auto place = static_cast<unsigned long long>(found[0]);
  int64_t at[2], value = 0;
  if (place != ~0ULL) {
    s.offsets(unsigned(place), at);
    value = *reinterpret_cast<const int64_t*>(s.data[1] + at[1]);
  }
  found[0] = place != ~0ULL;
  found[1] = value;
}
Decline first_outside(const Launch& l) {
  if (l.in[0]->numel > INT32_MAX) return "2^31 indices or more";
  auto* found = l.out[0]->as<int64_t>();
  if (!runtime::set_bytes(found, 0xff, sizeof(*found), l.stream).ok()) return "the runtime reports an error";
  View out = *l.in[0];
  out.data = l.out[0]->data;
  out.contiguous = false;
  std::fill_n(out.stride, out.rank, 0);
  const View* outs[] = {&out};
  Strided<2> all{};
  for_each_part<2>({l.in, outs, l.attrs}, [&](const Strided<2>& s) {
    all = s;
    launch(find_outside, blocks_for(s.count), kThreads, 0, l.stream, reinterpret_cast<unsigned long long*>(found), s, l.attrs_as<RangeAttrs>());
  });
  launch(place_to_value, 1, 1, 0, l.stream, found, all);
  return kRan;
}

}  // namespace

void register_index_cuda() {
  for_each_type(AllTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr DType t = dtype_v<T>;
    add_kernel("gather", Device::cuda, t, "elements", gather);
    for (const char* op : {"index", "index_select"}) add_kernel(op, Device::cuda, t, "elements", index);
    add_kernel("masked_fill", Device::cuda, t, "elements", masked_fill<Bits<sizeof(T)>>);
    add_kernel("nonzero_count", Device::cuda, t, "tiles", nonzero_count<in_kernels_t<T>>);
    add_kernel("nonzero", Device::cuda, t, "tiles", nonzero<in_kernels_t<T>>);
  });
  register_index_put_cuda();
  add_kernel("first_outside", Device::cuda, DType::i64, "elements", first_outside);
}

}  // namespace graft

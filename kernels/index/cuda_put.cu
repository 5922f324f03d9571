// Writing by index on cuda: scatter and index_put. Item i of the index tensors names a slot of the output, where its `width` values
// go. Where items share a slot the result is the same every time: the last one is written; what is summed or compared is
// sorted by slot, then items go together in their order, in parts of 128, and the parts in theirs.
#include "graft/kernels/cuda/compat.h"

#include <bit>
#include "graft/kernels/cuda/bits.h"
#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/cuda/runtime.h"
#include "graft/kernels/index/combine.h"
#include "graft/kernels/index/cuda_dimensions.h"
#include "graft/kernels/index/geometry.h"
#include "graft/kernels/move/cuda.h"
#include "graft/kernels/sort/cuda.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

constexpr Decline kNoMemory = "no memory is left for it";

struct Slots {
  Dimensions own;                // what the coordinates of an item add to its slot: scatter
  int n = 0;                     // index tensors
  const int64_t* index[kMaxIndices];
  Dimensions place[kMaxIndices];
  int64_t size[kMaxIndices], unit[kMaxIndices];

  __device__ unsigned of(unsigned item) const {
    int64_t slot = own.offset(item);
    for (int k = 0; k < n; ++k) {
      const int64_t j = index[k][place[k].offset(item)];
      slot += (j < 0 ? j + size[k] : j) * unit[k];
    }
    return unsigned(slot);
  }
};
struct Values {  // value w of item i, element w of slot s; offsets in elements
  Dimensions item, item_inner, slot, slot_inner;
  Divider width;
};

__global__ __launch_bounds__(kThreads) void find_slots(const __grid_constant__ Slots s, unsigned* slots, unsigned* last, unsigned items) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= items) return;
  const unsigned slot = s.of(i);
  slots[i] = slot;
  if (last) atomicMax(&last[slot], i + 1);
}
template <class E>
__global__ __launch_bounds__(kThreads) void put_last(E* y, const E* x, const __grid_constant__ Values v, const unsigned* slots, const unsigned* last,
                                                     unsigned count) {
  const unsigned e = blockIdx.x * kThreads + threadIdx.x;
  if (e >= count) return;
  const unsigned i = v.width.divide(e), w = e - i * v.width.divisor, slot = slots[i];
  if (last[slot] != i + 1) return;
  y[v.slot.offset(slot) + v.slot_inner.offset(w)] = x[v.item.offset(i) + v.item_inner.offset(w)];
}

// `slots` are in order, item[p] is the item that is p-th. A part is what the items of a slot have in one of the stretches of 128
// into which the order is cut. Most slots have a single part; else the first is kept in `first`, others in `more`.
constexpr unsigned kStretch = 128;
template <class C> struct Parts {
  const unsigned* slots;
  const unsigned* item;
  unsigned items;
  C *first, *more;  // [stretch][width]
};
template <class T, Put put>
__global__ __launch_bounds__(kThreads) void combine_items(T* y, const T* x, const __grid_constant__ Values v, Parts<compute_t<T>> parts,
                                                          unsigned count) {
  using C = compute_t<T>;
  const unsigned e = blockIdx.x * kThreads + threadIdx.x;
  if (e >= count) return;
  unsigned p = v.width.divide(e);
  const unsigned w = e - p * v.width.divisor, slot = parts.slots[p], stretch = p / kStretch, end = min(parts.items, (stretch + 1) * kStretch);
  const bool begins = p == 0 || parts.slots[p - 1] != slot;
  if (!begins && p % kStretch != 0) return;  // another thread has the part
  const int64_t from = v.item_inner.offset(w);
  C sum = convert_element<C>(x[v.item.offset(parts.item[p]) + from]);
  while (++p < end && parts.slots[p] == slot) sum = combined<T, put>(sum, convert_element<C>(x[v.item.offset(parts.item[p]) + from]));
  const bool goes_on = p == end && end < parts.items && parts.slots[end] == slot;
  if (begins && !goes_on) {
    T& to = y[v.slot.offset(slot) + v.slot_inner.offset(w)];
    to = convert_element<T>(combined<T, put>(convert_element<C>(to), sum));
  } else {
    (begins ? parts.first : parts.more)[size_t(stretch) * v.width.divisor + w] = sum;
  }
}
// A thread has a slot with several parts, named by the stretch of the first.
template <class T, Put put>
__global__ __launch_bounds__(kThreads) void combine_parts(T* y, const __grid_constant__ Values v, Parts<compute_t<T>> parts, unsigned count) {
  using C = compute_t<T>;
  const unsigned e = blockIdx.x * kThreads + threadIdx.x;
  if (e >= count) return;
  unsigned stretch = v.width.divide(e);
  const unsigned w = e - stretch * v.width.divisor, end = (stretch + 1) * kStretch;
  if (end >= parts.items) return;
  const unsigned slot = parts.slots[end - 1];
  if (parts.slots[end] != slot || (stretch > 0 && parts.slots[stretch * kStretch - 1] == slot)) return;
  C sum = parts.first[size_t(stretch) * v.width.divisor + w];
  do {
    ++stretch;
    sum = combined<T, put>(sum, parts.more[size_t(stretch) * v.width.divisor + w]);
  } while ((stretch + 1) * kStretch < parts.items && parts.slots[(stretch + 1) * kStretch] == slot);
  T& to = y[v.slot.offset(slot) + v.slot_inner.offset(w)];
  to = convert_element<T>(combined<T, put>(convert_element<C>(to), sum));
}

struct Work {
  Slots slots;
  Values values;
  unsigned items;
  int64_t all_slots;
};
template <class T> Decline assign(const Launch& l, const Work& work, const View& x) {
  using E = Bits<sizeof(T)>;
  const View& y = *l.out[0];
  const size_t bytes = size_t(work.all_slots) * sizeof(unsigned);
  const Workspace slot_memory(y, work.items * sizeof(unsigned)), last_memory(y, bytes);
  auto *slots = reinterpret_cast<unsigned*>(slot_memory.get()), *last = reinterpret_cast<unsigned*>(last_memory.get());
  if (!slots || !last) return kNoMemory;
  (void)runtime::set_bytes(last, 0, bytes, l.stream);
  launch(find_slots, blocks_for(work.items), kThreads, 0, l.stream, work.slots, slots, last, work.items);
  const unsigned count = work.items * work.values.width.divisor;
  launch(put_last<E>, blocks_for(count), kThreads, 0, l.stream, y.as<E>(), x.as<E>(), work.values, slots, last, count);
  return kRan;
}
template <class T, Put put> Decline combine(const Launch& l, const Work& work, const View& x) {
  using C = compute_t<T>;
  const View& y = *l.out[0];
  const unsigned width = work.values.width.divisor, stretches = blocks_for(work.items, kStretch), count = work.items * width;
  KeyRows<uint32_t> order(y, 1, work.items);
  const Workspace memory(y, 2 * size_t(stretches) * width * sizeof(C));
  auto* first = reinterpret_cast<C*>(memory.get());
  if (!order.ok() || !first) return kNoMemory;
  launch(find_slots, blocks_for(work.items), kThreads, 0, l.stream, work.slots, order.keys, nullptr, work.items);
  if (!order.order(std::bit_width(uint64_t(work.all_slots - 1)), l.stream)) return kNoMemory;
  const Parts<C> parts{order.keys, order.places, work.items, first, first + size_t(stretches) * width};
  launch(combine_items<T, put>, blocks_for(count), kThreads, 0, l.stream, y.as<T>(), x.as<T>(), work.values, parts, count);
  if (stretches == 1) return kRan;
  launch(combine_parts<T, put>, blocks_for(stretches * width), kThreads, 0, l.stream, y.as<T>(), work.values, parts, stretches * width);
  return kRan;
}
template <class T> Decline combine(const Launch& l, const Work& work, const View& x, Put put) {
  switch (put) {
    case Put::assign: return assign<T>(l, work, x);
    case Put::add: return combine<T, Put::add>(l, work, x);
    case Put::multiply: return combine<T, Put::multiply>(l, work, x);
    case Put::least: return combine<T, Put::least>(l, work, x);
    default: return combine<T, Put::greatest>(l, work, x);
  }
}

// y = x, then the items.
template <class T> Decline put_items(const Launch& l, const View& values, int64_t items, int64_t width, Put put, Work& work) {
  const View &x = *l.in[0], &y = *l.out[0];
  if (y.numel > INT32_MAX || items * width > INT32_MAX) return "2^31 elements or more";
  if (is_complex_v<T> && put >= Put::least) return kUnordered;
  if (y.data != x.data) copy_into(y, x, l.stream);
  if (items * width == 0) return kRan;
  work.items = unsigned(items);
  work.values.width = Divider(unsigned(width));
  return combine<T>(l, work, values, put);
}

template <class T> Decline scatter(const Launch& l) {  // x, index, src
  const auto& a = l.attrs_as<ScatterAttrs>();
  const View &y = *l.out[0], &index = *l.in[1], &src = *l.in[2];
  Work work{};
  int64_t unit = 1;  // slots are the elements of y in logical order
  for (int d = y.rank - 1; d >= 0; --d) {
    if (d == a.dim) work.slots.unit[0] = unit;
    unit *= y.size[d];
  }
  unit = y.numel;
  for (int d = 0; d < y.rank; ++d) {
    if (y.size[d]) unit /= y.size[d];
    add_dimension(work.slots.own, index.size[d], d == a.dim ? 0 : unit);
    add_dimension(work.values.item, index.size[d], src.stride[d]);  // a larger src is not read beyond the index
  }
  work.slots.n = 1;
  work.slots.index[0] = index.as<const int64_t>();
  work.slots.place[0] = dimensions_of(index, 0, index.rank);
  work.slots.size[0] = y.rank ? y.size[a.dim] : 1;
  work.values.slot = dimensions_of(y, 0, y.rank);
  work.all_slots = y.numel;
  return put_items<T>(l, src, index.numel, 1, a.put, work);
}

template <class T> Decline index_put(const Launch& l) {  // x, values, index...
  const auto& a = l.attrs_as<IndexAttrs>();
  const View &y = *l.out[0], &values = *l.in[1], &first = *l.in[2];
  Work work{};
  const int at = a.adjacent() ? a.dims[0] : 0;  // where the dimensions of the index stand in those of the values
  work.values.item = dimensions_of(first, 0, first.rank);
  for (int d = 0; d < first.rank; ++d) work.values.item.step[d] = values.stride[at + d];
  int64_t width = 1;
  for (int d = 0, v = 0; d < y.rank; ++d) {
    if (a.has(d)) continue;
    if (v == at) v += first.rank;
    add_dimension(work.values.slot_inner, y.size[d], y.stride[d]);
    add_dimension(work.values.item_inner, y.size[d], values.stride[v++]);
    width *= y.size[d];
  }
  work.all_slots = 1;
  work.slots.n = a.n;
  for (int k = a.n - 1; k >= 0; --k) {
    const int d = a.dims[k];
    work.slots.index[k] = l.in[size_t(k) + 2]->as<const int64_t>();
    work.slots.place[k] = dimensions_of(*l.in[size_t(k) + 2], 0, first.rank);
    work.slots.size[k] = y.size[d];
    work.slots.unit[k] = work.all_slots;
    work.all_slots *= y.size[d];
  }
  for (int k = 0; k < a.n; ++k) add_dimension(work.values.slot, y.size[a.dims[k]], y.stride[a.dims[k]]);
  return put_items<T>(l, values, first.numel, width, a.put, work);
}

}  // namespace

void register_index_put_cuda() {
  for_each_type(AllTypes{}, [](auto tag) {
    using T = in_kernels_t<typename decltype(tag)::type>;
    add_kernel("scatter", Device::cuda, dtype_v<T>, "slots", scatter<T>);
    add_kernel("index_put", Device::cuda, dtype_v<T>, "slots", index_put<T>);
  });
}

}  // namespace graft

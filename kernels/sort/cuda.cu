// Ordering along the last dimension on cuda: sort, topk, kthvalue, runs of equals, search. NaN counts as the greatest. Elements
// are compared as unsigned keys (cuda_block.h); equals keep their order.
#include "graft/kernels/cuda/compat.h"

#include <algorithm>
#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/cuda/runtime.h"
#include "graft/kernels/sort/attrs.h"
#include "graft/kernels/sort/cuda.h"
#include "graft/kernels/sort/cuda_block.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

constexpr unsigned kInBlock = 2048;  // elements that a block sorts in shared memory
constexpr Decline kStrided = "an input is strided", kTooMany = "2^31 elements or more", kNoMemory = "no memory is left for it";

struct Lines {  // contiguous
  unsigned count, n;
};
Decline lines_of(const View& x, Lines& lines) {
  if (!x.contiguous) return kStrided;
  if (x.numel > INT32_MAX) return kTooMany;
  const int64_t n = x.rank ? x.size[x.rank - 1] : 1;
  lines = {unsigned(n ? x.numel / n : 0), unsigned(n)};
  return kRan;
}

// ---- sort ----------------------------------------------------------------------------------------------------------

// The first `keep` of each line, in order. A block has as many lines as fit.
template <class T>
__global__ __launch_bounds__(kThreads) void sort_short_lines(const T* x, T* values, int64_t* places, Lines lines, unsigned width, unsigned keep,
                                                             bool descending) {
  GRAFT_SHARED(Key<T>, key, [kInBlock]);
  GRAFT_SHARED(unsigned, place, [kInBlock]);
  const unsigned per_block = kInBlock / width, count = min(per_block, lines.count) * width, first = blockIdx.x * per_block;
  for (unsigned i = threadIdx.x; i < count; i += kThreads) {
    const unsigned line = first + i / width, at = i % width;
    key[i] = line < lines.count && at < lines.n ? key_of(x[size_t(line) * lines.n + at], descending) : ~Key<T>(0);
    place[i] = at;
  }
  sort_groups(key, place, width, count);
  for (unsigned i = threadIdx.x; i < count; i += kThreads) {
    const unsigned line = first + i / width, at = i % width;
    if (line >= lines.count || at >= keep) continue;
    values[size_t(line) * keep + at] = x[size_t(line) * lines.n + place[i]];
    places[size_t(line) * keep + at] = place[i];
  }
}

template <class T> __global__ __launch_bounds__(kThreads) void make_keys(const T* x, Key<T>* keys, unsigned count, bool descending) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i < count) keys[i] = key_of(x[i], descending);
}
template <class T>
__global__ __launch_bounds__(kThreads) void take_in_order(const T* x, const unsigned* order, T* values, int64_t* places, unsigned n, Divider keep,
                                                          unsigned count) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= count) return;
  const unsigned line = keep.divide(i);
  const size_t start = size_t(line) * n;
  const unsigned place = order[start + (i - line * keep.divisor)];
  values[i] = x[start + place];
  places[i] = place;
}

template <class T> Decline sort_lines(const Launch& l, Lines lines, unsigned keep, bool descending) {
  const T* x = l.in[0]->as<T>();
  T* values = l.out[0]->as<T>();
  auto* places = l.out[1]->as<int64_t>();
  if (lines.n <= kInBlock) {
    const unsigned width = std::max(2U, std::bit_ceil(lines.n));
    launch(sort_short_lines<T>, blocks_for(lines.count, kInBlock / width), kThreads, 0, l.stream, x, values, places, lines, width, keep,
           descending);
    return kRan;
  }
  KeyRows<Key<T>> rows(*l.in[0], lines.count, lines.n);
  if (!rows.ok()) return kNoMemory;
  const unsigned all = lines.count * lines.n, kept = lines.count * keep;
  launch(make_keys<T>, blocks_for(all), kThreads, 0, l.stream, x, rows.keys, all, descending);
  if (!rows.order(kKeyBits<T>, l.stream)) return kNoMemory;
  launch(take_in_order<T>, blocks_for(kept), kThreads, 0, l.stream, x, rows.places, values, places, lines.n, Divider(keep), kept);
  return kRan;
}
template <class T> Decline sort(const Launch& l) {
  Lines lines;
  if (const Decline why = lines_of(*l.in[0], lines)) return why;
  return l.in[0]->numel == 0 ? kRan : sort_lines<T>(l, lines, lines.n, l.attrs_as<SortAttrs>().descending);
}

// ---- selection: a block has a line ---------------------------------------------------------------------------------

// The key that `rank` others precede, eight bits at a time from the highest; `rank` becomes its place among equals.
template <class T>
__device__ inline Key<T> select_key(const T* x, unsigned n, bool descending, unsigned& rank, unsigned* count, unsigned* part, unsigned* found) {
  using K = Key<T>;
  K prefix = 0, known = 0;
  const unsigned t = threadIdx.x;
  for (int shift = kKeyBits<T> - 8; shift >= 0; shift -= 8) {
    count[t] = 0;  // which this thread alone has read
    __syncthreads();
    for (unsigned i = t; i < n; i += kThreads) {
      const K key = key_of(x[i], descending);
      if ((key & known) == prefix) atomicAdd(&count[unsigned(key >> shift) % 256], 1U);
    }
    __syncthreads();
    unsigned total = 0;
    const unsigned own = count[t], before = scan_block(own, part, total);
    if (before <= rank && rank < before + own) found[0] = t, found[1] = before;
    __syncthreads();
    prefix |= K(found[0]) << shift;
    known |= K(255) << shift;
    rank -= found[1];
  }
  return prefix;
}

template <class T>
__global__ __launch_bounds__(kThreads) void select_first(const T* x, T* values, int64_t* places, unsigned n, unsigned keep, unsigned width,
                                                         bool descending) {
  GRAFT_SHARED(Key<T>, key, [kInBlock]);
  GRAFT_SHARED(unsigned, place, [kInBlock]);
  GRAFT_SHARED(unsigned, count, [kThreads]);
  GRAFT_SHARED(unsigned, part, [kWarps]);
  GRAFT_SHARED(unsigned, found, [2]);
  x += size_t(blockIdx.x) * n;
  unsigned rank = keep - 1;
  const Key<T> last = select_key(x, n, descending, rank, count, part, found);
  const unsigned equals = rank + 1, smaller = keep - equals;
  // Smaller ones are counted in the lower half of a word, equals in the upper: there are at most 256 of each.
  unsigned smaller_seen = 0, equals_seen = 0;
  for (unsigned start = 0; start < n && (smaller_seen < smaller || equals_seen < equals); start += kThreads) {
    const unsigned i = start + threadIdx.x;
    const Key<T> own = i < n ? key_of(x[i], descending) : ~Key<T>(0);
    const bool is_smaller = i < n && own < last, is_equal = i < n && own == last;
    unsigned total = 0;
    const unsigned before = scan_block(is_smaller | unsigned(is_equal) << 16, part, total);
    const unsigned e = equals_seen + (before >> 16);
    const unsigned to = is_smaller ? smaller_seen + (before & 0xffffU) : is_equal && e < equals ? smaller + e : kInBlock;
    if (to < kInBlock) key[to] = own, place[to] = i;
    smaller_seen += total & 0xffffU;
    equals_seen += total >> 16;
  }
  for (unsigned i = keep + threadIdx.x; i < width; i += kThreads) key[i] = ~Key<T>(0), place[i] = ~0U;
  sort_groups(key, place, width, width);
  for (unsigned i = threadIdx.x; i < keep; i += kThreads) {
    values[size_t(blockIdx.x) * keep + i] = x[place[i]];
    places[size_t(blockIdx.x) * keep + i] = place[i];
  }
}
template <class T> Decline topk(const Launch& l) {
  const auto a = l.attrs_as<TopkAttrs>();
  Lines lines;
  if (const Decline why = lines_of(*l.in[0], lines)) return why;
  if (l.out[0]->numel == 0) return kRan;
  const auto keep = unsigned(a.k);
  if (lines.n <= kInBlock || keep > kInBlock) return sort_lines<T>(l, lines, keep, a.largest);
  launch(select_first<T>, lines.count, kThreads, 0, l.stream, l.in[0]->as<T>(), l.out[0]->as<T>(), l.out[1]->as<int64_t>(), lines.n, keep,
         std::max(2U, std::bit_ceil(keep)), a.largest);
  return kRan;
}

template <class T>
__global__ __launch_bounds__(kThreads) void select_kth(const T* x, T* values, int64_t* places, unsigned n, unsigned rank, bool nan_wins) {
  GRAFT_SHARED(unsigned, count, [kThreads]);
  GRAFT_SHARED(unsigned, part, [kWarps]);
  GRAFT_SHARED(unsigned, found, [2]);
  x += size_t(blockIdx.x) * n;
  if (nan_wins && is_floating_v<T>) {
    unsigned own = 0, nans = 0;
    for (unsigned i = threadIdx.x; i < n; i += kThreads) own += key_of(x[i]) == kLastKey<T>;
    scan_block(own, part, nans);
    if (nans) rank = n - nans;
  }
  const Key<T> kth = select_key(x, n, false, rank, count, part, found);
  for (unsigned start = 0, seen = 0; start < n && seen <= rank; start += kThreads) {
    const unsigned i = start + threadIdx.x;
    const bool equal = i < n && key_of(x[i]) == kth;
    unsigned total = 0;
    const unsigned before = scan_block(equal, part, total);
    if (equal && seen + before == rank) values[blockIdx.x] = x[i], places[blockIdx.x] = i;
    seen += total;
  }
}
template <class T> Decline kthvalue(const Launch& l) {
  const auto a = l.attrs_as<KthAttrs>();
  Lines lines;
  if (const Decline why = lines_of(*l.in[0], lines)) return why;
  if (l.in[0]->numel == 0) return kRan;
  launch(select_kth<T>, lines.count, kThreads, 0, l.stream, l.in[0]->as<T>(), l.out[0]->as<T>(), l.out[1]->as<int64_t>(), lines.n,
         unsigned(a.k - 1), a.nan_wins);
  return kRan;
}

// ---- runs of equals ------------------------------------------------------------------------------------------------

constexpr unsigned kCounted = kThreads * 16;  // elements of a block

template <class T> __device__ inline bool begins_run(const T* x, unsigned i) {
  using C = compute_t<T>;
  return i == 0 || !(convert_element<C>(x[i]) == convert_element<C>(x[i - 1]));
}
template <class T> __global__ __launch_bounds__(kThreads) void count_runs(const T* x, unsigned* counts, unsigned n) {
  GRAFT_SHARED(unsigned, part, [kWarps]);
  unsigned own = 0, total = 0;
  for (unsigned i = blockIdx.x * kCounted + threadIdx.x; i < min(n, (blockIdx.x + 1) * kCounted); i += kThreads) own += begins_run(x, i);
  scan_block(own, part, total);
  if (threadIdx.x == 0) counts[blockIdx.x] = total;
}
template <class T>
__global__ __launch_bounds__(kThreads) void number_runs(const T* x, const int64_t* order, const unsigned* before, int64_t* inverse, int64_t* first,
                                                        int64_t* runs, unsigned n) {
  GRAFT_SHARED(unsigned, part, [kWarps]);
  unsigned seen = before[blockIdx.x];
  const unsigned end = min(n, (blockIdx.x + 1) * kCounted);
  for (unsigned start = blockIdx.x * kCounted; start < end; start += kThreads) {
    const unsigned i = start + threadIdx.x;
    const bool begins = i < end && begins_run(x, i);
    unsigned total = 0;
    const unsigned run = seen + scan_block(begins, part, total) + begins - 1;
    if (i < end) inverse[order[i]] = run;
    if (begins) first[run] = i;
    if (i == n - 1) *runs = run + 1;
    seen += total;
  }
}
__global__ __launch_bounds__(kThreads) void measure_runs(const int64_t* first, const int64_t* runs, int64_t* length, unsigned n) {
  const unsigned run = blockIdx.x * kThreads + threadIdx.x;
  if (run >= *runs) return;
  length[run] = (run + 1 < *runs ? first[run + 1] : n) - first[run];
}
template <class T> Decline unique_runs(const Launch& l) {  // x sorted, order
  const View& x = *l.in[0];
  if (!x.contiguous || !l.in[1]->contiguous) return kStrided;
  if (x.numel > INT32_MAX) return kTooMany;
  auto* runs = l.out[3]->as<int64_t>();
  if (x.numel == 0) return (void)runtime::set_bytes(runs, 0, sizeof(*runs), l.stream), kRan;
  const auto n = unsigned(x.numel);
  const unsigned blocks = blocks_for(n, kCounted);
  const Workspace memory(x, blocks * sizeof(unsigned));
  auto* counts = reinterpret_cast<unsigned*>(memory.get());
  if (!counts) return kNoMemory;
  auto *inverse = l.out[0]->as<int64_t>(), *length = l.out[1]->as<int64_t>(), *first = l.out[2]->as<int64_t>();
  launch(count_runs<T>, blocks, kThreads, 0, l.stream, x.as<T>(), counts, n);
  if (!sum_before(x, counts, blocks, l.stream)) return kNoMemory;
  launch(number_runs<T>, blocks, kThreads, 0, l.stream, x.as<T>(), l.in[1]->as<int64_t>(), counts, inverse, first, runs, n);
  launch(measure_runs, blocks_for(n), kThreads, 0, l.stream, first, runs, length, n);
  return kRan;
}

// ---- search: a thread has a value ----------------------------------------------------------------------------------

template <class T>
__global__ __launch_bounds__(kThreads) void search_lines(const T* sorted, const T* values, int64_t* y, unsigned n, Divider per_line, bool one_line,
                                                         bool right, unsigned count) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= count) return;
  const T* line = sorted + (one_line ? 0 : size_t(per_line.divide(i)) * n);
  const Key<T> own = key_of(values[i]);
  unsigned low = 0, high = n;
  while (low < high) {
    const unsigned middle = low + (high - low) / 2;
    const Key<T> key = key_of(line[middle]);
    if (right ? key <= own : key < own) low = middle + 1;
    else high = middle;
  }
  y[i] = low;
}
template <class T> Decline searchsorted(const Launch& l) {  // sorted, values
  const View &s = *l.in[0], &x = *l.in[1];
  if (!s.contiguous || !x.contiguous) return kStrided;
  if (s.numel > INT32_MAX || x.numel > INT32_MAX) return kTooMany;
  if (x.numel == 0) return kRan;
  const bool one_line = s.rank == 1;
  const auto per_line = unsigned(one_line ? x.numel : x.size[x.rank - 1]), count = unsigned(x.numel);
  launch(search_lines<T>, blocks_for(count), kThreads, 0, l.stream, s.as<T>(), x.as<T>(), l.out[0]->as<int64_t>(), unsigned(s.size[s.rank - 1]),
         Divider(per_line), one_line, l.attrs_as<SearchAttrs>().right, count);
  return kRan;
}

}  // namespace

void register_sort_cuda() {
  for_each_type(RealTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr DType t = dtype_v<T>;
    add_kernel("sort", Device::cuda, t, "network or radix", sort<T>);
    add_kernel("topk", Device::cuda, t, "selection", topk<T>);
    add_kernel("kthvalue", Device::cuda, t, "selection", kthvalue<T>);
    add_kernel("unique_runs", Device::cuda, t, "tiles", unique_runs<T>);
    add_kernel("searchsorted", Device::cuda, t, "binary", searchsorted<T>);
  });
}

}  // namespace graft

// Random numbers on cuda: the numbers of the cpu. Element i in logical order gets value i of the stream, wherever it lies.
// Also permutations, and draws by weight.
#include "graft/kernels/cuda/compat.h"

#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/cuda/runtime.h"
#include "graft/kernels/cuda/strided.h"
#include "graft/kernels/random/philox.h"
#include "graft/kernels/sort/cuda.h"
#include "graft/kernels/sort/cuda_block.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

// Where the numbers begin: known at the launch or, in a graph, when it is replayed.
__device__ inline Stream begin(const Stream& s) {
  return s.cell ? Stream{s.cell->seed, s.first + s.cell->moved} : s;
}

// A thread turns the four words of one counter into its values. An element is `parts` of them: a complex number is two.
template <class Draw, class T, int parts>
__global__ __launch_bounds__(kThreads) void draw_values(Draw d, T* y, int64_t count, Dimensions place) {
  constexpr int per = per_block<Draw, T>();
  const int64_t counter = int64_t(blockIdx.x) * kThreads + threadIdx.x, first = counter * per;
  if (first >= count) return;
  T value[4];
  const Stream s = begin(d.stream);
  d(philox::words(s.seed, s.first + uint64_t(counter)), value);
  using Some = Pack<T, per>;
  if (!place.rank && first + per <= count && reinterpret_cast<uintptr_t>(y) % sizeof(Some) == 0) {
    Some some;
#pragma unroll
    for (int k = 0; k < per; ++k) some.of[k] = value[k];
    reinterpret_cast<Some*>(y)[counter] = some;
    return;
  }
  for (int k = 0; k < per && first + k < count; ++k) {
    const int64_t i = first + k;
    y[place.rank ? place.offset(unsigned(i / parts)) * parts + i % parts : i] = value[k];
  }
}

template <class Draw, class T, int parts> Decline draw(const Launch& l) {
  const View& out = *l.out[0];
  if (out.numel == 0) return kRan;
  Dimensions place;
  if (!out.contiguous) {
    if (out.numel > INT32_MAX) return "strided, with 2^31 elements or more";
    place.rank = out.rank;
    for (int d = 0; d < out.rank; ++d) {
      place.size[d] = Divider(unsigned(out.size[d]));
      place.step[d] = out.stride[d];
    }
  }
  const int64_t values = out.numel * parts, counters = (values + per_block<Draw, T>() - 1) / per_block<Draw, T>();
  launch(draw_values<Draw, T, parts>, blocks_for(counters), kThreads, 0, l.stream, l.attrs_as<Draw>(), out.as<T>(), values, place);
  return kRan;
}

constexpr Decline kTooMany = "2^31 elements or more", kNoMemory = "no memory is left for it";

// ---- permutations: 0..n-1 sorted by 64-bit random keys; equal keys stay in order -----------------------------------

__global__ __launch_bounds__(kThreads) void draw_keys(Stream s, uint64_t* keys, unsigned n) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i < n) keys[i] = word64(begin(s), i);
}
// The first `keep` places of each row.
__global__ __launch_bounds__(kThreads) void take_places(const unsigned* places, int64_t* y, unsigned n, Divider keep, unsigned count) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= count) return;
  const unsigned row = keep.divide(i);
  y[i] = places[size_t(row) * n + (i - row * keep.divisor)];
}
Decline permutation(const Launch& l) {
  const View& y = *l.out[0];
  if (y.numel > INT32_MAX) return kTooMany;
  if (y.numel == 0) return kRan;
  const auto n = unsigned(y.numel);
  KeyRows<uint64_t> rows(y, 1, n);
  if (!rows.ok()) return kNoMemory;
  launch(draw_keys, blocks_for(n), kThreads, 0, l.stream, l.attrs_as<PermutationDraw>().stream, rows.keys, n);
  if (!rows.order(64, l.stream)) return kNoMemory;
  launch(take_places, blocks_for(n), kThreads, 0, l.stream, rows.places, y.as<int64_t>(), n, Divider(n), n);
  return kRan;
}

// ---- draws by weight -----------------------------------------------------------------------------------------------

// Bit 0 of what is wrong: a weight is no weight; bit 1: a row, which a block has, lacks positive ones.
__global__ __launch_bounds__(kThreads) void check_weights(const double* weights, unsigned n, int64_t needed, unsigned* wrong) {
  GRAFT_SHARED(unsigned, part, [kWarps]);
  const double* w = weights + size_t(blockIdx.x) * n;
  unsigned positive = 0, total = 0;
  bool bad = false;
  for (unsigned i = threadIdx.x; i < n; i += kThreads) {
    bad = bad || !(w[i] >= 0) || w[i] > 1.7976931348623157e308;
    positive += w[i] > 0;
  }
  scan_block(positive, part, total);
  if (bad) atomicOr(wrong, 1U);
  if (threadIdx.x == 0 && total < needed) atomicOr(wrong, 2U);
}
// sums[i]: of the weights up to and with i. One thread of a block adds, in the order of the cpu, so that its sums are the cpu's.
__global__ __launch_bounds__(kThreads) void sum_weights(const double* weights, double* sums, unsigned n) {
  GRAFT_SHARED(double, tile, [kThreads * 4]);
  const size_t row = size_t(blockIdx.x) * n;
  double sum = 0;
  for (unsigned start = 0; start < n; start += kThreads * 4) {
    const unsigned count = min(n - start, kThreads * 4);
    for (unsigned i = threadIdx.x; i < count; i += kThreads) tile[i] = weights[row + start + i];
    __syncthreads();
    if (threadIdx.x == 0)
      for (unsigned i = 0; i < count; ++i) tile[i] = sum += tile[i];
    __syncthreads();
    for (unsigned i = threadIdx.x; i < count; i += kThreads) sums[row + start + i] = tile[i];  // of which this thread writes the next
  }
}
// With replacement: the place of a uniform number among the cumulated weights, or the last that is positive.
__global__ __launch_bounds__(kThreads) void find_among_sums(const double* sums, int64_t* y, Stream s, unsigned n, Divider samples, unsigned count) {
  const unsigned k = blockIdx.x * kThreads + threadIdx.x;
  if (k >= count) return;
  const double* row = sums + size_t(samples.divide(k)) * n;
  const double all = row[n - 1], at = philox::unit64(word64(begin(s), k)) * all;
  unsigned low = 0, high = n;
  while (low < high) {
    const unsigned middle = low + (high - low) / 2;
    if (row[middle] <= at && row[middle] < all) low = middle + 1;
    else high = middle;
  }
  y[k] = low;
}
// Without: every weight w gets an exponential time of rate w, and the earliest win (Efraimidis and Spirakis, 2006).
__global__ __launch_bounds__(kThreads) void draw_times(const double* weights, Stream s, uint64_t* keys, unsigned count) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i < count) keys[i] = key_of(-std::log(philox::positive(word64(begin(s), i))) / weights[i]);
}

Decline multinomial(const Launch& l) {
  const auto& d = l.attrs_as<MultinomialDraw>();
  const View &weights = *l.in[0], &y = *l.out[0];
  if (weights.numel > INT32_MAX || y.numel > INT32_MAX) return kTooMany;
  const int64_t n = weights.size[weights.rank - 1], rows = weights.numel / n;
  if (rows == 0) return kRan;
  const auto* w = weights.as<const double>();
  const auto count = unsigned(weights.numel), taken = unsigned(y.numel), row = unsigned(n);
  const Workspace flag(weights, sizeof(unsigned));
  auto* wrong = reinterpret_cast<unsigned*>(flag.get());
  if (!wrong) return kNoMemory;
  (void)runtime::set_bytes(wrong, 0, sizeof(*wrong), l.stream);
  launch(check_weights, unsigned(rows), kThreads, 0, l.stream, w, row, d.replacement ? 1 : d.samples, wrong);
  unsigned found = 0;  // an error is the host's, so that this waits
  (void)runtime::copy(&found, wrong, sizeof(found), l.stream);
  (void)runtime::synchronize(l.stream);
  if (found & 1U) return "a weight is negative, infinite or NaN";
  if (found & 2U) return "too few weights are positive";
  const Divider samples(unsigned(d.samples));
  if (d.replacement) {
    const Workspace memory(weights, count * sizeof(double));
    auto* sums = reinterpret_cast<double*>(memory.get());
    if (!sums) return kNoMemory;
    launch(sum_weights, unsigned(rows), kThreads, 0, l.stream, w, sums, row);
    launch(find_among_sums, blocks_for(taken), kThreads, 0, l.stream, sums, y.as<int64_t>(), d.stream, row, samples, taken);
    return kRan;
  }
  KeyRows<uint64_t> times(weights, rows, n);
  if (!times.ok()) return kNoMemory;
  launch(draw_times, blocks_for(count), kThreads, 0, l.stream, w, d.stream, times.keys, count);
  if (!times.order(64, l.stream)) return kNoMemory;
  launch(take_places, blocks_for(taken), kThreads, 0, l.stream, times.places, y.as<int64_t>(), row, samples, taken);
  return kRan;
}

// A thread has the elements of one counter: neighbours, read and written together where they are a pack.
template <class T> __global__ __launch_bounds__(kThreads) void drop_elements(DropoutDraw d, T* y, const T* x, const T* residual, int64_t count) {
  constexpr int per = kPerBlock<T>;
  using Some = Pack<T, per>;
  const int64_t counter = int64_t(blockIdx.x) * kThreads + threadIdx.x, first = counter * per;
  if (first >= count) return;
  const bool whole = first + per <= count;
  Some value{}, added{}, out;
  if (whole) {
    value = *reinterpret_cast<const Some*>(x + first);
    if (residual) added = *reinterpret_cast<const Some*>(residual + first);
  } else {
#pragma unroll
    for (int k = 0; k < per; ++k)
      if (first + k < count) value.of[k] = x[first + k], added.of[k] = residual ? residual[first + k] : T(0);
  }
  const Stream s = begin(d.keep.stream);
  const philox::Words w = philox::words(s.seed, s.first + uint64_t(counter));
  if (residual) d(w, value.of, added.of, out.of, per);
  else d(w, value.of, static_cast<const T*>(nullptr), out.of, per);
  if (whole) {
    *reinterpret_cast<Some*>(y + first) = out;
    return;
  }
#pragma unroll
  for (int k = 0; k < per; ++k)
    if (first + k < count) y[first + k] = out.of[k];
}
template <class T> Decline dropout(const Launch& l) {  // x[, residual]
  for (const View* v : l.in)
    if (!v->contiguous || !is_aligned(v->data, sizeof(T) * kPerBlock<T>)) return "needs contiguous, aligned inputs";
  const int64_t n = l.out[0]->numel;
  if (n == 0) return kRan;
  launch(drop_elements<T>, blocks_for(n, int64_t(kThreads) * kPerBlock<T>), kThreads, 0, l.stream, l.attrs_as<DropoutDraw>(), l.out[0]->as<T>(),
         static_cast<const T*>(l.in[0]->as<T>()), l.in.size() > 1 ? static_cast<const T*>(l.in[1]->as<T>()) : nullptr, n);
  return kRan;
}

template <class Draw, class T> void add() { add_kernel(Draw::name, Device::cuda, dtype_v<T>, "counters", draw<Draw, T, 1>); }
template <class Draw> void add_complex() {
  add_kernel(Draw::name, Device::cuda, c64, "counters", draw<Draw, float, 2>);
  add_kernel(Draw::name, Device::cuda, c128, "counters", draw<Draw, double, 2>);
}

}  // namespace

void register_random_cuda() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add<UniformDraw, T>(), add<NormalDraw, T>(), add<ExponentialDraw, T>(), add<BernoulliDraw, T>(), add<IntegerDraw, T>();
    add_kernel("dropout", Device::cuda, dtype_v<T>, "counters", dropout<T>);
  });
  for_each_type(IntTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add<IntegerDraw, T>(), add<BernoulliDraw, T>();
  });
  add<IntegerDraw, bool>(), add<BernoulliDraw, bool>();
  add_complex<UniformDraw>(), add_complex<NormalDraw>();
  add_kernel("randperm", Device::cuda, i64, "radix", permutation);
  add_kernel("multinomial", Device::cuda, f64, "rows", multinomial);
}

}  // namespace graft

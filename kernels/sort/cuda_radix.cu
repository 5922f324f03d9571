// Stable orders of unsigned keys on cuda: a bitonic network for short rows, for long ones a radix sort of eight bits at a time,
// from the lowest. Also running sums of counts.
#include "graft/kernels/cuda/compat.h"

#include <utility>
#include "graft/kernels/sort/cuda.h"
#include "graft/kernels/sort/cuda_block.h"

namespace graft::inline v1::cuda {
namespace {

// ---- running sums ------------------------------------------------------------------------------------------------

constexpr unsigned kOwn = 8, kSummed = kThreads * kOwn;  // counts of a thread and of a block

__global__ __launch_bounds__(kThreads) void sum_tiles(unsigned* counts, unsigned* sums, int64_t n) {
  GRAFT_SHARED(unsigned, part, [kWarps]);
  const int64_t first = (int64_t(blockIdx.x) * kThreads + threadIdx.x) * kOwn;
  unsigned own[kOwn], sum = 0, total = 0;
#pragma unroll
  for (unsigned k = 0; k < kOwn; ++k) sum += own[k] = first + k < n ? counts[first + k] : 0;
  unsigned before = scan_block(sum, part, total);
#pragma unroll
  for (unsigned k = 0; k < kOwn; ++k) {
    if (first + k < n) counts[first + k] = before;
    before += own[k];
  }
  if (sums && threadIdx.x == 0) sums[blockIdx.x] = total;
}
__global__ __launch_bounds__(kThreads) void add_sums(unsigned* counts, const unsigned* sums, int64_t n) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i < n) counts[i] += sums[i / kSummed];
}

}  // namespace

bool sum_before(const View& of, unsigned* counts, int64_t n, void* stream) {
  if (n == 0) return true;
  const unsigned blocks = blocks_for(n, kSummed);
  if (blocks == 1) return launch(sum_tiles, 1, kThreads, 0, stream, counts, nullptr, n), true;
  const Workspace sums(of, blocks * sizeof(unsigned));
  auto* sum = reinterpret_cast<unsigned*>(sums.get());
  if (!sum) return false;
  launch(sum_tiles, blocks, kThreads, 0, stream, counts, sum, n);
  if (!sum_before(of, sum, blocks, stream)) return false;
  launch(add_sums, blocks_for(n), kThreads, 0, stream, counts, sum, n);
  return true;
}

namespace {

// ---- short rows: several of them in a block -----------------------------------------------------------------------

constexpr unsigned kShort = 2048;

template <class K> __global__ __launch_bounds__(kThreads) void order_short_rows(K* keys, unsigned* places, unsigned rows, unsigned n, unsigned width) {
  GRAFT_SHARED(K, key, [kShort]);
  GRAFT_SHARED(unsigned, place, [kShort]);
  const unsigned per_block = kShort / width, count = min(per_block, rows) * width, first = blockIdx.x * per_block;
  for (unsigned i = threadIdx.x; i < count; i += kThreads) {
    const unsigned row = first + i / width, at = i % width;
    key[i] = row < rows && at < n ? keys[size_t(row) * n + at] : ~K(0);
    place[i] = at;
  }
  sort_groups(key, place, width, count);
  for (unsigned i = threadIdx.x; i < count; i += kThreads) {
    const unsigned row = first + i / width, at = i % width;
    if (row >= rows || at >= n) continue;
    keys[size_t(row) * n + at] = key[i];
    places[size_t(row) * n + at] = place[i];
  }
}

// ---- long rows: a block has a tile of one row; warp w of it the w-th part of the tile -------------------------------

constexpr unsigned kDigits = 256;
static_assert(kDigits == kThreads);
template <class K> constexpr unsigned kRounds = sizeof(K) == 8 ? 8 : 16;  // keys of a thread, in its registers
template <class K> constexpr unsigned kTile = kThreads * kRounds<K>;

// table[row][digit][tile]: how many keys of the tile have the digit.
template <class K>
__global__ __launch_bounds__(kThreads) void count_digits(const K* keys, unsigned* table, unsigned n, unsigned tiles, int shift) {
  GRAFT_SHARED(unsigned, count, [kDigits]);
  const unsigned row = blockIdx.x / tiles, tile = blockIdx.x % tiles, t = threadIdx.x;
  count[t] = 0;
  __syncthreads();
  keys += size_t(row) * n;
  for (unsigned i = tile * kTile<K> + t; i < min(n, (tile + 1) * kTile<K>); i += kThreads)
    atomicAdd(&count[unsigned(keys[i] >> shift) % kDigits], 1U);
  __syncthreads();
  table[(size_t(row) * kDigits + t) * tiles + tile] = count[t];
}

// `table` now says where the first key of a tile with a digit goes. Lanes whose keys share a digit find each other by
// ballots, so that they keep their order.
template <class K, bool first>
__global__ __launch_bounds__(kThreads, 2) void move_by_digit(const K* keys, const unsigned* places, K* to_keys, unsigned* to_places,
                                                          const unsigned* table, unsigned n, unsigned tiles, int shift) {
  GRAFT_SHARED(unsigned, count, [kWarps][kDigits]);
  const unsigned row = blockIdx.x / tiles, tile = blockIdx.x % tiles, t = threadIdx.x, lane = t % 32, warp = t / 32;
  keys += size_t(row) * n;
  if (!first) places += size_t(row) * n;
  for (unsigned w = 0; w < kWarps; ++w) count[w][t] = 0;
  __syncthreads();
  const unsigned start = tile * kTile<K> + warp * (32 * kRounds<K>) + lane;
  K key[kRounds<K>];
  unsigned before[kRounds<K>];  // keys of this warp that have the digit and come earlier
#pragma unroll
  for (unsigned r = 0; r < kRounds<K>; ++r) {
    const unsigned i = start + r * 32;
    key[r] = i < n ? keys[i] : K(0);
    const unsigned digit = unsigned(key[r] >> shift) % kDigits;
    unsigned same = __ballot_sync(~0U, i < n);
    for (unsigned bit = 1; bit < kDigits; bit *= 2) {
      const unsigned set = __ballot_sync(~0U, (digit & bit) != 0);
      same &= digit & bit ? set : ~set;
    }
    const unsigned earlier = __popc(same & ((1U << lane) - 1));
    before[r] = count[warp][digit] + earlier;
    __syncwarp();
    if (i < n && earlier == 0) count[warp][digit] += unsigned(__popc(same));
    __syncwarp();
  }
  __syncthreads();
  unsigned at = table[(size_t(row) * kDigits + t) * tiles + tile];
  for (unsigned w = 0; w < kWarps; ++w) {
    const unsigned own = count[w][t];
    count[w][t] = at;
    at += own;
  }
  __syncthreads();
#pragma unroll
  for (unsigned r = 0; r < kRounds<K>; ++r) {
    const unsigned i = start + r * 32;
    if (i >= n) continue;
    const unsigned to = count[warp][unsigned(key[r] >> shift) % kDigits] + before[r];
    to_keys[to] = key[r];
    to_places[to] = first ? i : places[i];
  }
}

template <class K> size_t bytes_twice(int64_t n) { return 2 * size_t(n) * sizeof(K); }

}  // namespace

template <class K> KeyRows<K>::KeyRows(const View& of, int64_t rows, int64_t n)
    : of_(of), rows_(rows), n_(n), key_memory_(of, bytes_twice<K>(rows * n)), place_memory_(of, bytes_twice<unsigned>(rows * n)) {
  keys = reinterpret_cast<K*>(key_memory_.get());
  places = reinterpret_cast<unsigned*>(place_memory_.get());
}

template <class K> bool KeyRows<K>::order(int bits, void* stream) {
  const auto rows = unsigned(rows_), n = unsigned(n_);
  if (n <= kShort) {
    const unsigned width = std::max(2U, std::bit_ceil(n));
    launch(order_short_rows<K>, blocks_for(rows, kShort / width), kThreads, 0, stream, keys, places, rows, n, width);
    return true;
  }
  const unsigned tiles = blocks_for(n, kTile<K>);
  const int64_t counts = int64_t(rows) * tiles * kDigits;
  const Workspace memory(of_, size_t(counts) * sizeof(unsigned));
  auto* table = reinterpret_cast<unsigned*>(memory.get());
  if (!table) return false;
  K* to = keys + rows_ * n_;
  unsigned* to_places = places + rows_ * n_;
  for (int shift = 0; shift < std::max(bits, 1); shift += 8) {
    launch(count_digits<K>, rows * tiles, kThreads, 0, stream, keys, table, n, tiles, shift);
    if (!sum_before(of_, table, counts, stream)) return false;
    launch(shift == 0 ? move_by_digit<K, true> : move_by_digit<K, false>, rows * tiles, kThreads, 0, stream, keys, places, to, to_places, table,
           n, tiles, shift);
    std::swap(keys, to), std::swap(places, to_places);
  }
  return true;
}

template class KeyRows<uint32_t>;
template class KeyRows<uint64_t>;

}  // namespace graft::cuda

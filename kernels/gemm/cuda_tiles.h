// The tiled product on cuda without tensor cores, for every dtype and layout. A block of 256 threads computes a square tile;
// along k it goes in steps of 16 (8) through two buffers in shared memory: while one is multiplied, the next is on its way.
#pragma once
#include <algorithm>
#include "graft/kernels/cuda/runtime.h"
#include "graft/kernels/cuda/workspace.h"
#include "graft/kernels/gemm/cuda_product.h"
#include "graft/kernels/table.h"

namespace graft::inline v1::cuda::gemm {

template <class C> inline constexpr unsigned kDepth = sizeof(C) == 16 ? 8 : 16;  // 48 KB of shared memory hold two buffers

// Element i of those that a thread brings of a tile: neighbouring threads read neighbours in memory.
template <unsigned tile, unsigned depth> __device__ inline void own_element(const Memory& x, unsigned i, unsigned& row, unsigned& k) {
  const unsigned t = threadIdx.x;
  if (x.packs) {
    const unsigned quad = t + kThreads * (i / 4);
    row = x.along_k ? quad / 4 : quad % (tile / 4) * 4 + i % 4;
    k = x.along_k ? quad % 4 * 4 + i % 4 : quad / (tile / 4);
  } else {
    row = x.along_k ? t / depth + kThreads / depth * i : t % tile;
    k = x.along_k ? t % depth : t / tile + kThreads / tile * i;
  }
}

template <class C, unsigned tile, class Operand>
__global__ __launch_bounds__(kThreads) void multiply_tiles(const __grid_constant__ Product<Operand> p) {
  constexpr unsigned depth = kDepth<C>, own = tile / 16, wide = kPerPack<C>, each = tile * depth / kThreads;
  using Place = typename Operand::Place;
  using Wide = Pack<C, kPerPack<C>>;
  GRAFT_SHARED(Wide, tiles, [2][2][depth][tile / wide + 1]);
  GRAFT_SHARED(Place, rows, [2][tile]);
  GRAFT_SHARED(Place, ks, [2][2][depth]);
  const unsigned t = threadIdx.x;
  const TileAt origin = tile_of(blockIdx.x, p.m, p.n, tile);
  const unsigned k_first = blockIdx.y * p.k_per_split, k_end = p.k - k_first < p.k_per_split ? p.k : k_first + p.k_per_split;
  const unsigned steps = (k_end - k_first + depth - 1) / depth;
  int64_t at[4];
  p.batches.offsets(p.first_batch + blockIdx.z, at);
  const std::byte* const data[2] = {p.a.data + at[0] * p.a.bytes, p.b.data + at[1] * p.b.bytes};

  const auto find_ks = [&](unsigned step) {  // by the first 32 threads
    const unsigned k = k_first + step * depth + t % depth;
    if (t < depth) p.a.find_k(k, k < k_end, ks[step % 2][0][t]);
    else if (t < 2 * depth) p.b.find_k(k, k < k_end, ks[step % 2][1][t - depth]);
  };
  const auto fetch = [&](const Operand& x, int side, unsigned step, C (&v)[each]) {
    unsigned row, k;
    if constexpr (std::is_same_v<C, float>) {
      if (x.packs) {
#pragma unroll
        for (unsigned i = 0; i < each; i += 4) {
          own_element<tile, depth>(x, i, row, k);
          const int64_t from = x.offset(rows[side][row], ks[step % 2][side][k]);
          Pack<float, 4> four = {};
          if (from >= 0) four = *reinterpret_cast<const Pack<float, 4>*>(data[side] + from * 4);
#pragma unroll
          for (unsigned j = 0; j < 4; ++j) v[i + j] = four.of[j];
        }
        return;
      }
    }
#pragma unroll
    for (unsigned i = 0; i < each; ++i) {
      own_element<tile, depth>(x, i, row, k);
      const int64_t from = x.offset(rows[side][row], ks[step % 2][side][k]);
      v[i] = from >= 0 ? load_own<C>(data[side] + from * x.bytes, x.dtype) : C(0);
    }
  };
  const auto put = [&](const Operand& x, int side, unsigned step, const C (&v)[each]) {
    unsigned row, k;
#pragma unroll
    for (unsigned i = 0; i < each; ++i) {
      own_element<tile, depth>(x, i, row, k);
      reinterpret_cast<C*>(tiles[step % 2][side][k])[row] = v[i];
    }
  };

  if (t < tile) {
    p.a.find_row(origin.row + t, origin.row + t < p.m, rows[0][t]);
    p.b.find_row(origin.column + t, origin.column + t < p.n, rows[1][t]);
  }
  find_ks(0);
  __syncthreads();
  C next_a[each], next_b[each], sum[own][own] = {};
  fetch(p.a, 0, 0, next_a);
  fetch(p.b, 1, 0, next_b);
  put(p.a, 0, 0, next_a);
  put(p.b, 1, 0, next_b);
  find_ks(1);
  __syncthreads();
  // Neighbouring threads compute neighbours in the memory of the result.
  const unsigned my_row = p.out.along_k ? t / 16 : t % 16, my_column = p.out.along_k ? t % 16 : t / 16;
  for (unsigned step = 0; step < steps; ++step) {
    const bool more = step + 1 < steps;
    if (more) {
      fetch(p.a, 0, step + 1, next_a);
      fetch(p.b, 1, step + 1, next_b);
    }
#pragma unroll
    for (unsigned k = 0; k < depth; ++k) {
      Wide x[own / wide], y[own / wide];
#pragma unroll
      for (unsigned j = 0; j < own / wide; ++j) {  // four rows, and four again 64 further
        const unsigned far = j * wide / 4 * 64 + j * wide % 4;
        x[j] = tiles[step % 2][0][k][(far + my_row * 4) / wide];
        y[j] = tiles[step % 2][1][k][(far + my_column * 4) / wide];
      }
#pragma unroll
      for (unsigned i = 0; i < own; ++i)
#pragma unroll
        for (unsigned j = 0; j < own; ++j) sum[i][j] += x[i / wide].of[i % wide] * y[j / wide].of[j % wide];
    }
    if (more) {
      put(p.a, 0, step + 1, next_a);
      put(p.b, 1, step + 1, next_b);
    }
    find_ks(step + 2);
    __syncthreads();
  }

  constexpr unsigned pitch = tile + wide, held = 4 * depth;  // rows of sums that take the place of the buffers
  C* const staged = reinterpret_cast<C*>(tiles);
#pragma unroll
  for (unsigned first = 0; first < tile; first += held) {
    if (my_row * 4 / held == first % 64 / held) {
#pragma unroll
      for (unsigned i = 0; i < 4; ++i)
#pragma unroll
        for (unsigned j = 0; j < own; j += wide) {
          Wide some;
#pragma unroll
          for (unsigned k = 0; k < wide; ++k) some.of[k] = sum[first / 64 * 4 + i][j + k];
          *reinterpret_cast<Wide*>(staged + (my_row * 4 + i) % held * pitch + j / 4 * 64 + my_column * 4 + j % 4) = some;
        }
    }
    __syncthreads();
    finish_rows<C, C, held, tile, pitch>(p, at, {origin.row + first, origin.column}, staged);
    __syncthreads();
  }
}

// ---- launching -------------------------------------------------------------------------------------------------

inline constexpr Decline kTooLarge = "2^31 rows, columns or products of both, or more";

// Into how many parts k is cut, so that the whole GPU has work although the result has few tiles.
inline unsigned splits_for(int64_t tiles, int64_t k, int multiprocessors) {
  if (tiles >= multiprocessors || k < 512) return 1;
  return unsigned(std::clamp<int64_t>(std::min(2 * multiprocessors / tiles, k / 256), 1, 64));
}

// Launches kernel(p) for all of the batch, with k in parts where that helps. C is the type of sums.
template <class C, class Operand>
void launch_product(void (*kernel)(Product<Operand>), Product<Operand> p, unsigned tile, unsigned depth, int64_t batches, const View& out,
                    void* stream) {
  const int64_t tiles = int64_t(blocks_for(p.m, tile)) * blocks_for(p.n, tile);
  unsigned splits = splits_for(tiles * batches, p.k, runtime::multiprocessors(out.device.index));
  const int64_t at_once = std::min<int64_t>(batches, 65535);
  const Workspace parts(out, splits > 1 ? size_t(splits) * size_t(at_once) * p.m * p.n * sizeof(C) : 0);
  if (!parts.get()) splits = 1;
  p.splits = splits;
  p.partial = parts.get();
  p.k_per_split = ((p.k + splits - 1) / splits + depth - 1) / depth * depth;
  if (p.k_per_split == 0) p.k_per_split = depth;
  p.splits = splits > 1 ? (p.k + p.k_per_split - 1) / p.k_per_split : 1;
  for (int64_t first = 0; first < batches; first += at_once) {
    p.first_batch = unsigned(first);
    p.batch_count = unsigned(std::min(at_once, batches - first));
    launch(kernel, dim3(unsigned(tiles), p.splits, p.batch_count), kThreads, 0, stream, p);
    if (p.partial)
      launch(finish_splits<C, Operand>, dim3(blocks_for(int64_t(p.m) * p.n), 1, p.batch_count), kThreads, 0, stream, p, Divider(p.n));
  }
}

template <class C, class Operand> void run_tiles(const Product<Operand>& p, int64_t batches, const View& out, void* stream) {
  if constexpr (std::is_same_v<C, float>) {
    const int64_t large = int64_t(blocks_for(p.m, 128)) * blocks_for(p.n, 128) * batches;
    if (large >= runtime::multiprocessors(out.device.index))
      return launch_product<C>(multiply_tiles<C, 128, Operand>, p, 128, kDepth<C>, batches, out, stream);
  }
  launch_product<C>(multiply_tiles<C, 64, Operand>, p, 64, kDepth<C>, batches, out, stream);
}

}  // namespace graft::cuda::gemm

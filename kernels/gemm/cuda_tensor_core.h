// The tiled product on cuda for f16 and bf16 with tensor cores. A block of eight warps computes a tile of 128 x 128, a warp
// 64 x 32 of it. Along k it goes in steps of 32, of which three lie in shared memory: one is multiplied while two are on
// their way (cp.async). Chunks of 16 bytes are permuted so that ldmatrix meets every bank once.
#pragma once
#include "graft/kernels/cuda/tensor_core.h"
#include "graft/kernels/gemm/cuda_tiles.h"

namespace graft::inline v1::cuda::gemm {

inline constexpr unsigned kTile = 128, kSlice = 32, kStages = 3;

// Where a stage has 8 neighbours along k of a row (chunk 0 to 3), or 8 neighbouring rows (chunk 0 to 15) of a k.
__device__ inline unsigned chunk_along_k(unsigned row, unsigned chunk) { return row * 4 + (chunk ^ (row / 2 % 4)); }
__device__ inline unsigned chunk_along_rows(unsigned k, unsigned chunk) { return k * 16 + (chunk ^ (k % 8)); }

// One thread's share of bringing an operand: two chunks of each stage.
template <bool along_k, class Operand> struct Bringer {
  typename Operand::Place row[2];
  __device__ void start(const Operand& x, unsigned origin, unsigned rows) {
    const unsigned t = threadIdx.x;
    if constexpr (along_k) {
#pragma unroll
      for (unsigned i = 0; i < 2; ++i) x.find_row(origin + t / 4 + 64 * i, origin + t / 4 + 64 * i < rows, row[i]);
    } else {
      x.find_row(origin + t % 16 * 8, origin + t % 16 * 8 < rows, row[0]);
    }
  }
  __device__ void bring(const Operand& x, const std::byte* data, unsigned k, unsigned k_end, uint4* to) const {
    const unsigned t = threadIdx.x;
    typename Operand::Place place;
#pragma unroll
    for (unsigned i = 0; i < 2; ++i) {
      const unsigned own = along_k ? k + t % 4 * 8 : k + t / 16 + 16 * i;
      if (!along_k || i == 0) x.find_k(own, own < k_end, place);
      const int64_t from = x.offset(row[along_k ? i : 0], place);
      const unsigned at = along_k ? chunk_along_k(t / 4 + 64 * i, t % 4) : chunk_along_rows(t / 16 + 16 * i, t % 16);
      copy_async(to + at, data + (from < 0 ? 0 : from) * 2, from >= 0);
    }
  }
};

template <class T, class Operand, bool a_along_k, bool b_along_k>
__global__ __launch_bounds__(kThreads, 2) void multiply_by_tensor_cores(const __grid_constant__ Product<Operand> p) {
  GRAFT_SHARED(uint4, stages, [kStages][2][kTile * kSlice / 8]);
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, quarter = lane / 8;
  const unsigned warp_row = warp / 4 * 64, warp_column = warp % 4 * 32;
  const TileAt origin = tile_of(blockIdx.x, p.m, p.n, kTile);
  const unsigned k_first = blockIdx.y * p.k_per_split, k_end = p.k - k_first < p.k_per_split ? p.k : k_first + p.k_per_split;
  const unsigned steps = (k_end - k_first + kSlice - 1) / kSlice;
  int64_t at[4];
  p.batches.offsets(p.first_batch + blockIdx.z, at);
  const std::byte *data_a = p.a.data + at[0] * 2, *data_b = p.b.data + at[1] * 2;
  Bringer<a_along_k, Operand> a;
  Bringer<b_along_k, Operand> b;
  a.start(p.a, origin.row, p.m);
  b.start(p.b, origin.column, p.n);
  const auto bring = [&](unsigned step) {
    if (step < steps) {
      a.bring(p.a, data_a, k_first + step * kSlice, k_end, stages[step % kStages][0]);
      b.bring(p.b, data_b, k_first + step * kSlice, k_end, stages[step % kStages][1]);
    }
    commit_copies();
  };
  float sum[4][4][4] = {};
  bring(0);
  bring(1);
  for (unsigned step = 0; step < steps; ++step) {
    wait_for_copies<1>();
    __syncthreads();
    bring(step + 2);
    const uint4 *tile_a = stages[step % kStages][0], *tile_b = stages[step % kStages][1];
#pragma unroll
    for (unsigned k = 0; k < kSlice; k += 16) {
      uint32_t x[4][4], y[2][4];
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
        const unsigned row = warp_row + i * 16;
        if constexpr (a_along_k) load_matrices<false>(x[i], tile_a + chunk_along_k(row + lane % 16, k / 8 + lane / 16));
        else load_matrices<true>(x[i], tile_a + chunk_along_rows(k + quarter / 2 * 8 + lane % 8, row / 8 + quarter % 2));
      }
#pragma unroll
      for (unsigned j = 0; j < 2; ++j) {
        const unsigned row = warp_column + j * 16;
        if constexpr (b_along_k) load_matrices<false>(y[j], tile_b + chunk_along_k(row + quarter / 2 * 8 + lane % 8, k / 8 + quarter % 2));
        else load_matrices<true>(y[j], tile_b + chunk_along_rows(k + quarter % 2 * 8 + lane % 8, row / 8 + quarter / 2));
      }
#pragma unroll
      for (unsigned i = 0; i < 4; ++i)
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) {
          const uint32_t right[2] = {y[j / 2][j % 2 * 2], y[j / 2][j % 2 * 2 + 1]};
          multiply_add<T>(sum[i][j], x[i], right);
        }
    }
  }
  wait_for_copies<0>();

  constexpr unsigned held = 64, pitch = kTile + 8;  // the rows of a fragment meet different banks
  static_assert(held * pitch * sizeof(float) <= sizeof(stages));
  float* const staged = reinterpret_cast<float*>(stages);
#pragma unroll
  for (unsigned part = 0; part < kTile / held; ++part) {
    __syncthreads();
    if (warp / 4 == part) {
#pragma unroll
      for (unsigned i = 0; i < 8; ++i)
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) {
          const Pack<float, 2> two{{sum[i / 2][j][i % 2 * 2], sum[i / 2][j][i % 2 * 2 + 1]}};
          *reinterpret_cast<Pack<float, 2>*>(staged + (i * 8 + lane / 4) * pitch + warp_column + j * 8 + lane % 4 * 2) = two;
        }
    }
    __syncthreads();
    finish_rows<float, T, held, kTile, pitch>(p, at, {origin.row + part * held, origin.column}, staged);
  }
}

inline constexpr Decline kNotInPacks = "an operand cannot be read 16 bytes at a time: strides, alignment, or a size that is no multiple of 8";
template <class T, class Operand, bool a_along_k, bool b_along_k>
void run_tensor_cores(Product<Operand> p, int64_t batches, const View& out, void* stream) {
  launch_product<float>(multiply_by_tensor_cores<T, Operand, a_along_k, b_along_k>, p, kTile, kSlice, batches, out, stream);
}

}  // namespace graft::cuda::gemm

// Attention on cuda, for every dtype, size and stride. A block has a tile of queries and some columns of their results; it goes
// along the keys, and rescales what it has when a larger score appears (Milakov and Gimelshein, "Online normalizer calculation
// for softmax", 2018; Dao et al., "FlashAttention", 2022). Scores are never written. The derivative computes them again from lse:
// a block has a tile of queries (dq) or of keys (dk and dv), so that no two blocks add to one place.
#include "graft/kernels/cuda/compat.h"

#include <cmath>
#include "graft/kernels/attention/cuda_geometry.h"
#include "graft/kernels/cuda/register.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;
using cuda::attention::Attention;
using cuda::attention::Matrix;

constexpr unsigned kDepth = 16;                                                // along a product
template <class C> constexpr unsigned kTile = std::is_same_v<C, float> ? 64 : 32;  // queries, keys and columns of a block
template <class C> constexpr unsigned kOwn = kTile<C> / 16;                    // of a thread, in each direction
template <class C> constexpr unsigned kPitch = kTile<C> + 4;

// to[d][r] = x[row + r, column + d], and to[d][c] = x[row + d, column + c].
template <class C> __device__ inline void stage_turned(C (*to)[kPitch<C>], const Matrix& x, unsigned row, unsigned column) {
#pragma unroll
  for (unsigned i = 0; i < kTile<C> / 16; ++i) {
    const unsigned d = threadIdx.x % kDepth, r = threadIdx.x / kDepth + 16 * i;
    to[d][r] = x.at<C>(row + r, column + d);
  }
}
template <class C> __device__ inline void stage(C (*to)[kPitch<C>], const Matrix& x, unsigned row, unsigned column) {
#pragma unroll
  for (unsigned i = 0; i < kTile<C> / 16; ++i) {
    const unsigned c = threadIdx.x % kTile<C>, d = threadIdx.x / kTile<C> + kThreads / kTile<C> * i;
    to[d][c] = x.at<C>(row + d, column + c);
  }
}
// sum[i][j] += a[d][row i] b[d][column j] of this thread.
template <class C> using Sums = C[kOwn<C>][kOwn<C>];
template <class C> __device__ inline void multiply(Sums<C>& sum, const C (*a)[kPitch<C>], const C (*b)[kPitch<C>]) {
  const unsigned row = threadIdx.x / 16 * kOwn<C>, column = threadIdx.x % 16 * kOwn<C>;
#pragma unroll
  for (unsigned d = 0; d < kDepth; ++d) {
    C x[kOwn<C>], y[kOwn<C>];
#pragma unroll
    for (unsigned i = 0; i < kOwn<C>; ++i) x[i] = a[d][row + i], y[i] = b[d][column + i];
#pragma unroll
    for (unsigned i = 0; i < kOwn<C>; ++i)
#pragma unroll
      for (unsigned j = 0; j < kOwn<C>; ++j) sum[i][j] += x[i] * y[j];
  }
}
// sum = x[row ...] y[column ...]^T over their columns.
template <class C>
__device__ inline void multiply_rows(Sums<C>& sum, C (*a)[kPitch<C>], C (*b)[kPitch<C>], const Matrix& x, unsigned row, const Matrix& y,
                                     unsigned column) {
#pragma unroll
  for (unsigned i = 0; i < kOwn<C>; ++i)
#pragma unroll
    for (unsigned j = 0; j < kOwn<C>; ++j) sum[i][j] = C(0);
  for (unsigned e = 0; e < x.columns; e += kDepth) {
    __syncthreads();
    stage_turned<C>(a, x, row, e);
    stage_turned<C>(b, y, column, e);
    __syncthreads();
    multiply<C>(sum, a, b);
  }
}
template <class C> __device__ inline void put_turned(C (*to)[kPitch<C>], const Sums<C>& from) {  // to[column][row]
#pragma unroll
  for (unsigned i = 0; i < kOwn<C>; ++i)
#pragma unroll
    for (unsigned j = 0; j < kOwn<C>; ++j) to[threadIdx.x % 16 * kOwn<C> + j][threadIdx.x / 16 * kOwn<C> + i] = from[i][j];
}
// Over the sixteen threads that have a row.
template <class C> __device__ inline C row_max(C v) {
#pragma unroll
  for (int bits = 8; bits > 0; bits /= 2) {
    const C other = __shfl_xor_sync(~0U, v, bits);
    v = v > other ? v : other;
  }
  return v;
}
template <class C> __device__ inline C row_sum(C v) {
#pragma unroll
  for (int bits = 8; bits > 0; bits /= 2) v += __shfl_xor_sync(~0U, v, bits);
  return v;
}

template <class C> __global__ __launch_bounds__(kThreads, 2) void attend(const __grid_constant__ Attention a) {
  constexpr unsigned tile = kTile<C>, own = kOwn<C>, pitch = kPitch<C>;
  GRAFT_SHARED(C, left, [kDepth][pitch]);
  GRAFT_SHARED(C, right, [kDepth][pitch]);
  GRAFT_SHARED(C, shares, [tile][pitch]);  // [key][query]
  const unsigned tiles = (a.q.rows + tile - 1) / tile, z = blockIdx.x / tiles, first = (blockIdx.x - z * tiles) * tile;
  const unsigned columns = blockIdx.y * tile, my_row = first + threadIdx.x / 16 * own, my_column = threadIdx.x % 16 * own;
  const Matrix q = a.batch.place(a.q, z), k = a.batch.place(a.k, z), v = a.batch.place(a.v, z), mask = a.batch.place(a.mask, z);
  const unsigned end = a.causal && first + tile < k.rows ? first + tile : k.rows;
  C top[own], total[own], out[own][own] = {};
#pragma unroll
  for (unsigned i = 0; i < own; ++i) top[i] = C(-INFINITY), total[i] = C(0);
  for (unsigned key = 0; key < end; key += tile) {
    C s[own][own];
    multiply_rows<C>(s, left, right, q, first, k, key);
#pragma unroll
    for (unsigned i = 0; i < own; ++i) {
      C highest = top[i];
#pragma unroll
      for (unsigned j = 0; j < own; ++j) {
        s[i][j] = attention::score(a, mask, my_row + i, key + my_column + j, s[i][j]);
        highest = s[i][j] > highest ? s[i][j] : highest;
      }
      highest = row_max(highest);
      const C base = highest == C(-INFINITY) ? C(0) : highest, rescale = std::exp(top[i] - base);
      C sum = C(0);
#pragma unroll
      for (unsigned j = 0; j < own; ++j) sum += s[i][j] = std::exp(s[i][j] - base);
      total[i] = total[i] * rescale + row_sum(sum);
      top[i] = highest;
#pragma unroll
      for (unsigned j = 0; j < own; ++j) out[i][j] *= rescale;
    }
    __syncthreads();
    put_turned<C>(shares, s);
    for (unsigned d = 0; d < tile && key + d < end; d += kDepth) {
      __syncthreads();
      stage<C>(right, v, key + d, columns);
      __syncthreads();
      multiply<C>(out, shares + d, right);
    }
  }
  const Matrix y = a.batch.place(a.y, z);
#pragma unroll
  for (unsigned i = 0; i < own; ++i) {
    if (my_row + i >= q.rows) continue;
    const C scale = total[i] == C(0) ? C(0) : C(1) / total[i];
#pragma unroll
    for (unsigned j = 0; j < own; ++j)
      if (columns + my_column + j < y.columns) y.put(my_row + i, columns + my_column + j, out[i][j] * scale);
    if (blockIdx.y == 0 && my_column == 0)
      static_cast<C*>(a.lse)[size_t(z) * q.rows + my_row + i] = total[i] == C(0) ? C(-INFINITY) : top[i] + std::log(total[i]);
  }
}

// ---- the derivative --------------------------------------------------------------------------------------------

// With p = exp(s - lse) and ds = p (g v^T - delta): dq = scale ds k; of keys: dk = scale ds^T q, dv = p^T g. The rows of a block are
// queries, or keys; it goes along the others.
template <class C, bool of_keys> __global__ __launch_bounds__(kThreads, 2) void attend_back(const __grid_constant__ Attention a) {
  constexpr unsigned tile = kTile<C>, own = kOwn<C>, pitch = kPitch<C>;
  GRAFT_SHARED(C, left, [kDepth][pitch]);
  GRAFT_SHARED(C, right, [kDepth][pitch]);
  GRAFT_SHARED(C, shares, [of_keys ? tile : 1][pitch]);  // p and ds: [other][row]
  GRAFT_SHARED(C, slopes, [tile][pitch]);
  const unsigned rows = of_keys ? a.k.rows : a.q.rows, others = of_keys ? a.q.rows : a.k.rows;
  const unsigned tiles = (rows + tile - 1) / tile, z = blockIdx.x / tiles, first = (blockIdx.x - z * tiles) * tile;
  const unsigned columns = blockIdx.y * tile, my_row = threadIdx.x / 16 * own, my_column = threadIdx.x % 16 * own;
  const Matrix q = a.batch.place(a.q, z), k = a.batch.place(a.k, z), v = a.batch.place(a.v, z), g = a.batch.place(a.g, z);
  const Matrix mask = a.batch.place(a.mask, z);
  const C *lse = static_cast<const C*>(a.lse) + size_t(z) * q.rows, *delta = static_cast<const C*>(a.delta) + size_t(z) * q.rows;
  const unsigned start = of_keys && a.causal ? first : 0, end = !of_keys && a.causal && first + tile < others ? first + tile : others;
  C sum[own][own] = {}, sum_v[own][own] = {};
  for (unsigned other = start; other < end; other += tile) {
    C s[own][own], ds[own][own];
    multiply_rows<C>(s, left, right, of_keys ? k : q, first, of_keys ? q : k, other);
    multiply_rows<C>(ds, left, right, of_keys ? v : g, first, of_keys ? g : v, other);
#pragma unroll
    for (unsigned i = 0; i < own; ++i)
#pragma unroll
      for (unsigned j = 0; j < own; ++j) {
        const unsigned row = first + my_row + i, column = other + my_column + j, query = of_keys ? column : row, key = of_keys ? row : column;
        const C score = attention::score(a, mask, query, key, s[i][j]);
        const bool seen = query < q.rows && score > C(-INFINITY);
        s[i][j] = seen || score != score ? std::exp(score - lse[query]) : C(0);
        ds[i][j] = query < q.rows ? s[i][j] * (ds[i][j] - delta[query]) : C(0);
      }
    __syncthreads();
    put_turned<C>(slopes, ds);
    if constexpr (of_keys) put_turned<C>(shares, s);
    for (unsigned d = 0; d < tile && other + d < end; d += kDepth) {
      __syncthreads();
      stage<C>(left, of_keys ? q : k, other + d, columns);
      if constexpr (of_keys) stage<C>(right, g, other + d, columns);
      __syncthreads();
      multiply<C>(sum, slopes + d, left);
      if constexpr (of_keys) multiply<C>(sum_v, shares + d, right);
    }
  }
  const Matrix dx = a.batch.place(of_keys ? a.dk : a.dq, z), dv = a.batch.place(a.dv, z);
#pragma unroll
  for (unsigned i = 0; i < own; ++i)
#pragma unroll
    for (unsigned j = 0; j < own; ++j) {
      const unsigned row = first + my_row + i, column = columns + my_column + j;
      if (row >= rows) continue;
      if (column < dx.columns) dx.put(row, column, sum[i][j] * C(a.scale));
      if (of_keys && column < dv.columns) dv.put(row, column, sum_v[i][j]);
    }
}

// ---- launching -------------------------------------------------------------------------------------------------

constexpr Decline kManyTiles = "2^31 tiles or more";
unsigned tiles_of(unsigned n, unsigned tile) { return (n + tile - 1) / tile; }

template <class C> Decline attention_on(const Launch& l) {
  const View &q = *l.in[0], &k = *l.in[1], &v = *l.in[2], &y = *l.out[0];
  if (l.out[1]->numel == 0) return kRan;
  Attention a;
  if (const Decline why = take(l, q, k, v, y, l.in.size() > 3 ? l.in[3] : nullptr, a)) return why;
  a.lse = l.out[1]->data;
  const int64_t blocks = int64_t(tiles_of(a.q.rows, kTile<C>)) * a.batch.count;
  if (blocks > INT32_MAX) return kManyTiles;
  launch(attend<C>, dim3(unsigned(blocks), std::max(1U, tiles_of(a.v.columns, kTile<C>))), kThreads, 0, l.stream, a);
  return kRan;
}
template <class C> Decline attention_backward_on(const Launch& l) {
  Attention a;
  if (const Decline why = attention::take_backward(l, a)) return why;
  const int64_t query_blocks = int64_t(tiles_of(a.q.rows, kTile<C>)) * a.batch.count, key_blocks = int64_t(tiles_of(a.k.rows, kTile<C>)) * a.batch.count;
  if (query_blocks > INT32_MAX || key_blocks > INT32_MAX) return kManyTiles;
  const Workspace delta(*l.in[4], size_t(l.in[5]->numel) * sizeof(C));
  if (!delta.get() && l.in[5]->numel) return attention::kNoMemory;
  attention::find_delta<C>(a, delta.get(), l.stream);
  const unsigned wide = tiles_of(a.q.columns, kTile<C>), widest = std::max(wide, tiles_of(a.v.columns, kTile<C>));
  if (query_blocks && wide) launch(attend_back<C, false>, dim3(unsigned(query_blocks), wide), kThreads, 0, l.stream, a);
  if (key_blocks && widest) launch(attend_back<C, true>, dim3(unsigned(key_blocks), widest), kThreads, 0, l.stream, a);
  return kRan;
}
template <class C> void add_attention(DType t) {
  add_kernel("scaled_dot_product_attention", Device::cuda, t, "tiles", attention_on<C>);
  add_kernel("scaled_dot_product_attention_backward", Device::cuda, t, "tiles", attention_backward_on<C>);
}

}  // namespace

void register_attention_cuda() {
  register_attention_tensor_core_cuda();  // asked first
  for (const DType t : {f32, f16, bf16}) add_attention<float>(t);
  add_attention<double>(f64);
}

}  // namespace graft

// Attention of f16 and bf16 on tensor cores (Dao, "FlashAttention-2", 2023), for up to 128 columns. A block of four warps has 64
// queries, a warp 16 of them, whose scores and results stay in registers. It goes along the keys, 64 at a time: the values are on
// their way (cp.async) while scores are computed, the next keys while the values are summed.
#include "graft/kernels/cuda/compat.h"

#include <cmath>
#include "graft/kernels/attention/cuda_geometry.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/cuda/tensor_core.h"
#include "graft/kernels/cuda/workspace.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;
using cuda::attention::Attention;
using cuda::attention::Matrix;

constexpr unsigned kRows = 64, kBlock = 128;  // queries and keys of a tile, threads
constexpr float kLog2e = 1.4426950408889634F;

// Where a tile has 8 neighbouring columns of a row, permuted so that ldmatrix meets every bank once.
template <unsigned columns> __device__ inline unsigned chunk_at(unsigned row, unsigned chunk) { return row * (columns / 8) + (chunk ^ row % 8); }
template <unsigned columns, unsigned rows = kRows> __device__ inline void bring(uint4* to, const Matrix& x, unsigned first) {
#pragma unroll
  for (unsigned i = 0; i < rows * columns / 8 / kBlock; ++i) {
    const unsigned own = threadIdx.x + kBlock * i, row = own / (columns / 8), chunk = own % (columns / 8);
    const bool valid = first + row < x.rows && chunk * 8 < x.columns;
    copy_async(to + chunk_at<columns>(row, chunk), x.data + (valid ? (first + row) * x.row + chunk * 8 : 0) * 2, valid);
  }
}
template <class T> __device__ inline uint32_t two(float a, float b) {
  return uint32_t(convert_element<T>(b).bits) << 16 | convert_element<T>(a).bits;
}
template <class F> __device__ inline float over_row(float v, F join) {  // the four lanes that have a row
  v = join(v, __shfl_xor_sync(~0U, v, 1));
  return join(v, __shfl_xor_sync(~0U, v, 2));
}

// sum += x y for x[16][rows] in the registers of a warp, as multiply_add left it, and y[rows][columns] in shared memory.
template <class T, unsigned columns, unsigned rows>
__device__ inline void multiply_tile(float (&sum)[columns / 8][4], const float (&s)[rows / 8][4], const uint4* tile) {
  const unsigned lane = threadIdx.x % 32, quarter = lane / 8;
#pragma unroll
  for (unsigned d = 0; d < rows / 16; ++d) {
    const uint32_t x[4] = {two<T>(s[d * 2][0], s[d * 2][1]), two<T>(s[d * 2][2], s[d * 2][3]), two<T>(s[d * 2 + 1][0], s[d * 2 + 1][1]),
                           two<T>(s[d * 2 + 1][2], s[d * 2 + 1][3])};
#pragma unroll
    for (unsigned j = 0; j < columns / 16; ++j) {
      uint32_t y[4];
      load_matrices<true>(y, tile + chunk_at<columns>(d * 16 + quarter % 2 * 8 + lane % 8, j * 2 + quarter / 2));
      multiply_add<T>(sum[j * 2], x, {y[0], y[1]});
      multiply_add<T>(sum[j * 2 + 1], x, {y[2], y[3]});
    }
  }
}
// sum = x y^T for 16 rows of x and `rows` of y, both in shared memory.
template <class T, unsigned columns, unsigned rows>
__device__ inline void multiply_rows(float (&sum)[rows / 8][4], const uint4* rows_x, unsigned first, const uint4* rows_y) {
  const unsigned lane = threadIdx.x % 32, quarter = lane / 8;
#pragma unroll
  for (unsigned e = 0; e < columns; e += 16) {
    uint32_t x[4];
    load_matrices<false>(x, rows_x + chunk_at<columns>(first + lane % 16, e / 8 + lane / 16));
#pragma unroll
    for (unsigned j = 0; j < rows / 16; ++j) {
      uint32_t y[4];
      load_matrices<false>(y, rows_y + chunk_at<columns>(j * 16 + quarter / 2 * 8 + lane % 8, e / 8 + quarter % 2));
      multiply_add<T>(sum[j * 2], x, {y[0], y[1]});
      multiply_add<T>(sum[j * 2 + 1], x, {y[2], y[3]});
    }
  }
}
template <class T, unsigned columns> __device__ inline void put_rows(const Matrix& to, unsigned row, const float (&from)[columns / 8][4], float scale) {
#pragma unroll
  for (unsigned h = 0; h < 2; ++h)
#pragma unroll
    for (unsigned j = 0; j < columns / 8; ++j) {
      const unsigned column = j * 8 + threadIdx.x % 4 * 2, r = row + h * 8;
      if (r < to.rows && column < to.columns)
        *reinterpret_cast<uint32_t*>(to.data + (r * to.row + column) * 2) = two<T>(from[j][h * 2] * scale, from[j][h * 2 + 1] * scale);
    }
}

template <class T, unsigned columns> __global__ __launch_bounds__(kBlock) void attend_by_tensor_cores(const __grid_constant__ Attention a) {
  constexpr unsigned chunks = kRows * columns / 8;
  GRAFT_SHARED(uint4, queries, [chunks]);
  GRAFT_SHARED(uint4, keys, [chunks]);
  GRAFT_SHARED(uint4, values, [chunks]);
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const unsigned tiles = (a.q.rows + kRows - 1) / kRows, z = blockIdx.x / tiles, first = (blockIdx.x - z * tiles) * kRows;
  const Matrix q = a.batch.place(a.q, z), k = a.batch.place(a.k, z), v = a.batch.place(a.v, z), mask = a.batch.place(a.mask, z);
  const unsigned end = a.causal && first + kRows < k.rows ? first + kRows : k.rows, my_row = first + warp * 16 + lane / 4;
  float out[columns / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
  bring<columns>(queries, q, first);
  bring<columns>(keys, k, 0);
  commit_copies();
  for (unsigned key = 0; key < end; key += kRows) {
    bring<columns>(values, v, key);
    commit_copies();
    wait_for_copies<1>();
    __syncthreads();
    float s[kRows / 8][4] = {};
    multiply_rows<T, columns, kRows>(s, queries, warp * 16, keys);
    __syncthreads();
    if (key + kRows < end) bring<columns>(keys, k, key + kRows);
    commit_copies();

    const bool edge = a.masked || key + kRows > k.rows || (a.causal && key + kRows > first);
#pragma unroll
    for (unsigned h = 0; h < 2; ++h) {  // the rows lane / 4 and 8 further
      float highest = top[h];
#pragma unroll
      for (unsigned j = 0; j < kRows / 8; ++j)
#pragma unroll
        for (unsigned i = 0; i < 2; ++i) {
          float& one = s[j][h * 2 + i];
          one = kLog2e * (edge ? attention::score(a, mask, my_row + h * 8, key + j * 8 + lane % 4 * 2 + i, one) : one * float(a.scale));
          highest = one > highest ? one : highest;
        }
      highest = over_row(highest, [](float x, float y) { return x > y ? x : y; });
      const float base = highest == -INFINITY ? 0.F : highest, rescale = exp2f(top[h] - base);
      float sum = 0;
#pragma unroll
      for (unsigned j = 0; j < kRows / 8; ++j)
#pragma unroll
        for (unsigned i = 0; i < 2; ++i) sum += s[j][h * 2 + i] = exp2f(s[j][h * 2 + i] - base);
      total[h] = total[h] * rescale + over_row(sum, [](float x, float y) { return x + y; });
      top[h] = highest;
#pragma unroll
      for (unsigned j = 0; j < columns / 8; ++j) out[j][h * 2] *= rescale, out[j][h * 2 + 1] *= rescale;
    }

    wait_for_copies<1>();
    __syncthreads();
    multiply_tile<T, columns, kRows>(out, s, values);
    __syncthreads();
  }
  wait_for_copies<0>();

  const Matrix y = a.batch.place(a.y, z);
#pragma unroll
  for (unsigned h = 0; h < 2; ++h) {
    const unsigned row = my_row + h * 8;
    if (row >= q.rows) continue;
    const float scale = total[h] == 0 ? 0.F : 1 / total[h];
#pragma unroll
    for (unsigned j = 0; j < columns / 8; ++j) {
      const unsigned column = j * 8 + lane % 4 * 2;
      if (column < y.columns) *reinterpret_cast<uint32_t*>(y.data + (row * y.row + column) * 2) = two<T>(out[j][h * 2] * scale, out[j][h * 2 + 1] * scale);
    }
    if (lane % 4 == 0) static_cast<float*>(a.lse)[size_t(z) * q.rows + row] = total[h] == 0 ? -INFINITY : (top[h] + log2f(total[h])) / kLog2e;
  }
}

// ---- the derivative --------------------------------------------------------------------------------------------

// As attend_back in cuda.cu: the rows of a block are queries (dq) or keys (dk, dv); it goes along the others.
template <class T, unsigned columns, bool of_keys>
__global__ __launch_bounds__(kBlock) void attend_back_by_tensor_cores(const __grid_constant__ Attention a) {
  constexpr unsigned step = columns <= 64 ? 64 : 32;  // of the others
  GRAFT_SHARED(uint4, rows_1, [kRows * columns / 8]);  // queries and their gradients, or keys and values
  GRAFT_SHARED(uint4, rows_2, [kRows * columns / 8]);
  GRAFT_SHARED(uint4, others_1, [step * columns / 8]);
  GRAFT_SHARED(uint4, others_2, [step * columns / 8]);
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const unsigned rows = of_keys ? a.k.rows : a.q.rows, others = of_keys ? a.q.rows : a.k.rows;
  const unsigned tiles = (rows + kRows - 1) / kRows, z = blockIdx.x / tiles, first = (blockIdx.x - z * tiles) * kRows;
  const Matrix q = a.batch.place(a.q, z), k = a.batch.place(a.k, z), v = a.batch.place(a.v, z), g = a.batch.place(a.g, z);
  const Matrix mask = a.batch.place(a.mask, z);
  const float *lse = static_cast<const float*>(a.lse) + size_t(z) * q.rows, *delta = static_cast<const float*>(a.delta) + size_t(z) * q.rows;
  const unsigned start = of_keys && a.causal ? first : 0, end = !of_keys && a.causal && first + kRows < others ? first + kRows : others;
  const unsigned my_row = first + warp * 16 + lane / 4;
  float sum[columns / 8][4] = {}, sum_v[of_keys ? columns / 8 : 1][4] = {}, own_lse[2] = {}, own_delta[2] = {};
  for (unsigned h = 0; h < 2; ++h)  // of the queries lane / 4 and 8 further
    if (!of_keys && my_row + h * 8 < rows) own_lse[h] = lse[my_row + h * 8], own_delta[h] = delta[my_row + h * 8];
  bring<columns>(rows_1, of_keys ? k : q, first);
  bring<columns>(rows_2, of_keys ? v : g, first);
  for (unsigned other = start; other < end; other += step) {
    bring<columns, step>(others_1, of_keys ? q : k, other);
    bring<columns, step>(others_2, of_keys ? g : v, other);
    commit_copies();
    wait_for_copies<0>();
    __syncthreads();
    float s[step / 8][4] = {}, ds[step / 8][4] = {};
    multiply_rows<T, columns, step>(s, rows_1, warp * 16, others_1);
    multiply_rows<T, columns, step>(ds, rows_2, warp * 16, others_2);
    const bool edge = a.masked || first + kRows > rows || other + step > others ||
                      (a.causal && (of_keys ? first + kRows > other + 1 : other + step > first + 1));
#pragma unroll
    for (unsigned j = 0; j < step / 8; ++j)
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
        const unsigned row = my_row + i / 2 * 8, column = other + j * 8 + lane % 4 * 2 + i % 2;
        const unsigned query = of_keys ? column : row, key = of_keys ? row : column;
        const float one = edge ? attention::score(a, mask, query, key, s[j][i]) : s[j][i] * float(a.scale);
        const bool seen = query < q.rows && !(one == -INFINITY);
        s[j][i] = seen ? exp2f((one - (of_keys ? lse[query] : own_lse[i / 2])) * kLog2e) : 0.F;
        ds[j][i] = seen ? s[j][i] * (ds[j][i] - (of_keys ? delta[query] : own_delta[i / 2])) : 0.F;
      }
    multiply_tile<T, columns, step>(sum, ds, others_1);
    if constexpr (of_keys) multiply_tile<T, columns, step>(sum_v, s, others_2);
    __syncthreads();
  }
  put_rows<T, columns>(a.batch.place(of_keys ? a.dk : a.dq, z), my_row, sum, float(a.scale));
  if constexpr (of_keys) put_rows<T, columns>(a.batch.place(a.dv, z), my_row, sum_v, 1.F);
  wait_for_copies<0>();
}

// ---- launching -------------------------------------------------------------------------------------------------

bool packs(const attention::Operand& m, const Attention& a) {
  bool fits = m.column == 1 && m.columns % 8 == 0 && (m.row % 8 == 0 || m.rows == 1) && is_aligned(m.data, 16);
  for (int d = 0; d < a.batch.rank; ++d) fits = fits && m.batch[d] % 8 == 0;
  return fits;
}
int64_t blocks_of(unsigned rows, const Attention& a) { return int64_t((rows + kRows - 1) / kRows) * a.batch.count; }
Decline check(const Attention& a) {
  if (a.q.columns > 128 || a.v.columns > 128) return "more than 128 columns";
  if (a.q.columns < 16 || a.v.columns < 16 || a.q.rows < 16) return "too small: 16 queries of 16 columns at least";
  if (!packs(a.q, a) || !packs(a.k, a) || !packs(a.v, a) || (a.g.data && !packs(a.g, a)))
    return "an input cannot be read 16 bytes at a time: strides, alignment, or columns that are no multiple of 8";
  if (std::max(blocks_of(a.q.rows, a), blocks_of(a.k.rows, a)) > INT32_MAX) return "2^31 tiles or more";
  return kRan;
}
template <class T> Decline attention_backward_on_tensor_cores(const Launch& l) {
  Attention a;
  if (const Decline why = attention::take_backward(l, a)) return why;
  if (const Decline why = check(a)) return why;
  const Workspace delta(*l.in[4], size_t(l.in[5]->numel) * sizeof(float));
  if (!delta.get() && l.in[5]->numel) return attention::kNoMemory;
  attention::find_delta<float>(a, delta.get(), l.stream);
  const bool narrow = std::max(a.q.columns, a.v.columns) <= 64;
  const unsigned of_queries = unsigned(blocks_of(a.q.rows, a)), of_keys = unsigned(blocks_of(a.k.rows, a));
  if (of_queries)
    launch(narrow ? attend_back_by_tensor_cores<T, 64, false> : attend_back_by_tensor_cores<T, 128, false>, of_queries, kBlock, 0, l.stream, a);
  if (of_keys)
    launch(narrow ? attend_back_by_tensor_cores<T, 64, true> : attend_back_by_tensor_cores<T, 128, true>, of_keys, kBlock, 0, l.stream, a);
  return kRan;
}
template <class T> Decline attention_on_tensor_cores(const Launch& l) {
  if (l.out[1]->numel == 0) return kRan;
  Attention a;
  if (const Decline why = take(l, *l.in[0], *l.in[1], *l.in[2], *l.out[0], l.in.size() > 3 ? l.in[3] : nullptr, a)) return why;
  if (const Decline why = check(a)) return why;
  a.lse = l.out[1]->data;
  const unsigned blocks = unsigned(blocks_of(a.q.rows, a));
  const auto kernel = std::max(a.q.columns, a.v.columns) <= 64 ? attend_by_tensor_cores<T, 64> : attend_by_tensor_cores<T, 128>;
  launch(kernel, blocks, kBlock, 0, l.stream, a);
  return kRan;
}
template <class T> void add() {
  add_kernel("scaled_dot_product_attention", Device::cuda, dtype_v<T>, "tensor_cores", attention_on_tensor_cores<T>);
  add_kernel("scaled_dot_product_attention_backward", Device::cuda, dtype_v<T>, "tensor_cores", attention_backward_on_tensor_cores<T>);
}

}  // namespace

void register_attention_tensor_core_cuda() { add<Half>(), add<BFloat16>(); }

}  // namespace graft

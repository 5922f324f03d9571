// What a tiled product on cuda computes: out[m, n] = activation(sum over k of a[m, k] b[n, k] + bias[n] + residual[m, n]),
// for a batch. An operand says where element (row, k) lies: `Matrix` by two strides, `Gather` as in a convolution.
#pragma once
#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/strided.h"
#include "graft/kernels/pointwise/activation.h"

namespace graft::inline v1::cuda::gemm {

enum class Activation : uint8_t { none, relu, relu6, gelu, gelu_tanh };
template <class C> __device__ inline C activate(C v, Activation f) {
  if (f == Activation::none) return v;
  if constexpr (std::is_floating_point_v<C>) {
    if (f == Activation::gelu) return math::Gelu{}(v);
    if (f == Activation::gelu_tanh) return math::GeluTanh{}(v);
  }
  if constexpr (!is_complex_v<C>) {
    if (v < C(0)) v = C(0);  // NaN stays
    if (f == Activation::relu6 && v > C(6)) v = C(6);
  }
  return v;
}

struct Memory {
  const std::byte* data = nullptr;
  DType dtype = f32;
  uint8_t bytes = 4;      // of an element
  bool along_k = true;    // neighbours in memory are neighbours along k, else along the rows
  bool packs = false;     // 16 bytes at a time: aligned, and all of them inside or none

  void take(const View& v) {
    data = v.data;
    dtype = v.dtype;
    bytes = uint8_t(size_of(v.dtype));
  }
};

struct Matrix : Memory {
  int64_t row_step = 0, k_step = 0;

  struct Place {  // what a row or a k contributes
    int64_t base;
    int inside;
  };
  __device__ void find_row(unsigned i, bool inside, Place& p) const { p.base = int64_t(i) * row_step, p.inside = inside; }
  __device__ void find_k(unsigned i, bool inside, Place& p) const { p.base = int64_t(i) * k_step, p.inside = inside; }
  // In elements; negative: there is none, it counts as zero.
  __device__ int64_t offset(const Place& row, const Place& k) const { return row.inside && k.inside ? row.base + k.base : -1; }

  // Whether 16 bytes can be read at a time, for `rows` x `k` elements; `aligned`: also the address of every batch.
  void choose(int64_t rows, int64_t k, bool aligned) {
    along_k = k_step == 1 || (row_step != 1 && std::abs(k_step) <= std::abs(row_step));
    const int64_t n = 16 / bytes, other = along_k ? row_step : k_step;
    packs = aligned && is_aligned(data, 16) && (along_k ? k_step : row_step) == 1 && (along_k ? k : rows) % n == 0 &&
            (other % n == 0 || (along_k ? rows : k) == 1);
  }
};

// A number as a channel (or an image) and three positions.
struct Digits {
  Divider channel, size[3];  // the size of the outermost is not needed
  bool channel_inside = false;  // the channel is the innermost digit, else the outermost
  int64_t channel_step = 0;     // in elements
  int first[3] = {0, 0, 0}, step[3] = {0, 0, 0};  // coordinate of a position: first + position * step
};
// The coordinates of a row and of a k add up; outside of [0, limit) there are zeros.
struct Gather : Memory {
  Digits row, k;
  int64_t step[3] = {0, 0, 0};
  int limit[3] = {1, 1, 1};

  struct Place {
    int64_t base;  // what it adds to the offset
    int at[3];
  };
  static constexpr int kNowhere = -(1 << 30);  // where a row or a k that is not inside is

  __device__ void find(const Digits& d, unsigned i, bool inside, Place& p) const {
    unsigned channel = 0, at[3];
    if (d.channel_inside) {
      const unsigned rest = d.channel.divide(i);
      channel = i - rest * d.channel.divisor;
      i = rest;
    }
    const unsigned lines = d.size[2].divide(i), planes = d.size[1].divide(lines);
    at[2] = i - lines * d.size[2].divisor;
    at[1] = lines - planes * d.size[1].divisor;
    at[0] = planes;
    if (!d.channel_inside) {
      channel = d.size[0].divide(planes);
      at[0] = planes - channel * d.size[0].divisor;
    }
    p.base = int64_t(channel) * d.channel_step;
    for (int x = 0; x < 3; ++x) {
      p.at[x] = d.first[x] + int(at[x]) * d.step[x];
      p.base += int64_t(p.at[x]) * step[x];
    }
    if (!inside) p.at[0] = kNowhere;
  }
  __device__ void find_row(unsigned i, bool inside, Place& p) const { find(row, i, inside, p); }
  __device__ void find_k(unsigned i, bool inside, Place& p) const { find(k, i, inside, p); }
  __device__ int64_t offset(const Place& r, const Place& c) const {
    bool inside = true;
    for (int x = 0; x < 3; ++x) inside = inside && unsigned(r.at[x] + c.at[x]) < unsigned(limit[x]);
    return inside ? r.base + c.base : -1;
  }
};

// Where number z of the batch begins in a, b, out and bias, in elements. An offset below zero is one, too.
struct Batches {
  int rank = 0;
  Divider size[kMaxRank];
  int64_t step[kMaxRank][4];
  __device__ void offsets(unsigned z, int64_t (&at)[4]) const {
    for (int i = 0; i < 4; ++i) at[i] = 0;
    for (int d = rank - 1; d >= 0; --d) {
      const unsigned next = d ? size[d].divide(z) : 0, index = z - next * size[d].divisor;
      for (int i = 0; i < 4; ++i) at[i] += int64_t(index) * step[d][i];
      z = next;
    }
  }
};

template <class Operand> struct Product {
  Operand a, b, out;  // rows of a: m; rows of b: n; of out rows are m and k is n
  unsigned m = 0, n = 0, k = 0;
  Batches batches;
  unsigned first_batch = 0, batch_count = 1;
  const std::byte* bias = nullptr;
  int64_t bias_step = 1;
  const std::byte* residual = nullptr;  // laid out as `out`, or `out` itself
  Activation activation = Activation::none;
  bool out_packs = false;       // 16 bytes of out at a time, along its columns
  std::byte* partial = nullptr;  // [split][batch][m][n] where k is split
  unsigned k_per_split = 0, splits = 1;

  // What follows the sum, for one element.
  template <class C> __device__ C finished(C v, int64_t at_out, int64_t at_bias, unsigned column) const {
    if (bias) v += load_own<C>(bias + (at_bias + int64_t(column) * bias_step) * out.bytes, out.dtype);
    if (residual) v += load_own<C>(residual + at_out * out.bytes, out.dtype);
    return activate(v, activation);
  }
};

// The tile of a block: eight rows of tiles share their columns, so that what they read stays in the cache.
struct TileAt { unsigned row, column; };
__device__ inline TileAt tile_of(unsigned block, unsigned m, unsigned n, unsigned tile) {
  const unsigned rows = (m + tile - 1) / tile, columns = (n + tile - 1) / tile, group = block / (8 * columns);
  const unsigned first = group * 8, height = rows - first < 8 ? rows - first : 8, rest = block - group * 8 * columns;
  return {(first + rest % height) * tile, rest / height * tile};
}

// ---- from sums to results --------------------------------------------------------------------------------------

// The rows of sums[rows][pitch], of which `tile` columns are sums: to the output, or to the parts where k is split; in the order in
// which they lie there. T is the type of an output that takes 16 bytes at a time.
template <class C, class T, unsigned rows, unsigned tile, unsigned pitch, class Operand>
__device__ inline void finish_rows(const Product<Operand>& p, const int64_t (&at)[4], TileAt first, const C* sums) {
  constexpr unsigned wide = kPerPack<T>;
  const auto inside = [&](unsigned row, unsigned column) { return first.row + row < p.m && first.column + column < p.n; };
  std::byte* const to = const_cast<std::byte*>(p.out.data);
  typename Operand::Place r, c;
  if (p.partial) {
    C* part = reinterpret_cast<C*>(p.partial) + (size_t(blockIdx.y) * p.batch_count + blockIdx.z) * p.m * p.n;
    for (unsigned i = threadIdx.x; i < rows * tile; i += kThreads) {
      const unsigned row = i / tile, column = i % tile;
      if (inside(row, column)) part[size_t(first.row + row) * p.n + first.column + column] = sums[row * pitch + column];
    }
  } else if (p.out_packs) {
    for (unsigned i = threadIdx.x; i < rows * tile / wide; i += kThreads) {
      const unsigned row = i / (tile / wide), column = i % (tile / wide) * wide;
      if (!inside(row, column)) continue;
      p.out.find_row(first.row + row, true, r);
      p.out.find_k(first.column + column, true, c);
      const int64_t here = at[2] + p.out.offset(r, c);
      Pack<T, wide> pack;
#pragma unroll
      for (unsigned j = 0; j < wide; ++j)
        pack.of[j] = convert_element<T>(p.finished(sums[row * pitch + column + j], here + j, at[3], first.column + column + j));
      *reinterpret_cast<Pack<T, wide>*>(to + here * sizeof(T)) = pack;
    }
  } else {
    for (unsigned i = threadIdx.x; i < rows * tile; i += kThreads) {
      const unsigned row = p.out.along_k ? i / tile : i % rows, column = p.out.along_k ? i % tile : i / rows;
      if (!inside(row, column)) continue;
      p.out.find_row(first.row + row, true, r);
      p.out.find_k(first.column + column, true, c);
      const int64_t here = at[2] + p.out.offset(r, c);
      store_own(to + here * p.out.bytes, p.out.dtype, p.finished(sums[row * pitch + column], here, at[3], first.column + column));
    }
  }
}

// The sum of the parts along k.
template <class C, class Operand>
__global__ __launch_bounds__(kThreads) void finish_splits(const __grid_constant__ Product<Operand> p, Divider columns) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= p.m * p.n) return;
  const C* part = reinterpret_cast<const C*>(p.partial);
  C sum = C(0);
  for (unsigned s = 0; s < p.splits; ++s) sum += part[(size_t(s) * p.batch_count + blockIdx.z) * p.m * p.n + i];
  int64_t at[4];
  p.batches.offsets(p.first_batch + blockIdx.z, at);
  const unsigned row = columns.divide(i), column = i - row * p.n;
  typename Operand::Place r, c;
  p.out.find_row(row, true, r);
  p.out.find_k(column, true, c);
  const int64_t to = at[2] + p.out.offset(r, c);
  store_own(const_cast<std::byte*>(p.out.data) + to * p.out.bytes, p.out.dtype, p.finished(sum, to, at[3], column));
}

}  // namespace graft::cuda::gemm

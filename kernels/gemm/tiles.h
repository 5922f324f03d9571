// Register tiles: the innermost loops of matrix products and convolutions, one table per instruction set. What is not
// here is ordinary code.
#pragma once
#include <cstdint>

namespace graft::inline v1::gemm {

enum class Clamp : uint8_t { none, relu, relu6 };

// One tile: c[i][j] = sum over taps t and steps k of a(i, t, k) b(t, k)[j], for `m` rows and up to two vectors of columns.
//   a(i, t, k) = a[row(i) + a_taps[t] + k * a_step], row(i) = a_rows ? a_rows[i] : i * a_row
//   b(t, k)    = b + b_taps[t] + k * b_step; without b_taps the steps of one tap follow those of the one before
// then + bias[j] + row_bias[i] + c if `accumulate` + residual, clamped, stored at c + (c_rows ? c_rows[i] : i * c_row).
// b is read in whole vectors; c, bias and residual only where there are columns.
struct Tile {
  const float* a = nullptr;
  const float* b = nullptr;
  float* c = nullptr;
  int64_t a_row = 0, a_step = 1, b_step = 0, c_row = 0;
  int64_t steps = 0, taps = 1;
  const int64_t* a_taps = nullptr;  // null: one tap at offset 0
  const int64_t* b_taps = nullptr;
  const int64_t* a_rows = nullptr;  // with c_rows, or neither
  const int64_t* c_rows = nullptr;
  const float* bias = nullptr;
  const float* row_bias = nullptr;
  const float* residual = nullptr;  // at the offsets of c
  const float* prefetch = nullptr;  // 64 bytes from here on are requested at every step
  int64_t columns = 0;              // 1 .. panel
  Clamp clamp = Clamp::none;
  bool accumulate = false;
  bool plain = false;  // whole vectors of sums are stored and nothing else; set by Tiles::run
};

// One row of a depthwise convolution over channels-last memory: y[i][c] = clamp(sum over t of x[i * x_step + offsets[t] + c]
// w[t][c] + bias[c] + residual), i < points, c < channels.
struct Depthwise {
  const float* x = nullptr;
  const float* w = nullptr;  // [taps][channels]
  float* y = nullptr;
  int64_t x_step = 0, y_step = 0, points = 0, channels = 0, taps = 0;
  const int64_t* offsets = nullptr;
  const float* bias = nullptr;
  const float* residual = nullptr;  // at the offsets of y
  Clamp clamp = Clamp::none;
};

struct Tiles {
  int width;          // floats of a vector
  int panel;          // 2 * width: columns of a tile
  int rows2, rows1;   // most rows of a tile that is two vectors or one wide
  // [more than one vector][rows - 1]; the second for rows at listed offsets
  void (*const* strided[2])(const Tile&);
  void (*const* listed[2])(const Tile&);
  // out[j] = a . b[j], j < n, over k contiguous elements; b[j] = b + j * ldb
  void (*dots)(const float* a, const float* b, int64_t ldb, int64_t n, int64_t k, float* out);
  // to[k][j] = from[j * ld + k] for j < n <= width8 columns: eight columns into a panel of row length `step`
  void (*transpose8)(const float* from, int64_t ld, int64_t k, float* to, int64_t step);

  void (*depthwise)(const Depthwise&);
  // w[t][c] += sum over i of x[i * x_step + offsets[t] + c] y[i * y_step + c]; reads y, writes w
  void (*depthwise_weight)(const Depthwise&, float* w);

  int most_rows(int64_t columns) const { return columns > width ? rows2 : rows1; }
  void run(Tile& t, int64_t rows) const {
    t.plain = (t.columns == panel || t.columns == width) && !t.bias && !t.row_bias && !t.residual && !t.accumulate &&
              t.clamp == Clamp::none;
    (t.a_rows ? listed : strided)[t.columns > width][rows - 1](t);
  }
};

const Tiles& tiles();  // of cpu::isa()
const Tiles& tiles_baseline();
const Tiles& tiles_avx2();
const Tiles& tiles_avx512();

// Heights of the tiles that cover `rows`: as even as possible at the end, where one of few rows would waste most.
inline int64_t tile_rows(int64_t rows, int64_t most) {
  return rows >= 2 * most ? most : rows > most ? (rows + 1) / 2 : rows;
}

}  // namespace graft::gemm

// Blocking, packing and threads around the tiles.
#include "graft/kernels/gemm/gemm.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include "graft/kernels/parallel.h"
#include "graft/kernels/scratch.h"

namespace graft::inline v1::gemm {
namespace {

constexpr int64_t kDepth = 512;            // of a block of k: 14 rows of it fit the first-level cache
constexpr int64_t kBlockFloats = 1 << 17;  // of a, half of a second-level cache of 1 MB
constexpr int64_t kSerial = 1 << 17;       // multiplications not worth a second thread
constexpr int64_t kSmallB = 1 << 13;       // floats of b that are read in place, as they stay in the first-level cache
constexpr int64_t kFewRows = 3;            // of a, for which nothing is packed

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Rows k0.. of columns j.. of b into one panel of `width` columns, those beyond n zero.
void pack_panel(const Tiles& t, int64_t k, int64_t columns, Matrix b, int64_t width, float* to) {
  if (columns < width)
    for (int64_t i = 0; i < k; ++i) std::memset(to + i * width + columns, 0, size_t(width - columns) * sizeof(float));
  if (b.col == 1) {
    for (int64_t i = 0; i < k; ++i) std::memcpy(to + i * width, b.data + i * b.row, size_t(columns) * sizeof(float));
    return;
  }
  int64_t j = 0;
  if (b.row == 1)
    for (; j + 8 <= columns; j += 8) t.transpose8(b.data + j * b.col, b.col, k, to + j, width);
  for (; j < columns; ++j)
    for (int64_t i = 0; i < k; ++i) to[i * width + j] = b.data[i * b.row + j * b.col];
}

// What one task needs to know; `b` is packed.
struct Product {
  const Tiles& t;
  int64_t m, n, k;
  Matrix a;
  const float* b;
  Result c;
  Epilogue e;
};

// A block of a, copied so that rows or, where those are its contiguous direction, columns follow one another.
Matrix copy_block(int64_t rows, int64_t k, Matrix a, float* to) {
  if (a.row == 1 && a.col != 1) {
    const int64_t step = round_up(rows, 16) + 16;
    for (int64_t j = 0; j < k; ++j) std::memcpy(to + j * step, a.data + j * a.col, size_t(rows) * sizeof(float));
    return {to, 1, step};
  }
  const int64_t step = round_up(k, 16) + 16;  // not a power of two
  for (int64_t i = 0; i < rows; ++i) {
    const float* from = a.data + i * a.row;
    if (a.col == 1) std::memcpy(to + i * step, from, size_t(k) * sizeof(float));
    else
      for (int64_t j = 0; j < k; ++j) to[i * step + j] = from[j * a.col];
  }
  return {to, step, 1};
}

// Rows [m0, m1) of columns [n0, n1), n0 a multiple of the panel.
void block(const Product& p, int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
  const Tiles& t = p.t;
  // A block of a is copied where its rows would fall on the same lines of the cache, or its steps on many pages.
  const bool far = p.a.col != 1 && !(p.a.row == 1 && p.a.col <= 64);
  const bool copies = m1 - m0 > t.rows2 && (far || (p.k > kDepth && n1 - n0 >= 4 * t.panel));
  const int64_t depth = std::clamp<int64_t>(p.k, 1, kDepth);
  const int64_t most = std::max<int64_t>(t.rows2, kBlockFloats / std::max<int64_t>(1, depth) / t.rows2 * t.rows2);
  const Scratch<float> copy(copies ? (std::min(most, m1 - m0) + 32) * (depth + 32) : 0);
  for (int64_t i0 = m0; i0 < m1; i0 += most) {
    const int64_t rows = std::min(most, m1 - i0);
    for (int64_t k0 = 0; k0 == 0 || k0 < p.k; k0 += depth) {
      const int64_t steps = std::min(depth, p.k - k0);
      Matrix a{p.a.data + i0 * p.a.row + k0 * p.a.col, p.a.row, p.a.col};
      if (copies) a = copy_block(rows, steps, a, copy.get());
      const bool first = k0 == 0, last = k0 + steps >= p.k;
      for (int64_t j = n0; j < n1; j += t.panel) {
        Tile tile;
        tile.columns = std::min<int64_t>(t.panel, n1 - j);
        tile.b_step = panel_width(t, tile.columns);
        tile.b = p.b + j * p.k + k0 * tile.b_step;
        tile.a_row = a.row;
        tile.a_step = a.col;
        tile.c_row = p.c.row;
        tile.steps = steps;
        tile.accumulate = !first || p.e.accumulate;
        tile.bias = first && p.e.column_bias ? p.e.column_bias + j : nullptr;
        tile.clamp = last ? p.e.clamp : Clamp::none;
        const int64_t height = t.most_rows(tile.columns);
        for (int64_t i = 0; i < rows;) {
          const int64_t r = tile_rows(rows - i, height);
          const int64_t at = (i0 + i) * p.c.row + j;
          tile.a = a.data + i * a.row;
          tile.c = p.c.data + at;
          tile.row_bias = first && p.e.row_bias ? p.e.row_bias + i0 + i : nullptr;
          tile.residual = last && p.e.residual ? p.e.residual + at : nullptr;
          // The next panel of b, in as many parts as there are tiles before it is needed (at most two).
          tile.prefetch = tile.b + (i > 0 ? steps * tile.b_step + (i / height - 1) % 2 * steps * 16 : 0);
          t.run(tile, r);
          i += r;
        }
      }
    }
  }
}

void run(const Product& p) {
  const Tiles& t = p.t;
  if (p.m * p.n * p.k <= kSerial) return block(p, 0, p.m, 0, p.n);
  const int64_t threads = num_threads();
  if (threads == 1) return block(p, 0, p.m, 0, p.n);
  // Whole tiles, some four tasks a thread; blocks of columns only where there are too few rows for that.
  const int64_t rows = std::max<int64_t>(1, p.m / (4 * threads) / t.rows2) * t.rows2;
  const int64_t down = (p.m + rows - 1) / rows;
  const int64_t panels = (p.n + t.panel - 1) / t.panel;
  const int64_t across = down >= 2 * threads ? 1 : std::min(panels, (2 * threads + down - 1) / down);
  const int64_t columns = round_up((p.n + across - 1) / across, t.panel);
  const int64_t parts = (p.n + columns - 1) / columns;
  parallel_for(0, down * parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t m0 = i / parts * rows, n0 = i % parts * columns;
      block(p, m0, std::min(p.m, m0 + rows), n0, std::min(p.n, n0 + columns));
    }
  });
}

// A few rows with the columns of b contiguous: dot products, nothing is packed.
void dot_rows(const Tiles& t, int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, const Result& c,
              const Epilogue& e) {
  constexpr int64_t kFew = 16;  // columns that are never divided among threads
  const int64_t grain = n <= kFew ? n : std::max(kFew, kSerial / std::max<int64_t>(1, k * m));
  parallel_for(0, n, grain, [&](int64_t first, int64_t last) {
    for (int64_t i = 0; i < m; ++i) {
      float sums[64];
      for (int64_t j = first; j < last; j += 64) {
        const int64_t count = std::min<int64_t>(64, last - j);
        t.dots(a.data + i * a.row, b.data + j * b.col, b.col, count, k, sums);
        float* to = c.data + i * c.row + j;
        const float* residual = e.residual ? e.residual + (to - c.data) : nullptr;
        const auto each = [&](auto&& f) {
          for (int64_t u = 0; u < count; ++u) sums[u] = f(sums[u], u);
        };
        if (e.column_bias) each([bias = e.column_bias + j](float v, int64_t u) { return v + bias[u]; });
        if (e.row_bias) each([bias = e.row_bias[i]](float v, int64_t) { return v + bias; });
        if (e.accumulate) each([to](float v, int64_t u) { return v + to[u]; });
        if (residual) each([residual](float v, int64_t u) { return v + residual[u]; });
        if (e.clamp != Clamp::none) each([](float v, int64_t) { return v < 0 ? 0 : v; });
        if (e.clamp == Clamp::relu6) each([](float v, int64_t) { return v > 6 ? 6 : v; });
        std::memcpy(to, sums, size_t(count) * sizeof(float));
      }
    }
  });
}

// b is read where it lies: its rows are contiguous. Only the columns that do not fill a vector are copied.
void in_place(const Tiles& t, int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, const Result& c,
              const Epilogue& e) {
  const int64_t whole = n / t.width * t.width;
  const Scratch<float> rest(n > whole ? k * t.width : 0);
  if (n > whole) pack_panel(t, k, n - whole, {b.data + whole, b.row, 1}, t.width, rest.get());
  for (int64_t j = 0; j < n;) {
    Tile tile;
    const int64_t left = whole - j;
    tile.columns = left >= t.panel ? t.panel : left > 0 ? t.width : n - whole;
    tile.b = left > 0 ? b.data + j : rest.get();
    tile.b_step = left > 0 ? b.row : t.width;
    tile.a_row = a.row;
    tile.a_step = a.col;
    tile.c_row = c.row;
    tile.steps = k;
    tile.accumulate = e.accumulate;
    tile.bias = e.column_bias ? e.column_bias + j : nullptr;
    tile.clamp = e.clamp;
    tile.prefetch = tile.b;
    for (int64_t i = 0; i < m;) {
      const int64_t r = tile_rows(m - i, t.most_rows(tile.columns));
      tile.a = a.data + i * a.row;
      tile.c = c.data + i * c.row + j;
      tile.row_bias = e.row_bias ? e.row_bias + i : nullptr;
      tile.residual = e.residual ? e.residual + i * c.row + j : nullptr;
      t.run(tile, r);
      i += r;
    }
    j += tile.columns;
  }
}

void through_copy(int64_t m, int64_t n, int64_t k, Matrix a, Matrix b, Result c, Epilogue e) {
  const Scratch<float> to(m * n), residual(e.residual ? m * n : 0);
  const auto at = [&](int64_t i, int64_t j) { return i * c.row + j * c.col; };
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      if (e.accumulate) to[i * n + j] = c.data[at(i, j)];
      if (e.residual) residual[i * n + j] = e.residual[at(i, j)];
    }
  if (e.residual) e.residual = residual.get();
  multiply(m, n, k, a, b, {to.get(), n, 1}, e);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) c.data[at(i, j)] = to[i * n + j];
}

}  // namespace

int64_t packed_size(int64_t k, int64_t n) { return k * round_up(n, tiles().width); }

void pack(int64_t k, int64_t n, Matrix b, float* to) {
  const Tiles& t = tiles();
  const int64_t panels = (n + t.panel - 1) / t.panel;
  parallel_for(0, panels, std::max<int64_t>(1, kSerial / std::max<int64_t>(1, k * t.panel)), [&](int64_t first, int64_t last) {
    for (int64_t j = first * t.panel; j < std::min(n, last * t.panel); j += t.panel) {
      const int64_t columns = std::min<int64_t>(t.panel, n - j);
      pack_panel(t, k, columns, {b.data + j * b.col, b.row, b.col}, panel_width(t, columns), to + j * k);
    }
  });
}

void multiply_packed(int64_t m, int64_t n, int64_t k, const Matrix& a, const float* packed, const Result& c,
                     const Epilogue& e) {
  if (m > 0 && n > 0) run({tiles(), m, n, k, a, packed, c, e});
}

void multiply(int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, const Result& c, const Epilogue& e) {
  if (m == 0 || n == 0) return;
  if (c.col != 1 && n > 1) {
    if (c.row != 1 && m > 1) return through_copy(m, n, k, a, b, c, e);
    Epilogue turned = e;
    std::swap(turned.column_bias, turned.row_bias);
    return multiply(n, m, k, b.transposed(), a.transposed(), {c.data, c.col, 1}, turned);
  }
  const Tiles& t = tiles();
  if (b.row == 1 && a.col == 1 && (m <= kFewRows || n == 1)) return dot_rows(t, m, n, k, a, b, c, e);
  if (b.col == 1 && (m <= kFewRows || k * n <= kSmallB) && m * n * k <= kSerial) return in_place(t, m, n, k, a, b, c, e);
  const Scratch<float> packed(packed_size(k, n));
  pack(k, n, b, packed.get());
  run({t, m, n, k, a, packed.get(), c, e});
}

}  // namespace graft::gemm

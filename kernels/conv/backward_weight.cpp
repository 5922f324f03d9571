// dw[tap][ci][co] = sum over images and positions of x[position + tap][ci] y[position][co]: a register tile of ci x co for
// one tap, kept over all rows of a block.
#include <algorithm>
#include "graft/kernels/conv/block.h"
#include "graft/kernels/conv/channels_last.h"
#include "graft/kernels/parallel.h"
#include "graft/kernels/scratch.h"

namespace graft::inline v1::conv {
namespace {

constexpr int64_t kBlockFloats = 1 << 15;  // of both operands: read once per tap and tile, from the second-level cache

struct Work {
  const gemm::Tiles& t;
  const Geometry& g;
  Image<const float> x, y;
  Box box;                    // of x
  int64_t cig, cog, columns;  // columns: of y in a block, whole vectors
  int64_t images;             // of a block
  int64_t rows() const { return g.out[0] * g.out[1]; }
};

// One block: images n0 .. n0 + n, into sums[group][tap][cig][round_up(cog, width)].
void add_block(const Work& w, int64_t n, const float* x, const float* y, int64_t* a_rows, int64_t* b_rows, float* sums,
               bool first) {
  const Geometry& g = w.g;
  const int64_t x_row = w.box.extent[2] * g.ci, x_plane = w.box.extent[1] * x_row, x_image = w.box.extent[0] * x_plane;
  const int64_t step = round_up(w.cog, w.t.width), lines = n * w.rows();
  for (int64_t l = 0; l < lines; ++l) b_rows[l] = l * g.out[2] * w.columns;
  for (int64_t k = 0; k < g.taps(); ++k) {
    const int64_t a0 = k / g.k[2] / g.k[1] * g.dilation[0], b0 = k / g.k[2] % g.k[1] * g.dilation[1];
    const int64_t shift = a0 * x_plane + b0 * x_row + k % g.k[2] * g.dilation[2] * g.ci;
    for (int64_t l = 0; l < lines; ++l)
      a_rows[l] = l / w.rows() * x_image + l % w.rows() / g.out[1] * g.stride[0] * x_plane +
                  l % g.out[1] * g.stride[1] * x_row + shift;
    for (int64_t q = 0; q < g.groups; ++q)
      for (int64_t j = 0; j < w.cog; j += w.t.panel) {
        gemm::Tile tile;
        tile.columns = std::min<int64_t>(w.t.panel, step - j);
        tile.a_row = 1;
        tile.a_step = g.stride[2] * g.ci;
        tile.b = y + q * step + j;
        tile.b_step = w.columns;
        tile.steps = g.out[2];
        tile.taps = lines;
        tile.a_taps = a_rows;
        tile.b_taps = b_rows;
        tile.c_row = step;
        tile.accumulate = !first;
        tile.prefetch = tile.b;
        const int64_t most = w.t.most_rows(tile.columns);
        for (int64_t i = 0; i < w.cig;) {
          const int64_t r = gemm::tile_rows(w.cig - i, most);
          tile.a = x + q * w.cig + i;
          tile.c = sums + ((q * g.taps() + k) * w.cig + i) * step + j;
          w.t.run(tile, r);
          i += r;
        }
      }
  }
}

// The same for depthwise, sums[tap][channel].
void add_depthwise_block(const Work& w, int64_t n, const float* x, const float* y, int64_t* offsets, float* sums) {
  const Geometry& g = w.g;
  const int64_t x_row = w.box.extent[2] * g.ci, x_plane = w.box.extent[1] * x_row, x_image = w.box.extent[0] * x_plane;
  for (int64_t k = 0; k < g.taps(); ++k)
    offsets[k] = k / g.k[2] / g.k[1] * g.dilation[0] * x_plane + k / g.k[2] % g.k[1] * g.dilation[1] * x_row +
                 k % g.k[2] * g.dilation[2] * g.ci;
  for (int64_t l = 0; l < n * w.rows(); ++l) {
    gemm::Depthwise d;
    d.x = x + l / w.rows() * x_image + l % w.rows() / g.out[1] * g.stride[0] * x_plane + l % g.out[1] * g.stride[1] * x_row;
    d.y = const_cast<float*>(y) + l * g.out[2] * g.co;
    d.x_step = g.stride[2] * g.ci;
    d.y_step = g.co;
    d.points = g.out[2];
    d.channels = g.co;
    d.taps = g.taps();
    d.offsets = offsets;
    w.t.depthwise_weight(d, sums);
  }
}

// y with each group's channels filled up to whole vectors.
void copy_y(const Work& w, int64_t n0, int64_t n, float* to) {
  const Box all{.first = {0, 0, 0}, .extent = {w.g.out[0], w.g.out[1], w.g.out[2]}};
  const int64_t step = w.columns / w.g.groups;
  if (w.cog == step) return copy_in(w.t, w.y, n0, n, w.g.co, w.g.out, all, to, w.columns);
  const Scratch<float> part(n * w.g.out_points() * step);
  for (int64_t q = 0; q < w.g.groups; ++q) {
    Image<const float> from = w.y;
    from.data += q * w.cog * from.stride.c;
    if (w.g.groups == 1) return copy_in(w.t, from, n0, n, w.cog, w.g.out, all, to, step);
    copy_in(w.t, from, n0, n, w.cog, w.g.out, all, part.get(), step);
    for (int64_t i = 0; i < n * w.g.out_points(); ++i)
      std::copy_n(part.get() + i * step, step, to + i * w.columns + q * step);
  }
}

}  // namespace

bool backward_weight_channels_last(const Geometry& g, Image<const float> x, Image<const float> y, Image<float> w) {
  const int64_t cig = g.ci / g.groups, cog = g.co / g.groups, taps = g.taps();
  if (!gains(g.groups, cig, cog)) return false;
  if (g.n == 0 || g.out_points() == 0 || cig == 0 || cog == 0) return false;
  const gemm::Tiles& t = gemm::tiles();
  const bool depthwise = is_depthwise(g.groups, cig, cog);
  const int64_t step = depthwise ? 1 : round_up(cog, t.width);
  Work work{t, g, x, y, {}, cig, cog, g.groups * step, 1};
  for (int d = 0; d < 3; ++d) {
    work.box.first[d] = -g.pad[d];
    work.box.extent[d] = (g.out[d] - 1) * g.stride[d] + (g.k[d] - 1) * g.dilation[d] + 1;
  }
  const int64_t x_image = work.box.extent[0] * work.box.extent[1] * work.box.extent[2] * g.ci;
  const int64_t y_image = g.out_points() * work.columns;
  const int64_t size = g.groups * taps * cig * step;  // of the sums, which every block reads and writes once
  work.images = std::clamp<int64_t>(std::max(kBlockFloats, size / 8) / (x_image + y_image), 1, g.n);
  const bool x_as_is = g.pad[0] == 0 && g.pad[1] == 0 && g.pad[2] == 0 && x.stride.c == 1 && work.box.extent[0] == g.in[0] &&
                       work.box.extent[1] == g.in[1] && work.box.extent[2] == g.in[2] && x.stride.s[2] == g.ci &&
                       x.stride.s[1] == g.in[2] * g.ci && x.stride.s[0] == g.in[1] * g.in[2] * g.ci && x.stride.n == x_image;
  const bool y_as_is = work.columns == g.co && y.stride.c == 1 && y.stride.s[2] == g.co && y.stride.s[1] == g.out[2] * g.co &&
                       y.stride.s[0] == g.out[1] * g.out[2] * g.co && y.stride.n == y_image;

  // Parts of the batch with sums of their own, as many as there are threads: same count, same bits.
  const int64_t parts = std::min<int64_t>(num_threads(), g.n);
  const Scratch<float> sums(parts * size);
  const Scratch<int64_t> at(taps);
  for (int64_t k = 0; k < taps; ++k)
    at[k] = k / g.k[2] / g.k[1] * w.stride.s[0] + k / g.k[2] % g.k[1] * w.stride.s[1] + k % g.k[2] * w.stride.s[2];
  parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    const Scratch<float> xs(x_as_is ? 0 : work.images * x_image), ys(y_as_is ? 0 : work.images * y_image);
    const Scratch<int64_t> a_rows(std::max(taps, work.images * work.rows())), b_rows(work.images * work.rows());
    for (int64_t p = begin; p < end; ++p) {
      const int64_t first = p * g.n / parts, last = (p + 1) * g.n / parts;
      float* own = sums.get() + p * size;
      if (depthwise) std::fill_n(own, size, 0.F);
      for (int64_t n0 = first; n0 < last; n0 += work.images) {
        const int64_t n = std::min(work.images, last - n0);
        if (!x_as_is) copy_in(t, x, n0, n, g.ci, g.in, work.box, xs.get(), g.ci);
        if (!y_as_is) copy_y(work, n0, n, ys.get());
        const float* from_x = x_as_is ? x.data + n0 * x_image : xs.get();
        const float* from_y = y_as_is ? y.data + n0 * y_image : ys.get();
        if (depthwise) add_depthwise_block(work, n, from_x, from_y, a_rows.get(), own);
        else add_block(work, n, from_x, from_y, a_rows.get(), b_rows.get(), own, n0 == first);
      }
    }
  });
  // Some input channels at a time, so that the lines read stay in the first-level cache for all columns on them.
  parallel_for(0, g.groups * cog, std::max<int64_t>(16, (1 << 15) / (cig * taps)), [&](int64_t begin, int64_t end) {
    for (int64_t c0 = 0; c0 < cig; c0 += 8)
      for (int64_t column = begin; column < end; ++column)
        for (int64_t i = c0; i < std::min(cig, c0 + 8); ++i)
          for (int64_t k = 0; k < taps; ++k) {
            const float* from = sums.get() + (depthwise ? k * g.co + column
                                                        : ((column / cog * taps + k) * cig + i) * step + column % cog);
            float total = 0;
            for (int64_t p = 0; p < parts; ++p) total += from[p * size];
            w.data[column * w.stride.n + i * w.stride.c + at[k]] = total;
          }
  });
  return true;
}

}  // namespace graft::conv

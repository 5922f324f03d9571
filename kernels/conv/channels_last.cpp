#include "graft/kernels/conv/channels_last.h"

#include <algorithm>
#include "graft/kernels/conv/block.h"
#include "graft/kernels/parallel.h"
#include "graft/kernels/scratch.h"

namespace graft::inline v1::conv {
namespace {

constexpr int64_t kBlockFloats = 1 << 16;  // of source and result of one block: they stay in the second-level cache

// result[q] = sum over taps and channels of source[q * scale + tap] w[tap]: forward, and one residue class modulo the
// stride of backward-data. The packed weights are [group][panel][tap][channel][panel width].
struct Correlation {
  int64_t n, groups, channels, columns;  // the last two per group
  int64_t size[3], count[3], scale[3];   // of the source; of the result; step in the source per result
  int64_t taps;
  const int64_t* tap;  // [taps][3]
  const float* weights;
};

// Offsets of every result of a block in source and result, and whether they are those of evenly spaced rows.
struct Rows {
  Scratch<int64_t> a, c;
  bool even = true;
  int64_t a_step = 0, c_step = 0;

  Rows(int64_t images, const int64_t* count, const int64_t* scale, const Strides& from, const Strides& to)
      : a(images * count[0] * count[1] * count[2]), c(images * count[0] * count[1] * count[2]) {
    int64_t i = 0;
    for (int64_t n = 0; n < images; ++n)
      for (int64_t p = 0; p < count[0]; ++p)
        for (int64_t q = 0; q < count[1]; ++q)
          for (int64_t r = 0; r < count[2]; ++r, ++i) {
            a[i] = n * from.n + p * scale[0] * from.s[0] + q * scale[1] * from.s[1] + r * scale[2] * from.s[2];
            c[i] = n * to.n + p * to.s[0] + q * to.s[1] + r * to.s[2];
          }
    a_step = scale[2] * from.s[2];
    c_step = to.s[2];
    for (int64_t j = 0; j < i && even; ++j) even = a[j] == j * a_step && c[j] == j * c_step;
  }
};

Strides dense(const int64_t* extent, int64_t step) {
  Strides s{.n = extent[0] * extent[1] * extent[2] * step, .c = 1, .s = {}};
  s.s[2] = step;
  s.s[1] = extent[2] * step;
  s.s[0] = extent[1] * s.s[1];
  return s;
}

// All columns of one group for `rows` results of a block.
struct GroupRun {
  const gemm::Tiles& t;
  const Correlation& c;
  const Rows& rows;
  const int64_t* offsets;  // of the taps in the source

  // One channel per group: no product to be had; a row of points at a time.
  void depthwise(int64_t count, const float* from, float* to, const float* bias, const float* residual,
                 gemm::Clamp clamp) const {
    for (int64_t i = 0; i < count; i += c.count[2]) {
      gemm::Depthwise d;
      d.x = from + rows.a[i];
      d.w = c.weights;
      d.y = to + rows.c[i];
      d.x_step = rows.a_step;
      d.y_step = rows.c_step;
      d.points = c.count[2];
      d.channels = c.groups;
      d.taps = c.taps;
      d.offsets = offsets;
      d.bias = bias;
      d.residual = residual ? residual + rows.c[i] : nullptr;
      d.clamp = clamp;
      t.depthwise(d);
    }
  }
  void operator()(int64_t count, const float* from, float* to, const float* weights, const float* bias,
                  const float* residual, gemm::Clamp clamp) const {
    const int64_t depth = c.taps * c.channels, row = c.count[2];
    for (int64_t j = 0; j < c.columns; j += t.panel) {
      gemm::Tile tile;
      tile.columns = std::min<int64_t>(t.panel, c.columns - j);
      tile.b_step = tile.columns <= t.width ? t.width : t.panel;
      tile.b = weights + j * depth;
      tile.steps = c.channels;
      tile.taps = c.taps;
      tile.a_taps = offsets;
      tile.a_row = rows.a_step;
      tile.c_row = rows.c_step;
      tile.bias = bias ? bias + j : nullptr;
      tile.clamp = clamp;
      tile.prefetch = tile.b;
      const int64_t most = t.most_rows(tile.columns);
      for (int64_t i = 0; i < count;) {
        const int64_t r = gemm::tile_rows(count - i, most);
        const bool listed = !rows.even && i % row + r > row;
        const int64_t a = listed ? 0 : rows.a[i], at = (listed ? 0 : rows.c[i]) + j;
        tile.a_rows = listed ? rows.a.get() + i : nullptr;
        tile.c_rows = listed ? rows.c.get() + i : nullptr;
        tile.a = from + a;
        tile.c = to + at;
        tile.residual = residual ? residual + at : nullptr;
        t.run(tile, r);
        i += r;
      }
    }
  }
};

gemm::Clamp clamp_of(Activation a) {
  return a == Activation::none ? gemm::Clamp::none : a == Activation::relu ? gemm::Clamp::relu : gemm::Clamp::relu6;
}
bool same_strides(const Strides& a, const Strides& b) {
  return a.n == b.n && a.c == b.c && a.s[0] == b.s[0] && a.s[1] == b.s[1] && a.s[2] == b.s[2];
}

void add_and_clamp(Image<float> y, Image<const float> r, int64_t n, int64_t channels, const int64_t* count, Activation f) {
  const auto at = [](const Strides& s, int64_t i, int64_t a, int64_t b, int64_t d) {
    return i * s.n + a * s.s[0] + b * s.s[1] + d * s.s[2];
  };
  for (int64_t i = 0; i < n; ++i)
    for (int64_t a = 0; a < count[0]; ++a)
      for (int64_t b = 0; b < count[1]; ++b)
        for (int64_t d = 0; d < count[2]; ++d)
          for (int64_t c = 0; c < channels; ++c) {
            float& v = y.data[at(y.stride, i, a, b, d) + c * y.stride.c];
            v += r.data[at(r.stride, i, a, b, d) + c * r.stride.c];
            if (f != Activation::none && v < 0) v = 0;
            if (f == Activation::relu6 && v > 6) v = 6;
          }
}

template <class T> Image<T> shifted(Image<T> v, int64_t n, int64_t row) {
  if (v.data) v.data += n * v.stride.n + row * v.stride.s[1];
  return v;
}

void correlate(const Correlation& c, Image<const float> x, Image<float> y, const Epilogue<float>& e) {
  const gemm::Tiles& t = gemm::tiles();
  const int64_t in_channels = c.groups * c.channels, out_channels = c.groups * c.columns;
  const int64_t points = c.count[0] * c.count[1] * c.count[2];
  if (c.n == 0 || points == 0 || out_channels == 0) return;
  Box box{};
  bool inside = true;
  for (int d = 0; d < 3; ++d) {
    int64_t low = 0, high = 0;
    for (int64_t k = 0; k < c.taps; ++k) {
      low = k ? std::min(low, c.tap[k * 3 + d]) : c.tap[d];
      high = k ? std::max(high, c.tap[k * 3 + d]) : c.tap[d];
    }
    box.first[d] = low;
    box.extent[d] = (c.count[d] - 1) * c.scale[d] + high - low + 1;
    inside = inside && low >= 0 && low + box.extent[d] <= c.size[d];
  }
  const bool in_place = inside && (x.stride.c == 1 || in_channels == 1);
  const bool residual_in_place = e.residual.data && same_strides(e.residual.stride, y.stride);
  const bool direct = y.stride.c == 1 || out_channels == 1;
  const bool late = e.residual.data && !(direct && residual_in_place);  // in a pass of its own

  // Blocks: several images, or some rows of one.
  const int64_t all_rows = c.count[1];
  const int64_t per_image = box.extent[0] * box.extent[1] * box.extent[2] * in_channels + points * out_channels;
  int64_t images = std::clamp<int64_t>(kBlockFloats / std::max<int64_t>(1, per_image), 1, c.n), rows = all_rows;
  if (per_image > kBlockFloats && c.count[0] == 1 && box.extent[0] == 1) {
    const int64_t per_row = per_image / all_rows;
    rows = std::clamp<int64_t>(2 * kBlockFloats / per_row, std::min<int64_t>(all_rows, 4), all_rows);
  }
  const int64_t threads = num_threads();
  if (threads > 1) images = std::min(images, ceil_div(c.n, threads));
  int64_t count[3] = {c.count[0], rows, c.count[2]};
  Box part = box;
  part.extent[1] = (rows - 1) * c.scale[1] + box.extent[1] - (all_rows - 1) * c.scale[1];
  const Strides from = in_place ? x.stride : dense(part.extent, in_channels);
  const Strides to = direct ? y.stride : dense(count, out_channels);
  const Rows list(images, count, c.scale, from, to);
  const Scratch<int64_t> offsets(c.taps);
  for (int64_t k = 0; k < c.taps; ++k) {
    offsets[k] = 0;
    for (int d = 0; d < 3; ++d) offsets[k] += (c.tap[k * 3 + d] - box.first[d]) * from.s[d];
  }
  const GroupRun run{t, c, list, offsets.get()};
  const int64_t panels = c.taps * c.channels * round_up(c.columns, t.width);

  const int64_t down = ceil_div(all_rows, rows), blocks = ceil_div(c.n, images) * down;
  const bool serial = c.n * points * out_channels * c.taps * c.channels < (1 << 17);
  parallel_for(0, blocks, serial ? blocks : 1, [&](int64_t begin, int64_t end) {
    const Scratch<float> source(in_place ? 0 : images * from.n), result(direct ? 0 : images * to.n);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n0 = i / down * images, row = i % down * rows;
      const int64_t n = std::min(images, c.n - n0);
      int64_t here[3] = {c.count[0], std::min(rows, all_rows - row), c.count[2]};
      const float* a = source.get();
      if (in_place) {
        a = x.data + n0 * x.stride.n + box.first[0] * x.stride.s[0] + (box.first[1] + row * c.scale[1]) * x.stride.s[1] +
            box.first[2] * x.stride.s[2];
      } else {
        Box now = part;
        now.first[1] = box.first[1] + row * c.scale[1];
        copy_in(t, x, n0, n, in_channels, c.size, now, source.get(), in_channels);
      }
      const Image<float> target = shifted(y, n0, row);
      const Image<const float> residual = shifted(e.residual, n0, row);
      float* b = direct ? target.data : result.get();
      const int64_t results = n * here[0] * here[1] * here[2];
      const float* fused = residual_in_place && !late ? residual.data : nullptr;
      const gemm::Clamp clamp = late ? gemm::Clamp::none : clamp_of(e.activation);
      if (is_depthwise(c.groups, c.channels, c.columns)) run.depthwise(results, a, b, e.bias, fused, clamp);
      else
        for (int64_t g = 0; g < c.groups; ++g)
          run(results, a + g * c.channels, b + g * c.columns, c.weights + g * panels,
              e.bias ? e.bias + g * c.columns : nullptr, fused ? fused + g * c.columns : nullptr, clamp);
      if (!direct) copy_out(t, b, n, out_channels, here, out_channels, target);
      if (late) add_and_clamp(target, residual, n, out_channels, here, e.activation);
    }
  });
}

constexpr int64_t kPackChannels = 8;  // at a time, so that the lines written stay in the first-level cache

// Where the weights of a column are contiguous as [channel][tap], PyTorch's layout: eight columns at a time.
void pack_contiguous(const gemm::Tiles& t, const float* data, int64_t count, int64_t width, int64_t o, int64_t channels,
                     int64_t taps, float* panel) {
  const Scratch<float> part(kPackChannels * taps * width);
  for (int64_t c0 = 0; c0 < channels; c0 += kPackChannels) {
    const int64_t n = std::min(kPackChannels, channels - c0);
    int64_t u = 0;
    for (; u + 8 <= count; u += 8) t.transpose8(data + u * o + c0 * taps, o, n * taps, part.get() + u, width);
    for (; u < width; ++u)
      for (int64_t k = 0; k < n * taps; ++k) part[k * width + u] = u < count ? data[u * o + c0 * taps + k] : 0;
    for (int64_t c = 0; c < n; ++c)
      for (int64_t k = 0; k < taps; ++k)
        std::copy_n(part.get() + (c * taps + k) * width, width, panel + (k * channels + c0 + c) * width);
  }
}

// Weights to panels: element (tap, channel, column) of a group lies at data[column * o + channel * i + at[tap]].
void pack_weights(const gemm::Tiles& t, const float* data, int64_t columns, int64_t o, int64_t channels, int64_t i,
                  int64_t taps, const int64_t* at, float* to) {
  bool contiguous = i == taps;
  for (int64_t k = 0; k < taps; ++k) contiguous = contiguous && at[k] == k;
  for (int64_t j = 0; j < columns; j += t.panel) {
    const int64_t count = std::min<int64_t>(t.panel, columns - j), width = count <= t.width ? t.width : t.panel;
    float* panel = to + j * taps * channels;
    if (contiguous) {
      pack_contiguous(t, data + j * o, count, width, o, channels, taps, panel);
      continue;
    }
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t k = 0; k < taps; ++k) {
        const float* from = data + j * o + c * i + at[k];
        float* row = panel + (k * channels + c) * width;
        for (int64_t u = 0; u < width; ++u) row[u] = u < count ? from[u * o] : 0;
      }
  }
}

void pack_depthwise(Image<const float> w, int64_t channels, int64_t taps, const int64_t* at, float* to) {
  for (int64_t k = 0; k < taps; ++k)
    for (int64_t c = 0; c < channels; ++c) to[k * channels + c] = w.data[c * w.stride.n + at[k]];
}

Epilogue<float> with_dense_bias(const Epilogue<float>& e, int64_t channels, const Scratch<float>& copy) {
  Epilogue<float> d = e;
  if (e.bias && e.bias_step != 1) {
    for (int64_t i = 0; i < channels; ++i) copy[i] = e.bias[i * e.bias_step];
    d.bias = copy.get();
  }
  return d;
}
int64_t tap_offset(const Strides& w, int64_t a, int64_t b, int64_t c) { return a * w.s[0] + b * w.s[1] + c * w.s[2]; }

}  // namespace

bool forward_channels_last(const Geometry& g, Image<const float> x, Image<const float> w, Image<float> y,
                           const Epilogue<float>& e) {
  const int64_t cig = g.ci / g.groups, cog = g.co / g.groups, taps = g.taps();
  if (!gains(g.groups, cig, cog)) return false;
  const gemm::Tiles& t = gemm::tiles();
  const Scratch<int64_t> tap(taps * 3), at(taps);
  int64_t i = 0;
  for (int64_t a = 0; a < g.k[0]; ++a)
    for (int64_t b = 0; b < g.k[1]; ++b)
      for (int64_t c = 0; c < g.k[2]; ++c, ++i) {
        const int64_t k[3] = {a, b, c};
        for (int d = 0; d < 3; ++d) tap[i * 3 + d] = k[d] * g.dilation[d] - g.pad[d];
        at[i] = tap_offset(w.stride, a, b, c);
      }
  const int64_t panels = taps * cig * round_up(cog, t.width);
  const Scratch<float> packed(panels * g.groups), bias(e.bias && e.bias_step != 1 ? g.co : 0);
  if (is_depthwise(g.groups, cig, cog)) pack_depthwise(w, g.groups, taps, at.get(), packed.get());
  else parallel_for(0, g.groups, 1, [&](int64_t first, int64_t last) {
    for (int64_t q = first; q < last; ++q)
      pack_weights(t, w.data + q * cog * w.stride.n, cog, w.stride.n, cig, w.stride.c, taps, at.get(),
                   packed.get() + q * panels);
  });
  Correlation c{.n = g.n, .groups = g.groups, .channels = cig, .columns = cog, .size = {}, .count = {}, .scale = {},
                .taps = taps, .tap = tap.get(), .weights = packed.get()};
  for (int d = 0; d < 3; ++d) {
    c.size[d] = g.in[d];
    c.count[d] = g.out[d];
    c.scale[d] = g.stride[d];
  }
  correlate(c, x, y, with_dense_bias(e, g.co, bias));
  return true;
}

// Positions of one residue class modulo the stride see a fixed part of the taps: each class is a correlation with step 1.
bool backward_data_channels_last(const Geometry& g, Image<const float> y, Image<const float> w, Image<float> x,
                                 const Epilogue<float>& e) {
  const int64_t cig = g.ci / g.groups, cog = g.co / g.groups, taps = g.taps();
  if (!gains(g.groups, cig, cog)) return false;
  const gemm::Tiles& t = gemm::tiles();
  const Scratch<int64_t> tap(taps * 3), at(taps);
  const int64_t most = taps * cog * round_up(cig, t.width);
  const Scratch<float> packed(most * g.groups), bias(e.bias && e.bias_step != 1 ? g.ci : 0);
  const Epilogue<float> whole = with_dense_bias(e, g.ci, bias);
  for (int64_t p = 0; p < g.stride[0] * g.stride[1] * g.stride[2]; ++p) {
    const int64_t residue[3] = {p / g.stride[2] / g.stride[1], p / g.stride[2] % g.stride[1], p % g.stride[2]};
    Correlation c{.n = g.n, .groups = g.groups, .channels = cog, .columns = cig, .size = {}, .count = {},
                  .scale = {1, 1, 1}, .taps = 0, .tap = tap.get(), .weights = packed.get()};
    Image<float> to = x;
    Epilogue<float> part = whole;
    for (int d = 0; d < 3; ++d) {
      c.size[d] = g.out[d];
      c.count[d] = residue[d] < g.in[d] ? ceil_div(g.in[d] - residue[d], g.stride[d]) : 0;
      to.data += residue[d] * x.stride.s[d];
      to.stride.s[d] *= g.stride[d];
      if (part.residual.data) part.residual.data += residue[d] * e.residual.stride.s[d];
      part.residual.stride.s[d] *= g.stride[d];
    }
    for (int64_t k = 0; k < taps; ++k) {
      const int64_t index[3] = {k / g.k[2] / g.k[1], k / g.k[2] % g.k[1], k % g.k[2]};
      bool mine = true;
      for (int d = 0; d < 3; ++d) {
        const int64_t far = residue[d] + g.pad[d] - index[d] * g.dilation[d];
        mine = mine && far % g.stride[d] == 0;
        tap[c.taps * 3 + d] = far / g.stride[d];
      }
      if (mine) at[c.taps++] = tap_offset(w.stride, index[0], index[1], index[2]);
    }
    const int64_t panels = c.taps * cog * round_up(cig, t.width);
    if (is_depthwise(g.groups, cig, cog)) pack_depthwise(w, g.groups, c.taps, at.get(), packed.get());
    else for (int64_t q = 0; q < g.groups; ++q)
      pack_weights(t, w.data + q * cog * w.stride.n, cig, w.stride.c, cog, w.stride.n, c.taps, at.get(),
                   packed.get() + q * panels);
    correlate(c, y, to, part);
  }
  return true;
}

}  // namespace graft::conv

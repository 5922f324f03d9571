#include "graft/kernels/conv/block.h"

#include <algorithm>
#include <cstring>

namespace graft::inline v1::conv {
namespace {

// [channels][points] to [points][step].
void row_in(const gemm::Tiles& t, const float* from, int64_t c_stride, int64_t stride, int64_t channels, int64_t points,
            float* to, int64_t step) {
  if (c_stride == 1) {
    if (stride == step && channels == step) {
      std::memcpy(to, from, size_t(points * channels) * sizeof(float));
      return;
    }
    for (int64_t i = 0; i < points; ++i) std::memcpy(to + i * step, from + i * stride, size_t(channels) * sizeof(float));
    return;
  }
  int64_t c = 0;
  if (stride == 1)
    for (; c + 8 <= channels; c += 8) t.transpose8(from + c * c_stride, c_stride, points, to + c, step);
  for (; c < channels; ++c)
    for (int64_t i = 0; i < points; ++i) to[i * step + c] = from[c * c_stride + i * stride];
}

}  // namespace

void copy_in(const gemm::Tiles& t, Image<const float> from, int64_t n0, int64_t n, int64_t channels, const int64_t* size,
             const Box& box, float* to, int64_t step) {
  const Strides& s = from.stride;
  if (step == 0) return;
  const int64_t low = std::clamp<int64_t>(-box.first[2], 0, box.extent[2]);  // zeros before and behind a row
  const int64_t high = std::clamp<int64_t>(size[2] - box.first[2], low, box.extent[2]);
  const auto zeros = [&](float* p, int64_t points) { std::memset(p, 0, size_t(points * step) * sizeof(float)); };
  for (int64_t i = n0; i < n0 + n; ++i)
    for (int64_t a = box.first[0]; a < box.first[0] + box.extent[0]; ++a)
      for (int64_t b = box.first[1]; b < box.first[1] + box.extent[1]; ++b, to += box.extent[2] * step) {
        if (a < 0 || a >= size[0] || b < 0 || b >= size[1] || low == high) {
          zeros(to, box.extent[2]);
          continue;
        }
        zeros(to, low);
        if (step > channels) zeros(to + low * step, high - low);
        zeros(to + high * step, box.extent[2] - high);
        row_in(t, from.data + i * s.n + a * s.s[0] + b * s.s[1] + (box.first[2] + low) * s.s[2], s.c, s.s[2], channels,
               high - low, to + low * step, step);
      }
}

void copy_out(const gemm::Tiles& t, const float* from, int64_t n, int64_t channels, const int64_t* count, int64_t step,
              Image<float> to) {
  const Strides& s = to.stride;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t a = 0; a < count[0]; ++a)
      for (int64_t b = 0; b < count[1]; ++b, from += count[2] * step) {
        float* row = to.data + i * s.n + a * s.s[0] + b * s.s[1];
        int64_t j = 0;
        if (s.s[2] == 1)
          for (; j + 8 <= count[2]; j += 8) t.transpose8(from + j * step, step, channels, row + j, s.c);
        for (; j < count[2]; ++j)
          for (int64_t c = 0; c < channels; ++c) row[j * s.s[2] + c * s.c] = from[j * step + c];
      }
}

}  // namespace graft::conv

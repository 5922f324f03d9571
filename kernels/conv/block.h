// A part of a batch, copied to channels-last memory with the zeros around it that a convolution reads.
#pragma once
#include "graft/kernels/conv/conv.h"
#include "graft/kernels/gemm/tiles.h"

namespace graft::inline v1::conv {

inline int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Which groups the channels-last functions take: those that fill a good part of a vector, and depthwise.
inline bool is_depthwise(int64_t groups, int64_t ci, int64_t co) { return groups > 1 && ci == 1 && co == 1; }
inline bool gains(int64_t groups, int64_t ci, int64_t co) {
  return groups == 1 || (ci >= 4 && co >= 4) || is_depthwise(groups, ci, co);
}

// Source coordinates first[d] .. first[d] + extent[d], inside [0, size[d]) or not.
struct Box { int64_t first[3], extent[3]; };

// Images n0 .. n0 + n of `from` to to[n][box][step], step >= channels; what lies outside and the channels beyond are zero.
void copy_in(const gemm::Tiles&, Image<const float> from, int64_t n0, int64_t n, int64_t channels, const int64_t* size,
             const Box&, float* to, int64_t step);
// The way back: from[n][count][step] to images n0 .. of `to` at spatial strides of its own.
void copy_out(const gemm::Tiles&, const float* from, int64_t n, int64_t channels, const int64_t* count, int64_t step,
              Image<float> to);

}  // namespace graft::conv

// f32 convolutions as matrix products over channels-last memory, without im2col: the tiles of kernels/gemm read the
// input through lists of offsets. Other layouts are converted a block at a time.
#pragma once
#include "graft/kernels/conv/conv.h"

namespace graft::inline v1::conv {

// False if the geometry gains nothing (a few channels per group): the caller falls back on the reference. Results differ
// from it in rounding only.
bool forward_channels_last(const Geometry&, Image<const float> x, Image<const float> w, Image<float> y,
                           const Epilogue<float>&);
bool backward_data_channels_last(const Geometry&, Image<const float> y, Image<const float> w, Image<float> x,
                                 const Epilogue<float>&);
bool backward_weight_channels_last(const Geometry&, Image<const float> x, Image<const float> y, Image<float> w);

}  // namespace graft::conv

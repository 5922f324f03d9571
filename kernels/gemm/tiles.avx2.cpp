// Register tiles, avx2.
#include "graft/kernels/gemm/tiles.h"
#include "graft/kernels/vec/avx2.h"

#include "graft/kernels/gemm/tiles.inc"
#include "graft/kernels/gemm/depthwise.inc"
#include "graft/kernels/gemm/transpose8.avx.inc"

namespace graft::inline v1::gemm {

const Tiles& tiles_avx2() {
  static constexpr Tiles table{.width = W,
                               .panel = 2 * W,
                               .rows2 = kRows2,
                               .rows1 = kRows1,
                               .strided = {kStrided1.f, kStrided2.f},
                               .listed = {kListed1.f, kListed2.f},
                               .dots = dots,
                               .transpose8 = transpose8,
                               .depthwise = depthwise,
                               .depthwise_weight = depthwise_weight};
  return table;
}

}  // namespace graft::gemm

// Which table of tiles is used.
#include "graft/kernels/gemm/tiles.h"
#include "graft/kernels/isa.h"

namespace graft::inline v1::gemm {

const Tiles& tiles() {
#if defined(__x86_64__)
  switch (cpu::isa()) {
    case cpu::Isa::avx512: return tiles_avx512();
    case cpu::Isa::avx2: return tiles_avx2();
    case cpu::Isa::baseline: break;
  }
#endif
  return tiles_baseline();
}

}  // namespace graft::gemm

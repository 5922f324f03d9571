// matmul and linear on cuda: how their operands become the rows of a product, and the tiles for every dtype and layout.
#include "graft/kernels/cuda/compat.h"

#include "graft/kernels/cuda/register.h"
#include "graft/kernels/gemm/cuda_matmul.h"
#include "graft/kernels/gemm/cuda_tiles.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

template <class C> Decline tiles(gemm::MatmulProduct p, const View& out, void* stream) {
  p.product.a.packs &= p.product.a.dtype == f32;  // 16 bytes are four numbers here
  p.product.b.packs &= p.product.b.dtype == f32;
  gemm::run_tiles<C>(p.product, p.batches, out, stream);
  return kRan;
}

}  // namespace

void register_gemm_cuda() {
  register_gemm_cublas_cuda();  // asked first
  register_gemm_tensor_core_cuda();
  const auto add = [](DType t, const char* name, auto run) {
    using Run = decltype(run);
    add_kernel("matmul", Device::cuda, t, name, [](const Launch& l) { return gemm::matmul(l, Run{}); });
    add_kernel("linear", Device::cuda, t, name, [](const Launch& l) { return gemm::linear(l, Run{}); });
    if (is_floating(t)) add_kernel("linear_grad", Device::cuda, t, name, [](const Launch& l) { return gemm::linear_grad(l, Run{}); });
    if (is_floating(t)) add_kernel("linear_act", Device::cuda, t, name, [](const Launch& l) { return gemm::linear_act(l, Run{}); });
  };
  for (const DType t : {f32, f16, bf16}) add(t, "tiles", [](auto&&... a) { return tiles<float>(a...); });
  add(f64, "tiles", [](auto&&... a) { return tiles<double>(a...); });
  add(c64, "tiles", [](auto&&... a) { return tiles<Complex<float>>(a...); });
  add(c128, "tiles", [](auto&&... a) { return tiles<Complex<double>>(a...); });
  for (const DType t : {i64, i32, i16, i8, u8}) add(t, "tiles", [](auto&&... a) { return tiles<int64_t>(a...); });
}

}  // namespace graft

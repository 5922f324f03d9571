// matmul and linear of f16 and bf16 on tensor cores, for operands that can be read 16 bytes at a time.
#include "graft/kernels/cuda/compat.h"

#include "graft/kernels/cuda/register.h"
#include "graft/kernels/gemm/cuda_matmul.h"
#include "graft/kernels/gemm/cuda_tensor_core.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

template <class T> Decline tensor_cores(gemm::MatmulProduct it, const View& out, void* stream) {
  auto& p = it.product;
  if (!p.a.packs || !p.b.packs) return gemm::kNotInPacks;
  if (int64_t(p.m) * p.n < 1024 || p.k < 32) return "too small: 32 x 32 results of 32 products at least";
  p.out_packs = p.out.packs && p.out.along_k;
  const auto run = p.a.along_k ? p.b.along_k ? gemm::run_tensor_cores<T, gemm::Matrix, true, true> : gemm::run_tensor_cores<T, gemm::Matrix, true, false>
                   : p.b.along_k ? gemm::run_tensor_cores<T, gemm::Matrix, false, true>
                                 : gemm::run_tensor_cores<T, gemm::Matrix, false, false>;
  run(p, it.batches, out, stream);
  return kRan;
}
template <class T> void add() {
  static constexpr auto run = [](const gemm::MatmulProduct& p, const View& out, void* stream) { return tensor_cores<T>(p, out, stream); };
  add_kernel("matmul", Device::cuda, dtype_v<T>, "tensor_cores", [](const Launch& l) { return gemm::matmul(l, run); });
  add_kernel("linear", Device::cuda, dtype_v<T>, "tensor_cores", [](const Launch& l) { return gemm::linear(l, run); });
  add_kernel("linear_grad", Device::cuda, dtype_v<T>, "tensor_cores", [](const Launch& l) { return gemm::linear_grad(l, run); });
  add_kernel("linear_act", Device::cuda, dtype_v<T>, "tensor_cores", [](const Launch& l) { return gemm::linear_act(l, run); });
}

}  // namespace

void register_gemm_tensor_core_cuda() { add<Half>(), add<BFloat16>(); }

}  // namespace graft

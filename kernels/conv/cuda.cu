// Convolutions on cuda as tiled products, for every dtype and layout.
#include "graft/kernels/cuda/compat.h"

#include "graft/kernels/conv/cuda_product.h"
#include "graft/kernels/cuda/register.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;
using cuda::conv::Kind;
using cuda::conv::Task;

// Weights are read once for every tile of rows: where their order would scatter the reads they are copied to one that does not.
bool wants_weights_in_order(const Task& t) {
  if (t.kind == Kind::weight || t.g.taps() == 1) return false;
  const bool inside = t.kind == Kind::forward ? cuda::conv::channels_inside(t.x, t.g.ci) : cuda::conv::channels_inside(t.y, t.g.co);
  return inside && t.w.stride.c != 1 && !(t.kind == Kind::data && t.w.stride.n == 1);
}
template <class C> Decline tiles(Task t, void* stream) {
  if (t.out().numel == 0) return kRan;
  if (const Decline why = cuda::conv::check_sizes(t)) return why;
  const size_t bytes = wants_weights_in_order(t) ? size_t(t.w.view->numel * size_of(t.w.view->dtype)) : 0;
  const Workspace weights(t.out(), bytes);
  if (weights.get()) cuda::conv::copy_side(t.w, cuda::conv::order_of_weights(t, t.cig()), weights.get(), bytes, false, stream);
  cuda::conv::place_residual(t, stream);
  cuda::conv::for_each_product(t, [&](cuda::conv::Product p) {
    p.a.packs &= p.a.dtype == f32;  // 16 bytes are four numbers here
    p.b.packs &= p.b.dtype == f32;
    p.out_packs &= p.out.dtype == f32;
    gemm::run_tiles<C>(p, t.g.groups, t.out(), stream);
  });
  return kRan;
}
template <class C> void add_tiles(DType t) {
  add_kernel("conv_forward", Device::cuda, t, "tiles", [](const Launch& l) { return tiles<C>(cuda::conv::forward_task(l), l.stream); });
  add_kernel("conv_backward_data", Device::cuda, t, "tiles",
             [](const Launch& l) { return tiles<C>(cuda::conv::backward_data_task(l), l.stream); });
  add_kernel("conv_backward_weight", Device::cuda, t, "tiles",
             [](const Launch& l) { return tiles<C>(cuda::conv::backward_weight_task(l), l.stream); });
}

}  // namespace

void register_conv_cuda() {
  register_conv_cudnn_cuda();   // asked first
  register_conv_direct_cuda();  // before the products: it takes what has few channels
  register_conv_tensor_core_cuda();
  for (const DType t : {f32, f16, bf16}) add_tiles<float>(t);
  add_tiles<double>(f64);
  add_tiles<int64_t>(i64);
  add_tiles<Complex<float>>(c64);
  add_tiles<Complex<double>>(c128);
}

}  // namespace graft

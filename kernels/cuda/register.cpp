#include "graft/kernels/cuda/register.h"

namespace graft::inline v1 {

void register_cuda_kernels() {
  register_attention_cuda();
  register_conv_cuda();
  register_gemm_cuda();
  register_index_cuda();
  register_label_cuda();
  register_move_cuda();
  register_norm_cuda();
  register_batch_norm_cuda();
  register_optimizer_cuda();
  register_pointwise_cuda();
  register_pool_cuda();
  register_random_cuda();
  register_rearrange_cuda();
  register_reduce_cuda();
  register_resample_cuda();
  register_softmax_cuda();
  register_sort_cuda();
}

}  // namespace graft

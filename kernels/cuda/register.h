// The kernel families of device cuda: a line here and in register.cpp makes one known. Each is defined at the end of its
// kernel file (kernels/FAMILY/cuda.cu).
#pragma once

namespace graft::inline v1 {

void register_cuda_kernels();  // all of them; kernels/table.cpp calls it once. Nothing in a build without CUDA

void register_attention_cuda();
void register_attention_tensor_core_cuda();  // part of register_attention_cuda()
void register_conv_cuda();
void register_conv_cudnn_cuda();        // part of register_conv_cuda()
void register_conv_direct_cuda();       // as well
void register_conv_tensor_core_cuda();
void register_gemm_cuda();
void register_gemm_cublas_cuda();       // part of register_gemm_cuda()
void register_gemm_tensor_core_cuda();  // as well
void register_index_cuda();
void register_index_put_cuda();  // part of register_index_cuda()
void register_label_cuda();
void register_move_cuda();
void register_norm_cuda();
void register_batch_norm_cuda();
void register_optimizer_cuda();
void register_pool_cuda();
void register_random_cuda();
void register_rearrange_cuda();
void register_reduce_cuda();
void register_resample_cuda();
void register_softmax_cuda();
void register_cross_entropy_cuda();  // part of register_softmax_cuda()
void register_sort_cuda();
void register_pointwise_cuda();
void register_pointwise_unary_cuda();   // part of register_pointwise_cuda()
void register_pointwise_binary_cuda();  // as well
void register_pointwise_complex_cuda();

}  // namespace graft

// The entry points of cuDNN 9 that vendor_cudnn.cpp calls, and the numbers it hands them: what NVIDIA documents of their binary
// interface. No header of theirs is needed; tests/cuda_vendor_conv_test.cpp holds this against them where there is a toolkit.
#pragma once
#include <cstddef>
#include <iterator>

namespace graft::inline v1::cuda::cudnn {

enum Status : int { success = 0, not_initialized = 1001, bad_param = 2000, not_supported = 3000, internal_error = 4000, execution_failed = 5000 };
enum Type : int { in_f32 = 0, in_f64 = 1, in_f16 = 2, in_bf16 = 9 };
enum Format : int { nchw = 0, nhwc = 1 };
enum Math : int { tensor_cores = 1, only_fma = 3 };  // only_fma: f32 is not rounded to tf32
enum Mode : int { cross_correlation = 1 };
enum ActivationMode : int { relu = 1, identity = 5 };
inline constexpr int kPropagateNan = 1, kDeterministic = 1;
inline constexpr int kPrecomputedGemm = 1;  // the forward algorithm that can end in an identity

struct Choice {  // cudnnConvolution*AlgoPerf_t
  int algorithm;
  Status status;
  float time;
  size_t memory;
  int determinism, math;
  int reserved[3];
};

using Handle = void*;
using Descriptor = void*;  // of a tensor, a filter, a convolution, an activation

struct Functions {
  size_t (*version)();
  Status (*create)(Handle*);
  Status (*set_stream)(Handle, void* stream);
  Status (*make_tensor)(Descriptor*);
  Status (*set_tensor)(Descriptor, Type, int rank, const int* size, const int* stride);
  Status (*destroy_tensor)(Descriptor);
  Status (*make_filter)(Descriptor*);
  Status (*set_filter)(Descriptor, Type, Format, int rank, const int* size);
  Status (*destroy_filter)(Descriptor);
  Status (*make_convolution)(Descriptor*);
  Status (*set_convolution)(Descriptor, int rank, const int* pad, const int* stride, const int* dilation, Mode, Type compute);
  Status (*set_groups)(Descriptor, int);
  Status (*set_math)(Descriptor, Math);
  Status (*destroy_convolution)(Descriptor);
  Status (*make_activation)(Descriptor*);
  Status (*set_activation)(Descriptor, ActivationMode, int nan, double);
  Status (*destroy_activation)(Descriptor);
  Status (*find_forward)(Handle, Descriptor x, Descriptor w, Descriptor conv, Descriptor y, int wanted, int* found, Choice*);
  Status (*find_data)(Handle, Descriptor w, Descriptor dy, Descriptor conv, Descriptor dx, int wanted, int* found, Choice*);
  Status (*find_filter)(Handle, Descriptor x, Descriptor dy, Descriptor conv, Descriptor dw, int wanted, int* found, Choice*);
  Status (*forward)(Handle, const void* alpha, Descriptor, const void* x, Descriptor, const void* w, Descriptor conv, int algorithm,
                    void* workspace, size_t, const void* beta, Descriptor, void* y);
  // y = activation(alpha conv(x) + beta z + bias)
  Status (*forward_fused)(Handle, const void* alpha, Descriptor, const void* x, Descriptor, const void* w, Descriptor conv, int algorithm,
                          void* workspace, size_t, const void* beta, Descriptor, const void* z, Descriptor, const void* bias,
                          Descriptor activation, Descriptor, void* y);
  Status (*backward_data)(Handle, const void* alpha, Descriptor, const void* w, Descriptor, const void* dy, Descriptor conv, int algorithm,
                          void* workspace, size_t, const void* beta, Descriptor, void* dx);
  Status (*backward_filter)(Handle, const void* alpha, Descriptor, const void* x, Descriptor, const void* dy, Descriptor conv, int algorithm,
                            void* workspace, size_t, const void* beta, Descriptor, void* dw);
};
inline constexpr const char* kNames[] = {
    "cudnnGetVersion", "cudnnCreate", "cudnnSetStream",
    "cudnnCreateTensorDescriptor", "cudnnSetTensorNdDescriptor", "cudnnDestroyTensorDescriptor",
    "cudnnCreateFilterDescriptor", "cudnnSetFilterNdDescriptor", "cudnnDestroyFilterDescriptor",
    "cudnnCreateConvolutionDescriptor", "cudnnSetConvolutionNdDescriptor", "cudnnSetConvolutionGroupCount",
    "cudnnSetConvolutionMathType", "cudnnDestroyConvolutionDescriptor",
    "cudnnCreateActivationDescriptor", "cudnnSetActivationDescriptor", "cudnnDestroyActivationDescriptor",
    "cudnnGetConvolutionForwardAlgorithm_v7", "cudnnGetConvolutionBackwardDataAlgorithm_v7",
    "cudnnGetConvolutionBackwardFilterAlgorithm_v7", "cudnnConvolutionForward", "cudnnConvolutionBiasActivationForward",
    "cudnnConvolutionBackwardData", "cudnnConvolutionBackwardFilter"};  // in the order of Functions
static_assert(sizeof(Functions) == sizeof(void*) * std::size(kNames));

}  // namespace graft::cuda::cudnn

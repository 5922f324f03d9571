// Convolutions by cuDNN: that every geometry and layout reaches it as it is meant, that what it cannot do goes to graft's own kernels
// with a reason, and that the entry points declared in kernels/cuda/cudnn.h are those of NVIDIA's headers. Held against the direct
// sums in f64 on cpu, which the inputs make exact (small integers).
#if __has_include(<cudnn.h>)
#define GRAFT_HAS_CUDNN_HEADERS
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#include <cudnn.h>
#endif

#include "cuda_exact.h"
#include "cuda_vendor.h"
#include "graft/core/autograd.h"
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/kernels/conv/attrs.h"
#include "graft/kernels/cuda/cudnn.h"

namespace graft {
namespace {

struct Ran : KernelsRun {
  Ran() : KernelsRun([](std::string_view op) { return op.starts_with("conv_"); }) {}
};
Tensor digits(const Shape& shape, int64_t seed) { return graft::digits(shape, seed, 2); }
const Device kCuda(Device::cuda), kCpu;

struct Geometry {
  const char* name;
  Shape x, w;
  std::array<int32_t, 3> stride{1, 1, 1}, pad{0, 0, 0}, dilation{1, 1, 1};
  int32_t groups = 1;
};
const Geometry kGeometries[] = {
    {"3x3", {2, 4, 6, 7}, {6, 4, 3, 3}, {1, 1}, {1, 1}},
    {"1x1", {2, 3, 4, 5}, {5, 3, 1, 1}},
    {"one channel", {2, 1, 5, 6}, {3, 1, 2, 3}},
    {"unequal everything", {2, 4, 9, 14}, {3, 4, 2, 5}, {2, 1}, {1, 3}, {3, 2}},
    {"groups", {2, 6, 5, 4}, {4, 3, 3, 2}, {1, 2}, {1, 0}, {1, 1}, 2},
    {"depthwise", {1, 5, 6, 6}, {10, 1, 3, 3}, {2, 2}, {1, 1}, {1, 1}, 5},
    {"1d", {2, 4, 9}, {3, 4, 3}, {2}, {1}, {2}},
    {"3d", {1, 2, 4, 5, 6}, {3, 2, 2, 3, 2}, {1, 2, 1}, {1, 0, 1}, {1, 1, 2}},
};
ConvAttrs attrs_of(const Geometry& g) {
  ConvAttrs a;
  a.rank = uint8_t(g.x.rank() - 2);
  a.groups = g.groups;
  for (int d = 0; d < a.rank; ++d) a.stride[d] = g.stride[size_t(d)], a.padding[d] = g.pad[size_t(d)], a.dilation[d] = g.dilation[size_t(d)];
  return a;
}
Tensor channels_last(const Tensor& x) {
  if (x.dim() < 4) return x.transpose(1, -1).contiguous().transpose(1, -1);
  return x.to(x.dim() == 4 ? MemoryFormat::channels_last : MemoryFormat::channels_last_3d);
}
Tensors result_and_gradients(const Tensor& x_values, const Tensor& w_values, const Tensor& bias, const ConvAttrs& a) {
  const Tensor x = x_values.detach().requires_grad_(), w = w_values.detach().requires_grad_();
  const Tensor y = convolution(x, w, bias, a);
  const Tensors g = grad({y}, {x, w}, {.grad_outputs = {digits(y.shape(), 5).to(y.dtype()).to(y.device())}});
  return {y, g[0], g[1]};
}

constexpr char kLibrary[] = "cuDNN";
using CudaVendorConv = WithVendor<testing::TestWithParam<DType>, kLibrary>;

TEST_P(CudaVendorConv, every_geometry_and_layout) {
  const DType t = GetParam();
  for (const Geometry& g : kGeometries)
    for (const bool last : {false, true})
      for (const bool transposed : {false, true})
        for (const bool with_bias : {false, true}) {
          SCOPED_TRACE(concat(g.name, last ? ", channels inside" : "", transposed ? ", transposed" : "", with_bias ? ", bias" : ""));
          if (g.x.rank() == 3 && last) continue;  // weights of one dimension are then in an order of their own
          ConvAttrs a = attrs_of(g);
          a.transposed = transposed;
          Shape sx = g.x;
          if (transposed) sx[1] = g.w[0];
          const Tensor x = digits(sx, 1), w = digits(g.w, 2);
          const Tensor bias = with_bias ? digits({transposed ? g.w[1] * g.groups : g.w[0]}, 3) : Tensor();
          const Tensors expected = result_and_gradients(x, w, bias, a);
          const auto there = [&](const Tensor& v) { return v.defined() ? v.to(t).to(kCuda) : v; };
          const auto order = [&](const Tensor& v) { return last ? channels_last(v) : v; };
          Ran ran;
          Tensors got;
          {
            const Observing look(ran);
            got = result_and_gradients(order(there(x)), order(there(w)), there(bias), a);
          }
          // Where a bias ends a transposed convolution it is graft's.
          EXPECT_EQ(ran.kernels.substr(ran.kernels.find(' ')), " cudnn cudnn") << ran.reasons;
          if (transposed && with_bias) EXPECT_NE(ran.reasons.find("cudnn: cuDNN adds nothing to a transposed convolution"), std::string::npos);
          else EXPECT_TRUE(ran.kernels.starts_with("cudnn ")) << ran.reasons;
          for (size_t i = 0; i < 3; ++i)
            EXPECT_TRUE(same(got[i].to(kCpu), expected[i].to(t))) << (i == 0 ? "y" : i == 1 ? "dx" : "dw") << " by " << ran.kernels;
        }
}
TEST_P(CudaVendorConv, bias_residual_and_activation) {
  const DType t = GetParam();
  const NoGrad quiet;
  const Tensor x = digits({2, 4, 5, 6}, 1), w = digits({6, 4, 3, 3}, 2), bias = digits({6}, 3), add = digits({2, 6, 5, 6}, 4);
  const auto there = [&](const Tensor& v) { return v.defined() ? v.to(t).to(kCuda) : v; };
  for (const bool last : {false, true})
    for (const bool with_bias : {false, true})
      for (const bool with_residual : {false, true})
        for (const Activation f : {Activation::none, Activation::relu, Activation::relu6}) {
          ConvAttrs a;
          a.padding[0] = a.padding[1] = 1;
          a.activation = f;
          const auto b = with_bias ? bias : Tensor();
          const auto r = with_residual ? add : Tensor();
          Ran ran;
          Tensor y;
          {
            const Observing look(ran);
            y = convolution(last ? channels_last(there(x)) : there(x), there(w), there(b), a, there(r));
          }
          const bool can = f != Activation::relu6 && (with_bias || (!with_residual && f == Activation::none));
          EXPECT_EQ(ran.kernels == "cudnn", can) << ran.kernels << ": " << ran.reasons;
          EXPECT_TRUE(same(y.to(kCpu), convolution(x, w, b, a, r).to(t))) << last << with_bias << with_residual << int(f);
        }
}
TEST_P(CudaVendorConv, what_it_cannot_read_goes_to_graft) {
  const DType t = GetParam();
  const NoGrad quiet;
  const Tensor x = digits({2, 4, 5, 6}, 1), w = digits({6, 4, 3, 6}, 2);
  Ran ran;
  Tensor y;
  {
    const Observing look(ran);
    y = convolution(x.to(t).to(kCuda), w.to(t).to(kCuda).slice(3, 0, 6, 2), {}, ConvAttrs());
  }
  EXPECT_NE(ran.kernels, "cudnn");
  EXPECT_NE(ran.reasons.find("cudnn: the weights have gaps"), std::string::npos) << ran.reasons;
  EXPECT_TRUE(same(y.to(kCpu), convolution(x, w.slice(3, 0, 6, 2), {}, ConvAttrs()).to(t)));
}
#ifdef GRAFT_CUDA_EMULATED
TEST_P(CudaVendorConv, an_algorithm_is_searched_once_for_every_geometry) {
  const NoGrad quiet;
  const Tensor w = digits({6, 3, 3, 3}, 2).to(GetParam()).to(kCuda);
  const auto searches = [&](const Tensor& x, int32_t padding) {
    ConvAttrs a;
    a.padding[0] = a.padding[1] = padding;
    const size_t before = cuda::emulation::algorithm_searches();
    const Tensor there = x.to(kCuda);
    EXPECT_TRUE(same(convolution(there, w, {}, a).to(kCpu), convolution(x, w.to(kCpu), {}, a)));
    return cuda::emulation::algorithm_searches() - before;
  };
  const Tensor x = digits({2, 3, 11, 13}, 1).to(GetParam()), wider = digits({2, 3, 11, 14}, 1).to(GetParam());
  EXPECT_EQ(searches(x, 1), 1U);
  EXPECT_EQ(searches(x * 2.0, 1), 0U);  // in another place
  EXPECT_EQ(searches(x, 2), 1U);
  EXPECT_EQ(searches(wider, 1), 1U);
  EXPECT_EQ(searches(channels_last(x), 1), 1U);
  EXPECT_EQ(searches(x, 1), 0U);
}
#endif
TEST_P(CudaVendorConv, KD13_without_the_library_own_kernels_run_and_say_so) {
  const NoGrad quiet;
  const Tensor x = digits({2, 4, 5, 6}, 1).to(GetParam()), w = digits({6, 4, 3, 3}, 2).to(GetParam());
  cuda::use_vendor_libraries(false);
  Ran ran;
  const Observing look(ran);
  const Tensor y = convolution(x.to(kCuda), w.to(kCuda), {}, ConvAttrs());
  EXPECT_NE(ran.kernels, "cudnn");
  EXPECT_NE(ran.reasons.find("cudnn: vendor libraries are switched off"), std::string::npos) << ran.reasons;
}
INSTANTIATE_TEST_SUITE_P(Types, CudaVendorConv, testing::Values(f32, f64, f16, bf16), [](const auto& i) { return std::string(name_of(i.param)); });

// ---- the binary interface ----------------------------------------------------------------------------------------

#ifdef GRAFT_HAS_CUDNN_HEADERS
using F = cuda::cudnn::Functions;
namespace dn = cuda::cudnn;
static_assert(kSameAbi<decltype(F::version), decltype(&::cudnnGetVersion)>);
static_assert(kSameAbi<decltype(F::create), decltype(&::cudnnCreate)>);
static_assert(kSameAbi<decltype(F::set_stream), decltype(&::cudnnSetStream)>);
static_assert(kSameAbi<decltype(F::make_tensor), decltype(&::cudnnCreateTensorDescriptor)>);
static_assert(kSameAbi<decltype(F::set_tensor), decltype(&::cudnnSetTensorNdDescriptor)>);
static_assert(kSameAbi<decltype(F::destroy_tensor), decltype(&::cudnnDestroyTensorDescriptor)>);
static_assert(kSameAbi<decltype(F::make_filter), decltype(&::cudnnCreateFilterDescriptor)>);
static_assert(kSameAbi<decltype(F::set_filter), decltype(&::cudnnSetFilterNdDescriptor)>);
static_assert(kSameAbi<decltype(F::destroy_filter), decltype(&::cudnnDestroyFilterDescriptor)>);
static_assert(kSameAbi<decltype(F::make_convolution), decltype(&::cudnnCreateConvolutionDescriptor)>);
static_assert(kSameAbi<decltype(F::set_convolution), decltype(&::cudnnSetConvolutionNdDescriptor)>);
static_assert(kSameAbi<decltype(F::set_groups), decltype(&::cudnnSetConvolutionGroupCount)>);
static_assert(kSameAbi<decltype(F::set_math), decltype(&::cudnnSetConvolutionMathType)>);
static_assert(kSameAbi<decltype(F::destroy_convolution), decltype(&::cudnnDestroyConvolutionDescriptor)>);
static_assert(kSameAbi<decltype(F::make_activation), decltype(&::cudnnCreateActivationDescriptor)>);
static_assert(kSameAbi<decltype(F::set_activation), decltype(&::cudnnSetActivationDescriptor)>);
static_assert(kSameAbi<decltype(F::destroy_activation), decltype(&::cudnnDestroyActivationDescriptor)>);
static_assert(kSameAbi<decltype(F::find_forward), decltype(&::cudnnGetConvolutionForwardAlgorithm_v7)>);
static_assert(kSameAbi<decltype(F::find_data), decltype(&::cudnnGetConvolutionBackwardDataAlgorithm_v7)>);
static_assert(kSameAbi<decltype(F::find_filter), decltype(&::cudnnGetConvolutionBackwardFilterAlgorithm_v7)>);
static_assert(kSameAbi<decltype(F::forward), decltype(&::cudnnConvolutionForward)>);
static_assert(kSameAbi<decltype(F::forward_fused), decltype(&::cudnnConvolutionBiasActivationForward)>);
static_assert(kSameAbi<decltype(F::backward_data), decltype(&::cudnnConvolutionBackwardData)>);
static_assert(kSameAbi<decltype(F::backward_filter), decltype(&::cudnnConvolutionBackwardFilter)>);
template <class Perf> constexpr bool kSameChoice =
    sizeof(dn::Choice) == sizeof(Perf) && offsetof(dn::Choice, status) == offsetof(Perf, status) && offsetof(dn::Choice, memory) == offsetof(Perf, memory) &&
    offsetof(dn::Choice, determinism) == offsetof(Perf, determinism);
static_assert(kSameChoice<cudnnConvolutionFwdAlgoPerf_t> && kSameChoice<cudnnConvolutionBwdDataAlgoPerf_t> && kSameChoice<cudnnConvolutionBwdFilterAlgoPerf_t>);
static_assert(int(dn::success) == CUDNN_STATUS_SUCCESS && int(dn::not_initialized) == CUDNN_STATUS_NOT_INITIALIZED &&
              int(dn::bad_param) == CUDNN_STATUS_BAD_PARAM && int(dn::not_supported) == CUDNN_STATUS_NOT_SUPPORTED &&
              int(dn::internal_error) == CUDNN_STATUS_INTERNAL_ERROR && int(dn::execution_failed) == CUDNN_STATUS_EXECUTION_FAILED);
static_assert(int(dn::in_f32) == CUDNN_DATA_FLOAT && int(dn::in_f64) == CUDNN_DATA_DOUBLE && int(dn::in_f16) == CUDNN_DATA_HALF &&
              int(dn::in_bf16) == CUDNN_DATA_BFLOAT16);
static_assert(int(dn::nchw) == CUDNN_TENSOR_NCHW && int(dn::nhwc) == CUDNN_TENSOR_NHWC);
static_assert(int(dn::tensor_cores) == CUDNN_TENSOR_OP_MATH && int(dn::only_fma) == CUDNN_FMA_MATH && int(dn::cross_correlation) == CUDNN_CROSS_CORRELATION);
static_assert(int(dn::relu) == CUDNN_ACTIVATION_RELU && int(dn::identity) == CUDNN_ACTIVATION_IDENTITY && dn::kPropagateNan == CUDNN_PROPAGATE_NAN);
static_assert(dn::kDeterministic == CUDNN_DETERMINISTIC && dn::kPrecomputedGemm == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM);
#endif

}  // namespace
}  // namespace graft

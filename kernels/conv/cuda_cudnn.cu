// Convolutions by cuDNN, where it is installed: which of their geometries and layouts it can read.
#include "graft/kernels/cuda/compat.h"

#include "graft/kernels/conv/cuda_product.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/cuda/vendor.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;
using cuda::conv::Kind;
using cuda::conv::Side;
using cuda::conv::Task;

// cuDNN has two or three spatial dimensions: those of one are a plane of height 1.
int first_dimension(const Task& t) { return t.x.view->rank == 5 ? 0 : 1; }

bool describe(const Side& s, int first, vendor::Image& to) {
  const int64_t stride[] = {s.stride.n, s.stride.c, s.stride.s[0], s.stride.s[1], s.stride.s[2]};
  to.data = s.data;
  for (int i = 0; i < 5 - first; ++i) {
    to.stride[i] = stride[i < 2 ? i : i + first];
    if (i == 2 && first == 1 && s.view->rank == 3) to.stride[i] = s.stride.s[2] * s.view->size[2];  // a height of 1 needs a stride, too
    if (to.stride[i] < 1 || to.stride[i] > INT32_MAX) return false;
  }
  return s.view->numel <= INT32_MAX;
}
// Weights without gaps, in one of the two orders.
bool describe_weights(const Task& t, vendor::Conv& to) {
  const int64_t channels = t.cig(), taps = t.g.taps();
  const auto follows = [&](int64_t channel, int64_t tap) {  // strides of a channel and of the innermost tap
    int64_t expected = tap;
    bool same = (channels == 1 || t.w.stride.c == channel) && (t.g.co == 1 || t.w.stride.n == channels * taps);
    for (int d = 2; d >= 0; --d) {
      same = same && (t.g.k[d] == 1 || t.w.stride.s[d] == expected);
      expected *= t.g.k[d];
    }
    return same;
  };
  to.w = t.w.data;
  to.channels_inside = t.x.stride.c == 1 && channels > 1;  // where both orders fit, that of x
  if (to.channels_inside ? follows(1, channels) : follows(taps, 1)) return true;
  to.channels_inside = !to.channels_inside;
  return to.channels_inside ? follows(1, channels) : follows(taps, 1);
}

Decline cudnn(const Task& t, void* stream) {
  const cuda::conv::Geometry& g = t.g;
  if (t.out().numel == 0) return kRan;
  if (t.x.view->numel == 0 || t.y.view->numel == 0 || t.w.view->numel == 0) return "a tensor is empty";
  if (t.kind != Kind::forward && (t.bias || t.residual || t.activation != gemm::Activation::none))
    return "cuDNN adds nothing to a transposed convolution";
  if (t.activation != gemm::Activation::none && t.activation != gemm::Activation::relu) return "cuDNN's convolutions end in relu or in nothing";
  if (t.bias && t.bias->stride[0] != 1) return "the bias is strided";
  const int first = first_dimension(t);
  vendor::Conv v;
  v.result = t.kind == Kind::forward ? vendor::ConvResult::y : t.kind == Kind::data ? vendor::ConvResult::x : vendor::ConvResult::w;
  v.dtype = t.out().dtype;
  v.rank = 3 - first;
  v.n = g.n, v.ci = g.ci, v.co = g.co, v.groups = g.groups;
  for (int i = 0; i < v.rank; ++i) {
    const int d = i + first;
    v.in[i] = g.in[d], v.out[i] = g.out[d], v.k[i] = g.k[d];
    v.pad[i] = g.pad[d], v.stride[i] = g.stride[d], v.dilation[i] = g.dilation[d];
    if ((g.in[d] + 2 * g.pad[d] - g.dilation[d] * (g.k[d] - 1) - 1) / g.stride[d] + 1 != g.out[d]) return "cuDNN pads both ends alike";
  }
  if (!describe(t.x, first, v.x) || !describe(t.y, first, v.y)) return "strides that cuDNN cannot read";
  if (!describe_weights(t, v)) return "the weights have gaps, or another order than cuDNN's two";
  Side residual;
  if (t.residual) {
    residual = Side(*t.residual);
    if (!describe(residual, first, v.residual)) return "strides that cuDNN cannot read";
  }
  v.bias = t.bias ? t.bias->data : nullptr;
  v.relu = t.activation == gemm::Activation::relu;
  return vendor::convolve(v, t.out(), stream);
}

}  // namespace

void register_conv_cudnn_cuda() {
  for (const DType t : {f32, f64, f16, bf16}) {
    add_kernel("conv_forward", Device::cuda, t, "cudnn", [](const Launch& l) { return cudnn(cuda::conv::forward_task(l), l.stream); });
    add_kernel("conv_backward_data", Device::cuda, t, "cudnn", [](const Launch& l) { return cudnn(cuda::conv::backward_data_task(l), l.stream); });
    add_kernel("conv_backward_weight", Device::cuda, t, "cudnn", [](const Launch& l) { return cudnn(cuda::conv::backward_weight_task(l), l.stream); });
  }
}

}  // namespace graft

// Adapters of torch.nn.functional: convolution, normalization, pooling, attention.
#include "graft/core/ops.h"
#include "graft/nn/functional.h"
#include "ops.h"
#include "sizes.h"

namespace conformance {
namespace {

using namespace graft;
namespace F = graft::nn::functional;

template <int N>
using Conv = Tensor (*)(const Tensor&, const Tensor&, const Tensor&, const F::ConvOptions<N>&);
template <int N, Conv<N> f>
Outputs conv(Arguments& a) {
  const Tensor x = a.tensor("input"), w = a.tensor("weight"), b = a.tensor_or_none("bias");
  F::ConvOptions<N> o;
  o.stride = sizes<N>(a, "stride", 1);
  o.padding = padding<N>(a, "padding");
  o.dilation = sizes<N>(a, "dilation", 1);
  o.groups = a.integer("groups", 1);
  return {f(x, w, b, o)};
}

template <int N>
using ConvTranspose = Tensor (*)(const Tensor&, const Tensor&, const Tensor&, const F::ConvTransposeOptions<N>&);
template <int N, ConvTranspose<N> f>
Outputs conv_transpose(Arguments& a) {
  const Tensor x = a.tensor("input"), w = a.tensor("weight"), b = a.tensor_or_none("bias");
  F::ConvTransposeOptions<N> o;
  o.stride = sizes<N>(a, "stride", 1);
  o.padding = sizes<N>(a, "padding", 0);
  o.output_padding = sizes<N>(a, "output_padding", 0);
  o.groups = a.integer("groups", 1);
  o.dilation = sizes<N>(a, "dilation", 1);
  return {f(x, w, b, o)};
}

template <int N>
using MaxPool = F::Pooled (*)(const Tensor&, const nn::Sizes<N>&, const F::MaxPoolOptions<N>&);
template <int N, MaxPool<N> f>
Outputs max_pool(Arguments& a) {
  const Tensor x = a.tensor("input");
  const auto kernel = sizes<N>(a, "kernel_size", 1);
  F::MaxPoolOptions<N> o;
  o.stride = sizes_or_none<N>(a, "stride");
  o.padding = sizes<N>(a, "padding", 0);
  o.dilation = sizes<N>(a, "dilation", 1);
  o.ceil_mode = a.boolean("ceil_mode", false);
  const F::Pooled p = f(x, kernel, o);
  return a.boolean("return_indices", false) ? Outputs{p.values, p.indices} : Outputs{p.values};
}

template <int N>
using AvgPool = Tensor (*)(const Tensor&, const nn::Sizes<N>&, const F::AvgPoolOptions<N>&);
template <int N, AvgPool<N> f>
Outputs avg_pool(Arguments& a) {
  const Tensor x = a.tensor("input");
  const auto kernel = sizes<N>(a, "kernel_size", 1);
  F::AvgPoolOptions<N> o;
  o.stride = sizes_or_none<N>(a, "stride");
  o.padding = sizes<N>(a, "padding", 0);
  o.ceil_mode = a.boolean("ceil_mode", false);
  o.count_include_pad = a.boolean("count_include_pad", true);
  o.divisor_override = a.integer_or_none("divisor_override");
  return {f(x, kernel, o)};
}

template <int N>
using AdaptiveAvg = Tensor (*)(const Tensor&, const nn::Sizes<N>&);
template <int N, AdaptiveAvg<N> f>
Outputs adaptive_avg(Arguments& a) {
  const Tensor x = a.tensor("input");
  return {f(x, output_sizes<N>(a, "output_size"))};
}
template <int N>
using AdaptiveMax = F::Pooled (*)(const Tensor&, const nn::Sizes<N>&);
template <int N, AdaptiveMax<N> f>
Outputs adaptive_max(Arguments& a) {
  const Tensor x = a.tensor("input");
  const F::Pooled p = f(x, output_sizes<N>(a, "output_size"));
  return a.boolean("return_indices", false) ? Outputs{p.values, p.indices} : Outputs{p.values};
}

template <int N>
using LpPool = Tensor (*)(const Tensor&, double, const nn::Sizes<N>&, std::optional<nn::Sizes<N>>, bool);
template <int N, LpPool<N> f>
Outputs lp_pool(Arguments& a) {
  const Tensor x = a.tensor("input");
  const double p = a.number("norm_type", 2);
  const auto kernel = sizes<N>(a, "kernel_size", 1);
  const auto stride = sizes_or_none<N>(a, "stride");
  return {f(x, p, kernel, stride, a.boolean("ceil_mode", false))};
}

Outputs batch_norm(Arguments& a) {
  const Tensor x = a.tensor("input"), mean = a.tensor_or_none("running_mean"), var = a.tensor_or_none("running_var");
  const Tensor w = a.tensor_or_none("weight"), b = a.tensor_or_none("bias");
  F::BatchNormOptions o;
  o.training = a.boolean("training", false);
  o.momentum = a.number("momentum", 0.1);
  o.eps = a.number("eps", 1e-5);
  return {F::batch_norm(x, mean, var, w, b, o)};
}
Outputs instance_norm(Arguments& a) {
  const Tensor x = a.tensor("input"), mean = a.tensor_or_none("running_mean"), var = a.tensor_or_none("running_var");
  const Tensor w = a.tensor_or_none("weight"), b = a.tensor_or_none("bias");
  F::InstanceNormOptions o;
  o.use_input_stats = a.boolean("use_input_stats", true);
  o.momentum = a.number("momentum", 0.1);
  o.eps = a.number("eps", 1e-5);
  return {F::instance_norm(x, mean, var, w, b, o)};
}
Outputs layer_norm(Arguments& a) {
  const Tensor x = a.tensor("input");
  const Ints shape = a.ints("normalized_shape");
  const Tensor w = a.tensor_or_none("weight"), b = a.tensor_or_none("bias");
  return {F::layer_norm(x, Shape(std::span<const int64_t>(shape)), w, b, a.number("eps", 1e-5))};
}
Outputs group_norm(Arguments& a) {
  const Tensor x = a.tensor("input");
  const int64_t groups = a.integer("num_groups");
  const Tensor w = a.tensor_or_none("weight"), b = a.tensor_or_none("bias");
  return {F::group_norm(x, groups, w, b, a.number("eps", 1e-5))};
}
Outputs rms_norm(Arguments& a) {
  const Tensor x = a.tensor("input");
  const Ints shape = a.ints("normalized_shape");
  const Tensor w = a.tensor_or_none("weight");
  return {F::rms_norm(x, Shape(std::span<const int64_t>(shape)), w, a.number_or_none("eps"))};
}
Outputs normalize(Arguments& a) {
  const Tensor x = a.tensor("input");
  const double p = a.number("p", 2);
  const auto dim = int(a.integer("dim", 1));
  return {F::normalize(x, p, dim, a.number("eps", 1e-12))};
}
Outputs local_response_norm(Arguments& a) {
  const Tensor x = a.tensor("input");
  const int64_t size = a.integer("size");
  const double alpha = a.number("alpha", 1e-4), beta = a.number("beta", 0.75);
  return {F::local_response_norm(x, size, alpha, beta, a.number("k", 1))};
}

Outputs linear(Arguments& a) {
  const Tensor x = a.tensor("input"), w = a.tensor("weight");
  return {F::linear(x, w, a.tensor_or_none("bias"))};
}
Outputs bilinear(Arguments& a) {
  const Tensor x = a.tensor("input1"), y = a.tensor("input2"), w = a.tensor("weight");
  return {F::bilinear(x, y, w, a.tensor_or_none("bias"))};
}
Outputs attention(Arguments& a) {
  const Tensor q = a.tensor("query"), k = a.tensor("key"), v = a.tensor("value");
  F::AttentionOptions o;
  o.attn_mask = a.tensor_or_none("attn_mask");
  o.dropout_p = a.number("dropout_p", 0);
  if (o.dropout_p > 0) throw Unsupported("dropout draws PyTorch's random numbers");
  o.is_causal = a.boolean("is_causal", false);
  o.scale = a.number_or_none("scale");
  o.enable_gqa = a.boolean("enable_gqa", false);
  return {F::scaled_dot_product_attention(q, k, v, o)};
}
Outputs embedding(Arguments& a) {
  Tensor w = a.tensor("weight"), index = a.tensor("input");  // recorded in this order
  if (!is_floating(w.dtype()) && !is_complex(w.dtype())) std::swap(w, index);
  F::EmbeddingOptions o;
  o.padding_idx = a.integer_or_none("padding_idx");
  o.max_norm = a.number_or_none("max_norm");
  o.norm_type = a.number("norm_type", 2);
  o.scale_grad_by_freq = a.boolean("scale_grad_by_freq", false);
  if (a.boolean("sparse", false)) throw Unsupported("sparse gradients");
  return {F::embedding(index, w, o)};
}
Outputs one_hot(Arguments& a) {
  const Tensor x = a.tensor("input");
  return {F::one_hot(x, a.integer("num_classes", -1))};
}

using Softmax = Tensor (*)(const Tensor&, std::optional<int>, std::optional<DType>);
template <Softmax f>
Outputs softmax(Arguments& a) {
  const Tensor x = a.tensor("input");
  const auto dim = a.integer_or_none("dim");
  const auto dtype = a.dtype("dtype");
  return {f(x, dim ? std::optional(int(*dim)) : std::nullopt, dtype)};
}
Outputs cosine_similarity(Arguments& a) {
  const Tensor x = a.tensor("x1"), y = a.tensor("x2");
  const auto dim = int(a.integer("dim", 1));
  return {F::cosine_similarity(x, y, dim, a.number("eps", 1e-8))};
}
Outputs pairwise_distance(Arguments& a) {
  const Tensor x = a.tensor("x1"), y = a.tensor("x2");
  const double p = a.number("p", 2), eps = a.number("eps", 1e-6);
  return {F::pairwise_distance(x, y, p, eps, a.boolean("keepdim", false))};
}

const OpAdapter kFunctionalOps[] = {
    {"nn.functional.linear", linear, kLoose},
    {"nn.functional.bilinear", bilinear, kLoose},
    {"nn.functional.conv1d", conv<1, F::conv1d>, kLoose},
    {"nn.functional.conv2d", conv<2, F::conv2d>, kLoose},
    {"nn.functional.conv3d", conv<3, F::conv3d>, kLoose},
    {"nn.functional.conv_transpose1d", conv_transpose<1, F::conv_transpose1d>, kLoose},
    {"nn.functional.conv_transpose2d", conv_transpose<2, F::conv_transpose2d>, kLoose},
    {"nn.functional.conv_transpose3d", conv_transpose<3, F::conv_transpose3d>, kLoose},
    {"nn.functional.scaled_dot_product_attention", attention, kLoose},
    {"nn.functional.batch_norm", batch_norm, kLoose},
    {"nn.functional.instance_norm", instance_norm, kLoose},
    {"nn.functional.layer_norm", layer_norm, kLoose},
    {"nn.functional.group_norm", group_norm, kLoose},
    {"nn.functional.rms_norm", rms_norm, kLoose},
    {"nn.functional.local_response_norm", local_response_norm},
    {"nn.functional.normalize", normalize},
    {"nn.functional.cosine_similarity", cosine_similarity},
    {"nn.functional.pairwise_distance", pairwise_distance},
    {"nn.functional.max_pool1d", max_pool<1, F::max_pool1d_with_indices>},
    {"nn.functional.max_pool2d", max_pool<2, F::max_pool2d_with_indices>},
    {"nn.functional.max_pool3d", max_pool<3, F::max_pool3d_with_indices>},
    {"nn.functional.avg_pool1d", avg_pool<1, F::avg_pool1d>},
    {"nn.functional.avg_pool2d", avg_pool<2, F::avg_pool2d>},
    {"nn.functional.avg_pool3d", avg_pool<3, F::avg_pool3d>},
    {"nn.functional.adaptive_avg_pool1d", adaptive_avg<1, F::adaptive_avg_pool1d>},
    {"nn.functional.adaptive_avg_pool2d", adaptive_avg<2, F::adaptive_avg_pool2d>},
    {"nn.functional.adaptive_avg_pool3d", adaptive_avg<3, F::adaptive_avg_pool3d>},
    {"nn.functional.adaptive_max_pool1d", adaptive_max<1, F::adaptive_max_pool1d_with_indices>},
    {"nn.functional.adaptive_max_pool2d", adaptive_max<2, F::adaptive_max_pool2d_with_indices>},
    {"nn.functional.adaptive_max_pool3d", adaptive_max<3, F::adaptive_max_pool3d_with_indices>},
    {"nn.functional.lp_pool1d", lp_pool<1, F::lp_pool1d>},
    {"nn.functional.lp_pool2d", lp_pool<2, F::lp_pool2d>},
    {"nn.functional.lp_pool3d", lp_pool<3, F::lp_pool3d>},
    {"nn.functional.embedding", embedding},
    {"nn.functional.one_hot", one_hot},
    {"softmax", softmax<F::softmax>},
    {"log_softmax", softmax<F::log_softmax>},
    {"nn.functional.softmin", softmax<F::softmin>},
};

}  // namespace

std::span<const OpAdapter> functional_ops() { return kFunctionalOps; }

}  // namespace conformance

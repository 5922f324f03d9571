// The functions under the layers, with PyTorch's names, arguments and numerics. An optional tensor that is not given is
// an undefined one, {}; optional arguments by name: F::conv2d(x, w, b, {.stride = 2, .padding = 1}).
#pragma once
#include <optional>
#include <vector>
#include "graft/core/ops.h"
#include "graft/nn/sizes.h"

namespace graft::inline v1::nn::functional {

// ---- what core/ops.h already has under its name here ---------------------------------------------------------------

using graft::celu, graft::elu, graft::gelu, graft::hardshrink, graft::hardsigmoid, graft::hardswish, graft::hardtanh;
using graft::leaky_relu, graft::mish, graft::prelu, graft::relu, graft::relu6, graft::selu, graft::sigmoid, graft::silu;
using graft::softplus, graft::softshrink, graft::softsign, graft::tanh, graft::tanhshrink, graft::threshold;
using graft::interpolate, graft::pad, graft::pixel_shuffle, graft::pixel_unshuffle;
inline Tensor logsigmoid(const Tensor& input) { return graft::log_sigmoid(input); }

// ---- matrix products -----------------------------------------------------------------------------------------

Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias = {});  // x W^T + b, any leading dimensions
Tensor linear_act(const Tensor& input, const Tensor& weight, const Tensor& bias, std::string_view activation);  // "relu", "gelu", "gelu_tanh"
Tensor bilinear(const Tensor& input1, const Tensor& input2, const Tensor& weight, const Tensor& bias = {});

// ---- convolution ---------------------------------------------------------------------------------------------

template <int N> struct ConvOptions {
  Sizes<N> stride = 1;
  Padding<N> padding = 0;
  Sizes<N> dilation = 1;
  int64_t groups = 1;
  PaddingMode padding_mode = PaddingMode::zeros;
};
template <int N> struct ConvTransposeOptions {
  Sizes<N> stride = 1;
  Sizes<N> padding = 0;
  Sizes<N> output_padding = 0;
  int64_t groups = 1;
  Sizes<N> dilation = 1;
};
// input [n, in, spatial...] or without n; weight [out, in / groups, kernel...].
Tensor conv1d(const Tensor& input, const Tensor& weight, const Tensor& bias = {}, const ConvOptions<1>& = {});
Tensor conv2d(const Tensor& input, const Tensor& weight, const Tensor& bias = {}, const ConvOptions<2>& = {});
Tensor conv3d(const Tensor& input, const Tensor& weight, const Tensor& bias = {}, const ConvOptions<3>& = {});
// weight [in, out / groups, kernel...].
Tensor conv_transpose1d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                        const ConvTransposeOptions<1>& = {});
Tensor conv_transpose2d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                        const ConvTransposeOptions<2>& = {});
Tensor conv_transpose3d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                        const ConvTransposeOptions<3>& = {});
// relu(conv(input) + bias + residual) in one pass, residual and relu being optional: what fusion calls.
struct Epilogue {
  Tensor residual;
  bool relu = true;
};
Tensor conv1d_bias_act(const Tensor& input, const Tensor& weight, const Tensor& bias, const ConvOptions<1>&, const Epilogue& = {});
Tensor conv2d_bias_act(const Tensor& input, const Tensor& weight, const Tensor& bias, const ConvOptions<2>&, const Epilogue& = {});
Tensor conv3d_bias_act(const Tensor& input, const Tensor& weight, const Tensor& bias, const ConvOptions<3>&, const Epilogue& = {});

// ---- normalization -------------------------------------------------------------------------------------------

struct BatchNormOptions {
  bool training = false;
  std::optional<double> momentum = 0.1;  // none: running statistics become the cumulative mean of num_batches
  double eps = 1e-5;
  int64_t num_batches = 0;               // with momentum none: batches seen, this one included
};
// In training the statistics are the batch's, and those running (if defined) move in place, without history.
Tensor batch_norm(const Tensor& input, const Tensor& running_mean, const Tensor& running_var, const Tensor& weight = {},
                  const Tensor& bias = {}, const BatchNormOptions& = {});
struct InstanceNormOptions {
  bool use_input_stats = true;
  double momentum = 0.1;
  double eps = 1e-5;
};
Tensor instance_norm(const Tensor& input, const Tensor& running_mean = {}, const Tensor& running_var = {},
                     const Tensor& weight = {}, const Tensor& bias = {}, const InstanceNormOptions& = {});
Tensor layer_norm(const Tensor& input, const Shape& normalized_shape, const Tensor& weight = {}, const Tensor& bias = {},
                  double eps = 1e-5);
Tensor group_norm(const Tensor& input, int64_t num_groups, const Tensor& weight = {}, const Tensor& bias = {},
                  double eps = 1e-5);
// eps not given: the distance from 1 to the next number of the input's dtype.
Tensor rms_norm(const Tensor& input, const Shape& normalized_shape, const Tensor& weight = {},
                std::optional<double> eps = {});
Tensor normalize(const Tensor& input, double p = 2, int dim = 1, double eps = 1e-12);  // x / max(|x|_p, eps)
Tensor local_response_norm(const Tensor& input, int64_t size, double alpha = 1e-4, double beta = 0.75, double k = 1);

// ---- pooling -------------------------------------------------------------------------------------------------

template <int N> struct MaxPoolOptions {
  std::optional<Sizes<N>> stride = {};  // not given: the kernel's size
  Sizes<N> padding = 0;
  Sizes<N> dilation = 1;
  bool ceil_mode = false;
};
template <int N> struct AvgPoolOptions {
  std::optional<Sizes<N>> stride = {};
  Sizes<N> padding = 0;
  bool ceil_mode = false;
  bool count_include_pad = true;
  std::optional<int64_t> divisor_override = {};
};
struct Pooled { Tensor values, indices; };  // an index counts elements of the input's spatial dimensions

Tensor max_pool1d(const Tensor& input, const Sizes<1>& kernel_size, const MaxPoolOptions<1>& = {});
Tensor max_pool2d(const Tensor& input, const Sizes<2>& kernel_size, const MaxPoolOptions<2>& = {});
Tensor max_pool3d(const Tensor& input, const Sizes<3>& kernel_size, const MaxPoolOptions<3>& = {});
Pooled max_pool1d_with_indices(const Tensor& input, const Sizes<1>& kernel_size, const MaxPoolOptions<1>& = {});
Pooled max_pool2d_with_indices(const Tensor& input, const Sizes<2>& kernel_size, const MaxPoolOptions<2>& = {});
Pooled max_pool3d_with_indices(const Tensor& input, const Sizes<3>& kernel_size, const MaxPoolOptions<3>& = {});
Tensor avg_pool1d(const Tensor& input, const Sizes<1>& kernel_size, const AvgPoolOptions<1>& = {});
Tensor avg_pool2d(const Tensor& input, const Sizes<2>& kernel_size, const AvgPoolOptions<2>& = {});
Tensor avg_pool3d(const Tensor& input, const Sizes<3>& kernel_size, const AvgPoolOptions<3>& = {});
// An output size of -1 is the input's size (PyTorch's None).
Tensor adaptive_avg_pool1d(const Tensor& input, const Sizes<1>& output_size);
Tensor adaptive_avg_pool2d(const Tensor& input, const Sizes<2>& output_size);
Tensor adaptive_avg_pool3d(const Tensor& input, const Sizes<3>& output_size);
Tensor adaptive_max_pool1d(const Tensor& input, const Sizes<1>& output_size);
Tensor adaptive_max_pool2d(const Tensor& input, const Sizes<2>& output_size);
Tensor adaptive_max_pool3d(const Tensor& input, const Sizes<3>& output_size);
Pooled adaptive_max_pool1d_with_indices(const Tensor& input, const Sizes<1>& output_size);
Pooled adaptive_max_pool2d_with_indices(const Tensor& input, const Sizes<2>& output_size);
Pooled adaptive_max_pool3d_with_indices(const Tensor& input, const Sizes<3>& output_size);
// (sum of x^p over the window)^(1/p)
Tensor lp_pool1d(const Tensor& input, double norm_type, const Sizes<1>& kernel_size, std::optional<Sizes<1>> stride = {},
                 bool ceil_mode = false);
Tensor lp_pool2d(const Tensor& input, double norm_type, const Sizes<2>& kernel_size, std::optional<Sizes<2>> stride = {},
                 bool ceil_mode = false);
Tensor lp_pool3d(const Tensor& input, double norm_type, const Sizes<3>& kernel_size, std::optional<Sizes<3>> stride = {},
                 bool ceil_mode = false);

// ---- softmax, distances --------------------------------------------------------------------------------------

// dim not given: 0 for ranks 0, 1 and 3, else 1 (PyTorch's implicit choice).
Tensor softmax(const Tensor& input, std::optional<int> dim = {}, std::optional<DType> dtype = {});
Tensor log_softmax(const Tensor& input, std::optional<int> dim = {}, std::optional<DType> dtype = {});
Tensor softmin(const Tensor& input, std::optional<int> dim = {}, std::optional<DType> dtype = {});
Tensor cosine_similarity(const Tensor& x1, const Tensor& x2, int dim = 1, double eps = 1e-8);
Tensor pairwise_distance(const Tensor& x1, const Tensor& x2, double p = 2, double eps = 1e-6, bool keepdim = false);

// ---- sparse inputs -------------------------------------------------------------------------------------------

struct EmbeddingOptions {
  std::optional<int64_t> padding_idx = {};  // that row gets no gradient; may be negative
  std::optional<double> max_norm = {};      // rows that are used are scaled down to it, in place
  double norm_type = 2;
  bool scale_grad_by_freq = false;          // divides a row's gradient by how often the batch uses it
};
Tensor embedding(const Tensor& input, const Tensor& weight, const EmbeddingOptions& = {});
Tensor one_hot(const Tensor& input, int64_t num_classes = -1);  // i64; -1: the largest class + 1

// ---- dropout -------------------------------------------------------------------------------------------------

Tensor dropout(const Tensor& input, double p = 0.5, bool training = true);
using graft::add_layer_norm;
Tensor dropout_add(const Tensor& input, const Tensor& residual, double p = 0.5, bool training = true);  // in one kernel
Tensor dropout1d(const Tensor& input, double p = 0.5, bool training = true);  // whole channels, of [n, c, l] or [c, l]
Tensor dropout2d(const Tensor& input, double p = 0.5, bool training = true);
Tensor dropout3d(const Tensor& input, double p = 0.5, bool training = true);
Tensor alpha_dropout(const Tensor& input, double p = 0.5, bool training = false);
Tensor feature_alpha_dropout(const Tensor& input, double p = 0.5, bool training = false);

// ---- losses --------------------------------------------------------------------------------------------------

struct CrossEntropyOptions {
  Tensor weight = {};            // per class
  int64_t ignore_index = -100;
  Reduction reduction = Reduction::mean;
  double label_smoothing = 0;
};
struct NllOptions {
  Tensor weight = {};
  int64_t ignore_index = -100;
  Reduction reduction = Reduction::mean;
};
// input [n, classes, d...] or [classes]; target: i64 class indices [n, d...], or probabilities of input's shape.
Tensor cross_entropy(const Tensor& input, const Tensor& target, const CrossEntropyOptions& = {});
Tensor nll_loss(const Tensor& input, const Tensor& target, const NllOptions& = {});

Tensor mse_loss(const Tensor& input, const Tensor& target, Reduction = Reduction::mean, const Tensor& weight = {});
Tensor l1_loss(const Tensor& input, const Tensor& target, Reduction = Reduction::mean, const Tensor& weight = {});
Tensor smooth_l1_loss(const Tensor& input, const Tensor& target, Reduction = Reduction::mean, double beta = 1);
Tensor huber_loss(const Tensor& input, const Tensor& target, Reduction = Reduction::mean, double delta = 1,
                  const Tensor& weight = {});
struct BceOptions {
  Tensor weight = {};
  Reduction reduction = Reduction::mean;
  Tensor pos_weight = {};  // with logits only
};
Tensor binary_cross_entropy(const Tensor& input, const Tensor& target, const BceOptions& = {});
Tensor binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target, const BceOptions& = {});
Tensor kl_div(const Tensor& input, const Tensor& target, Reduction = Reduction::mean, bool log_target = false);
Tensor poisson_nll_loss(const Tensor& input, const Tensor& target, bool log_input = true, bool full = false,
                        double eps = 1e-8, Reduction = Reduction::mean);
Tensor gaussian_nll_loss(const Tensor& input, const Tensor& target, const Tensor& var, bool full = false,
                         double eps = 1e-6, Reduction = Reduction::mean);
Tensor hinge_embedding_loss(const Tensor& input, const Tensor& target, double margin = 1, Reduction = Reduction::mean);
Tensor margin_ranking_loss(const Tensor& input1, const Tensor& input2, const Tensor& target, double margin = 0,
                           Reduction = Reduction::mean);
Tensor cosine_embedding_loss(const Tensor& input1, const Tensor& input2, const Tensor& target, double margin = 0,
                             Reduction = Reduction::mean);
Tensor soft_margin_loss(const Tensor& input, const Tensor& target, Reduction = Reduction::mean);
struct MultiMarginOptions {
  double p = 1;
  double margin = 1;
  Tensor weight = {};
  Reduction reduction = Reduction::mean;
};
Tensor multi_margin_loss(const Tensor& input, const Tensor& target, const MultiMarginOptions& = {});
Tensor multilabel_margin_loss(const Tensor& input, const Tensor& target, Reduction = Reduction::mean);
Tensor multilabel_soft_margin_loss(const Tensor& input, const Tensor& target, const Tensor& weight = {},
                                   Reduction = Reduction::mean);
struct TripletOptions {
  double margin = 1;
  double p = 2;
  double eps = 1e-6;
  bool swap = false;
  Reduction reduction = Reduction::mean;
};
Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative, const TripletOptions& = {});
// log_probs [time, n, classes]; targets [n, longest] or all in a row; lengths i64 per sample.
struct CtcOptions {
  int64_t blank = 0;
  Reduction reduction = Reduction::mean;
  bool zero_infinity = false;
};
Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths,
                const Tensor& target_lengths, const CtcOptions& = {});

// ---- attention -----------------------------------------------------------------------------------------------

struct AttentionOptions {
  Tensor attn_mask = {};  // bool (true: takes part), or added to the scores
  double dropout_p = 0;
  bool is_causal = false;
  std::optional<double> scale = {};  // default 1 / sqrt(size of the last dimension)
  bool enable_gqa = false;           // fewer key and value heads than query heads
};
Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                                    const AttentionOptions& = {});

// ---- shapes (the options are in core/ops.h) ------------------------------------------------------------------

using graft::interpolate;
using graft::pad;
using graft::pixel_shuffle;
using graft::pixel_unshuffle;
inline Tensor unfold(const Tensor& input, const WindowOptions& o) { return im2col(input, o); }
inline Tensor fold(const Tensor& input, const std::array<int64_t, 2>& output_size, const WindowOptions& o) {
  return col2im(input, output_size, o);
}

}  // namespace graft::nn::functional

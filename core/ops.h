// The public ops: free functions, one line each. One include for all; families with many are in core/ops/*.h.
#pragma once
#include "graft/core/index.h"
#include "graft/core/ops/pointwise.h"  // arithmetic, functions, comparisons, activations, operators
#include "graft/core/ops/reduce.h"     // sums, means, extremes, variances, norms, running sums
#include "graft/core/tensor.h"
#include "graft/kernels/conv/attrs.h"
#include "graft/kernels/gemm/attrs.h"
#include "graft/kernels/move/attrs.h"
#include "graft/kernels/pool/attrs.h"

namespace graft::inline v1 {

// Matrix products.
Tensor matmul(const Tensor& a, const Tensor& b);  // [..., m, k] x [..., k, n]; vectors where a rank is 1
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});  // [..., in] x [out, in]^T + [out]
Tensor linear_act(const Tensor& x, const Tensor& weight, const Tensor& bias, LinearActivation);  // one kernel where no gradient is recorded
Tensor mm(const Tensor&, const Tensor&);
Tensor bmm(const Tensor&, const Tensor&);
Tensor mv(const Tensor&, const Tensor&);
Tensor dot(const Tensor&, const Tensor&);
Tensor addmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta = 1, Scalar alpha = 1);
Tensor addmv(const Tensor& input, const Tensor& a, const Tensor& v, Scalar beta = 1, Scalar alpha = 1);
Tensor baddbmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta = 1, Scalar alpha = 1);
Tensor softmax(const Tensor&, int dim);
Tensor log_softmax(const Tensor&, int dim);
Tensor cat(const Tensors&, int dim = 0);

// Normalizations. Statistics of 16-bit inputs are f32. Layouts are kept: channels last stays so.
struct NormResult { Tensor values, mean, var; };  // var is biased
NormResult batch_norm_train(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);
Tensor batch_norm_eval(const Tensor& x, const Tensor& mean, const Tensor& var, const Tensor& weight, const Tensor& bias,
                       double eps);
Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight = {}, const Tensor& bias = {},
                  double eps = 1e-5);
struct AddNormResult { Tensor values, sum; };
AddNormResult add_layer_norm(const Tensor& x, const Tensor& residual, const Shape& normalized_shape, const Tensor& weight = {},
                             const Tensor& bias = {}, double eps = 1e-5);  // of sum = x + residual, in one kernel
Tensor rms_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight = {}, std::optional<double> eps = {});
Tensor group_norm(const Tensor& x, int64_t num_groups, const Tensor& weight = {}, const Tensor& bias = {}, double eps = 1e-5);
struct GroupNormResult { Tensor values, mean, rstd; };  // one statistic per sample and group
GroupNormResult group_norm_stats(const Tensor& x, int64_t num_groups, const Tensor& weight, const Tensor& bias, double eps);

// Picked by labels or row numbers; one that is out of range is an Error.
struct NllResult { Tensor loss, weight; };  // of every label: -weight * logp there, and that weight (0 where ignored)
NllResult nll(const Tensor& logp, const Tensor& label, const Tensor& weight = {}, int64_t ignore_index = -100);
// The same of log_softmax(x), in one kernel which keeps two numbers of a line for the derivative, not the line.
NllResult cross_entropy(const Tensor& x, const Tensor& label, const Tensor& weight = {}, int64_t ignore_index = -100,
                        double label_smoothing = 0);
Tensor embedding(const Tensor& weight, const Tensor& index, int64_t padding_idx = -1, bool scale_grad_by_freq = false);
void embedding_renorm_(const Tensor& weight, const Tensor& index, double max_norm, double norm_type = 2);
Tensor one_hot(const Tensor&, int64_t num_classes = -1);

// Convolution and pooling over attrs.rank spatial dimensions, of [n, channels, spatial...] or without n. The result lies in
// memory as the input: channels last stays so. A residual of the result's shape is added by the same kernel; another broadcasts.
Tensor convolution(const Tensor& x, const Tensor& weight, const Tensor& bias, ConvAttrs, const Tensor& residual = {});
// softmax(scale q k^T + mask) v, scale being 1 / sqrt(size of the last dimension) by default; mask: bool (true: takes part) or
// added; the leading dimensions broadcast.
Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& mask = {},
                                    bool is_causal = false, std::optional<double> scale = {});
MaxResult max_pool(const Tensor& x, const PoolAttrs&);  // indices count elements of the spatial dimensions
Tensor avg_pool(const Tensor& x, const PoolAttrs&);
MaxResult adaptive_max_pool(const Tensor& x, const Shape& output);  // -1 keeps a size
Tensor adaptive_avg_pool(const Tensor& x, const Shape& output);

// ---- views and movement --------------------------------------------------------------------------------------

Tensor view_as_real(const Tensor&);     // c64[..] as f32[..,2], the same memory
Tensor view_as_complex(const Tensor&);
Tensor flip(const Tensor&, const Shape& dims);
Tensor fliplr(const Tensor&);
Tensor flipud(const Tensor&);
Tensor rot90(const Tensor&, int k = 1, const Shape& dims = {0, 1});
Tensor roll(const Tensor&, const Shape& shifts, const Shape& dims = {});  // without dims: of the flattened tensor
Tensor tril(const Tensor&, int64_t diagonal = 0);
Tensor triu(const Tensor&, int64_t diagonal = 0);
Tensor diag(const Tensor&, int64_t diagonal = 0);  // a vector as a matrix, the diagonal of a matrix
Tensor diag_embed(const Tensor&, int64_t offset = 0, int dim1 = -2, int dim2 = -1);
Tensor repeat(const Tensor&, const Shape& repeats);
Tensor tile(const Tensor&, const Shape& repeats);
Tensor repeat_interleave(const Tensor&, int64_t repeats, std::optional<int> dim = {});
Tensor repeat_interleave(const Tensor&, const Tensor& repeats, std::optional<int> dim = {});
Tensors broadcast_tensors(const Tensors&);
Tensors meshgrid(const Tensors&, std::string_view indexing = "ij");
Tensor hstack(const Tensors&);
Tensor vstack(const Tensors&);
Tensor dstack(const Tensors&);
// Pairs (before, after) from the last dimension; negative ones cut off. mode: constant, reflect, replicate, circular.
Tensor pad(const Tensor&, const std::vector<int64_t>& pads, std::string_view mode = "constant", Scalar value = 0);
Tensor pixel_shuffle(const Tensor&, int64_t upscale_factor);      // [.., c r r, h, w] -> [.., c, h r, w r]
Tensor pixel_unshuffle(const Tensor&, int64_t downscale_factor);
// nn.functional.unfold and fold: windows of an image as columns, and the sum of columns as an image.
struct WindowOptions { std::array<int64_t, 2> kernel_size, dilation{1, 1}, padding{0, 0}, stride{1, 1}; };
Tensor im2col(const Tensor&, const WindowOptions&);  // [n, c, h, w] -> [n, c kh kw, windows]
Tensor col2im(const Tensor&, const std::array<int64_t, 2>& output_size, const WindowOptions&);
// mode: nearest, nearest-exact, area, linear, bilinear, bicubic, trilinear. One of size and scale_factor is given: one
// number, or one per spatial dimension.
struct InterpolateOptions {
  std::vector<int64_t> size = {};
  std::vector<double> scale_factor = {};
  std::string mode = "nearest";
  std::optional<bool> align_corners = {};
  bool recompute_scale_factor = false;
};
Tensor interpolate(const Tensor&, const InterpolateOptions&);

// ---- making tensors ------------------------------------------------------------------------------------------

Tensor arange(Scalar end, const Options& = {});  // i64 if all are integers, else f32
Tensor arange(Scalar start, Scalar end, Scalar step = 1, const Options& = {});
Tensor linspace(Scalar start, Scalar end, int64_t steps, const Options& = {});
Tensor logspace(Scalar start, Scalar end, int64_t steps, double base = 10, const Options& = {});
Tensor eye(int64_t n, std::optional<int64_t> m = {}, const Options& = {});
Tensor empty_like(const Tensor&, const Options& = {});
Tensor full_like(const Tensor&, Scalar value, const Options& = {});
Tensor zeros_like(const Tensor&, const Options& = {});
Tensor ones_like(const Tensor&, const Options& = {});
Tensor empty_strided(const Shape& size, const Shape& stride, const Options& = {});
Tensor tril_indices(int64_t rows, int64_t columns, int64_t offset = 0, const Options& = {});
Tensor triu_indices(int64_t rows, int64_t columns, int64_t offset = 0, const Options& = {});
Tensor complex(const Tensor& real, const Tensor& imag);

// ---- order ---------------------------------------------------------------------------------------------------

struct Sorted { Tensor values, indices; };
Sorted sort(const Tensor&, int dim = -1, bool descending = false, bool stable = true);  // always stable
Tensor argsort(const Tensor&, int dim = -1, bool descending = false, bool stable = true);
Tensor msort(const Tensor&);
Sorted topk(const Tensor&, int64_t k, int dim = -1, bool largest = true, bool sorted = true);
Sorted kthvalue(const Tensor&, int64_t k, int dim = -1, bool keepdim = false);
Sorted median(const Tensor&, int dim, bool keepdim = false);
Tensor median(const Tensor&);
struct Unique { Tensor values, inverse, counts; };
Unique unique(const Tensor&);  // of all elements, sorted
Unique unique_consecutive(const Tensor&);
Tensor bincount(const Tensor&, const Tensor& weights = {}, int64_t minlength = 0);
Tensor searchsorted(const Tensor& sorted, const Tensor& values, bool right = false, bool out_int32 = false);
Tensor bucketize(const Tensor& values, const Tensor& boundaries, bool right = false, bool out_int32 = false);

// ---- contractions --------------------------------------------------------------------------------------------

Tensor einsum(std::string_view equation, const Tensors&);
Tensor tensordot(const Tensor&, const Tensor&, int dims = 2);
Tensor tensordot(const Tensor&, const Tensor&, const Shape& dims_a, const Shape& dims_b);
Tensor outer(const Tensor&, const Tensor&);
Tensor kron(const Tensor&, const Tensor&);

// ---- indexing (x.index({...}) is in core/index.h) ------------------------------------------------------------
// Indices are i64 or i32; one out of range is an Error that names it. Ops whose result's size depends on values
// (nonzero, masked_select) raise ErrorCode::data_dependent for meta tensors and in a dry run.

Tensor gather(const Tensor&, int dim, const Tensor& index);  // x[.., index[.., k, ..], ..]
Tensor scatter(const Tensor&, int dim, const Tensor& index, const Tensor& src);
Tensor scatter(const Tensor&, int dim, const Tensor& index, Scalar value);
Tensor scatter(const Tensor&, int dim, const Tensor& index, const Tensor& src, std::string_view reduce);  // add, multiply
Tensor scatter(const Tensor&, int dim, const Tensor& index, Scalar value, std::string_view reduce);
Tensor scatter_add(const Tensor&, int dim, const Tensor& index, const Tensor& src);
// reduce: sum, prod, mean, amax, amin
Tensor scatter_reduce(const Tensor&, int dim, const Tensor& index, const Tensor& src, std::string_view reduce,
                      bool include_self = true);
Tensor index_select(const Tensor&, int dim, const Tensor& index);
Tensor index_add(const Tensor&, int dim, const Tensor& index, const Tensor& source, Scalar alpha = 1);
Tensor index_copy(const Tensor&, int dim, const Tensor& index, const Tensor& source);
Tensor index_fill(const Tensor&, int dim, const Tensor& index, Scalar value);
Tensor take(const Tensor&, const Tensor& index);  // of the flattened tensor
Tensor take_along_dim(const Tensor&, const Tensor& index, std::optional<int> dim = {});
Tensor masked_fill(const Tensor&, const Tensor& mask, Scalar value);
Tensor masked_fill(const Tensor&, const Tensor& mask, const Tensor& value);  // 0-dim
Tensor masked_select(const Tensor&, const Tensor& mask);
Tensor masked_scatter(const Tensor&, const Tensor& mask, const Tensor& source);
Tensor nonzero(const Tensor&);        // [count, rank], i64
Tensors where(const Tensor& condition);  // the columns of nonzero

// What a view is, seen from its contiguous base; and the ops that autograd needs for writing through views.
Region region_of(const View&, const View& base);
Tensor clone_as(const Tensor&, const Shape& strides);  // x itself if it lies so; else a copy with these (dense) strides
Tensor as_strided(const Tensor& base, const Region&);                  // a view
Tensor embed(const Tensor& x, const Region&, const Shape& into);       // zeros, plus x at the region
Tensor overwrite(const Tensor& base, const Tensor& x, const Region&);  // a copy of base with x at the region
extern const struct OpDef as_strided_op;
extern const struct OpDef overwrite_op;
extern const struct OpDef copy_op;

}  // namespace graft

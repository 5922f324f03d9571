// The public ops: free functions, one line each.
#pragma once
#include "graft/core/index.h"
#include "graft/core/tensor.h"
#include "graft/kernels/conv/attrs.h"
#include "graft/kernels/move/attrs.h"
#include "graft/kernels/pool/attrs.h"

namespace graft::inline v1 {

Tensor add(const Tensor&, const Tensor&);
Tensor sub(const Tensor&, const Tensor&);
Tensor mul(const Tensor&, const Tensor&);
Tensor div(const Tensor&, const Tensor&);
Tensor gt(const Tensor&, const Tensor&);  // bool
Tensor neg(const Tensor&);
Tensor exp(const Tensor&);
Tensor erf(const Tensor&);
Tensor relu(const Tensor&);
Tensor gelu(const Tensor&);
Tensor affine(const Tensor&, double scale, double shift);  // x * scale + shift
// Matrix products.
Tensor matmul(const Tensor& a, const Tensor& b);  // [..., m, k] x [..., k, n]; vectors where a rank is 1
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});  // [..., in] x [out, in]^T + [out]
Tensor mm(const Tensor&, const Tensor&);
Tensor bmm(const Tensor&, const Tensor&);
Tensor mv(const Tensor&, const Tensor&);
Tensor dot(const Tensor&, const Tensor&);
Tensor addmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta = 1, Scalar alpha = 1);
Tensor addmv(const Tensor& input, const Tensor& a, const Tensor& v, Scalar beta = 1, Scalar alpha = 1);
Tensor baddbmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta = 1, Scalar alpha = 1);
Tensor sum(const Tensor&);
Tensor sum(const Tensor&, std::initializer_list<int> dims, bool keepdim = false);
Tensor softmax(const Tensor&, int dim);
Tensor log_softmax(const Tensor&, int dim);
Tensor cat(const Tensors&, int dim = 0);
struct MaxResult { Tensor values, indices; };
MaxResult max(const Tensor&, int dim);

// Normalizations. Statistics of 16-bit inputs are f32. Layouts are kept: channels last stays so.
struct NormResult { Tensor values, mean, var; };  // var is biased
NormResult batch_norm_train(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);
Tensor batch_norm_eval(const Tensor& x, const Tensor& mean, const Tensor& var, const Tensor& weight, const Tensor& bias,
                       double eps);
Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight = {}, const Tensor& bias = {},
                  double eps = 1e-5);
Tensor rms_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight = {}, std::optional<double> eps = {});
Tensor group_norm(const Tensor& x, int64_t num_groups, const Tensor& weight = {}, const Tensor& bias = {}, double eps = 1e-5);
struct GroupNormResult { Tensor values, mean, rstd; };  // one statistic per sample and group
GroupNormResult group_norm_stats(const Tensor& x, int64_t num_groups, const Tensor& weight, const Tensor& bias, double eps);

// Picked by labels or row numbers; one that is out of range is an Error.
struct NllResult { Tensor loss, weight; };  // of every label: -weight * logp there, and that weight (0 where ignored)
NllResult nll(const Tensor& logp, const Tensor& label, const Tensor& weight = {}, int64_t ignore_index = -100);
Tensor embedding(const Tensor& weight, const Tensor& index, int64_t padding_idx = -1, bool scale_grad_by_freq = false);
void embedding_renorm_(const Tensor& weight, const Tensor& index, double max_norm, double norm_type = 2);
Tensor one_hot(const Tensor&, int64_t num_classes = -1);

// Convolution and pooling over attrs.rank spatial dimensions, of [n, channels, spatial...] or without n. The result lies in
// memory as the input: channels last stays so.
Tensor convolution(const Tensor& x, const Tensor& weight, const Tensor& bias, ConvAttrs, const Tensor& residual = {});
MaxResult max_pool(const Tensor& x, const PoolAttrs&);  // indices count elements of the spatial dimensions
Tensor avg_pool(const Tensor& x, const PoolAttrs&);
MaxResult adaptive_max_pool(const Tensor& x, const Shape& output);  // -1 keeps a size
Tensor adaptive_avg_pool(const Tensor& x, const Shape& output);

inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator-(const Tensor& a) { return neg(a); }
inline Tensor operator*(const Tensor& a, double s) { return affine(a, s, 0); }
inline Tensor operator+(const Tensor& a, double s) { return affine(a, 1, s); }

// ---- views and movement --------------------------------------------------------------------------------------

Tensor view_as_real(const Tensor&);     // c64[..] as f32[..,2], the same memory
Tensor view_as_complex(const Tensor&);

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

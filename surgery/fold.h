// The arithmetic of fusion: a batch norm in eval mode is y = x s + t per channel, with s = gamma / sqrt(var + eps) and
// t = beta - mean s; the layer before or behind it takes both into its weights. Computed in f64, cast once.
#pragma once
#include <optional>
#include "graft/nn/norm.h"

namespace graft::inline v1::surgery {

// A layer whose weights can be scaled: exactly Conv1d-3d, ConvTranspose1d-3d or Linear, since a subclass may compute
// something else.
struct Foldable {
  const nn::Module* module;
  nn::ParamEntry* weight;
  nn::ParamEntry* bias;
  int dims = 0;             // spatial ones; 0: Linear
  bool transposed = false;
  int64_t groups = 1, in = 0, out = 0;
  bool zero_padded = false;  // zeros enter at the borders
  bool pointwise = false;    // Linear, or a convolution of one element without stride, padding and groups
};
std::optional<Foldable> foldable(const nn::Module&);

inline bool can_add(const Foldable& l) { return l.dims > 0 && !l.transposed; }  // its kernel takes a residual
int norm_dims(const nn::Module&);  // of exactly BatchNorm1d, 2d, 3d: 1, 2, 3; else 0
bool fits(const Foldable&, int norm_dims);  // a norm of that kind works on what the layer makes

// In f64, or the layer's own numbers with a factor in f64 for each output, so that what is folded most often is read once.
struct Weights { Tensor weight, bias, scale; };  // no bias, no factors: undefined
Weights weights_of(const Foldable&);
Weights fold_behind(const Foldable&, Weights, const nn::BatchNormNd&);  // layer, then norm
Weights fold_before(const Foldable&, Weights,
                    const nn::BatchNormNd&);  // norm, then a Conv or Linear without zero padding

Weights fold_pointwise(const Foldable&, Weights,
                       const Foldable& next);  // a Conv or Linear without groups, then a pointwise layer

// A copy of the layer with these weights and their number of outputs, in its dtypes, without its hooks on calls.
// A new bias requires grad as the weight does. Error where a weight is not finite.
nn::ModulePtr with_weights(const Foldable&, const Weights&);

}  // namespace graft

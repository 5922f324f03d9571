// Attributes of the normalizations. Statistics, weight and bias are f32 for 16-bit inputs, else of the input's dtype.
//
//   batch_norm       in x[, weight][, bias]              out y, mean, var   over all dimensions but 1; var is biased
//   batch_norm_eval  in x, mean, var[, weight][, bias]   out y
//   batch_norm_grad  in x, g, mean, var[, weight]        out dx, dweight, dbias
//   row_norm         in x[, weight][, bias]              out y, mean, rstd  over contiguous rows
//   add_row_norm     in x, residual[, weight][, bias]    out y, mean, rstd, sum   of sum = x + residual
//   row_norm_grad    in x, g, mean, rstd[, weight]       out dx[, dweight, dbias]
#pragma once
#include <cstdint>

namespace graft::inline v1 {

struct BatchNormAttrs {
  double eps = 1e-5;
  bool weight = false, bias = false;  // whether these inputs are there
};

// Layer, group and RMS norm: element j of row r has weight number (r % groups) * (length / inner) + j / inner.
struct RowNormAttrs {
  double eps = 1e-5;
  int64_t length = 1;
  int64_t groups = 1;
  int64_t inner = 1;
  bool weight = false, bias = false;
  bool center = true;  // RMS norm does not subtract the mean, and its `mean` is 0
};

}  // namespace graft

// Attributes of attention.
//
//   scaled_dot_product_attention           in q, k, v[, mask]               out y, lse
//   scaled_dot_product_attention_backward  in g, q, k, v, y, lse[, mask]    out dq, dk, dv
//
// q [..., queries, e], k [..., keys, e], v [..., keys, ev], y and g [..., queries, ev], of any strides. With s = scale q k^T plus
// the mask [..., queries, keys], y = softmax(s) v and lse [..., queries] = log(sum(exp(s))), in f32 at least and contiguous.
// The leading dimensions of the inputs broadcast to those of y; dq, dk and dv have all of them. A mask is of dtype bool (true:
// takes part) or q's. A query that no key takes part in yields zeros.
#pragma once
#include <cstdint>

namespace graft::inline v1 {

struct AttentionAttrs {
  double scale = 1;
  bool causal = false;  // query i sees the keys up to i
  bool masked = false;
};

}  // namespace graft

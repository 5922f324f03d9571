// How the files of pointwise ops define theirs: an op in a line. Not for users.
#pragma once
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/kernels/pointwise/attrs.h"

namespace graft::inline v1 {

using Derivative = void (*)(Backward&);

// f(x). `reads` is what the derivative looks at.
constexpr OpDef unary(std::string_view name, Reads reads, Derivative d, Promote p = Promote::floating) {
  return {.name = name, .infer = infer_same, .backward = d, .reads = {reads}, .promote = p};
}
constexpr OpDef binary(std::string_view name, std::array<Reads, 4> reads, Derivative d, Promote p = Promote::common) {
  return {.name = name, .infer = infer_broadcast, .backward = d, .reads = reads, .promote = p};
}
// A question: its result is bool and constant.
inline void infer_question(Infer& c) {
  infer_broadcast(c);
  c.out().dtype = boolean;
}
constexpr OpDef question(std::string_view name) { return {.name = name, .infer = infer_question, .promote = Promote::common}; }

// A gradient times the slope of a function, complex ones as PyTorch defines them.
inline Tensor times(const Tensor& g, const Tensor& slope) { return is_complex(slope.dtype()) ? g * conj(slope) : g * slope; }

inline void zero_derivative(Backward& b) {
  for (int i = 0; i < b.inputs(); ++i)
    if (b.needs(i)) b.to(i) = zeros(b.input_shape(i), b.g().options());
}

// op(x, s) for a number s, which is an attribute.
inline Tensor apply_scalar(const OpDef& op, const Tensor& x, Scalar s, bool floating = false) {
  DType t = result_type(x, s);
  if (floating && !is_differentiable(t)) t = f32;
  return t == x.dtype() ? apply(op, s, x) : apply(op, s, x.to(t));
}
inline const Tensor& apply_scalar_inplace(const OpDef& op, const Tensor& x, Scalar s, bool floating = false) {
  const DType t = result_type(x, s);
  const bool fits = t == x.dtype() && (!floating || is_differentiable(t));
  GRAFT_CHECK(fits, ErrorCode::dtype_mismatch, op.name, "_: the result of ", x, " and a number of type ",
              name_of(s.dtype()), " cannot be stored in it");
  return apply_inplace(op, s, x);
}

}  // namespace graft

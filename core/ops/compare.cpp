// Questions, selections and bits. The mathematics is in kernels/pointwise/compare.h.
#include "graft/core/ops/pointwise_defs.h"

namespace graft::inline v1 {

static const OpDef eq_op = question("eq");
static const OpDef ne_op = question("ne");
static const OpDef lt_op = question("lt");
static const OpDef le_op = question("le");
static const OpDef gt_op = question("gt");
static const OpDef ge_op = question("ge");
static const OpDef eq_scalar_op = question("eq_scalar");
static const OpDef ne_scalar_op = question("ne_scalar");
static const OpDef lt_scalar_op = question("lt_scalar");
static const OpDef le_scalar_op = question("le_scalar");
static const OpDef gt_scalar_op = question("gt_scalar");
static const OpDef ge_scalar_op = question("ge_scalar");
static const OpDef isnan_op = question("isnan");
static const OpDef isinf_op = question("isinf");
static const OpDef isfinite_op = question("isfinite");
static const OpDef logical_and_op = question("logical_and");
static const OpDef logical_or_op = question("logical_or");
static const OpDef logical_xor_op = question("logical_xor");
static const OpDef logical_not_op = question("logical_not");

Tensor eq(const Tensor& a, const Tensor& b) { return apply(eq_op, {}, a, b); }
Tensor ne(const Tensor& a, const Tensor& b) { return apply(ne_op, {}, a, b); }
Tensor lt(const Tensor& a, const Tensor& b) { return apply(lt_op, {}, a, b); }
Tensor le(const Tensor& a, const Tensor& b) { return apply(le_op, {}, a, b); }
Tensor gt(const Tensor& a, const Tensor& b) { return apply(gt_op, {}, a, b); }
Tensor ge(const Tensor& a, const Tensor& b) { return apply(ge_op, {}, a, b); }
Tensor eq(const Tensor& a, Scalar s) { return apply_scalar(eq_scalar_op, a, s); }
Tensor ne(const Tensor& a, Scalar s) { return apply_scalar(ne_scalar_op, a, s); }
Tensor lt(const Tensor& a, Scalar s) { return apply_scalar(lt_scalar_op, a, s); }
Tensor le(const Tensor& a, Scalar s) { return apply_scalar(le_scalar_op, a, s); }
Tensor gt(const Tensor& a, Scalar s) { return apply_scalar(gt_scalar_op, a, s); }
Tensor ge(const Tensor& a, Scalar s) { return apply_scalar(ge_scalar_op, a, s); }
Tensor isnan(const Tensor& x) { return apply(isnan_op, {}, x); }
Tensor isinf(const Tensor& x) { return apply(isinf_op, {}, x); }
Tensor isfinite(const Tensor& x) { return apply(isfinite_op, {}, x); }
Tensor logical_and(const Tensor& a, const Tensor& b) { return apply(logical_and_op, {}, a, b); }
Tensor logical_or(const Tensor& a, const Tensor& b) { return apply(logical_or_op, {}, a, b); }
Tensor logical_xor(const Tensor& a, const Tensor& b) { return apply(logical_xor_op, {}, a, b); }
Tensor logical_not(const Tensor& x) { return apply(logical_not_op, {}, x); }

static const OpDef bitwise_and_op = binary("bitwise_and", {}, nullptr);
static const OpDef bitwise_or_op = binary("bitwise_or", {}, nullptr);
static const OpDef bitwise_xor_op = binary("bitwise_xor", {}, nullptr);
static const OpDef bitwise_not_op = unary("bitwise_not", 0, nullptr, Promote::none);
static const OpDef bitwise_and_scalar_op = unary("bitwise_and_scalar", 0, nullptr, Promote::none);
static const OpDef bitwise_or_scalar_op = unary("bitwise_or_scalar", 0, nullptr, Promote::none);
static const OpDef bitwise_xor_scalar_op = unary("bitwise_xor_scalar", 0, nullptr, Promote::none);

Tensor bitwise_and(const Tensor& a, const Tensor& b) { return apply(bitwise_and_op, {}, a, b); }
Tensor bitwise_or(const Tensor& a, const Tensor& b) { return apply(bitwise_or_op, {}, a, b); }
Tensor bitwise_xor(const Tensor& a, const Tensor& b) { return apply(bitwise_xor_op, {}, a, b); }
Tensor bitwise_and(const Tensor& a, Scalar s) { return apply_scalar(bitwise_and_scalar_op, a, s); }
Tensor bitwise_or(const Tensor& a, Scalar s) { return apply_scalar(bitwise_or_scalar_op, a, s); }
Tensor bitwise_xor(const Tensor& a, Scalar s) { return apply_scalar(bitwise_xor_scalar_op, a, s); }
Tensor bitwise_not(const Tensor& x) { return x.dtype() == boolean ? logical_not(x) : apply(bitwise_not_op, {}, x); }

// where(x, y, condition): the condition comes last, as the first input selects the kernel.
static const OpDef where_op = binary("where", {input(2), input(2)}, [](Backward& b) {
  if (b.needs(0)) b.to(0) = masked(b.g(), b.input(2));
  if (b.needs(1)) b.to(1) = masked(b.g(), logical_not(b.input(2)));
}, Promote::none);
static const OpDef masked_op =
    binary("masked", {input(1)}, [](Backward& b) { b.to(0) = masked(b.g(), b.input(1)); }, Promote::none);

static void check_condition(const char* op, const Tensor& c) {
  GRAFT_CHECK(c.dtype() == boolean || c.dtype() == u8, ErrorCode::dtype_mismatch, op, ": the condition ", c, " is not bool");
}
Tensor where(const Tensor& c, const Tensor& x, const Tensor& y) {
  check_condition("where", c);
  TensorImpl* in[] = {x.impl(), y.impl()};
  const DType t = result_type(in);
  return apply(where_op, {}, x.to(t), y.to(t), c);
}
Tensor where(const Tensor& c, const Tensor& x, Scalar y) {
  return where(c, x, scalar_tensor(y, {result_type(x, y), x.device()}));
}
Tensor where(const Tensor& c, Scalar x, const Tensor& y) {
  return where(c, scalar_tensor(x, {result_type(y, x), y.device()}), y);
}
Tensor masked(const Tensor& x, const Tensor& c) {
  check_condition("masked", c);
  return apply(masked_op, {}, x, c);
}

}  // namespace graft

// Pointwise rows for every processor, and what the ops are called.
#include "graft/kernels/pointwise/rows.inc"

namespace graft::inline v1::pointwise {
namespace {

template <class F, int inputs, class C> DType result_of() {
  if constexpr (inputs == 1) return dtype_v<std::invoke_result_t<F, C>>;
  else if constexpr (inputs == 2) return dtype_v<std::invoke_result_t<F, C, C>>;
  else return dtype_v<std::invoke_result_t<F, C, C, C>>;
}
template <class F, int inputs> void describe(Op& op, Form form) {
  op.functor = F::name;
  op.form = form;
  op.inputs = form == Form::tensors ? inputs : 1;
  if constexpr (F::types & math::kFloat) {
    op.result[in_f32] = result_of<F, inputs, float>();
    op.result[in_f64] = result_of<F, inputs, double>();
  }
  if constexpr (F::types & math::kInt) op.result[in_i64] = result_of<F, inputs, int64_t>();
  if constexpr (F::types & math::kComplex) {
    op.result[in_c64] = result_of<F, inputs, std::complex<float>>();
    op.result[in_c128] = result_of<F, inputs, std::complex<double>>();
  }
}

}  // namespace

int rows_baseline(Op* ops) {
  int n = 0;
  each(math::Unary{}, n, [&]<class F>(F*, int i) { describe<F, 1>(ops[i], Form::tensors); });
  each(math::Binary{}, n, [&]<class F>(F*, int i) { describe<F, 2>(ops[i], Form::tensors); });
  each(math::Ternary{}, n, [&]<class F>(F*, int i) { describe<F, 3>(ops[i], Form::tensors); });
  each(math::ScalarSecond{}, n, [&]<class F>(F*, int i) { describe<F, 2>(ops[i], Form::scalar_second); });
  each(math::ScalarFirst{}, n, [&]<class F>(F*, int i) { describe<F, 2>(ops[i], Form::scalar_first); });
  fill<float, math::kFloat>(ops, 0, in_f32);
  fill<double, math::kFloat>(ops, 0, in_f64);
  return n;
}

}  // namespace graft::pointwise

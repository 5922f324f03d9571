// Optimizer steps on cpu: one pass over parameter, gradient and state.
#include <array>
#include "graft/kernels/optimizer/step.h"
#include "graft/kernels/rows.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

// One row of n elements; operands in the order of the launch, the gradient last.
template <class T, bool with_momentum> void row(const SgdStep<compute_t<T>>& step, const Operand* o, int64_t n, compute_t<T> sign) {
  auto* p = reinterpret_cast<T*>(o[0].data);
  auto* b = with_momentum ? reinterpret_cast<T*>(o[1].data) : nullptr;
  const Operand& last = o[with_momentum ? 2 : 1];
  auto* g = reinterpret_cast<const T*>(last.data);
  const int64_t sp = o[0].step, sb = with_momentum ? o[1].step : 0, sg = last.step;
  for (int64_t i = 0; i < n; ++i) step.template one<T, with_momentum>(p[i * sp], b + i * sb, sign * compute_t<T>(g[i * sg]));
}
template <class T, bool amsgrad> void row(const AdamStep<compute_t<T>>& step, const Operand* o, int64_t n, compute_t<T> sign) {
  using C = compute_t<T>;
  auto* p = reinterpret_cast<T*>(o[0].data);
  auto* m = reinterpret_cast<T*>(o[1].data);
  auto* v = reinterpret_cast<T*>(o[2].data);
  auto* top = amsgrad ? reinterpret_cast<T*>(o[3].data) : nullptr;
  const Operand& last = o[amsgrad ? 4 : 3];
  auto* g = reinterpret_cast<const T*>(last.data);
  const bool dense = o[0].step == 1 && o[1].step == 1 && o[2].step == 1 && last.step == 1 && !amsgrad;
  if (dense) {
    for (int64_t i = 0; i < n; ++i) step.template one<T, false>(p[i], m[i], v[i], nullptr, sign * C(g[i]));
    return;
  }
  for (int64_t i = 0; i < n; ++i)
    step.template one<T, amsgrad>(p[i * o[0].step], m[i * o[1].step], v[i * o[2].step], amsgrad ? top + i * o[3].step : nullptr,
                                  sign * C(g[i * last.step]));
}

// What a row sees: the step of its tensor and the sign of the gradient.
template <class Step> struct RowAttrs {
  Step step;
  decltype(Step::lr) sign;
};
template <class T, bool with_momentum> void sgd_row(const Operand* o, int64_t n, const void* attrs) {
  const auto& a = *static_cast<const RowAttrs<SgdStep<compute_t<T>>>*>(attrs);
  row<T, with_momentum>(a.step, o, n, a.sign);
}
template <class T, bool amsgrad> void adam_row(const Operand* o, int64_t n, const void* attrs) {
  const auto& a = *static_cast<const RowAttrs<AdamStep<compute_t<T>>>*>(attrs);
  row<T, amsgrad>(a.step, o, n, a.sign);
}

// Runs `row` over tensor k: its `per` outputs and its gradient.
void run(const Launch& l, size_t k, size_t per, Row row, const void* attrs) {
  std::array<const View*, kMaxOperands> rest{};
  for (size_t i = 1; i < per; ++i) rest[i - 1] = l.out[k * per + i];
  rest[per - 1] = l.in[k];
  const View* out[] = {l.out[k * per]};
  const Launch one{{rest.data(), per}, out, attrs};
  if (one_row_covers(one)) one_row(one, row);
  else for_each_row(one, row);
}

template <class T> Decline sgd(const Launch& l) {
  using C = compute_t<T>;
  const auto& a = l.attrs_as<SgdAttrs>();
  const size_t per = a.momentum != 0 ? 2 : 1;
  for (size_t k = 0; k < l.in.size(); ++k) {
    const RowAttrs<SgdStep<C>> attrs{sgd_step<C>(a, k), C(a.maximize ? -1 : 1)};
    run(l, k, per, per == 2 ? sgd_row<T, true> : sgd_row<T, false>, &attrs);
  }
  return kRan;
}

template <class T> Decline adam(const Launch& l) {
  using C = compute_t<T>;
  const auto& a = l.attrs_as<AdamAttrs>();
  for (size_t k = 0; k < l.in.size(); ++k) {
    const RowAttrs<AdamStep<C>> attrs{adam_step<C>(a, k), C(a.maximize ? -1 : 1)};
    run(l, k, a.amsgrad ? 4 : 3, a.amsgrad ? adam_row<T, true> : adam_row<T, false>, &attrs);
  }
  return kRan;
}

}  // namespace

void register_optimizer_cpu() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add_kernel("sgd", Device::cpu, dtype_v<T>, "rows", sgd<T>);
    add_kernel("adam", Device::cpu, dtype_v<T>, "rows", adam<T>);
  });
}

}  // namespace graft

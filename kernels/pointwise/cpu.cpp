// Pointwise kernels on cpu: one row loop per functor and dtype.
#include "graft/kernels/pointwise/math.h"

#include <type_traits>
#include "graft/kernels/rows.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

template <class F> F functor(const void* attrs) {
  if constexpr (std::is_empty_v<F>) return F{};
  else return *static_cast<const F*>(attrs);
}

// What a functor returns is stored in the type of its inputs, unless it answers with a bool.
template <class R, class T> using Result = std::conditional_t<std::is_same_v<R, bool>, bool, T>;

template <class F, class T> void unary_row(const Operand* o, int64_t n, const void* attrs) {
  using C = compute_t<T>;
  const F f = functor<F>(attrs);
  auto* y = reinterpret_cast<Result<std::invoke_result_t<F, C>, T>*>(o[0].data);
  auto* x = reinterpret_cast<const T*>(o[1].data);
  if (o[0].step == 1 && o[1].step == 1)
    for (int64_t i = 0; i < n; ++i) y[i] = f(C(x[i]));
  else
    for (int64_t i = 0; i < n; ++i) y[i * o[0].step] = f(C(x[i * o[1].step]));
}

template <class F, class T> void binary_row(const Operand* o, int64_t n, const void* attrs) {
  using C = compute_t<T>;
  const F f = functor<F>(attrs);
  auto* y = reinterpret_cast<Result<std::invoke_result_t<F, C, C>, T>*>(o[0].data);
  auto* a = reinterpret_cast<const T*>(o[1].data);
  auto* b = reinterpret_cast<const T*>(o[2].data);
  if (o[0].step == 1 && o[1].step == 1 && o[2].step == 1)
    for (int64_t i = 0; i < n; ++i) y[i] = f(C(a[i]), C(b[i]));
  else
    for (int64_t i = 0; i < n; ++i) y[i * o[0].step] = f(C(a[i * o[1].step]), C(b[i * o[2].step]));
}

template <Row row> Decline contiguous(const Launch& l) {
  if (!one_row_covers(l)) return "operands are strided or broadcast";
  one_row(l, row);
  return kRan;
}
template <Row row> Decline strided(const Launch& l) {
  for_each_row(l, row);
  return kRan;
}

template <Row row> void add(const char* op, DType t) {
  add_kernel(op, Device::cpu, t, "contiguous", contiguous<row>);
  add_kernel(op, Device::cpu, t, "strided", strided<row>);
}
template <class T, class... F> void add_unary(TypeList<F...>) { (add<unary_row<F, T>>(F::name, dtype_of<T>::value), ...); }
template <class T, class... F> void add_binary(TypeList<F...>) { (add<binary_row<F, T>>(F::name, dtype_of<T>::value), ...); }

}  // namespace

void register_pointwise_cpu() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add_unary<T>(math::Unary{});
    add_binary<T>(math::Binary{});
  });
  for_each_type(IntTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add_unary<T>(math::UnaryInteger{});
    add_binary<T>(math::BinaryInteger{});
  });
}

}  // namespace graft

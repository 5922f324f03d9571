// Reductions on cpu that fold: sum, mean, prod, amax, amin, any, all.
#include <algorithm>
#include <complex>
#include <concepts>
#include <limits>
#include <type_traits>
#include "graft/kernels/reduce/fold.h"

namespace graft::inline v1 {
namespace {

using namespace reduce;

template <class T> struct Accumulator { using type = double; };
template <std::integral T> struct Accumulator<T> { using type = int64_t; };
template <class T> struct Accumulator<std::complex<T>> { using type = std::complex<double>; };
template <class T> using Wide = typename Accumulator<T>::type;
template <class T> using Sum = std::conditional_t<std::is_integral_v<T>, int64_t, T>;  // of integers i64

template <class T> struct AddFold {
  static constexpr bool kAdds = true;  // additions of parts that do not wait for each other are worth unrolling
  using Acc = Wide<T>;
  static Acc start() { return Acc(0); }
  static Acc step(Acc a, T x) { return a + convert<Acc>(x); }
  static Acc join(Acc a, Acc b) { return a + b; }
  template <class Out> static Out finish(Acc a, int64_t /*n*/) { return convert<Out>(a); }
};
template <class T> struct MeanFold : AddFold<T> {
  template <class Out> static Out finish(Wide<T> a, int64_t n) { return convert<Out>(a / double(n)); }
};
template <class T> struct ProdFold {
  using Acc = Wide<T>;
  static Acc start() { return Acc(1); }
  static Acc step(Acc a, T x) { return a * convert<Acc>(x); }
  static Acc join(Acc a, Acc b) { return a * b; }
  template <class Out> static Out finish(Acc a, int64_t /*n*/) { return convert<Out>(a); }
};
template <class T> T lowest() {
  if constexpr (std::is_floating_point_v<T>) return -std::numeric_limits<T>::infinity();
  else return std::numeric_limits<T>::min();
}
template <class T> T highest() {
  if constexpr (std::is_floating_point_v<T>) return std::numeric_limits<T>::infinity();
  else return std::numeric_limits<T>::max();
}
template <class T, bool largest> struct ExtremeFold {  // a NaN wins
  using Acc = compute_t<T>;
  static Acc start() { return largest ? lowest<Acc>() : highest<Acc>(); }
  static Acc step(Acc a, T x) { return join(a, Acc(x)); }
  static Acc join(Acc a, Acc b) { return (largest ? b > a : b < a) || b != b ? b : a; }
  template <class Out> static Out finish(Acc a, int64_t /*n*/) { return Out(a); }
};
template <class T, bool every> struct TruthFold {
  using Acc = uint8_t;
  static Acc start() { return every; }
  static Acc step(Acc a, T x) { return join(a, uint8_t(convert<compute_t<T>>(x) != compute_t<T>(0))); }
  static Acc join(Acc a, Acc b) { return every ? a & b : a | b; }
  template <class Out> static Out finish(Acc a, int64_t /*n*/) { return Out(a != 0); }
};

template <class F, class T, class Out> void add_fold(const char* op) {
  add_kernel(op, Device::cpu, dtype_v<T>, "all", fold_all<F, T, Out>);
  add_kernel(op, Device::cpu, dtype_v<T>, "dims", fold_dims<F, T, Out>);
}

}  // namespace

void register_reduce_along_cpu();
void register_reduce_cpu() {
  for_each_type(AllTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add_fold<AddFold<T>, T, Sum<T>>("sum");
    add_fold<ProdFold<T>, T, Sum<T>>("prod");
    if constexpr (!std::is_integral_v<T>) add_fold<MeanFold<T>, T, T>("mean");
    using Truth = std::conditional_t<std::is_same_v<T, uint8_t>, uint8_t, bool>;
    add_fold<TruthFold<T, false>, T, Truth>("any");
    add_fold<TruthFold<T, true>, T, Truth>("all");
    if constexpr (!is_complex_v<T>) {
      add_fold<ExtremeFold<T, true>, T, T>("amax");
      add_fold<ExtremeFold<T, false>, T, T>("amin");
    }
  });
  register_reduce_along_cpu();
}

}  // namespace graft

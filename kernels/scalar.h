// A number from the program, of any kind, as an argument of an op or kernel.
#pragma once
#include <complex>
#include <concepts>
#include "graft/kernels/dtype.h"

namespace graft::inline v1 {

// Trivially copyable, so that it may live in attributes. Integers are kept exactly.
class Scalar {
 public:
  enum class Kind : uint8_t { boolean, integer, floating, complex };

  constexpr Scalar() : Scalar(0.0) {}
  constexpr Scalar(bool v) : integer_(v), re_(v), kind_(Kind::boolean) {}  // NOLINT(google-explicit-constructor)
  template <std::integral I>
    requires(!std::same_as<I, bool>)
  constexpr Scalar(I v) : integer_(int64_t(v)), re_(double(v)), kind_(Kind::integer) {}  // NOLINT
  template <std::floating_point F>
  constexpr Scalar(F v) : re_(double(v)), kind_(Kind::floating) {}  // NOLINT(google-explicit-constructor)
  template <std::floating_point F>
  constexpr Scalar(std::complex<F> v) : re_(v.real()), im_(v.imag()), kind_(Kind::complex) {}  // NOLINT

  constexpr Kind kind() const { return kind_; }
  // The type that a tensor made of it alone would have.
  constexpr DType dtype() const {
    constexpr DType types[] = {DType::boolean, i64, f32, c64};
    return types[int(kind_)];
  }
  template <class T> GRAFT_HD T to() const {
    if constexpr (is_complex_v<T>) return T(typename T::value_type(re_), typename T::value_type(im_));
    else if (kind_ <= Kind::integer) return convert<T>(integer_);
    else return convert<T>(re_);
  }
  double value() const { return to<double>(); }

 private:
  int64_t integer_ = 0;
  double re_ = 0, im_ = 0;
  Kind kind_;
};

}  // namespace graft

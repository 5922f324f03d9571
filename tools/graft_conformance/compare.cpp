#include "compare.h"

#include <cmath>
#include <complex>
#include <cstring>
#include "graft/core/op.h"
#include "report.h"

namespace conformance {
namespace {

using namespace graft;

// What is beyond the tolerance, as a multiple of it; 0 where the two agree.
template <class T>
double excess(T got, T want, Tolerance t) {
  if constexpr (is_complex_v<T>) {
    using R = typename T::value_type;
    if (!std::isfinite(want.real()) || !std::isfinite(want.imag()))
      return std::max(excess<R>(got.real(), want.real(), t), excess<R>(got.imag(), want.imag(), t));
    const double d = std::abs(std::complex<double>(got) - std::complex<double>(want));
    return d <= t.absolute + t.relative * std::abs(std::complex<double>(want)) ? 0 : d;
  } else if constexpr (is_floating_v<T>) {
    const double a = double(got), b = double(want);
    if (std::isnan(b) || std::isinf(b)) return (std::isnan(b) ? std::isnan(a) : a == b) ? 0 : HUGE_VAL;
    const double d = std::abs(a - b);
    return d <= t.absolute + t.relative * std::abs(b) ? 0 : (std::isnan(d) ? HUGE_VAL : d);
  } else {
    return got == want ? 0 : std::max(1.0, std::abs(double(got) - double(want)));
  }
}

template <class T>
void print(std::ostream& out, T v) {
  if constexpr (is_half_v<T>)
    out << float(v);
  else
    out << +v;
}

template <class T>
void compare(const Tensor& got, const Tensor& want, Tolerance t, const std::string& what) {
  const T *a = got.data<T>(), *b = want.data<T>();
  int64_t bad = 0, worst = -1;
  double most = 0;
  for (int64_t i = 0; i < want.numel(); ++i)
    if (const double e = excess(a[i], b[i], t); e > 0) {
      ++bad;
      if (e > most) most = e, worst = i;
    }
  if (bad == 0) return;
  std::ostringstream text;
  text.precision(9);
  text << what << ' ' << want.view() << ": " << bad << " of " << want.numel() << " elements differ, most at [" << worst
       << "]: ";
  print(text, a[worst]);
  text << " instead of ";
  print(text, b[worst]);
  throw Mismatch(text.str());
}

}  // namespace

Tolerance tolerance_for(DType t, bool loose) {
  if (t == f64 || t == c128) return {1e-7, 1e-7};
  if (t == f16 || t == bf16) return {1e-2, 1e-2};
  return loose ? Tolerance{1e-4, 1e-4} : Tolerance{1e-5, 1.3e-6};
}

Tensor plain(const Tensor& t) {
  const NoGrad quiet;
  return t.detach().to(Device(Device::cpu)).contiguous();
}

void expect_close(const Tensor& got, const Tensor& want, Tolerance t, const std::string& what) {
  if (!got.defined()) throw Mismatch(what + " is missing");
  if (got.shape() != want.shape() || got.dtype() != want.dtype())
    throw Mismatch(concat(what, " is ", got.view(), " instead of ", want.view()));
  const Tensor a = plain(got), b = plain(want);
  with_type(b.dtype(), AllTypes{}, [&](auto tag) { compare<typename decltype(tag)::type>(a, b, t, what); });
}

}  // namespace conformance

// Softmax along one line of contiguous numbers, for each instruction set. n >= 1; y may be x, and dx any of its inputs.
#pragma once
#include <cstdint>

namespace graft::inline v1::softmax_lines {

template <class C> struct Statistics { C top, sum; };
template <class C> struct Lines {
  void (*softmax)(C* y, const C* x, int64_t n);
  void (*log_softmax)(C* y, const C* x, int64_t n);
  // y is what the function above has returned, g the gradient of it.
  void (*softmax_grad)(C* dx, const C* y, const C* g, int64_t n);
  void (*log_softmax_grad)(C* dx, const C* y, const C* g, int64_t n);
  // The two numbers of softmax(x)_i = exp(x_i - top) / sum; and dx_i = exp(x_i - top) * scale.
  Statistics<C> (*statistics)(const C* x, int64_t n);
  void (*exponentials)(C* dx, const C* x, int64_t n, C top, C scale);
};
struct LineSet {
  Lines<float> f32;
  Lines<double> f64;
};
LineSet lines_in_use();    // of the instruction set in use
LineSet lines_baseline();
LineSet lines_avx2();      // this and the next on x86 only
LineSet lines_avx512();

}  // namespace graft::softmax_lines

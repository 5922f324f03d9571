// Holds derivatives against finite differences.
#pragma once
#include <functional>
#include <string>
#include "graft/core/tensor.h"

namespace graft::inline v1 {

struct GradcheckOptions {
  double eps = 1e-6;   // step of the central difference
  double atol = 1e-5;  // accepted where |analytic - numeric| <= atol + rtol |numeric|
  double rtol = 1e-3;
  bool raise = true;  // a mismatch is an Error with the report's text; otherwise it is only reported
};

// What was found; the first mismatch, if there is one.
struct GradcheckReport {
  bool ok = true;
  int64_t compared = 0;  // numbers held against each other: a check that compared nothing proves nothing
  int input = -1, output = -1;
  int64_t input_element = -1, output_element = -1;  // in logical order
  bool imaginary_input = false, imaginary_output = false;
  double analytic = 0, numeric = 0;
  std::string text;  // empty when ok
  explicit operator bool() const { return ok; }
};

using TensorFn = std::function<Tensors(const Tensors& inputs)>;

// Compares d(every element of every output) / d(every element of every input that requires grad) with
// (f(x + eps) - f(x - eps)) / 2 eps. Inputs are f64 or c128 and may be strided; f must be a function of them alone.
// An input that requires grad is changed during the check and restored. Of complex numbers the real and imaginary parts
// are checked each, by the convention of backward: the gradient of a real L is dL/dRe + i dL/dIm.
GradcheckReport gradcheck(const TensorFn&, const Tensors& inputs, const GradcheckOptions& = {});

// The same for the derivative: f's gradients are differentiated with respect to inputs and `grad_outputs` (made up
// where they are left out).
GradcheckReport gradgradcheck(const TensorFn&, const Tensors& inputs, const Tensors& grad_outputs = {},
                              const GradcheckOptions& = {});

}  // namespace graft

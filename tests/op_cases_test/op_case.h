// The table of op cases: what one case is. A family of ops lists its cases in a file of its own; op_cases_test.cpp runs
// each as value, gradient, second gradient, 16-bit, strided, empty, 0-dim, meta and in-place test.
#pragma once
#include <cmath>
#include <ostream>
#include <string>
#include <vector>
#include "graft/core/autograd.h"
#include "graft/core/ops.h"

namespace graft::cases {

// {.op = "atan2", .in = {a, b}, .fn = [](const Tensors& x) { return atan2(x[0], x[1]); },
//  .element = [](const double* x) { return std::atan2(x[0], x[1]); }}
// The expected value comes from outside the library: `element`, `expected` or `values`.
struct OpCase {
  const char* op;                                      // OpDef::name; fn must reach it
  const char* name = "";                               // what is special about it
  Tensors in = {};                                     // f64 where floating; ramp() avoids ties and zeros
  Tensor (*fn)(const Tensors&) = nullptr;              // several outputs are several cases
  double (*element)(const double*) = nullptr;          // one element, of one element of each broadcast input
  Tensor (*expected)(const Tensors&) = nullptr;        // the whole result, naively
  std::vector<double> values = {};                     // the whole result in order, recorded elsewhere
  const Tensor& (*in_place)(const Tensors&) = nullptr;  // writes x[0]
  std::vector<DType> also = {};                        // integer, bool: in, converted, gives exactly `element`
  bool pointwise = true;                               // holds for any shape: empty and 0-dim inputs are derived
  bool grad = true, second_grad = true;                // of the floating inputs
  bool floats = true;                                  // f32, f16 and bf16 agree with f64
  bool strided = true;                                 // any layout of the inputs gives the same values
  bool meta = true;
  double tolerance = 1;                                // times the tolerance of the dtype
};
using OpCases = std::vector<OpCase>;

// One function per file of this folder; families() lists them.
OpCases pointwise_cases();
OpCases activation_cases();
OpCases reduce_cases();
OpCases view_cases();
OpCases move_cases();
OpCases index_cases();
OpCases movement_cases();
OpCases nn_cases();
OpCases conv_cases();
OpCases norm_cases();

struct Family {
  const char* name;
  OpCases (*cases)();
  friend std::ostream& operator<<(std::ostream& out, const Family& f) { return out << f.name; }
};
const std::vector<Family>& families();

// Distinct values, none of them zero, of both signs by default.
Tensor ramp(const Shape&, double from = -1.3, double step = 0.37);
Tensor ints(const Shape&, int64_t from = -3);  // i64: distinct, shuffled
std::string label(const OpCase&);
// The elements of x in row-major order, whatever its dtype, strides and device.
std::vector<double> elements(const Tensor& x);
inline bool floating(const Tensor& t) { return is_floating(t.dtype()); }
Tensors converted(const Tensors& in, DType t);  // the floating ones
Tensor weigh(const Tensor& y);                  // a scalar that weighs every element differently: a transposed gradient shows

// The same shape in other memory: another order of dimensions, gaps behind an offset, one row repeated (other values).
Tensor transposed(const Tensor&);
Tensor with_gaps(const Tensor&);
Tensor expanded(const Tensor&);
inline constexpr Tensor (*kLayouts[])(const Tensor&) = {transposed, with_gaps, expanded};

}  // namespace graft::cases

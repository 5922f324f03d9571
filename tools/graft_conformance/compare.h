// Recorded values against computed ones.
#pragma once
#include <string>
#include "graft/core/tensor.h"

namespace conformance {

struct Tolerance {
  double absolute, relative;
};
// `loose`: sums of many products, as in convolutions and matrix products.
Tolerance tolerance_for(graft::DType, bool loose);

// Throws Mismatch, which names `what` and the worst element. Shape and dtype must agree; NaN equals NaN; integers and
// bools are exact.
void expect_close(const graft::Tensor& got, const graft::Tensor& want, Tolerance, const std::string& what);

// A contiguous copy on the CPU, without history.
graft::Tensor plain(const graft::Tensor&);

}  // namespace conformance

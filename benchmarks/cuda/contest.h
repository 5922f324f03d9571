// One computation done in several ways on device cuda: a fused kernel, the same from single ops, and by a vendor library.
#pragma once
#include <functional>
#include <string>
#include <vector>
#include "graft/core/ops.h"

namespace contest {

using graft::DType, graft::Shape, graft::Tensor, graft::Tensors;

struct Contestant {
  std::string name;               // "fused", "unfused"; with NVIDIA's library where it begins with "cublas" or "cudnn"
  std::function<Tensors()> run;   // what it returns is compared with the first one's
};
// What cannot be avoided: bytes that are read and written once, and multiplications and additions.
struct Work {
  DType dtype = graft::f32;
  double bytes = 0, flops = 0;
};
struct Made {
  Work work;
  std::vector<Contestant> contestants;
  double tolerance = 0;  // of differences, beside 1 + the largest value
};
struct Case {
  std::string name;
  std::vector<std::string> contestants;   // names, so that a case need not be made to be listed
  std::function<Made(bool tiny)> make;    // tiny: sizes that an emulated device computes in a moment
};
using Cases = std::vector<Case>;

Cases products();
Cases rows();
Cases convolutions();
Cases attention();
Cases optimizers();
Cases steps();

inline Tensor values(const Shape& shape, DType t, double seed) {  // between -1 and 1
  const graft::Device cuda(graft::Device::cuda);
  return sin(graft::arange(graft::numel_of(shape), graft::Options(graft::f32, cuda)) * 1.7 + seed).reshape(shape).to(t);
}
inline double tolerance(DType t) { return t == graft::f32 ? 1e-5 : t == graft::f16 ? 5e-3 : 4e-2; }
inline double bytes(DType t) { return double(graft::size_of(t)); }

}  // namespace contest

// Softmaxes, and attention, which is made of one.
#include <cmath>
#include "graft/nn/functional.h"

namespace graft::inline v1::nn::functional {

static int implicit_dim(const Tensor& x, std::optional<int> dim) {
  return dim ? *dim : x.dim() == 0 || x.dim() == 1 || x.dim() == 3 ? 0 : 1;
}
Tensor softmax(const Tensor& input, std::optional<int> dim, std::optional<DType> dtype) {
  return graft::softmax(dtype ? input.to(*dtype) : input, implicit_dim(input, dim));
}
Tensor log_softmax(const Tensor& input, std::optional<int> dim, std::optional<DType> dtype) {
  return graft::log_softmax(dtype ? input.to(*dtype) : input, implicit_dim(input, dim));
}
Tensor softmin(const Tensor& input, std::optional<int> dim, std::optional<DType> dtype) {
  return softmax(-input, implicit_dim(input, dim), dtype);
}

}  // namespace graft::nn::functional

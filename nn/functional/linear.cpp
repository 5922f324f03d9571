// Linear and bilinear maps.
#include "graft/nn/functional.h"

namespace graft::inline v1::nn::functional {

Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias) {
  return graft::linear(input, weight, bias);
}

// y_k = x1^T W_k x2 + b_k
Tensor linear_act(const Tensor& input, const Tensor& weight, const Tensor& bias, std::string_view activation) {
  GRAFT_CHECK(activation == "relu" || activation == "gelu" || activation == "gelu_tanh",
              "linear_act: activation must be relu, gelu or gelu_tanh, but got ", activation);
  return graft::linear_act(input, weight, bias, activation == "relu"   ? LinearActivation::relu
                                                : activation == "gelu" ? LinearActivation::gelu
                                                                       : LinearActivation::gelu_tanh);
}

Tensor bilinear(const Tensor& input1, const Tensor& input2, const Tensor& weight, const Tensor& bias) {
  GRAFT_CHECK(weight.dim() == 3 && input1.dim() > 0 && input1.dim() == input2.dim() && input1.size(-1) == weight.size(1) &&
                  input2.size(-1) == weight.size(2), ErrorCode::shape_mismatch,
              "bilinear: needs inputs [..., in1] and [..., in2] for weight [out, in1, in2]: ", input1, ", ", input2, ", ", weight);
  const int64_t out = weight.size(0), in1 = weight.size(1), in2 = weight.size(2);
  Shape shape = input1.shape();
  const int last = shape.rank() - 1;
  int64_t rows = 1;
  for (int i = 0; i < last; ++i) {
    GRAFT_CHECK(input1.size(i) == input2.size(i), ErrorCode::shape_mismatch,
                "bilinear: batch dimensions differ: ", input1, ", ", input2);
    rows *= shape[i];
  }
  const Tensor left = matmul(input1.reshape({rows, in1}), weight.transpose(0, 1).reshape({in1, out * in2}));
  const Tensor y = matmul(left.reshape({rows, out, in2}), input2.reshape({rows, in2, 1}));
  shape[last] = out;
  return bias.defined() ? y.reshape(shape) + bias : y.reshape(shape);
}

}  // namespace graft::nn::functional

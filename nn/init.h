// Initialisers: torch.nn.init. In place, without history; each returns its tensor.
#pragma once
#include <string_view>
#include "graft/core/random.h"
#include "graft/core/tensor.h"

namespace graft::inline v1::nn::init {

// The recommended gain for a function's name: "linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu" (with its negative
// slope), "selu".
double calculate_gain(std::string_view nonlinearity, double param = 0.01);

struct Fans { int64_t in = 0, out = 0; };
Fans calculate_fan_in_and_fan_out(const Tensor&);  // of a weight [out, in, kernel...]

const Tensor& constant_(const Tensor&, double value);
const Tensor& zeros_(const Tensor&);
const Tensor& ones_(const Tensor&);
const Tensor& eye_(const Tensor&);                       // of a matrix
const Tensor& dirac_(const Tensor&, int64_t groups = 1);  // of a convolution's weight: it passes its input on
const Tensor& uniform_(const Tensor&, double a = 0, double b = 1, Generator* = nullptr);
const Tensor& normal_(const Tensor&, double mean = 0, double std = 1, Generator* = nullptr);
const Tensor& trunc_normal_(const Tensor&, double mean = 0, double std = 1, double a = -2, double b = 2, Generator* = nullptr);

enum class Fan { in, out };
// Glorot: keeps the variance of activations and gradients.
const Tensor& xavier_uniform_(const Tensor&, double gain = 1, Generator* = nullptr);
const Tensor& xavier_normal_(const Tensor&, double gain = 1, Generator* = nullptr);
// He: `a` is the negative slope of the leaky ReLU that follows.
const Tensor& kaiming_uniform_(const Tensor&, double a = 0, Fan = Fan::in, std::string_view nonlinearity = "leaky_relu",
                               Generator* = nullptr);
const Tensor& kaiming_normal_(const Tensor&, double a = 0, Fan = Fan::in, std::string_view nonlinearity = "leaky_relu",
                              Generator* = nullptr);
const Tensor& orthogonal_(const Tensor&, double gain = 1, Generator* = nullptr);  // rows (or columns) orthonormal times gain
const Tensor& sparse_(const Tensor&, double sparsity, double std = 0.01, Generator* = nullptr);  // a share of each column is 0

}  // namespace graft::nn::init

// Attributes of the pointwise ops: what core/ops/*.cpp passes and the functors of this folder read.
// A form with a number from the program ("add_scalar") has a Scalar as its attributes.
#pragma once

namespace graft::inline v1::math {

struct AlphaAttrs { double alpha = 1; };                          // add, sub: a +- alpha * b
struct AffineAttrs { double scale = 1, shift = 0; };              // x * scale + shift
struct ValueAttrs { double value = 1; };                          // addcmul, addcdiv, lerp, eps of logit
struct BoundAttrs { double low = 0, high = 0; };                  // clamp
struct SlopeAttrs { double slope = 0.01; };                       // leaky_relu
struct EluAttrs { double alpha = 1, scale = 1, input_scale = 1; };  // elu, selu, celu
struct SoftplusAttrs { double beta = 1, threshold = 20; };
struct ThresholdAttrs { double threshold = 0, value = 0; };
struct LambdaAttrs { double lambda = 0.5; };                      // hardshrink, softshrink
struct NanToNumAttrs { double nan = 0, high = 0, low = 0; };
struct RoundAttrs { double power = 1; bool divide = false; };     // 10^|decimals|

}  // namespace graft::math

// Attributes of linear with an activation: in x, weight[, bias], out y.
#pragma once
#include <cstdint>

namespace graft::inline v1 {

enum class LinearActivation : uint8_t { relu, gelu, gelu_tanh };
struct LinearActAttrs { LinearActivation activation = LinearActivation::relu; };

}  // namespace graft

// A function with a derivative of one's own, in one call.
#pragma once
#include "graft/core/autograd.h"

namespace graft::inline v1::autograd {

using ForwardFn = std::function<Tensors(const Tensors& inputs)>;                     // runs without grad mode
using BackwardFn = std::function<Tensors(Backward& saved, const Tensors& grad_outputs)>;  // one gradient per input

// Tensors y = autograd::custom({x}, [](const Tensors& in) -> Tensors { return {exp(in[0])}; },
//                              [](Backward& b, const Tensors& g) -> Tensors { return {g[0] * b.output()}; });
// Inputs and outputs are saved: b.input(i), b.output(i). Of a tensor that the lambdas capture nothing is known: pass what
// needs a gradient as an input. Use differentiable functions in `backward`, and gradients of any order work.
Tensors custom(const Tensors& inputs, ForwardFn forward, BackwardFn backward, std::string_view name = "custom");

}  // namespace graft::autograd

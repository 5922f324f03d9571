// What a model does with an example: every op, the module call it belongs to, and which value flows where. Fusion reads
// it, so that chains are found by what runs, not by names or by order of registration.
#pragma once
#include <string_view>
#include <unordered_map>
#include <vector>
#include "graft/nn/module.h"

namespace graft::inline v1::surgery {

struct Trace {
  static constexpr size_t none = size_t(-1);

  // A tensor as one op has left it: an in-place op makes a new value of the tensor that it writes.
  struct Item {
    Tensor tensor;                  // keeps the address unique; of a run on shapes only the shape counts
    size_t producer = none;         // an op; none: an example, a parameter, a constant
    std::vector<size_t> consumers;  // ops
    bool input = false;             // part of the example
    bool output = false;            // part of what the model returns
    bool kept = false;              // something still holds it after the run: a member, a list outside
  };
  struct Op {
    std::string_view name;
    size_t call;  // the innermost module call
    std::vector<size_t> in, out;
  };
  // One call of a module. What a module gets and returns untouched (Identity, Dropout in eval mode) leaves no trace.
  struct Call {
    const nn::Module* module;
    size_t outer;                 // none: of the model itself
    std::vector<size_t> in,
        out;  // values of elsewhere that its ops read; values of its ops that are read elsewhere or returned
  };

  std::vector<Item> values;
  std::vector<Op> ops;
  std::vector<Call> calls;
  bool on_values = false;  // an op needed values, so the model was run for real
  std::unordered_map<const nn::Module*, std::vector<size_t>> calls_of;
  std::unordered_map<const TensorImpl*, std::vector<size_t>>
      reads_of;  // tensors that no op made, parameters: ops that read them

  size_t producer_call(size_t value) const;                // none: no op made it
  std::vector<size_t> consumer_calls(size_t value) const;  // each once
  // The only call that reads the value, where nothing else does; none otherwise.
  size_t only_consumer(size_t value) const;
};

// Runs the model once without gradients: on shapes alone, or, if an op needs values, for real, which a model in
// training mode refuses (it would move running statistics). Hooks run only in the second case.
Trace trace(nn::Module& model, const nn::Values& example);

}  // namespace graft

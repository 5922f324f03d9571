// What a model does with an example, found on shapes alone: output shapes, multiply-adds, memory.
#pragma once
#include <string>
#include <unordered_map>
#include "graft/nn/module.h"

namespace graft::inline v1::surgery {

struct Cost {
  struct OfModule {
    std::string output;  // "[8,10]": what its last call returned; empty where it ran no op
    int64_t macs = 0;    // multiply-adds of all its calls, its children's included
  };
  OfModule model;
  std::unordered_map<const nn::Module*, OfModule> modules;
  int64_t state_bytes = 0;  // parameters and buffers, each memory once
  // With those, the example, and the intermediate results at the op where most of them are needed: each from the op that
  // makes it to the last one that reads it, as in inference.
  int64_t peak_bytes = 0;
  // Where something depends on values, what said so ("head: nonzero: ..."); then all else is what came before it.
  std::string unknown;
};
// Runs the model without computing, writing or drawing anything. Errors of the model pass.
Cost cost(nn::Module& model, const nn::Values& example);

}  // namespace graft

// Does an edited model still answer as it did? Plan::apply({.verify = {inputs, ulps}}) runs it before and after, and rolls
// the edit back when the answers differ.
#pragma once
#include <iosfwd>
#include <string>
#include <unordered_map>
#include <vector>
#include "graft/nn/module.h"

namespace graft::inline v1::surgery {

// The tolerance is in units in the last place of the answer's dtype, at the largest magnitude of each tensor:
//   |after - before| <= ulps * epsilon(dtype) * max |before|
// so that it means the same for f64 and bf16, and for answers of any scale. 256 of f32 are 3e-5 of the largest. Integers
// must be equal; NaN answers NaN, and an infinity itself.
struct Verify {
  nn::Values inputs = {};  // none: no verification
  double ulps = 256;
};

struct Difference {
  double ulps = 0;        // the largest, in units in the last place; infinite where shapes or dtypes differ
  double absolute = 0;
  double magnitude = 0;   // of the tensor before
  double allowed = 0;     // absolute
  std::string place;      // "output[0][3,5]"
  std::string text;       // "at output[3,5] by 2.1e-06, 5.6 ulp of f32 at 3.2, where 256 ulp, 9.8e-05, are allowed"
};
Difference difference(const nn::Value& before, const nn::Value& after, double ulps);  // of the tensor that is worst

namespace detail {

// Runs a model once as it is: without gradients; buffers, and the generator of random numbers, are as before afterwards.
nn::Value run_quietly(nn::Module&, const nn::Values& inputs);

// What every module answers, in the order in which they finish.
struct Answers {
  struct One {
    const nn::Module* module;
    std::string path;
    size_t call;  // how often it was called before
    nn::Value output;
  };
  std::vector<One> all;
};
Answers answers_of(nn::Module&, const nn::Values& inputs);

using Predecessors = std::unordered_map<const nn::Module*, const nn::Module*>;  // of what an edit has put in
// The path of the first module that answers otherwise, its type and by how much; empty: none that both models have.
std::string first_divergence(const Answers& before, const Answers& after, const Predecessors&, double ulps, std::string* path);

}  // namespace detail
}  // namespace graft

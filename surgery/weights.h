// What becomes of the numbers of a module that is replaced: which parameters and buffers the new one takes over, by
// name, and which not.
#pragma once
#include <vector>
#include "graft/surgery/policy.h"

namespace graft::inline v1::surgery {

struct Carried {
  enum class How : uint8_t {
    kept,      // the same tensor
    copied,
    sliced,    // the leading block that both have
    inflated,  // inputs repeated and scaled
    fresh,     // the new module's own
    lost,      // of the old module only
  };
  How how;
  std::string path;  // "fc.weight": of the module's place, and the name in it
  Shape from, to;    // one of them is empty where there is no counterpart
};
std::string_view name_of(Carried::How);

// W' of the shape of `to` from W, to be written over it. Dimensions that both have in other sizes:
//   slice:   W'[i..] = W[i..] where W has it, else as in `to`.
//   inflate: dimension 0 (outputs) as slice. Of the others, input j of n' stands for input j mod n and takes an equal
//            share of its weight; of fewer inputs than before, j also takes the weights of j + n', j + 2n', ... An input
//            whose channels are all alike then gives what it gave. If `to` has one dimension more, a kernel
//            W[o, i, h, w] is repeated along t in W'[o, i, t, h, w] and divided by the size of t (Carreira & Zisserman
//            2017).
Tensor adapted(const Tensor& from, const Tensor& to, Carry how);

// What would be carried over from `before`, at `path`; with `write` it is, into tensors that `may_write` admits.
std::vector<Carried> carry_over(const nn::Module& before, nn::Module& after, const std::string& path, Carry how, bool write,
                           const std::function<bool(const Tensor&)>& may_write);

}  // namespace graft

// functional_call: calls a module with other tensors in the places of its parameters and buffers.
#pragma once
#include "graft/nn/call.h"

namespace graft::inline v1::nn {

// While it lives, the named parameters and buffers of `root` are `tensors` (any tensors, with or without history); where
// `tie_weights`, so are all parameters that are tied to them. It changes the module: not for concurrent calls.
class Substitution {
 public:
  Substitution(Module& root, const StateDict& tensors, bool tie_weights = true);
  ~Substitution();
  Substitution(const Substitution&) = delete;
  Substitution& operator=(const Substitution&) = delete;

 private:
  struct ParamBefore {
    ParamEntry* entry;
    Tensor edited;
    bool editable;
  };
  struct BufferBefore {
    BufferEntry* entry;
    Tensor value;
  };
  void put(ParamEntry&, const Tensor&);
  std::vector<ParamBefore> params_;
  std::vector<BufferBefore> buffers_;
};

template <class M, class... X> auto functional_call(M& m, const StateDict& tensors, X&&... args) {
  const Substitution now(m, tensors);
  return m(std::forward<X>(args)...);
}

}  // namespace graft::nn

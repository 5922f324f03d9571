#include "graft/surgery/mutable.h"

#include "graft/nn/call.h"

namespace graft::inline v1::surgery {

void make_mutable(nn::Module& model) {
  nn::refuse_during_call("to_mutable_module");
  std::unordered_map<const TensorImpl*, nn::ParamEntry*> first;
  for (nn::Module* m : model.modules())
    for (const auto& e : m->param_entries()) {
      e->make_editable();
      if (!e->leaf.defined()) continue;
      const auto [it, fresh] = first.emplace(e->leaf.impl(), e.get());
      if (!fresh) e->tie_edits(*it->second);
    }
  model.set_mutable();
}

void materialize(nn::Module& model) {
  nn::refuse_during_call("materialize");
  for (nn::Module* m : model.modules())
    for (const auto& e : m->param_entries()) e->materialize();
}

}  // namespace graft

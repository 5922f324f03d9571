#include "graft/nn/functional_call.h"

#include <ranges>

namespace graft::inline v1::nn {

void Substitution::put(ParamEntry& e, const Tensor& t) {
  params_.push_back({&e, e.edited, e.editable});
  e.edited = t;
  e.editable = true;
}

Substitution::Substitution(Module& root, const StateDict& tensors, bool tie_weights) {
  // Everything that may fail comes first: names are looked up before anything changes, and there is room.
  std::vector<std::pair<ParamEntry*, Tensor>> params;
  std::unordered_map<const TensorImpl*, Tensor> by_leaf;
  std::unordered_set<const ParamEntry*> named;
  for (const auto& [name, t] : tensors) {
    const size_t dot = name.rfind('.');
    const std::string last = dot == std::string::npos ? name : name.substr(dot + 1);
    Module& owner = root.get_submodule(dot == std::string::npos ? std::string() : name.substr(0, dot));
    if (BufferEntry* b = owner.find_buffer(last)) {
      buffers_.push_back({b, t});
      continue;
    }
    ParamEntry* p = owner.find_param(last);
    GRAFT_CHECK(p, ErrorCode::key_error, "functional_call: ", type_name(owner), " has no parameter or buffer '", last, "'");
    params.emplace_back(p, t);
    named.insert(p);
    if (p->leaf.defined()) by_leaf.emplace(p->leaf.impl(), t);
  }
  if (tie_weights)
    for (Module* m : root.modules())
      for (const auto& e : m->param_entries())
        if (const auto it = e->leaf.defined() ? by_leaf.find(e->leaf.impl()) : by_leaf.end();
            it != by_leaf.end() && !named.contains(e.get()))
          params.emplace_back(e.get(), it->second);
  params_.reserve(params.size());
  for (auto& [e, t] : params) put(*e, t);
  for (BufferBefore& b : buffers_) std::swap(b.entry->value, b.value);
}
Substitution::~Substitution() {
  for (ParamBefore& p : params_ | std::views::reverse) {
    p.entry->edited = std::move(p.edited);
    p.entry->editable = p.editable;
  }
  for (BufferBefore& b : buffers_ | std::views::reverse) std::swap(b.entry->value, b.value);
}

}  // namespace graft::nn

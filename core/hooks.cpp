#include "graft/core/hooks.h"

#include <algorithm>
#include "graft/core/tensor.h"

namespace graft::inline v1 {

uint64_t HookList::add(Hook hook) {
  auto changed = entries_ ? std::make_shared<Entries>(*entries_) : std::make_shared<Entries>();
  changed->emplace_back(next_, std::move(hook));
  entries_ = std::move(changed);
  return next_++;
}
void HookList::remove(uint64_t id) {
  if (!entries_) return;
  auto changed = std::make_shared<Entries>(*entries_);
  std::erase_if(*changed, [id](const auto& entry) { return entry.first == id; });
  entries_ = changed->empty() ? nullptr : std::move(changed);
}

HookHandle add_hook(std::shared_ptr<HookList>& list, Hook hook) {
  if (!list) list = std::make_shared<HookList>();
  return {list, list->add(std::move(hook))};
}
Tensor run_hooks(const std::shared_ptr<HookList>& list, Tensor grad) {
  const auto entries = list ? list->entries() : nullptr;
  if (!entries) return grad;
  for (const auto& [id, hook] : *entries)
    if (Tensor changed = hook(grad); changed.defined()) {
      GRAFT_CHECK(changed.shape() == grad.shape(), ErrorCode::autograd, "hook: returned ", changed, " in place of ", grad);
      grad = std::move(changed);
    }
  return grad;
}

}  // namespace graft

// Functions that users hang on a tensor's gradient, and the handles that take them off again.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace graft::inline v1 {

class Tensor;
using Hook = std::function<Tensor(const Tensor& grad)>;  // returns the gradient to use instead, or an undefined tensor

// The list is replaced, never edited: one that is running is a snapshot, so hooks may add and remove hooks.
class HookList {
 public:
  using Entries = std::vector<std::pair<uint64_t, Hook>>;
  uint64_t add(Hook);
  void remove(uint64_t id);
  std::shared_ptr<const Entries> entries() const { return entries_; }  // null: none

 private:
  std::shared_ptr<const Entries> entries_;
  uint64_t next_ = 0;
};

// Copies are the same handle; it may outlive the tensor.
class HookHandle {
 public:
  HookHandle() = default;
  HookHandle(const std::shared_ptr<HookList>& list, uint64_t id) : list_(list), id_(id) {}
  void remove() const {
    if (const auto list = list_.lock()) list->remove(id_);
  }

 private:
  std::weak_ptr<HookList> list_;
  uint64_t id_ = 0;
};

HookHandle add_hook(std::shared_ptr<HookList>&, Hook);  // makes the list on first use
Tensor run_hooks(const std::shared_ptr<HookList>&, Tensor grad);

}  // namespace graft

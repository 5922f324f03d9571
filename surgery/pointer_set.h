// The addresses that a walk has seen: a flat hash set that only grows. What is shared is found in a few nanoseconds.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace graft::inline v1::surgery {

class PointerSet {
 public:
  bool insert(const void* p) {  // false: was there
    if (2 * (size_ + 1) > slots_.size()) grow();
    const void*& slot = find(p);
    if (slot) return false;
    slot = p;
    ++size_;
    return true;
  }
  bool contains(const void* p) const { return size_ > 0 && const_cast<PointerSet*>(this)->find(p); }
  size_t size() const { return size_; }

 private:
  const void*& find(const void* p) {  // its slot, or the empty one where it would be
    const size_t mask = slots_.size() - 1;
    size_t at = size_t((reinterpret_cast<uintptr_t>(p) >> 4) * 0x9E3779B97F4A7C15U >> shift_) & mask;
    while (slots_[at] && slots_[at] != p) at = (at + 1) & mask;
    return slots_[at];
  }
  void grow() {
    std::vector<const void*> old(slots_.empty() ? 64 : 2 * slots_.size());
    old.swap(slots_);
    shift_ = old.empty() ? 64 - 6 : shift_ - 1;
    for (const void* p : old)
      if (p) find(p) = p;
  }
  std::vector<const void*> slots_;  // a power of two, at most half full
  size_t size_ = 0;
  int shift_ = 64;
};

}  // namespace graft

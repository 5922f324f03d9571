// Intrusive, atomic reference counts. A type T derives from Counted and provides `void destroy(T*) noexcept`.
#pragma once
#include <atomic>
#include <cstdint>
#include <utility>

namespace graft::inline v1 {

struct Counted {
  std::atomic<uint32_t> refs{1};
  bool unique() const { return refs.load(std::memory_order_acquire) == 1; }
};

template <class T> class Ref {
 public:
  Ref() = default;
  static Ref adopt(T* p) { return Ref(p); }  // takes over the one count of a new object
  static Ref share(T* p) {
    if (p) p->refs.fetch_add(1, std::memory_order_relaxed);
    return Ref(p);
  }
  Ref(const Ref& o) : Ref(share(o.p_)) {}
  Ref(Ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  Ref& operator=(Ref o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  // The sole owner needs no locked instruction: nobody else can be adding a count (there are no weak ones).
  [[gnu::always_inline]] ~Ref() {
    if (p_ && (p_->unique() || p_->refs.fetch_sub(1, std::memory_order_acq_rel) == 1)) destroy(p_);
  }
  T* get() const { return p_; }
  T* operator->() const { return p_; }
  T& operator*() const { return *p_; }
  explicit operator bool() const { return p_ != nullptr; }

 private:
  explicit Ref(T* p) : p_(p) {}
  T* p_ = nullptr;
};

}  // namespace graft

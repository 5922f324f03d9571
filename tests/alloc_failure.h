// Makes the N-th allocation fail, for every N: what "unchanged after any failure" is tested with. Include it in exactly one
// .cpp file of a test program: it replaces the global operator new, and counts the library's caching allocator as well.
//
//   for_each_allocation_failure(
//       [&] { auto net = build(); return net; },        // fresh state, without failures
//       [&](auto& net) { surgery::replace(*net, ...); },  // the operation: each of its allocations fails once
//       [&](auto& net) { EXPECT_EQ(hash(*net), before); });  // after a failure; not called after success
//
// Returns how many allocations the operation makes, so that a test can ask for more than none. The operation must let
// std::bad_alloc pass. Only allocations of the calling thread are counted.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>
#include "graft/core/memory.h"

namespace alloc_failure {

inline constinit thread_local long t_left = -1;  // allocations until the failure; negative: none will fail

inline void count() {
  if (t_left >= 0 && t_left-- == 0) throw std::bad_alloc();
}
[[gnu::noinline]] inline void* take(std::size_t bytes, std::size_t align) {
  count();
  void* p = align <= alignof(std::max_align_t) ? std::malloc(bytes ? bytes : 1)
                                                : std::aligned_alloc(align, (bytes + align - 1) / align * align);
  if (!p) throw std::bad_alloc();
  return p;
}

[[gnu::noinline]] inline void give(void* p) noexcept { std::free(p); }  // or compilers warn of a free that meets a new

// While it lives, allocation number `n` (from 0) of this thread fails; later ones succeed.
class FailAt {
 public:
  explicit FailAt(long n) {
    t_left = n;
    graft::memory::set_hook([](size_t, void*) { count(); });
  }
  ~FailAt() {
    graft::memory::set_hook(nullptr);
    t_left = -1;
  }
  FailAt(const FailAt&) = delete;
  FailAt& operator=(const FailAt&) = delete;
  bool failed() const { return t_left < 0; }
};

template <class Setup, class Operation, class Check>
long for_each_allocation_failure(Setup setup, Operation operation, Check check, long limit = 100'000) {
  for (long n = 0; n < limit; ++n) {
    auto state = setup();
    try {
      const FailAt scope(n);
      operation(state);
      if (!scope.failed()) return n;
    } catch (const std::bad_alloc&) {
      check(state);
    }
  }
  return limit;
}

}  // namespace alloc_failure

using alloc_failure::for_each_allocation_failure;

// The same for a State that prepare() brings to where the operation begins: print() must not differ from before. `least`: how
// many allocations there are to fail, or the test would show nothing.
template <class State>
void fails_everywhere(std::type_identity_t<void (*)(State&)> prepare, std::type_identity_t<void (*)(State&)> operation,
                      long least) {
  const auto made = [&] {
    auto s = std::make_unique<State>();
    prepare(*s);
    s->before = s->print();
    return s;
  };
  operation(*made());  // what is made once per process, is made
  const long n = for_each_allocation_failure(
      made, [&](std::unique_ptr<State>& s) { operation(*s); },
      [](std::unique_ptr<State>& s) { ASSERT_EQ(s->print(), s->before); });
  EXPECT_GE(n, least);
}

void* operator new(std::size_t n) { return alloc_failure::take(n, 0); }
void* operator new[](std::size_t n) { return alloc_failure::take(n, 0); }
void* operator new(std::size_t n, std::align_val_t a) { return alloc_failure::take(n, std::size_t(a)); }
void* operator new[](std::size_t n, std::align_val_t a) { return alloc_failure::take(n, std::size_t(a)); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept {  // what std::stable_sort asks for
  try {
    return alloc_failure::take(n, 0);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* p, const std::nothrow_t&) noexcept { alloc_failure::give(p); }
void operator delete(void* p) noexcept { alloc_failure::give(p); }
void operator delete[](void* p) noexcept { alloc_failure::give(p); }
void operator delete(void* p, std::size_t) noexcept { alloc_failure::give(p); }
void operator delete[](void* p, std::size_t) noexcept { alloc_failure::give(p); }
void operator delete(void* p, std::align_val_t) noexcept { alloc_failure::give(p); }
void operator delete[](void* p, std::align_val_t) noexcept { alloc_failure::give(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { alloc_failure::give(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { alloc_failure::give(p); }

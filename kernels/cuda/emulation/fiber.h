// Stacks that kernels' threads run on, and the switch between them.
#pragma once
#include <cstddef>

namespace graft::inline v1::cuda::emulation {

struct Thread;

struct Fiber {
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  Thread* thread = nullptr;
  int number = 0;
};

inline constexpr size_t kStack = 256 << 10, kGuard = 4096;
inline constexpr size_t kFibers = 1026;  // threads of a block, and spare ones
inline constexpr size_t kFiberBytes = kFibers * (kStack + kGuard);
extern char* const fiber_memory;  // where the stacks are
inline bool on_fiber_stack(const void* p) { return size_t(static_cast<const char*>(p) - fiber_memory) < kFiberBytes; }

void switch_stacks(Fiber& from, Fiber& to);
Fiber* take_fiber(void (*entry)());  // one that is idle, or a new one
void give_fiber(Fiber*);             // it has switched away for good, or is about to
void restart_fibers(void (*entry)());  // after a fault: all are idle again, whatever they were doing

}  // namespace graft::cuda::emulation

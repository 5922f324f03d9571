#include "graft/kernels/cuda/emulation/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <new>
#include <vector>
#include "graft/kernels/cuda/emulation/state.h"

#if !defined(__x86_64__)
#error "the emulated CUDA device needs x86-64: graft_switch_stacks saves its registers"
#endif
// Saves what a function must preserve, exchanges the stack pointers, restores.
extern "C" void graft_switch_stacks(void** save, void* load);
asm(R"(
.text
.globl graft_switch_stacks
.hidden graft_switch_stacks
.type graft_switch_stacks,@function
graft_switch_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size graft_switch_stacks,.-graft_switch_stacks
)");

namespace graft::inline v1::cuda::emulation {
namespace {

char* reserve_stacks() {
  void* pages = mmap(nullptr, kFiberBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  return static_cast<char*>(pages);
}
struct Fibers {
  std::vector<Fiber*> all, idle;
};
Fibers& fibers() {
  static auto* f = new Fibers;  // never destroyed
  return *f;
}

void prepare(Fiber* f, void (*entry)()) {
  // The hot ends of the stacks are spread over the sets of the cache.
  void** sp = reinterpret_cast<void**>(f->stack + kStack - size_t(f->number % 64) * 320) - 1;
  *--sp = reinterpret_cast<void*>(entry);
  sp -= 6;
  std::memset(sp, 0, 6 * sizeof(void*));
  f->stack_pointer = sp;
}

}  // namespace

char* const fiber_memory = reserve_stacks();

void switch_stacks(Fiber& from, Fiber& to) { graft_switch_stacks(&from.stack_pointer, to.stack_pointer); }

Fiber* take_fiber(void (*entry)()) {
  Fibers& f = fibers();
  if (!f.idle.empty()) {
    Fiber* one = f.idle.back();
    f.idle.pop_back();
    return one;
  }
  auto* made = new Fiber;
  made->number = int(f.all.size());
  char* base = fiber_memory + f.all.size() * (kStack + kGuard);
  mprotect(base, kGuard, PROT_NONE);
  made->stack = base + kGuard;
  prepare(made, entry);
  f.all.push_back(made);
  return made;
}
void give_fiber(Fiber* f) { fibers().idle.push_back(f); }
void restart_fibers(void (*entry)()) {
  Fibers& f = fibers();
  f.idle = f.all;
  for (Fiber* one : f.all) {
    one->thread = nullptr;
    prepare(one, entry);
  }
}

}  // namespace graft::cuda::emulation

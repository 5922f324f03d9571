// The queues of cp.async: per thread, groups of copies that are under way.
#include <deque>
#include "graft/kernels/cuda/emulation/state.h"
#include "graft/kernels/cuda/emulation/tensor_core.h"

namespace graft::inline v1::cuda::emulation {
namespace {

struct Queue {
  uint32_t block_serial = 0;
  std::deque<std::vector<AsyncCopy>> groups;  // the last one is not committed yet
};
Queue& own_queue() {
  static auto* queues = new std::vector<Queue>(1024);
  Queue& q = (*queues)[size_t(running.thread->index)];
  if (q.block_serial != running.block_serial) {
    q.block_serial = running.block_serial;
    q.groups.assign(1, {});
  }
  return q;
}

}  // namespace

void push_async_copy(AsyncCopy c) {
  const OutsideKernel scope;
  own_queue().groups.back().push_back(c);
}
void commit_async_copies() {
  const OutsideKernel scope;
  own_queue().groups.emplace_back();
}
bool take_async_copy(int groups_to_keep, AsyncCopy* out) {
  const OutsideKernel scope;
  auto& groups = own_queue().groups;
  while (int(groups.size()) - 1 > groups_to_keep) {
    if (groups.front().empty()) {
      groups.pop_front();
      continue;
    }
    *out = groups.front().back();
    groups.front().pop_back();
    return true;
  }
  return false;
}

}  // namespace graft::cuda::emulation

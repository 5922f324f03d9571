// Sums of few outputs over many elements: several blocks have a share of each, and a second launch joins what they have, in a
// fixed order. F says how: Acc, start(), join(a, b) and write(all, output).
#pragma once
#include <algorithm>
#include "graft/kernels/cuda/group.h"
#include "graft/kernels/cuda/workspace.h"

namespace graft::inline v1::cuda {

// How many blocks share an output: as many as keep a GPU busy, none with less than a few elements for each of its threads.
inline unsigned shares_of(unsigned blocks, int64_t count, const Groups& g) {
  constexpr unsigned wanted = 2 * kThreads, of_thread = 16;
  if (blocks >= wanted) return 1;
  return unsigned(std::clamp<int64_t>(count / (int64_t(of_thread) * g.along), 1, std::min(wanted / blocks, unsigned(kThreads))));
}

// The elements that block blockIdx.y has.
struct Share {
  unsigned first, end;
  __device__ explicit Share(unsigned count) {
    const unsigned each = (count + gridDim.y - 1) / gridDim.y;
    first = blockIdx.y * each;
    end = min(first + each, count);
  }
};
template <class F> __device__ inline typename F::Acc join_threads(const Groups& g, typename F::Acc* part, const typename F::Acc& own) {
  return join_group(g, part, own, [](const auto& a, const auto& b) { return F::join(a, b); });
}
// What a block has of an output: written, or left among the shares. By one thread.
template <class F> __device__ inline void leave(const F& f, const typename F::Acc& all, unsigned o, typename F::Acc* shares) {
  if (gridDim.y > 1) shares[size_t(o) * gridDim.y + blockIdx.y] = all;
  else f.write(all, o);
}
// A block joins the shares of an output, which are no more than its threads.
template <class F> __global__ __launch_bounds__(kThreads) void join_shares(const typename F::Acc* shares, unsigned n, F f) {
  using Acc = typename F::Acc;
  GRAFT_SHARED(Acc, part, [kThreads]);
  const Acc own = threadIdx.x < n ? shares[size_t(blockIdx.x) * n + threadIdx.x] : F::start();
  const Acc all = join_threads<F>({kThreads, false}, part, own);
  if (threadIdx.x == 0) f.write(all, blockIdx.x);
}
// run(grid, shares) launches a kernel that ends in leave().
template <class F, class Run> void launch_shared(const View& x, const F& f, unsigned outputs, unsigned count, const Groups& g, void* stream, Run run) {
  using Acc = typename F::Acc;
  const unsigned blocks = blocks_for(outputs, g.outputs);
  unsigned n = shares_of(blocks, count, g);
  const Workspace space(x, n > 1 ? sizeof(Acc) * outputs * n : 0);
  auto* const shares = reinterpret_cast<Acc*>(space.get());
  if (!shares) n = 1;
  run(dim3(blocks, n), shares);
  if (n > 1) launch(join_shares<F>, outputs, kThreads, 0, stream, shares, n, f);
}

}  // namespace graft::cuda

// Optimizer steps on cuda: one launch updates up to 24 tensors, each block a stretch of one of them.
#include "graft/kernels/cuda/compat.h"

#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/cuda/strided.h"
#include "graft/kernels/optimizer/step.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

constexpr int kTensors = 24;          // of a launch: its arguments stay below 4 KiB
constexpr unsigned kPerBlock = 2048;  // elements
constexpr int kMostState = 4;

// A step whose numbers are known at the launch or, in a graph, when it is replayed.
template <class Step> struct Numbers;
template <template <class> class Step, class C> struct Numbers<Step<C>> {
  Step<C> known;
  const Step<double>* later;
  __device__ Step<C> get() const { return later ? rounded<C>(*later) : known; }
};

// The tensors of one launch, read where the arguments lie (__grid_constant__): not copied per thread. `data`: parameter, state ..., gradient.
template <class Step> struct Batch {
  int count = 0;
  unsigned first_block[kTensors + 1] = {0};
  int64_t numel[kTensors];
  void* data[kTensors][kMostState + 1];
  bool packs[kTensors];  // all of them aligned
  Numbers<Step> step[kTensors];
};

// Element i of a tensor; `own` are its addresses, the gradient last.
template <class T, int state, class C> __device__ void update(const SgdStep<C>& s, void* const* own, int64_t i, C sign) {
  s.template one<T, state == 2>(static_cast<T*>(own[0])[i], static_cast<T*>(own[1]) + i,
                                sign * C(static_cast<const T*>(own[state])[i]));
}
template <class T, int state, class C> __device__ void update(const AdamStep<C>& s, void* const* own, int64_t i, C sign) {
  s.template one<T, state == 4>(static_cast<T*>(own[0])[i], static_cast<T*>(own[1])[i], static_cast<T*>(own[2])[i],
                                static_cast<T*>(own[3]) + i, sign * C(static_cast<const T*>(own[state])[i]));
}

// What a step reads of the state: the first one with momentum finds its buffer unwritten.
template <class C> __device__ bool reads(const SgdStep<C>& s, int k, int state) { return k != 1 || state == 1 || !s.first; }
template <class C> __device__ bool reads(const AdamStep<C>&, int, int) { return true; }

// The same for the elements of pack i.
template <class T, int state, class Step, class C> __device__ void update_pack(const Step& s, void* const* own, int64_t i, C sign) {
  constexpr int n = kPerPack<T>;
  Pack<T, n> v[state + 1] = {};
#pragma unroll
  for (int k = 0; k <= state; ++k)
    if (reads(s, k, state)) v[k] = static_cast<const Pack<T, n>*>(own[k])[i];
#pragma unroll
  for (int e = 0; e < n; ++e) {
    void* at[state + 1];
#pragma unroll
    for (int k = 0; k <= state; ++k) at[k] = &v[k].of[e];
    update<T, state>(s, at, 0, sign);
  }
#pragma unroll
  for (int k = 0; k < state; ++k) static_cast<Pack<T, n>*>(own[k])[i] = v[k];
}

template <class T, int state, class Step>
__global__ __launch_bounds__(kThreads) void update_batch(const __grid_constant__ Batch<Step> b, compute_t<T> sign) {
  int k = 0;
  while (blockIdx.x >= b.first_block[k + 1]) ++k;
  const int64_t first = int64_t(blockIdx.x - b.first_block[k]) * kPerBlock;
  const auto count = unsigned(b.numel[k] - first < kPerBlock ? b.numel[k] - first : kPerBlock);
  constexpr unsigned n = kPerPack<T>;
  const unsigned packs = b.packs[k] ? count / n : 0;
  const Step step = b.step[k].get();
  for (unsigned j = threadIdx.x; j < packs; j += kThreads) update_pack<T, state>(step, b.data[k], first / n + j, sign);
  for (unsigned j = packs * n + threadIdx.x; j < count; j += kThreads) update<T, state>(step, b.data[k], first + j, sign);
}
template <class T, int state, class Step>
__global__ __launch_bounds__(kThreads) void update_strided(Strided<state + 1> s, Numbers<Step> step, compute_t<T> sign) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= s.count) return;
  int64_t at[state + 1];
  s.offsets(i, at);
  void* own[kMostState + 1] = {};
  for (int k = 0; k <= state; ++k) own[k] = s.data[k] + at[k];
  update<T, state>(step.get(), own, 0, sign);
}

template <class T, int state, class Step, class Make> Decline run(const Launch& l, bool maximize, Make make) {
  const compute_t<T> sign = maximize ? -1 : 1;
  Batch<Step> batch;
  const auto flush = [&] {
    if (batch.count) launch(update_batch<T, state, Step>, batch.first_block[batch.count], kThreads, 0, l.stream, batch, sign);
    batch.count = 0;
  };
  for (size_t k = 0; k < l.in.size(); ++k) {
    const View* rest[state];
    for (int i = 1; i < state; ++i) rest[i - 1] = l.out[k * state + size_t(i)];
    rest[state - 1] = l.in[k];
    const View* out[] = {l.out[k * state]};
    const Launch one{rest, out};
    if (out[0]->numel == 0) continue;
    if (!one_row_covers(one)) {
      const Numbers<Step> step = make(k);
      for_each_part<state + 1>(one, [&](const Strided<state + 1>& s) {
        launch(update_strided<T, state, Step>, blocks_for(s.count), kThreads, 0, l.stream, s, step, sign);
      });
      continue;
    }
    const int n = batch.count++;
    batch.numel[n] = out[0]->numel;
    batch.first_block[n + 1] = batch.first_block[n] + blocks_for(out[0]->numel, kPerBlock);
    batch.data[n][0] = out[0]->data;
    for (int i = 0; i < state; ++i) batch.data[n][i + 1] = rest[i]->data;
    batch.packs[n] = true;
    for (int i = 0; i <= state; ++i) batch.packs[n] = batch.packs[n] && is_aligned(batch.data[n][i], 16);
    batch.step[n] = make(k);
    if (batch.count == kTensors) flush();
  }
  flush();
  return kRan;
}

template <class T> Decline sgd(const Launch& l) {
  using Step = SgdStep<compute_t<T>>;
  const auto& a = l.attrs_as<SgdAttrs>();
  const auto make = [&](size_t k) { return Numbers<Step>{sgd_step<compute_t<T>>(a, k), a.later ? a.later + k : nullptr}; };
  return a.momentum != 0 ? run<T, 2, Step>(l, a.maximize, make) : run<T, 1, Step>(l, a.maximize, make);
}
template <class T> Decline adam(const Launch& l) {
  using Step = AdamStep<compute_t<T>>;
  const auto& a = l.attrs_as<AdamAttrs>();
  const auto make = [&](size_t k) { return Numbers<Step>{adam_step<compute_t<T>>(a, k), a.later ? a.later + k : nullptr}; };
  return a.amsgrad ? run<T, 4, Step>(l, a.maximize, make) : run<T, 3, Step>(l, a.maximize, make);
}

}  // namespace

void register_optimizer_cuda() {
  for_each_type(FloatTypes{}, [](auto tag) {
    using T = typename decltype(tag)::type;
    add_kernel("sgd", Device::cuda, dtype_v<T>, "multi-tensor", sgd<T>);
    add_kernel("adam", Device::cuda, dtype_v<T>, "multi-tensor", adam<T>);
  });
}

}  // namespace graft

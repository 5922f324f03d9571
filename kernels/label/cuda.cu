// Elements picked by class label or row number on cuda: nll, embedding, one hot. Labels were checked before.
#include "graft/kernels/cuda/compat.h"

#include <algorithm>
#include <cmath>
#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/group.h"
#include "graft/kernels/cuda/register.h"
#include "graft/kernels/cuda/runtime.h"
#include "graft/kernels/cuda/workspace.h"
#include "graft/kernels/label/attrs.h"
#include "graft/kernels/table.h"

namespace graft::inline v1 {
namespace {

using namespace cuda;

constexpr Decline kContiguous = "needs contiguous inputs", kLarge = "2^31 elements or more";
Decline check(const Launch& l) {
  for (const View* v : l.in)
    if (!v->contiguous) return kContiguous;
  return l.in[0]->numel > INT32_MAX || l.out[0]->numel > INT32_MAX ? kLarge : kRan;
}

struct LabelSet {  // label number i = (sample, place) belongs to the elements (sample * classes + c) * places + place
  const int64_t* label;
  unsigned n, classes, places;
  int64_t ignore;
  DType dtype;
  unsigned bytes;
};
LabelSet labels_of(const View& v, const NllAttrs& a, const View& logits) {
  int64_t places = 1;
  for (int d = 1; d < logits.rank - 1; ++d) places *= v.size[d];
  return {v.as<int64_t>(), unsigned(v.numel), unsigned(a.classes), unsigned(std::max<int64_t>(places, 1)), a.ignore, logits.dtype,
          unsigned(size_of(logits.dtype))};
}

template <class C>
__global__ __launch_bounds__(kThreads) void pick_losses(std::byte* loss, std::byte* used, const std::byte* logp, const std::byte* weight,
                                                        LabelSet s) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= s.n) return;
  const int64_t label = s.label[i];
  C w = C(0), v = C(0);
  if (label != s.ignore) {
    w = weight ? load<C>(weight + label * s.bytes, s.dtype) : C(1);
    const size_t at = (size_t(i / s.places) * s.classes + size_t(label)) * s.places + i % s.places;
    v = -w * load<C>(logp + at * s.bytes, s.dtype);
  }
  store(loss + size_t(i) * s.bytes, s.dtype, v);
  store(used + size_t(i) * s.bytes, s.dtype, w);
}
template <class C>
__global__ __launch_bounds__(kThreads) void spread_losses(std::byte* dx, const std::byte* g, const std::byte* weight, LabelSet s, unsigned count) {
  const unsigned e = blockIdx.x * kThreads + threadIdx.x;
  if (e >= count) return;
  const unsigned row = e / s.places, sample = row / s.classes, i = sample * s.places + e % s.places;
  const int64_t label = s.label[i];
  C v = C(0);
  if (label == int64_t(row % s.classes) && label != s.ignore) {
    const C w = weight ? load<C>(weight + label * s.bytes, s.dtype) : C(1);
    v = -w * load<C>(g + size_t(i) * s.bytes, s.dtype);
  }
  store(dx + size_t(e) * s.bytes, s.dtype, v);
}

template <class C> Decline nll(const Launch& l) {
  if (const Decline why = check(l)) return why;
  const auto& a = l.attrs_as<NllAttrs>();
  const LabelSet s = labels_of(*l.in[1], a, *l.in[0]);
  if (s.n == 0) return kRan;
  launch(pick_losses<C>, blocks_for(s.n), kThreads, 0, l.stream, l.out[0]->data, l.out[1]->data, l.in[0]->data,
         a.weight ? l.in[2]->data : nullptr, s);
  return kRan;
}
template <class C> Decline nll_grad(const Launch& l) {
  if (const Decline why = check(l)) return why;
  const auto& a = l.attrs_as<NllAttrs>();
  const View& dx = *l.out[0];
  if (dx.numel == 0) return kRan;
  launch(spread_losses<C>, blocks_for(dx.numel), kThreads, 0, l.stream, dx.data, l.in[0]->data, a.weight ? l.in[2]->data : nullptr,
         labels_of(*l.in[1], a, dx), unsigned(dx.numel));
  return kRan;
}

// ---- embedding -------------------------------------------------------------------------------------------------

template <class E>
__global__ __launch_bounds__(kThreads) void look_up(E* y, const E* weight, const int64_t* row, Divider width, unsigned count) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= count) return;
  const unsigned n = width.divide(i);
  y[i] = weight[row[n] * width.divisor + (i - n * width.divisor)];
}
template <class E> Decline embedding(const Launch& l) {
  if (const Decline why = check(l)) return why;
  const View& y = *l.out[0];
  if (y.numel == 0) return kRan;
  launch(look_up<E>, blocks_for(y.numel), kThreads, 0, l.stream, y.as<E>(), l.in[0]->as<E>(), l.in[1]->as<int64_t>(),
         Divider(unsigned(l.in[0]->size[1])), unsigned(y.numel));
  return kRan;
}

// A block has a row and 1024 of its columns, looks through all indices, and adds in their order: no atomics, one result.
template <class C>
__global__ __launch_bounds__(kThreads) void embedding_rows_grad(std::byte* dw, const std::byte* g, const int64_t* index, unsigned n,
                                                                unsigned width, EmbeddingAttrs a, DType dtype, unsigned bytes) {
  constexpr unsigned kOwn = 4;
  GRAFT_SHARED(unsigned, hits, [kThreads / 32]);
  const int64_t row = blockIdx.x;
  const unsigned t = threadIdx.x, first = blockIdx.y * kThreads * kOwn + t;
  C sum[kOwn] = {C(0), C(0), C(0), C(0)};
  unsigned uses = 0;
  for (unsigned start = 0; row != a.padding && start < n; start += kThreads) {
    const bool hit = start + t < n && index[start + t] == row;
    const unsigned mine = __ballot_sync(~0U, hit);
    __syncthreads();
    if (t % 32 == 0) hits[t / 32] = mine;
    __syncthreads();
    for (unsigned w = 0; w < kThreads / 32; ++w)
      for (unsigned left = hits[w]; left; left &= left - 1) {
        const size_t i = start + w * 32 + unsigned(__ffs(int(left)) - 1);
        ++uses;
        for (unsigned k = 0; k < kOwn; ++k)
          if (first + k * kThreads < width) sum[k] += load<C>(g + (i * width + first + k * kThreads) * bytes, dtype);
      }
  }
  const C scale = a.by_frequency && uses ? C(1) / C(uses) : C(1);
  for (unsigned k = 0; k < kOwn; ++k)
    if (first + k * kThreads < width) store(dw + (size_t(row) * width + first + k * kThreads) * bytes, dtype, sum[k] * scale);
}
template <class C> Decline embedding_grad(const Launch& l) {
  if (const Decline why = check(l)) return why;
  const View &g = *l.in[0], &dw = *l.out[0];
  if (dw.numel == 0) return kRan;
  const auto width = unsigned(g.size[g.rank - 1]);
  launch(embedding_rows_grad<C>, dim3(unsigned(dw.numel / width), blocks_for(width, kThreads * 4)), kThreads, 0, l.stream, dw.data, g.data,
         l.in[1]->as<int64_t>(), unsigned(l.in[1]->numel), width, l.attrs_as<EmbeddingAttrs>(), dw.dtype, unsigned(size_of(dw.dtype)));
  return kRan;
}

// In place (weight, index): a block has an index, and the row if it is the first to claim it.
template <class C>
__global__ __launch_bounds__(kThreads) void renorm_rows(std::byte* weight, const int64_t* index, unsigned* claimed, unsigned width, RenormAttrs a,
                                                        bool largest, Groups g, DType dtype, unsigned bytes) {
  GRAFT_SHARED(double, part, [kThreads]);
  GRAFT_SHARED(unsigned, taken, [1]);
  const size_t row = size_t(index[blockIdx.x]);
  if (threadIdx.x == 0) taken[0] = atomicExch(&claimed[row], 1U);
  __syncthreads();
  if (taken[0]) return;
  std::byte* w = weight + row * width * bytes;
  double norm = 0;
  for (unsigned j = threadIdx.x; j < width; j += kThreads) {
    const double x = std::abs(double(load<C>(w + size_t(j) * bytes, dtype)));
    norm = largest ? std::max(norm, x) : norm + std::pow(x, a.p);
  }
  norm = join_group(g, part, norm, [=](double x, double y) { return largest ? std::max(x, y) : x + y; });
  if (!largest) norm = std::pow(norm, 1 / a.p);
  if (norm <= a.max_norm) return;
  const double scale = a.max_norm / (norm + 1e-7);
  for (unsigned j = threadIdx.x; j < width; j += kThreads)
    store(w + size_t(j) * bytes, dtype, C(double(load<C>(w + size_t(j) * bytes, dtype)) * scale));
}
template <class C> Decline embedding_renorm(const Launch& l) {
  if (const Decline why = check(l)) return why;
  const View &w = *l.out[0], &index = *l.in[1];
  if (!w.contiguous) return kContiguous;
  if (w.numel == 0 || index.numel == 0) return kRan;
  const size_t claims = size_t(w.size[0]) * sizeof(unsigned);
  const Workspace memory(w, claims);
  auto* claimed = reinterpret_cast<unsigned*>(memory.get());
  if (!claimed) return "no memory is left for it";
  (void)runtime::set_bytes(claimed, 0, claims, l.stream);
  const auto& a = l.attrs_as<RenormAttrs>();
  launch(renorm_rows<C>, unsigned(index.numel), kThreads, 0, l.stream, w.data, index.as<const int64_t>(), claimed, unsigned(w.size[1]), a,
         std::isinf(a.p), Groups(kThreads, false), w.dtype, unsigned(size_of(w.dtype)));
  return kRan;
}

__global__ __launch_bounds__(kThreads) void mark_classes(int64_t* y, const int64_t* label, unsigned classes, unsigned count) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  if (i < count) y[i] = label[i / classes] == int64_t(i % classes);
}
Decline one_hot(const Launch& l) {
  if (const Decline why = check(l)) return why;
  const View& y = *l.out[0];
  if (y.numel == 0) return kRan;
  launch(mark_classes, blocks_for(y.numel), kThreads, 0, l.stream, y.as<int64_t>(), l.in[0]->as<int64_t>(),
         unsigned(l.attrs_as<OneHotAttrs>().classes), unsigned(y.numel));
  return kRan;
}

template <class C> void add_labels(DType t) {
  add_kernel("nll", Device::cuda, t, "labels", nll<C>);
  add_kernel("nll_grad", Device::cuda, t, "labels", nll_grad<C>);
  add_kernel("embedding_grad", Device::cuda, t, "rows", embedding_grad<C>);
  add_kernel("embedding_renorm", Device::cuda, t, "rows", embedding_renorm<C>);
}

}  // namespace

void register_label_cuda() {
  for (const DType t : {f32, f16, bf16}) add_labels<float>(t);
  add_labels<double>(f64);
  add_kernel("embedding", Device::cuda, f64, "rows", embedding<uint64_t>);
  add_kernel("embedding", Device::cuda, f32, "rows", embedding<uint32_t>);
  for (const DType t : {f16, bf16}) add_kernel("embedding", Device::cuda, t, "rows", embedding<uint16_t>);
  add_kernel("one_hot", Device::cuda, i64, "labels", one_hot);
}

}  // namespace graft

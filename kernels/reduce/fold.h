// Reductions of one value per output as a fold: start, step, join two parts, finish. How memory is walked, once for all.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>
#include "graft/kernels/parallel.h"
#include "graft/kernels/reduce/attrs.h"
#include "graft/kernels/table.h"

namespace graft::inline v1::reduce {

// The dimensions of a view that a mask selects, in order, neighbours merged where the memory allows it.
struct Walk {
  int n = 0;
  int64_t size[kMaxRank] = {}, stride[kMaxRank] = {};
  int64_t count = 1;

  Walk(const View& x, uint8_t mask) {
    for (int i = 0; i < x.rank; ++i) {
      if (!(mask >> i & 1) || x.size[i] == 1) continue;
      count *= x.size[i];
      if (n > 0 && stride[n - 1] == x.stride[i] * x.size[i]) {
        size[n - 1] *= x.size[i];
        stride[n - 1] = x.stride[i];
      } else {
        size[n] = x.size[i];
        stride[n++] = x.stride[i];
      }
    }
  }
  // Puts the dimension with the smallest stride last: only where the order does not matter.
  void innermost_last() {
    for (int i = 0; i + 1 < n; ++i)
      if (stride[i] < stride[n - 1]) std::swap(stride[i], stride[n - 1]), std::swap(size[i], size[n - 1]);
  }
  int64_t inner() const { return n ? size[n - 1] : 1; }
  int64_t step() const { return n ? stride[n - 1] : 0; }
  int64_t row(int64_t r) const {  // the offset of a row along the last dimension
    int64_t at = 0;
    for (int k = n - 2; k >= 0; --k) {
      at += r % size[k] * stride[k];
      r /= size[k];
    }
    return at;
  }
  int64_t offset(int64_t i) const { return n ? row(i / inner()) + i % inner() * step() : 0; }
};

// Sixteen parts, so that the additions do not wait for each other and become vector instructions.
template <class F, class T> typename F::Acc fold_run(const T* p, int64_t step, int64_t n) {
  using Acc = typename F::Acc;
  constexpr int64_t kParts = 16;
  Acc part[kParts];
  std::fill_n(part, kParts, F::start());
  int64_t i = 0;
  if (step == 1)
    for (; i + kParts <= n; i += kParts) {
      if constexpr (requires { F::kAdds; }) {
#pragma GCC unroll 16
        for (int64_t k = 0; k < kParts; ++k) part[k] = F::step(part[k], p[i + k]);
      } else {
        for (int64_t k = 0; k < kParts; ++k) part[k] = F::step(part[k], p[i + k]);
      }
    }
  for (; i < n; ++i) part[i % kParts] = F::step(part[i % kParts], p[i * step]);
  for (int64_t half = kParts / 2; half > 0; half /= 2)
    for (int64_t k = 0; k < half; ++k) part[k] = F::join(part[k], part[k + half]);
  return part[0];
}

constexpr int64_t kChunk = 1 << 15;

template <class F, class T, class Out> Decline fold_all(const Launch& l) {
  const View& x = *l.in[0];
  if (!x.contiguous || l.out[0]->numel != 1) return "not everything is reduced, or the input is strided";
  constexpr int64_t kMost = 64;
  const int64_t chunk = std::max(kChunk, (x.numel + kMost - 1) / kMost), chunks = (x.numel + chunk - 1) / chunk;
  std::array<typename F::Acc, kMost> part;
  part[0] = F::start();
  const T* p = x.as<T>();
  parallel_for(0, chunks, 1, [&](int64_t first, int64_t last) {
    for (int64_t c = first; c < last; ++c)
      part[size_t(c)] = fold_run<F>(p + c * chunk, 1, std::min(chunk, x.numel - c * chunk));
  });
  for (int64_t c = 1; c < chunks; ++c) part[0] = F::join(part[0], part[size_t(c)]);
  *l.out[0]->as<Out>() = F::template finish<Out>(part[0], x.numel);
  return kRan;
}

// A tile of neighbouring outputs at a time: the channel sums of a matrix, the reduction of a leading dimension.
template <class F, class T, class Out>
void fold_tile(const T* p, const Walk& reduced, int64_t width, Out* y) {
  constexpr int64_t kTile = 256;
  for (int64_t first = 0; first < width; first += kTile) {
    const int64_t n = std::min(kTile, width - first);
    typename F::Acc acc[kTile];
    std::fill_n(acc, n, F::start());
    for (int64_t r = 0; r < reduced.count / reduced.inner(); ++r) {
      const T* q = p + first + reduced.row(r);
      for (int64_t i = 0; i < reduced.inner(); ++i, q += reduced.step())
        for (int64_t k = 0; k < n; ++k) acc[k] = F::step(acc[k], q[k]);
    }
    for (int64_t k = 0; k < n; ++k) y[first + k] = F::template finish<Out>(acc[k], reduced.count);
  }
}

template <class F, class T, class Out> Decline fold_dims(const Launch& l) {
  const View& x = *l.in[0];
  const uint8_t mask = l.attrs_as<ReduceAttrs>().reduce;
  Walk reduced(x, mask);
  const Walk kept(x, uint8_t(~mask));
  if (l.out[0]->numel == 0) return kRan;
  const T* p = x.as<T>();
  Out* y = l.out[0]->as<Out>();
  if (reduced.count == 0) {
    std::fill_n(y, l.out[0]->numel, F::template finish<Out>(F::start(), 0));
    return kRan;
  }
  reduced.innermost_last();
  if (kept.n && kept.step() == 1 && kept.inner() >= 4 && reduced.step() != 1) {
    const int64_t width = kept.inner();
    parallel_for(0, kept.count / width, std::max<int64_t>(1, kChunk / (width * reduced.count)), [&](int64_t first, int64_t last) {
      for (int64_t o = first; o < last; ++o) fold_tile<F>(p + kept.row(o), reduced, width, y + o * width);
    });
    return kRan;
  }
  parallel_for(0, kept.count, std::max<int64_t>(1, kChunk / reduced.count), [&](int64_t first, int64_t last) {
    for (int64_t o = first; o < last; ++o) {
      const T* q = p + kept.offset(o);
      typename F::Acc acc = fold_run<F>(q, reduced.step(), reduced.inner());
      for (int64_t r = 1; r < reduced.count / reduced.inner(); ++r)
        acc = F::join(acc, fold_run<F>(q + reduced.row(r), reduced.step(), reduced.inner()));
      y[o] = F::template finish<Out>(acc, reduced.count);
    }
  });
  return kRan;
}

}  // namespace graft::reduce

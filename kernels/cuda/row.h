// A row that its threads keep in registers, so that it is read once: 16 bytes at a time, a few times per thread.
#pragma once
#include "graft/kernels/cuda/element.h"
#include "graft/kernels/cuda/group.h"

namespace graft::inline v1::cuda {

inline constexpr unsigned kPacksOfThread = 4;

template <class T> struct RowInRegisters {
  static constexpr unsigned n = unsigned(kPerPack<T>);
  using Some = Pack<T, int(n)>;
  Some pack[kPacksOfThread] = {};

  // `packs` are those of the row, or 0 where this thread has none.
  __device__ void read(const T* row, unsigned packs, const Groups& g) {
    each(packs, g, [&](Some& own, unsigned j) { own = reinterpret_cast<const Some*>(row)[j]; });
  }
  __device__ void write(T* row, unsigned packs, const Groups& g) {
    each(packs, g, [&](const Some& own, unsigned j) { reinterpret_cast<Some*>(row)[j] = own; });
  }
  template <class F> __device__ void each(unsigned packs, const Groups& g, F f) {
#pragma unroll
    for (unsigned k = 0; k < kPacksOfThread; ++k)
      if (const unsigned j = g.place() + k * g.along; j < packs) f(pack[k], j);
  }
  // f(value) of every own element, and the same where its result takes the place of the element.
  template <class F> __device__ void visit(unsigned packs, const Groups& g, F f) {
    each(packs, g, [&](const Some& own, unsigned) {
#pragma unroll
      for (unsigned e = 0; e < n; ++e) f(convert_element<compute_t<T>>(own.of[e]));
    });
  }
  template <class F> __device__ void update(unsigned packs, const Groups& g, F f) {
    each(packs, g, [&](Some& own, unsigned) {
#pragma unroll
      for (unsigned e = 0; e < n; ++e) own.of[e] = convert_element<T>(f(convert_element<compute_t<T>>(own.of[e])));
    });
  }
};

// The threads of a row of packs: no fewer than lie in 512 bytes, so that a warp reads neighbours.
inline Groups groups_of_packs(int64_t packs) {
  return Groups(std::max(std::min<int64_t>(packs, 32), (packs + kPacksOfThread - 1) / kPacksOfThread), false);
}
// Whether rows of `length` elements, one after another in every operand, fit into registers; the threads of each are `g`.
template <class T> bool fit_registers(std::initializer_list<const void*> operands, int64_t length, Groups& g) {
  const int64_t packs = length / kPerPack<T>;
  bool fits = length % kPerPack<T> == 0 && packs > 0 && packs <= int64_t(kPacksOfThread) * kThreads;
  for (const void* p : operands) fits = fits && is_aligned(p, 16);
  if (fits) g = groups_of_packs(packs);
  return fits;
}

}  // namespace graft::cuda

// What a kernel sees: raw strided memory and one launch. No Tensor, no autograd, no allocation.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include "graft/kernels/device.h"
#include "graft/kernels/dtype.h"

namespace graft::inline v1 {

inline constexpr int kMaxRank = 8;
struct Packs;  // kernels/packed.h

// A tensor's memory and geometry. It lives inside the tensor, so that a launch passes pointers and copies nothing.
// `size` and `stride` are set up to `rank` only: clearing all of them costs more than the rest of a tensor.
struct View {
  View() {}  // NOLINT(modernize-use-equals-default,cppcoreguidelines-pro-type-member-init): leaves the arrays unset
  std::byte* data = nullptr;  // of the first element; null on Device::meta
  int64_t offset = 0;         // of the first element from the start of the storage, in elements
  int64_t numel = 0;
  DType dtype = f32;
  Device device;
  uint8_t rank = 0;
  bool contiguous = true;
  int64_t size[kMaxRank];
  int64_t stride[kMaxRank];  // in elements

  template <class T> T* as() const { return reinterpret_cast<T*>(data); }
};

// All of `size` is copied: eight words with two or four instructions cost less than a loop over `rank`.
inline void copy_sizes(View& to, const View& from) {
  to.rank = from.rank;
  std::memcpy(to.size, from.size, sizeof(to.size));
}
inline void copy_geometry(View& to, const View& from) {
  copy_sizes(to, from);
  std::copy_n(from.stride, from.rank, to.stride);
  to.offset = from.offset;
}
inline bool same_sizes(const View& a, const View& b) {
  if (a.rank != b.rank) return false;
  for (int i = 0; i < a.rank; ++i)
    if (a.size[i] != b.size[i]) return false;
  return true;
}

bool may_overlap(const View&);  // false: no two elements share memory (true for a few odd strides where none do)
bool is_dense(const View&);  // its elements fill one stretch of memory, each once, in some order of dimensions

// One kernel call. Inputs may broadcast against outputs where the op says so; the kernel aligns them.
struct Launch {
  std::span<const View* const> in;
  std::span<const View* const> out;
  const void* attrs = nullptr;
  void* stream = nullptr;
  Packs* const* packs = nullptr;  // in inference mode one per input: where a packed weight may be kept

  template <class A> const A& attrs_as() const { return *static_cast<const A*>(attrs); }
};

}  // namespace graft

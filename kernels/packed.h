// Weights in the order in which a kernel reads them, kept with the memory of the weight until that is written again.
// Only in inference mode (Launch::packs): there, weights are not written through pointers that were taken before.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <type_traits>

namespace graft::inline v1 {

struct PackEntry;

// A part of every storage.
struct Packs {
  std::atomic<uint32_t> version{0};  // counts the in-place writes
  std::atomic<PackEntry*> entries{nullptr};
};
void release_packs(Packs&) noexcept;

// Everything the packed form depends on: which kernel, cpu::isa(), the address and geometry of the weight.
using PackKey = std::array<int64_t, 8>;

namespace detail {
using Pack = void (*)(void* context, float* to);
const float* packed(Packs&, const PackKey&, int64_t floats, Pack, void* context);
}  // namespace detail

// The floats that pack(float* to) writes: made by the first caller and after a write to the weight, found by all others.
// Several threads may ask at once. Null if the weight has too many packed forms already.
template <class F> const float* packed(Packs& packs, const PackKey& key, int64_t floats, F&& pack) {
  return detail::packed(
      packs, key, floats, [](void* f, float* to) { (*static_cast<std::remove_reference_t<F>*>(f))(to); }, &pack);
}

}  // namespace graft

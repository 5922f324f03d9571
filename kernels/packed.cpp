#include "graft/kernels/packed.h"

#include <memory>
#include <mutex>
#include <utility>
#include "graft/kernels/scratch.h"

namespace graft::inline v1 {

// An entry is published once and stays until its storage goes; what it holds is replaced under its mutex. That is safe
// beside readers: one that still reads the older form would be reading weights while they are written.
struct PackEntry {
  PackEntry(const PackKey& k, int64_t floats) : key(k), data(floats) {}
  const PackKey key;
  const Scratch<float> data;
  std::mutex mutex;
  std::atomic<int64_t> made_from{-1};  // the version of the weight
  PackEntry* next = nullptr;
};

void release_packs(Packs& packs) noexcept {
  for (PackEntry* e = packs.entries.exchange(nullptr); e;) delete std::exchange(e, e->next);
}

namespace detail {

static PackEntry* find(PackEntry* first, const PackKey& key, int& length) {
  length = 0;
  for (PackEntry* e = first; e; e = e->next, ++length)
    if (e->key == key) return e;
  return nullptr;
}
static PackEntry* find_or_add(Packs& packs, const PackKey& key, int64_t floats) {
  constexpr int kMost = 8;
  std::unique_ptr<PackEntry> added;
  PackEntry* first = packs.entries.load(std::memory_order_acquire);
  for (;;) {
    int length = 0;
    if (PackEntry* e = find(first, key, length)) return e;
    if (length >= kMost) return nullptr;
    if (!added) added = std::make_unique<PackEntry>(key, floats);
    added->next = first;
    if (packs.entries.compare_exchange_weak(first, added.get(), std::memory_order_acq_rel, std::memory_order_acquire))
      return added.release();
  }
}

const float* packed(Packs& packs, const PackKey& key, int64_t floats, Pack pack, void* context) {
  const int64_t version = packs.version.load(std::memory_order_relaxed);
  PackEntry* e = find_or_add(packs, key, floats);
  if (!e) return nullptr;
  if (e->made_from.load(std::memory_order_acquire) == version) return e->data.get();
  const std::lock_guard lock(e->mutex);
  if (e->made_from.load(std::memory_order_relaxed) != version) {
    pack(context, e->data.get());
    e->made_from.store(version, std::memory_order_release);
  }
  return e->data.get();
}

}  // namespace detail
}  // namespace graft

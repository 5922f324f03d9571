// Caching memory for tensors, nodes and CPU storage: thread-local free lists by size class, 64-byte aligned.
// A block may be released on any thread. Nothing here knows what a tensor is.
#pragma once
#include <cstddef>
#include <cstdint>

namespace graft::inline v1::memory {

// Blocks are kept for the next request of their size class. Those from 4 MiB on lie on huge pages where the system has
// them. Before an allocation fails, everything cached is given back and the system is asked again.
void* allocate(size_t bytes);
void release(void* block, size_t bytes) noexcept;  // `bytes` as given to allocate

struct Stats {
  int64_t in_use = 0;       // bytes handed out, rounded up to their size class
  int64_t from_system = 0;  // bytes held, in use or cached
  int64_t peak = 0;         // the most that from_system has been since reset_peak()
  int64_t allocations = 0;
  int64_t system_calls = 0;  // allocations that the caches could not serve
};
Stats stats();  // over all threads
void reset_peak();
void trim();  // returns what this thread and the shared lists cache to the system

// Runs before every allocation of this thread and may throw: fault injection, limits, logging.
using Hook = void (*)(size_t bytes, void* context);
void set_hook(Hook, void* context = nullptr);

// Where storage data comes from when it is not the cache above: pinned, shared or foreign memory.
class Source {
 public:
  virtual std::byte* allocate(size_t bytes) = 0;
  virtual void release(std::byte*, size_t bytes) noexcept = 0;

 protected:
  ~Source() = default;
};
Source* set_source(Source*);  // for this thread; null is the cache; returns the one before
Source* source();

}  // namespace graft::memory

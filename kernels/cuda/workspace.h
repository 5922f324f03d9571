// Device memory of a launcher for the length of one call, from the caching allocator: what the launched kernels wrote there
// is safe until they have run, because the memory goes on in the order of the stream.
#pragma once
#include <cstddef>
#include "graft/kernels/view.h"

namespace graft::inline v1::cuda {

// Kernels know no allocator; core/cuda_memory.cpp defines these two. Null where there is none left.
void* allocate_workspace(int device, size_t bytes) noexcept;
void release_workspace(int device, void*, size_t bytes) noexcept;

class Workspace {
 public:
  Workspace(const View& of, size_t bytes)
      : device_(of.device.index), bytes_(bytes), data_(bytes ? allocate_workspace(device_, bytes) : nullptr) {}
  ~Workspace() {
    if (data_) release_workspace(device_, data_, bytes_);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  std::byte* get() const { return static_cast<std::byte*>(data_); }

 private:
  int device_;
  size_t bytes_;
  void* data_;
};

}  // namespace graft::cuda

// Working memory of a kernel for the length of one call: 64-byte aligned, from the library's caching allocator.
#pragma once
#include <cstddef>
#include <cstdint>

namespace graft::inline v1 {

// Kernels know no allocator; core/memory.cpp defines these two.
void* allocate_scratch(size_t bytes);
void release_scratch(void*, size_t bytes) noexcept;

template <class T> class Scratch {
 public:
  explicit Scratch(int64_t n)
      : bytes_(size_t(n) * sizeof(T)), data_(static_cast<T*>(n > 0 ? allocate_scratch(bytes_) : nullptr)) {}
  ~Scratch() {
    if (data_) release_scratch(data_, bytes_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* get() const { return data_; }
  T& operator[](int64_t i) const { return data_[i]; }

 private:
  size_t bytes_;
  T* data_;
};

}  // namespace graft

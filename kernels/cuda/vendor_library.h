// What vendor_cublas.cpp and vendor_cudnn.cpp share: opening a library late, and handles that threads take in turn.
#pragma once
#include <array>
#include <bit>
#include <mutex>
#include <string>
#include <vector>
#include "graft/kernels/cuda/runtime.h"
#include "graft/kernels/cuda/vendor.h"

namespace graft::inline v1::cuda::vendor {

struct Opened {
  void* library = nullptr;
  std::string name, why_not;
};
// The first of these that can be opened. RTLD_LOCAL: a program that brings another version of its own is not disturbed.
Opened open_first(const std::vector<std::string>& names);
void* find_function(const Opened&, const char* name);  // in it or in what it depends on; null
Decline switched_off();  // why no library may be asked; null: it may
size_t workspace_limit(int device, size_t wanted);  // what the emulated device can poison in a moment is less

// All of `names`, in their order, as the pointers that Functions consists of; or which one is missing.
template <class Functions, size_t n> Functions find_functions(Opened& from, const char* const (&names)[n]) {
  static_assert(sizeof(Functions) == n * sizeof(void*));
  std::array<void*, n> found{};
  for (size_t i = 0; i < n && from.why_not.empty(); ++i) {
    found[i] = find_function(from, names[i]);
    if (!found[i]) from.why_not = from.name + " has no " + names[i];
  }
  return std::bit_cast<Functions>(found);
}

// L has version and why_not, of which one is empty. A library that is switched off is not opened for this.
template <class L> Library state_of(const char* name, const L& (*library)()) {
  const Decline off = switched_off();
  if (off) return {.name = name, .state = std::string("not loaded: ") + off};
  const L& l = library();
  return {.name = name, .state = l.why_not.empty() ? l.version : "not loaded: " + l.why_not, .loaded = l.why_not.empty()};
}

// A handle serves one thread at a time; what was asked of it lies in the stream when the call returns, with a workspace that
// goes on in the order of that stream, so that the next may use it for another. They are never destroyed.
class HandlePool {
 public:
  template <class Make> void* take(int device, Make make) {
    {
      const std::lock_guard lock(mutex_);
      if (auto& idle = idle_[size_t(device)]; !idle.empty()) {
        void* h = idle.back();
        idle.pop_back();
        return h;
      }
    }
    return make();
  }
  void give_back(int device, void* handle) {
    const std::lock_guard lock(mutex_);
    idle_[size_t(device)].push_back(handle);
  }

 private:
  std::mutex mutex_;
  std::array<std::vector<void*>, runtime::kMostDevices> idle_;
};
class Handle {  // for a scope; null where none could be made
 public:
  template <class Make> Handle(HandlePool& pool, int device, Make make) : pool_(pool), device_(device), handle_(pool.take(device, make)) {}
  ~Handle() {
    if (handle_) pool_.give_back(device_, handle_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  void* get() const { return handle_; }

 private:
  HandlePool& pool_;
  int device_;
  void* handle_;
};

// A descriptor of either library, for a scope.
template <class Status> struct Described {
  void* it = nullptr;
  Status (*destroy)(void*);
  explicit Described(Status (*d)(void*)) : destroy(d) {}
  ~Described() {
    if (it) destroy(it);
  }
  Described(const Described&) = delete;
  Described& operator=(const Described&) = delete;
};

}  // namespace graft::cuda::vendor

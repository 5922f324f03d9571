// The state of the vendor libraries: opened when first asked for, once, and why not.
#include "graft/kernels/cuda/vendor_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#ifdef GRAFT_CUDA_EMULATED
#include "graft/kernels/cuda/emulation/emulation.h"
#endif

namespace graft::inline v1::cuda::vendor {

static std::atomic<bool> g_allowed{true};
void allow(bool on) { g_allowed.store(on, std::memory_order_relaxed); }

#ifdef GRAFT_CUDA_EMULATED
static bool present() { return emulation::settings().vendor_libraries; }
Opened open_first(const std::vector<std::string>& names) { return {.library = &g_allowed, .name = names[0] + ", emulated", .why_not = {}}; }
void* find_function(const Opened&, const char* name) { return emulation::vendor_function(name); }
size_t workspace_limit(int, size_t wanted) { return std::min(wanted, size_t{64} << 10); }
#else
static bool present() { return true; }
Opened open_first(const std::vector<std::string>& names) {
  Opened o;
  for (const std::string& name : names) {
    o.name = name;
    o.library = ::dlopen(name.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (o.library) {
      o.why_not.clear();
      return o;
    }
    const char* error = ::dlerror();
    if (o.why_not.empty()) o.why_not = error ? error : name;
  }
  return o;
}
void* find_function(const Opened& o, const char* name) { return ::dlsym(o.library, name); }
size_t workspace_limit(int, size_t wanted) { return wanted; }
#endif

Decline switched_off() {
  if (!g_allowed.load(std::memory_order_relaxed)) return "vendor libraries are switched off";
  return present() ? kRan : "the emulated device has a stand-in that tests switch on";
}

}  // namespace graft::cuda::vendor

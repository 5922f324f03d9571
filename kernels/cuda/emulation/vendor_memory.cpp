#include "graft/kernels/cuda/emulation/vendor_memory.h"

namespace graft::inline v1::cuda::emulation {

template <class T> static double load_as(const char* p) {
  T x;
  std::memcpy(&x, p, sizeof x);
  if constexpr (std::is_same_v<T, double>) return x;
  else return double(float(x));
}
double load_real(const char* p, DType t) {
  switch (t) {
    case f64: return load_as<double>(p);
    case f16: return load_as<Half>(p);
    case bf16: return load_as<BFloat16>(p);
    default: return load_as<float>(p);
  }
}
template <class T> static void store_as(char* p, T x) { std::memcpy(p, &x, sizeof x); }
void store_real(char* p, DType t, double x) {
  switch (t) {
    case f64: return store_as(p, x);
    case f16: return store_as(p, Half(float(x)));
    case bf16: return store_as(p, BFloat16(float(x)));
    default: return store_as(p, float(x));
  }
}

bool can_touch(const char* library, const char* operand, const char* p, int64_t bytes, int device, bool read) {
  const auto n = size_t(bytes);
  const char* why = !is_device_memory(p) ? "not device memory"
                    : device_of(p) != device ? "memory of another device"
                    : !is_marked(p, n) ? "past the end of a tensor, or of one that was freed"
                    : read && settings().uninitialised && !is_initialised(p, n) ? "uninitialised global memory"
                                                                                : nullptr;
  if (why) set_fault(cudaErrorIllegalAddress, std::string(library) + ": " + operand + ": " + why);
  return !why;
}

void* vendor_function(std::string_view name) { return name.starts_with("cublas") ? cublas_function(name) : cudnn_function(name); }

}  // namespace graft::cuda::emulation

// What the stand-ins for vendor libraries share: elements, and looking at memory as the checker does for kernels.
#pragma once
#include <cstring>
#include <string_view>
#include <vector>
#include "graft/kernels/cuda/emulation/state.h"
#include "graft/kernels/dtype.h"
#include "graft/kernels/half.h"

namespace graft::inline v1::cuda::emulation {

inline constexpr size_t kWorkspace = 4096;  // bytes that a convolution asks for

double load_real(const char* p, DType);  // f32, f64, f16, bf16
void store_real(char* p, DType, double);

// Whether these bytes can be read, or written; if not, a fault of the device that says which operand of which library.
bool can_touch(const char* library, const char* operand, const char* p, int64_t bytes, int device, bool read);

// The pointer in `all` whose place is that of `name` in `names`; null: there is none.
template <class Functions, size_t n> void* find_by_name(const Functions& all, const char* const (&names)[n], std::string_view name) {
  for (size_t i = 0; i < n; ++i) {
    if (names[i] != name) continue;
    void* function = nullptr;
    std::memcpy(&function, reinterpret_cast<const char*>(&all) + i * sizeof function, sizeof function);
    return function;
  }
  return nullptr;
}
void* cublas_function(std::string_view name);
void* cudnn_function(std::string_view name);

}  // namespace graft::cuda::emulation

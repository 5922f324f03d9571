// For tests of vendor libraries on device cuda: a fixture that switches one on, or skips; and whether a function that is declared in
// kernels/cuda takes its arguments as NVIDIA's of the same name.
#pragma once
#include <string_view>
#include <type_traits>
#include "cuda_device.h"

namespace graft {

inline void use_vendor(bool on) {
  cuda::use_vendor_libraries(on);
#ifdef GRAFT_CUDA_EMULATED
  cuda::emulation::settings().vendor_libraries = on;
#endif
}
template <class Base, const char* library> struct WithVendor : OnCuda<Base> {
  void SetUp() override {
    OnCuda<Base>::SetUp();
    if (!cuda::available()) return;
    use_vendor(true);
    for (const cuda::VendorLibrary& l : cuda::vendor_libraries())
      if (l.name == library && !l.loaded) GTEST_SKIP() << l.name << ": " << l.state;
  }
  void TearDown() override {
    use_vendor(false);
    OnCuda<Base>::TearDown();
  }
};

// Pointers by pointers, numbers and enumerators by what is of their size.
template <class A, class B>
constexpr bool kSamePlace = sizeof(A) == sizeof(B) && std::is_pointer_v<A> == std::is_pointer_v<B> &&
                            (std::is_enum_v<A> || std::is_integral_v<A>) == (std::is_enum_v<B> || std::is_integral_v<B>);
template <class F, class G> struct SameAbi : std::false_type {};
template <class R, class... A, class S, class... B> struct SameAbi<R (*)(A...), S (*)(B...)> {
  static constexpr bool value = [] {
    if constexpr (sizeof...(A) == sizeof...(B)) return (kSamePlace<R, S> && ... && kSamePlace<A, B>);
    else return false;
  }();
};
template <class F, class G> constexpr bool kSameAbi = SameAbi<F, G>::value;

}  // namespace graft

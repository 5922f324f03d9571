// The two 16-bit floating types: storage only. They convert to f32 on load and round to nearest even on store.
#pragma once
#include <bit>
#include <cstdint>
#include "graft/kernels/host_device.h"

namespace graft::inline v1 {

// IEEE binary16: 1 sign, 5 exponent, 10 mantissa bits.
struct Half {
  uint16_t bits = 0;

  Half() = default;
  GRAFT_HD Half(float x) : bits(round(x)) {}  // NOLINT(google-explicit-constructor)
  GRAFT_HD operator float() const {           // NOLINT(google-explicit-constructor)
    const uint32_t magnitude = uint32_t(bits & 0x7fffU) << 13;
    const float subnormal = float(int(bits & 0x3ffU)) * 0x1p-24F;
    const uint32_t normal = magnitude + (uint32_t(127 - 15) << 23);
    const uint32_t special = magnitude | 0x7f800000U;  // infinities and NaN
    const uint32_t exponent = bits & 0x7c00U;
    uint32_t out = exponent == 0x7c00U ? special : normal;
    out = exponent == 0 ? std::bit_cast<uint32_t>(subnormal) : out;
    return std::bit_cast<float>(out | uint32_t(bits & 0x8000U) << 16);
  }
  GRAFT_HD static Half from_bits(uint16_t b) {
    Half h;
    h.bits = b;
    return h;
  }

 private:
  GRAFT_HD static uint16_t round(float x) {
    const uint32_t all = std::bit_cast<uint32_t>(x);
    const uint32_t magnitude = all & 0x7fffffffU;
    // Adding 0.5 aligns the mantissa so that its last bit weighs 2^-24, the smallest subnormal.
    const uint32_t subnormal =
        std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - std::bit_cast<uint32_t>(0.5F);
    const uint32_t normal = (magnitude + 0xfffU + (magnitude >> 13 & 1U) - (uint32_t(127 - 15) << 23)) >> 13;
    uint32_t out = magnitude < 0x38800000U ? subnormal : normal;  // 2^-14
    out = magnitude >= 0x477ff000U ? 0x7c00U : out;               // 65520 and above round to infinity
    out = magnitude > 0x7f800000U ? 0x7e00U : out;
    return uint16_t(out | (all >> 16 & 0x8000U));
  }
};

// The upper half of an f32: 1 sign, 8 exponent, 7 mantissa bits.
struct BFloat16 {
  uint16_t bits = 0;

  BFloat16() = default;
  GRAFT_HD BFloat16(float x) : bits(round(x)) {}  // NOLINT(google-explicit-constructor)
  GRAFT_HD operator float() const { return std::bit_cast<float>(uint32_t(bits) << 16); }  // NOLINT(google-explicit-constructor)
  GRAFT_HD static BFloat16 from_bits(uint16_t b) {
    BFloat16 h;
    h.bits = b;
    return h;
  }

 private:
  GRAFT_HD static uint16_t round(float x) {
    const uint32_t all = std::bit_cast<uint32_t>(x);
    const uint32_t rounded = (all + 0x7fffU + (all >> 16 & 1U)) >> 16;
    return uint16_t((all & 0x7fffffffU) > 0x7f800000U ? 0x7fc0U : rounded);
  }
};

}  // namespace graft

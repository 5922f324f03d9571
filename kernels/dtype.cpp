#include "graft/kernels/dtype.h"

#include <array>
#include <utility>

namespace graft::inline v1 {

std::string_view name_of(DType t) {
  constexpr std::array<std::string_view, kDTypes> names{"f32", "f64", "f16", "bf16", "i64",  "i32",
                                                        "i16", "i8",  "u8",  "bool", "c64", "c128"};
  return names[size_t(t)];
}

bool parse_dtype(std::string_view name, DType& out) {
  constexpr std::array<std::pair<std::string_view, DType>, 18> others{{{"float32", f32}, {"float", f32}, {"float64", f64},
      {"double", f64}, {"float16", f16}, {"half", f16}, {"bfloat16", bf16}, {"int64", i64}, {"long", i64}, {"int32", i32},
      {"int", i32}, {"int16", i16}, {"int8", i8}, {"uint8", u8}, {"complex64", c64}, {"cfloat", c64}, {"complex128", c128},
      {"cdouble", c128}}};
  if (name.starts_with("torch.")) name.remove_prefix(6);
  for (int i = 0; i < kDTypes; ++i)
    if (name == name_of(DType(i))) return out = DType(i), true;
  for (const auto& [text, t] : others)
    if (name == text) return out = t, true;
  return false;
}

DType real_of(DType t) { return t == c64 ? f32 : t == c128 ? f64 : t; }
DType complex_of(DType t) { return t == f64 || t == c128 ? c128 : c64; }

DType promote_types(DType a, DType b) {
  if (a == b) return a;
  if (is_complex(a) || is_complex(b)) {
    const DType wide = promote_types(real_of(a), real_of(b));
    return wide == f64 ? c128 : c64;
  }
  if (is_floating(a) || is_floating(b)) {
    if (!is_floating(a)) return b;
    if (!is_floating(b)) return a;
    return a == f64 || b == f64 ? f64 : f32;  // f16 with bf16: neither holds the other
  }
  if (a == boolean) return b;
  if (b == boolean) return a;
  if (size_of(a) != size_of(b)) {
    const DType wide = size_of(a) > size_of(b) ? a : b;
    return wide;
  }
  return i16;  // i8 with u8
}

}  // namespace graft

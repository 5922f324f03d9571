// The header of a safetensors file: what its tensors are and where. Only sizes and names: no Tensor, no file.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>
#include "graft/kernels/dtype.h"

namespace graft::inline v1::io {

using Metadata = std::map<std::string, std::string>;

// One tensor as its file describes it.
struct TensorEntry {
  std::string name;             // any text; never used as a path
  std::string dtype;            // as written: "F32", "F8_E4M3"
  std::vector<int64_t> shape;   // [] is a scalar
  uint64_t begin = 0, end = 0;  // bytes of the data section
};

// In the order of the file.
struct SafetensorsHeader {
  std::vector<TensorEntry> entries;
  Metadata metadata;
};

inline constexpr uint64_t kMostHeaderBytes = 100'000'000;

// Checks all that can be known without the data: JSON, unique names, offsets that tile [0, data_bytes) without hole or
// overlap, sizes that fit shape and dtype. Throws Error; its text begins with `file`.
SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_bytes, std::string_view file);

// The bytes before the data: length, JSON, spaces up to a multiple of 8.
std::string format_safetensors_header(const SafetensorsHeader&, std::string_view file);

// "F32" and f32; false where one side has no such type. The format has no c128, graft no F8.
bool dtype_from_safetensors(std::string_view text, DType& out);
std::string_view safetensors_dtype(DType);  // empty for c128
// Position in the format's order, by which writers sort; larger first.
int safetensors_dtype_order(DType);

}  // namespace graft::inline v1::io

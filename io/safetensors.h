// Tensors in files of the safetensors format: https://huggingface.co/docs/safetensors. Files are taken for hostile:
// each is either valid or an Error whose text begins with the path; codes too_small, too_large, malformed, mismatch,
// overflow, unsupported, io.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>
#include "graft/core/tensor.h"
#include "graft/io/file.h"
#include "graft/io/safetensors_header.h"

namespace graft::inline v1::io {

// Names with tensors, in an order; names are unique in files.
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;
const Tensor* find(const NamedTensors&, std::string_view name);  // null if absent

struct ReadOptions {
  // The default reads. Mapping shares the file's memory with the tensors (copy on write) and opens at once, but a file
  // that is shortened meanwhile kills the process with SIGBUS, and one that is rewritten changes the tensors: see
  // ByteSource. Never map a file that someone else can write.
  bool map = false;
  Device device;
};

// An open file: the header is read and checked, tensors are read when asked for.
class SafetensorsFile {
 public:
  static SafetensorsFile open(const std::string& path, const ReadOptions& = {});
  static SafetensorsFile of_bytes(std::span<const std::byte>, const ReadOptions& = {});  // must outlive this object

  const std::vector<TensorEntry>& entries() const { return header_.entries; }  // all, also of unsupported dtypes
  const Metadata& metadata() const { return header_.metadata; }
  bool contains(std::string_view name) const { return index_.contains(name); }
  const TensorEntry& entry(std::string_view name) const;
  Tensor tensor(std::string_view name) const { return read(entry(name)); }  // a new tensor per call
  Tensor read(const TensorEntry&) const;

  SafetensorsFile(SafetensorsFile&&) = default;
  SafetensorsFile& operator=(SafetensorsFile&&) = default;

 private:
  SafetensorsFile(ByteSource, const ReadOptions&);
  ByteSource source_;
  ReadOptions options_;
  SafetensorsHeader header_;
  uint64_t data_start_ = 0;
  std::unordered_map<std::string_view, size_t> index_;  // of the names in header_, which never change
};

struct Safetensors {
  NamedTensors tensors;  // in the order of the file
  Metadata metadata;
};
Safetensors load_safetensors(const std::string& path, const ReadOptions& = {});
Safetensors load_safetensors(std::span<const std::byte>, const ReadOptions& = {});

// The same bytes as the reference implementation: larger dtypes first, then by name. Any device and strides; meta and
// c128 are refused. The file appears complete or not at all (replace_file).
void save_safetensors(const std::string& path, const NamedTensors&, const Metadata& = {});
std::vector<std::byte> safetensors_bytes(const NamedTensors&, const Metadata& = {});

}  // namespace graft::inline v1::io

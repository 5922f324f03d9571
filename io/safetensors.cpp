#include "graft/io/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include "graft/core/error.h"
#include "graft/core/op.h"

namespace graft::inline v1::io {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian and is copied as it is");

constexpr std::string_view kBytesName = "safetensors bytes";

uint64_t read_header_length(const ByteSource& source) {
  if (source.size() < 8)
    fail(ErrorCode::too_small, source.name(), ": ", source.size(),
         " bytes are no safetensors file, which has at least 8");
  std::array<std::byte, 8> raw{};
  source.read(0, raw);
  const auto length = std::bit_cast<uint64_t>(raw);
  if (length > kMostHeaderBytes)
    fail(ErrorCode::too_large, source.name(), ": a header of ", length, " bytes exceeds the format's ",
         kMostHeaderBytes);
  if (length > source.size() - 8)
    fail(ErrorCode::too_large, source.name(), ": a header of ", length, " bytes in a file of ", source.size());
  return length;
}

// Memory may hold any byte, a C++ bool only two.
bool all_bool(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b <= std::byte{1}; });
}

struct Sorted {
  const std::string* name;
  Tensor tensor;
};
// In the order of the reference implementation, with everything checked that can be refused.
std::vector<Sorted> sort_for_file(const NamedTensors& tensors, std::string_view file) {
  std::vector<Sorted> out;
  out.reserve(tensors.size());
  for (const auto& [name, t] : tensors) {
    if (name == "__metadata__") fail(ErrorCode::key_error, file, ": the name __metadata__ belongs to the format");
    if (!t.defined()) fail(file, ": tensor ", name, " is undefined");
    if (t.device() == Device::meta) fail(ErrorCode::unsupported, file, ": tensor ", name, " has no values: ", t.view());
    if (safetensors_dtype(t.dtype()).empty())
      fail(ErrorCode::unsupported, file, ": tensor ", name, ": the format has no ", name_of(t.dtype()));
    out.push_back({&name, t});
  }
  std::sort(out.begin(), out.end(), [](const Sorted& a, const Sorted& b) {
    const int x = safetensors_dtype_order(a.tensor.dtype()), y = safetensors_dtype_order(b.tensor.dtype());
    return x != y ? x > y : *a.name < *b.name;
  });
  for (size_t i = 1; i < out.size(); ++i)
    if (*out[i].name == *out[i - 1].name) fail(ErrorCode::key_error, file, ": two tensors are named ", *out[i].name);
  return out;
}

void write(const std::vector<Sorted>& sorted, const Metadata& metadata, std::string_view file, const WriteBytes& out) {
  SafetensorsHeader header{{}, metadata};
  uint64_t at = 0;
  for (const Sorted& s : sorted) {
    const Shape shape = s.tensor.shape();
    const uint64_t end = at + uint64_t(s.tensor.nbytes());
    header.entries.push_back(
        {*s.name, std::string(safetensors_dtype(s.tensor.dtype())), {shape.begin(), shape.end()}, at, end});
    at = end;
  }
  const std::string head = format_safetensors_header(header, file);
  out(std::as_bytes(std::span(head)));
  for (const Sorted& s : sorted) {
    const Tensor t = s.tensor.to(Device(Device::cpu)).contiguous();
    out(std::span<const std::byte>(t.view().data, size_t(t.nbytes())));
  }
}

Safetensors load_all(const SafetensorsFile& file) {
  Safetensors out{{}, file.metadata()};
  out.tensors.reserve(file.entries().size());
  for (const TensorEntry& e : file.entries()) out.tensors.emplace_back(e.name, file.read(e));
  return out;
}

}  // namespace

const Tensor* find(const NamedTensors& tensors, std::string_view name) {
  for (const auto& [n, t] : tensors)
    if (n == name) return &t;
  return nullptr;
}

SafetensorsFile::SafetensorsFile(ByteSource source, const ReadOptions& options)
    : source_(std::move(source)), options_(options) {
  const uint64_t length = read_header_length(source_);
  std::string text(length, '\0');
  source_.read(8, std::as_writable_bytes(std::span(text)));
  data_start_ = 8 + length;
  header_ = parse_safetensors_header(text, source_.size() - data_start_, source_.name());
  index_.reserve(header_.entries.size());
  for (size_t i = 0; i < header_.entries.size(); ++i) index_.emplace(header_.entries[i].name, i);
}

SafetensorsFile SafetensorsFile::open(const std::string& path, const ReadOptions& options) {
  return {ByteSource::file(path, options.map ? ByteSource::Mode::map : ByteSource::Mode::read), options};
}
SafetensorsFile SafetensorsFile::of_bytes(std::span<const std::byte> bytes, const ReadOptions& options) {
  ReadOptions copying = options;
  copying.map = false;
  return {ByteSource::memory(bytes, std::string(kBytesName)), copying};
}

const TensorEntry& SafetensorsFile::entry(std::string_view name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) fail(ErrorCode::key_error, source_.name(), ": no tensor is named ", name);
  return header_.entries[found->second];
}

Tensor SafetensorsFile::read(const TensorEntry& e) const {
  DType dtype{};
  if (!dtype_from_safetensors(e.dtype, dtype))
    fail(ErrorCode::unsupported, source_.name(), ": tensor ", e.name, " has the dtype ", e.dtype,
         ", which graft has not");
  if (e.shape.size() > size_t(kMaxRank))
    fail(ErrorCode::unsupported, source_.name(), ": tensor ", e.name, " has ", e.shape.size(), " dimensions; at most ",
         kMaxRank, " are supported");
  const Shape shape{std::span<const int64_t>(e.shape)};
  const uint64_t start = data_start_ + e.begin;
  if (options_.map && options_.device.type == Device::cpu && e.end > e.begin) {
    std::byte* data = const_cast<std::byte*>(source_.mapped()) + start;  // the mapping is private: writes stay here
    const bool aligned = reinterpret_cast<uintptr_t>(data) % uintptr_t(size_of(dtype)) == 0;
    if (aligned && (dtype != boolean || all_bool({data, size_t(e.end - e.begin)})))
      return from_blob(data, shape, dtype, [keep = source_.owner()] {});
  }
  const Tensor t = empty(shape, dtype);
  const std::span<std::byte> bytes(t.view().data, size_t(t.nbytes()));
  source_.read(start, bytes);
  if (dtype == boolean)
    for (std::byte& b : bytes) b = std::byte{b != std::byte{0}};
  return t.to(options_.device);
}

Safetensors load_safetensors(const std::string& path, const ReadOptions& options) {
  return load_all(SafetensorsFile::open(path, options));
}
Safetensors load_safetensors(std::span<const std::byte> bytes, const ReadOptions& options) {
  return load_all(SafetensorsFile::of_bytes(bytes, options));
}

void save_safetensors(const std::string& path, const NamedTensors& tensors, const Metadata& metadata) {
  const NoGrad quiet;
  const auto sorted = sort_for_file(tensors, path);
  replace_file(path, [&](const WriteBytes& out) { write(sorted, metadata, path, out); });
}

std::vector<std::byte> safetensors_bytes(const NamedTensors& tensors, const Metadata& metadata) {
  const NoGrad quiet;
  std::vector<std::byte> bytes;
  write(sort_for_file(tensors, kBytesName), metadata, kBytesName,
        [&](std::span<const std::byte> more) { bytes.insert(bytes.end(), more.begin(), more.end()); });
  return bytes;
}

}  // namespace graft::inline v1::io

#include "graft/io/checkpoint.h"

#include <array>
#include <charconv>
#include <unordered_map>
#include "graft/core/error.h"

namespace graft::inline v1::io {
namespace {

// In the metadata: this key says what the file is; sections and their order of names; values.
constexpr const char* kFormat = "graft.checkpoint";
constexpr const char* kVersion = "1";
const std::string kSection = "section.", kValue = "value.";

template <class T>
T parse(const std::string& key, const std::string& text) {
  T v{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (error != std::errc{} || end != text.data() + text.size())
    fail(ErrorCode::type_error, "checkpoint: the value ", key, " is not a number: ", text);
  return v;
}

// A list of names as one text: the length of each, then the name, since a name may hold any character.
std::string join(const NamedTensors& tensors) {
  std::string out;
  for (const auto& [name, tensor] : tensors) out += std::to_string(name.size()) + ':' + name;
  return out;
}
std::vector<std::string_view> split(std::string_view text, const std::string& path) {
  std::vector<std::string_view> names;
  while (!text.empty()) {
    size_t length = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
    const auto digits = size_t(end - text.data());
    if (error != std::errc{} || digits == text.size() || *end != ':' || length > text.size() - digits - 1)
      fail(ErrorCode::malformed, path, ": the list of a section's names is broken");
    names.push_back(text.substr(digits + 1, length));
    text.remove_prefix(digits + 1 + length);
  }
  return names;
}

}  // namespace

void Checkpoint::add_section(const std::string& name, NamedTensors tensors) {
  GRAFT_CHECK(!name.empty() && name.find('.') == name.npos, ErrorCode::key_error, "checkpoint: '", name,
              "' cannot name a section: empty, or with a dot");
  GRAFT_CHECK(!find_section(name), ErrorCode::key_error, "checkpoint: there is a section ", name, " already");
  sections_.emplace_back(name, std::move(tensors));
}

const NamedTensors* Checkpoint::find_section(std::string_view name) const {
  for (const auto& [n, tensors] : sections_)
    if (n == name) return &tensors;
  return nullptr;
}

const NamedTensors& Checkpoint::section(std::string_view name) const {
  const NamedTensors* found = find_section(name);
  GRAFT_CHECK(found, ErrorCode::key_error, "checkpoint: no section ", name);
  return *found;
}

std::vector<std::string> Checkpoint::sections() const {
  std::vector<std::string> names;
  for (const auto& [name, tensors] : sections_) names.push_back(name);
  return names;
}

void Checkpoint::set(const std::string& key, double v) {
  std::array<char, 32> text{};  // the shortest text that reads back as the same double
  const auto end = std::to_chars(text.data(), text.data() + text.size(), v).ptr;
  values_[key] = std::string(text.data(), end);
}

std::string Checkpoint::text(const std::string& key) const {
  const auto found = values_.find(key);
  GRAFT_CHECK(found != values_.end(), ErrorCode::key_error, "checkpoint: no value ", key);
  return found->second;
}
double Checkpoint::number(const std::string& key) const { return parse<double>(key, text(key)); }
int64_t Checkpoint::integer(const std::string& key) const { return parse<int64_t>(key, text(key)); }

void save_checkpoint(const std::string& path, const Checkpoint& c) {
  NamedTensors all;
  Metadata metadata{{kFormat, kVersion}};
  for (const auto& [section, tensors] : c.sections_) {
    metadata[kSection + section] = join(tensors);
    for (const auto& [name, tensor] : tensors) all.emplace_back(section + '.' + name, tensor);
  }
  for (const auto& [key, value] : c.values_) metadata[kValue + key] = value;
  save_safetensors(path, all, metadata);
}

Checkpoint load_checkpoint(const std::string& path, const ReadOptions& options) {
  Safetensors file = load_safetensors(path, options);
  const auto format = file.metadata.find(kFormat);
  if (format == file.metadata.end()) fail(ErrorCode::malformed, path, ": tensors, but not a checkpoint of graft");
  if (format->second != kVersion)
    fail(ErrorCode::unsupported, path, ": a checkpoint of version ", format->second, "; this graft reads ", kVersion);
  std::unordered_map<std::string_view, const Tensor*> by_name;
  for (const auto& [name, tensor] : file.tensors) by_name.emplace(name, &tensor);
  Checkpoint c;
  size_t used = 0;
  for (const auto& [key, value] : file.metadata) {
    if (key.starts_with(kValue)) c.values_[key.substr(kValue.size())] = value;
    if (!key.starts_with(kSection)) continue;
    const std::string section = key.substr(kSection.size());
    NamedTensors tensors;
    for (const std::string_view name : split(value, path)) {
      const auto found = by_name.find(section + '.' + std::string(name));
      if (found == by_name.end()) fail(ErrorCode::malformed, path, ": section ", section, " has no tensor ", name);
      tensors.emplace_back(name, *found->second);
    }
    used += tensors.size();
    c.add_section(section, std::move(tensors));
  }
  if (used != file.tensors.size()) fail(ErrorCode::malformed, path, ": tensors that belong to no section");
  return c;
}

}  // namespace graft::inline v1::io

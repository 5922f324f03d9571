#include "case_file.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include "graft/core/error.h"

namespace conformance {

graft::Device where;

std::string standard_json(const std::string& text) {
  std::string out;
  out.reserve(text.size());
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      out += c;
      if (c == '\\' && i + 1 < text.size()) out += text[++i];
      in_string = c != '"';
      continue;
    }
    in_string = c == '"';
    bool replaced = false;
    for (const std::string_view word : {"-Infinity", "Infinity", "NaN"})
      if (!replaced && std::string_view(text).substr(i, word.size()) == word) {
        out += "{\"float\":\"" + std::string(word) + "\"}";
        i += word.size() - 1;
        replaced = true;
      }
    if (!replaced) out += c;
  }
  return out;
}

CaseFile::CaseFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  if (!in) graft::fail(graft::ErrorCode::io, path, ": cannot read");
  try {
    json_ = Json::parse(standard_json(text.str()));
  } catch (const Json::exception& e) {
    graft::fail(graft::ErrorCode::malformed, path, ": ", e.what());
  }
  if (!json_.is_object() || !json_.contains("cases") || !json_["cases"].is_array())
    graft::fail(graft::ErrorCode::malformed, path, ": no list of cases");
  const auto beside = std::filesystem::path(path).replace_extension(".safetensors");
  if (std::filesystem::exists(beside)) tensors_ = graft::io::SafetensorsFile::open(beside.string());
}

graft::Tensor CaseFile::tensor(const std::string& key) const {
  if (!tensors_) graft::fail(graft::ErrorCode::key_error, "tensor ", key, ": there is no .safetensors file");
  return tensors_->tensor(key).to(where);
}

}  // namespace conformance

// A file of recorded cases, with the tensors that they name.
#pragma once
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include "graft/io/safetensors.h"

namespace conformance {

using Json = nlohmann::ordered_json;

extern graft::Device where;  // what the cases run on; cpu if nothing else is said

class CaseFile {
 public:
  // Tensors are in the file of the same name that ends in .safetensors, if there is one.
  explicit CaseFile(const std::string& path);
  const Json& cases() const { return json_.at("cases"); }
  graft::Tensor tensor(const std::string& key) const;  // a new one per call, on `where`
  bool has_tensor(const std::string& key) const { return tensors_ && tensors_->contains(key); }

 private:
  Json json_;
  std::optional<graft::io::SafetensorsFile> tensors_;
};

// Cases hold Python's Infinity and NaN, which JSON has not: outside of strings they become {"float": "Infinity"}.
std::string standard_json(const std::string& text);

}  // namespace conformance

// Everything that a run needs to go on, in one file: sections of named tensors and a few values. The file is in
// safetensors format (tensor "model.conv.weight"; values and sections in the metadata), so other tools can read the
// weights.
//
//   io::Checkpoint c;
//   c.add("model", net->state_dict());
//   c.add("optimizer", optimizer.state_dict());
//   c.add("generator", {{"state", default_generator().state()}});
//   c.set("epoch", 12);
//   io::save_checkpoint("run.ckpt", c);  // complete or not at all, even if the process is killed meanwhile
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>
#include "graft/io/safetensors.h"

namespace graft::inline v1::io {

class Checkpoint {
 public:
  // Any range of pairs (name, tensor): a state_dict. A section's name has no dot; it may be empty of tensors.
  template <class Dict>
  void add(const std::string& section, const Dict& tensors) {
    add_section(section, NamedTensors(tensors.begin(), tensors.end()));
  }
  void add(const std::string& section, std::initializer_list<NamedTensors::value_type> tensors) {
    add_section(section, NamedTensors(tensors));
  }
  bool has(std::string_view section) const { return find_section(section) != nullptr; }
  const NamedTensors& section(std::string_view name) const;  // in the order in which it was added; Error if absent
  template <class Dict>
  Dict section_as(std::string_view name) const {  // nn::StateDict and the like
    Dict dict;
    for (const auto& [key, tensor] : section(name)) dict.set(key, tensor);
    return dict;
  }
  std::vector<std::string> sections() const;

  // Values are kept exactly. Reading one that is absent or of another kind is an Error.
  void set(const std::string& key, std::string text) { values_[key] = std::move(text); }
  void set(const std::string& key, const char* text) { values_[key] = text; }
  void set(const std::string& key, double v);
  void set(const std::string& key, int64_t v) { values_[key] = std::to_string(v); }
  void set(const std::string& key, int v) { set(key, int64_t{v}); }
  void set(const std::string& key, bool v) { set(key, int64_t{v}); }
  bool has_value(const std::string& key) const { return values_.contains(key); }
  std::string text(const std::string& key) const;
  double number(const std::string& key) const;
  int64_t integer(const std::string& key) const;

 private:
  friend void save_checkpoint(const std::string&, const Checkpoint&);
  friend Checkpoint load_checkpoint(const std::string&, const ReadOptions&);
  void add_section(const std::string& name, NamedTensors);
  const NamedTensors* find_section(std::string_view name) const;

  std::vector<std::pair<std::string, NamedTensors>> sections_;
  std::map<std::string, std::string> values_;
};

void save_checkpoint(const std::string& path, const Checkpoint&);
Checkpoint load_checkpoint(const std::string& path, const ReadOptions& = {});

}  // namespace graft::inline v1::io

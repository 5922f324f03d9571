// StateDict: an ordered map from dotted names to tensors, as state_dict() returns and load_state_dict() takes.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>
#include "graft/core/tensor.h"

namespace graft::inline v1::nn {

class StateDict {
 public:
  using Item = std::pair<std::string, Tensor>;
  StateDict() = default;
  StateDict(std::initializer_list<Item> items) { for (const Item& i : items) set(i.first, i.second); }
  StateDict(const std::vector<Item>& items) { for (const Item& i : items) set(i.first, i.second); }  // NOLINT: as read from a file
  const std::vector<Item>& items() const { return items_; }

  void set(std::string name, Tensor);  // keeps the position of a name that is there
  Tensor& operator[](const std::string& name);
  const Tensor& at(std::string_view name) const;  // Error: no such entry
  const Tensor* find(std::string_view name) const;
  bool contains(std::string_view name) const { return find(name) != nullptr; }
  bool erase(std::string_view name);
  void rename(std::string_view from, std::string to);  // keeps the position
  size_t size() const { return items_.size(); }
  bool empty() const { return items_.empty(); }
  std::vector<std::string> keys() const;
  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }

  // The version of the layout in which the module at `prefix` saved itself; none in dictionaries made by hand or read
  // from files without it.
  std::optional<int64_t> version(const std::string& prefix) const;
  void set_version(const std::string& prefix, int64_t v) { versions_[prefix] = v; }

 private:
  std::vector<Item> items_;
  std::unordered_map<std::string, size_t> index_;
  std::unordered_map<std::string, int64_t> versions_;
};

// What load_state_dict() could not place, and what it did not find.
struct IncompatibleKeys {
  std::vector<std::string> missing_keys;
  std::vector<std::string> unexpected_keys;
};
std::ostream& operator<<(std::ostream&, const IncompatibleKeys&);

struct LoadOptions {
  bool strict = true;
  bool assign = false;  // take the tensors of the dictionary over instead of copying their values
};

Tensor bytes_tensor(std::string_view bytes);  // u8[n]: how extra state that is not a tensor is stored
std::string tensor_bytes(const Tensor&);

}  // namespace graft::nn

#include "graft/nn/state_dict.h"

#include <cstring>
#include <ostream>

namespace graft::inline v1::nn {

void StateDict::set(std::string name, Tensor t) { (*this)[name] = std::move(t); }
Tensor& StateDict::operator[](const std::string& name) {
  const auto [it, fresh] = index_.try_emplace(name, items_.size());
  if (fresh) items_.emplace_back(name, Tensor());
  return items_[it->second].second;
}
const Tensor* StateDict::find(std::string_view name) const {
  const auto it = index_.find(std::string(name));
  return it == index_.end() ? nullptr : &items_[it->second].second;
}
const Tensor& StateDict::at(std::string_view name) const {
  const Tensor* t = find(name);
  GRAFT_CHECK(t, ErrorCode::key_error, "state_dict: no entry '", name, "'");
  return *t;
}
bool StateDict::erase(std::string_view name) {
  const auto it = index_.find(std::string(name));
  if (it == index_.end()) return false;
  const size_t at = it->second;
  items_.erase(items_.begin() + int64_t(at));
  index_.erase(it);
  for (auto& [key, i] : index_)
    if (i > at) --i;
  return true;
}
void StateDict::rename(std::string_view from, std::string to) {
  const auto it = index_.find(std::string(from));
  GRAFT_CHECK(it != index_.end(), ErrorCode::key_error, "state_dict: no entry '", from, "'");
  if (from == to) return;
  GRAFT_CHECK(!index_.contains(to), ErrorCode::key_error, "state_dict: there is an entry '", to, "' already");
  const size_t at = it->second;
  index_.erase(it);
  index_.emplace(to, at);
  items_[at].first = std::move(to);
}
std::vector<std::string> StateDict::keys() const {
  std::vector<std::string> names;
  for (const Item& i : items_) names.push_back(i.first);
  return names;
}
std::optional<int64_t> StateDict::version(const std::string& prefix) const {
  const auto it = versions_.find(prefix);
  return it == versions_.end() ? std::nullopt : std::optional(it->second);
}

static void print_names(std::ostream& o, const std::vector<std::string>& names) {
  o << '[';
  for (size_t i = 0; i < names.size(); ++i) o << (i ? ", '" : "'") << names[i] << '\'';
  o << ']';
}
std::ostream& operator<<(std::ostream& o, const IncompatibleKeys& k) {
  if (k.missing_keys.empty() && k.unexpected_keys.empty()) return o << "<All keys matched successfully>";
  o << "IncompatibleKeys(missing_keys=";
  print_names(o, k.missing_keys);
  o << ", unexpected_keys=";
  print_names(o, k.unexpected_keys);
  return o << ')';
}

Tensor bytes_tensor(std::string_view bytes) {
  return tensor_of(bytes.data(), u8, Shape({int64_t(bytes.size())}), {});
}
std::string tensor_bytes(const Tensor& t) {
  GRAFT_CHECK(t.defined() && t.dtype() == u8, ErrorCode::dtype_mismatch, "tensor_bytes: needs u8, not ", t);
  const Tensor dense = t.contiguous();
  return {reinterpret_cast<const char*>(dense.data<uint8_t>()), size_t(dense.numel())};
}

}  // namespace graft::nn

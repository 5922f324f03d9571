// architecture_hash: FNV-1a (Fowler, Noll, Vo) over what nn::architecture() would write, without the modes.
#include <bit>
#include <typeindex>

#include "graft/nn/architecture.h"
#include "graft/nn/registry.h"

namespace graft::inline v1::nn {
namespace {

class ArchitectureHash {
 public:
  uint64_t run(const Module& root) {
    number(root);
    for (size_t i = 0; i < order_.size(); ++i) one(*order_[i]);  // grows with the children of what is hashed
    return hash_;
  }

 private:
  void add(uint64_t n) {
    for (int i = 0; i < 8; ++i) hash_ = (hash_ ^ (n >> (8 * i) & 255)) * 0x100000001b3;
  }
  void add(std::string_view s) {
    add(s.size());
    for (const char c : s) hash_ = (hash_ ^ uint8_t(c)) * 0x100000001b3;
  }
  void add(const Value& v) {
    add(std::string_view(v.kind()));
    if (const bool* b = v.get_if<bool>()) add(uint64_t(*b));
    if (const int64_t* i = v.get_if<int64_t>()) add(uint64_t(*i));
    if (const double* d = v.get_if<double>()) add(std::bit_cast<uint64_t>(*d));
    if (const std::string* s = v.get_if<std::string>()) add(std::string_view(*s));
    if (const Values* list = v.get_if<Values>()) {
      add(uint64_t(list->size()));
      for (const Value& item : *list) add(item);
    }
  }
  void add(const Tensor& value, const Tensor& leaf) {
    if (!value.defined()) return add(uint64_t{0});
    const auto [it, is_new] = tensors_.emplace((leaf.defined() ? leaf : value).impl(), tensors_.size());
    add(it->second + 1);
    if (!is_new) return;
    add(uint64_t(value.dtype()));
    const Shape shape = value.shape();
    add(uint64_t(shape.rank()));
    for (const int64_t n : shape) add(uint64_t(n));
  }
  size_t number(const Module& m) {
    const auto [it, is_new] = numbers_.emplace(&m, order_.size());
    if (is_new) order_.push_back(&m);
    return it->second;
  }
  struct Type { std::string name; std::vector<Attribute> attributes; };
  const Type& type_of(const Module& m) {
    const auto [it, is_new] = types_.try_emplace(typeid(m));
    if (is_new) {
      const std::optional<Made> made = made_with(m);
      it->second = {made ? made->type : type_name(m), made ? attributes_of(m) : std::vector<Attribute>()};
    }
    return it->second;
  }
  void one(const Module& m) {
    const Type& type = type_of(m);
    add(std::string_view(type.name));
    for (const Attribute& a : type.attributes) add(std::string_view(a.name)), add(a.read(m));
    for (const auto& e : m.param_entries()) add(std::string_view(e->name)), add(e->value(), e->leaf);
    for (const auto& e : m.buffer_entries()) add(std::string_view(e->name)), add(uint64_t(e->persistent)), add(e->value, e->value);
    for (const auto& e : m.child_entries()) add(std::string_view(e->name)), add(e->module ? number(*e->module) : ~uint64_t{0});
    add(uint64_t(m.child_entries().size()));
  }

  uint64_t hash_ = 0xcbf29ce484222325;
  std::unordered_map<const Module*, size_t> numbers_;
  std::unordered_map<const TensorImpl*, size_t> tensors_;
  std::unordered_map<std::type_index, Type> types_;
  std::vector<const Module*> order_;
};

}  // namespace

uint64_t architecture_hash(const Module& m) { return ArchitectureHash().run(m); }

}  // namespace graft::nn

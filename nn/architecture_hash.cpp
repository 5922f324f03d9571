// architecture_hash: FNV-1a (Fowler, Noll, Vo) over what nn::architecture() would write, without the modes.
#include <bit>

#include "graft/nn/architecture.h"
#include "graft/nn/structure.h"

namespace graft::inline v1::nn {
namespace {

class ArchitectureHash {
 public:
  explicit ArchitectureHash(const Structure& s) : s_(s) {}
  uint64_t run() {
    for (uint32_t i = 0; i < s_.size(); ++i) one(i);
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
  void add(const Structure::Leaf& t) {
    if (!t.value) return add(uint64_t{0});
    const auto [it, is_new] = tensors_.emplace(t.identity(), tensors_.size());
    add(it->second + 1);
    if (!is_new) return;
    add(uint64_t(t.dtype));
    const Shape& shape = s_.shape(t);
    add(uint64_t(shape.rank()));
    for (const int64_t n : shape) add(uint64_t(n));
  }
  void one(uint32_t i) {
    const Structure::Type& type = s_.type(i);
    add(std::string_view(type.name));
    for (size_t k = 0; k < type.attributes.size(); ++k) add(std::string_view(type.attributes[k].name)), add(s_.values(i)[k]);
    for (const auto& t : s_.parameters(i)) add(std::string_view(s_.name(t))), add(t);
    for (const auto& t : s_.buffers(i)) add(std::string_view(s_.name(t))), add(uint64_t(t.persistent)), add(t);
    for (const auto& c : s_.children(i)) add(std::string_view(s_.name(c))), add(c.module == Structure::kNone ? ~uint64_t{0} : c.module);
    add(uint64_t(s_.children(i).size()));
  }

  const Structure& s_;
  uint64_t hash_ = 0xcbf29ce484222325;
  std::unordered_map<const TensorImpl*, size_t> tensors_;
};

}  // namespace

uint64_t architecture_hash(const Structure& s) { return ArchitectureHash(s).run(); }
uint64_t architecture_hash(const Module& m) { return architecture_hash(Structure(m)); }

}  // namespace graft::nn

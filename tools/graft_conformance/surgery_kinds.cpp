#include "surgery_kinds.h"

#include "graft/nn/containers.h"
#include "graft/nn/linear.h"
#include "report.h"
#include "surgery_world.h"

namespace conformance {
namespace {

using namespace graft;

const Kind kKinds[] = {
    Kind::of<nn::Module>("Module"),         Kind::of<nn::Linear>("Linear"),     Kind::of<nn::Sequential>("Sequential"),
    Kind::of<nn::ModuleList>("ModuleList"), Kind::of<nn::Identity>("Identity"),
};

// An attribute by PyTorch's name, of the layers that programs ask about.
template <class M>
Json read(const nn::Module& m, Json (*f)(const M&)) {
  const auto* layer = dynamic_cast<const M*>(&m);
  return layer ? f(*layer) : Json();
}

}  // namespace

const Kind& find_kind(const std::string& name) {
  for (const auto table : {std::span<const Kind>(kKinds), own_kinds()})
    for (const Kind& k : table)
      if (k.name == name) return k;
  throw Unsupported("the module type " + name);
}

bool is_kind(const nn::Module& m, const std::string& kind) { return find_kind(kind).matches(m); }
bool is_exactly(const nn::Module& m, const std::string& kind) {
  return std::type_index(typeid(m)) == find_kind(kind).type;
}
std::string kind_name(const nn::Module& m) { return m.class_name(); }

Json attribute_of(const nn::Module& m, const std::string& name) {
  Json value;
  if (name == "in_features") value = read<nn::Linear>(m, [](const nn::Linear& l) { return Json(l.in_features); });
  if (name == "out_features") value = read<nn::Linear>(m, [](const nn::Linear& l) { return Json(l.out_features); });
  if (value.is_null()) throw Unsupported("attribute " + name + " of " + m.class_name());
  return value;
}

}  // namespace conformance

// How many modules of some types a model has.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <type_traits>
#include "graft/nn/module.h"

namespace graft::inline v1::surgery {

// Is m an M, or of a class derived from it? The exact type is compared first, which is quick.
template <class M> bool is_a(const nn::Module& m) {
  if constexpr (std::is_same_v<M, nn::Module>) return true;
  else return typeid(m) == typeid(M) || dynamic_cast<const M*>(&m) != nullptr;
}

// Calls fn with each module below `root` once, parents before children, in order of registration. Linear in the number
// of slots, also where modules are shared.
void for_each_descendant(const nn::Module& root, const std::function<void(const nn::Module&)>& fn);

// The distinct descendants of `root` that are of one of the types, or of a subclass. The root itself does not count.
template <class... M> size_t count(const nn::Module& root) {
  size_t n = 0;
  for_each_descendant(root, [&n](const nn::Module& m) {
    n += (is_a<M>(m) || ...);
  });
  return n;
}
template <class... M> size_t count_module_instances(const nn::Module& root) { return count<M...>(root); }  // composer's name

std::map<std::string, size_t> count_by_type(const nn::Module& root);  // exact types, by class name
std::string type_counts(const nn::Module& root);                      // the same to read: "Conv2d 6, Linear 1"

}  // namespace graft

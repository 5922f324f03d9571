// How many modules of some types a model has.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <type_traits>
#include <typeindex>
#include "graft/nn/module.h"
#include "graft/surgery/pointer_set.h"

namespace graft::inline v1::surgery {

std::string short_type_name(std::type_index);  // "Conv2d"

// Is m an M, or of a class derived from it? The exact type is compared first, which is quick.
template <class M> bool is_a(const nn::Module& m) {
  if constexpr (std::is_same_v<M, nn::Module>) return true;
  else return typeid(m) == typeid(M) || dynamic_cast<const M*>(&m) != nullptr;
}

// Is a module of one of the types? Remembers the answer for the class that it was asked about last.
template <class... M> class TypeTest {
 public:
  bool operator()(const nn::Module& m) {
    const std::type_info* type = &typeid(m);
    if (type == last_) return answer_;
    last_ = type;
    return answer_ = (is_a<M>(m) || ...);
  }

 private:
  const std::type_info* last_ = nullptr;
  bool answer_ = false;
};

// Calls fn with each module below `root` once, parents before children, in order of registration. Linear in the number
// of slots, also where modules are shared.
template <class F> void for_each_descendant(const nn::Module& root, F&& fn) {
  struct Level { const nn::Module* module; size_t next; };
  std::vector<Level> stack{{&root, 0}};
  PointerSet seen;  // a module in one slot only is reached once anyway
  while (!stack.empty()) {
    Level& top = stack.back();
    if (top.next == top.module->child_entries().size()) {
      stack.pop_back();
      continue;
    }
    const nn::Module* m = top.module->child_entries()[top.next++]->module.get();
    if (!m || (m->is_shared() && !seen.insert(m))) continue;
    fn(*m);
    if (!m->child_entries().empty()) stack.push_back({m, 0});
  }
}

// The distinct descendants of `root` that are of one of the types, or of a subclass. The root itself does not count.
template <class... M> size_t count(const nn::Module& root) {
  size_t n = 0;
  TypeTest<M...> matches;
  for_each_descendant(root, [&](const nn::Module& m) { n += matches(m); });
  return n;
}
template <class... M> size_t count_module_instances(const nn::Module& root) { return count<M...>(root); }  // composer's name

std::map<std::string, size_t> count_by_type(const nn::Module& root);  // exact types, by class name
std::string type_counts(const nn::Module& root);                      // the same to read: "Conv2d 6, Linear 1"

}  // namespace graft

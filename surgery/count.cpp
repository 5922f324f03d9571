#include "graft/surgery/count.h"

#include <typeindex>
#include <unordered_map>
#include <unordered_set>

namespace graft::inline v1::surgery {

void for_each_descendant(const nn::Module& root, const std::function<void(const nn::Module&)>& fn) {
  struct Level { const nn::Module* module; size_t next; };
  std::vector<Level> stack{{&root, 0}};
  std::unordered_set<const nn::Module*> seen;  // a module in one slot only is reached once anyway
  while (!stack.empty()) {
    Level& top = stack.back();
    if (top.next == top.module->child_entries().size()) {
      stack.pop_back();
      continue;
    }
    const nn::Module* m = top.module->child_entries()[top.next++]->module.get();
    if (!m || (m->is_shared() && !seen.insert(m).second)) continue;
    fn(*m);
    if (!m->child_entries().empty()) stack.push_back({m, 0});
  }
}

std::map<std::string, size_t> count_by_type(const nn::Module& root) {
  std::unordered_map<std::type_index, std::pair<const nn::Module*, size_t>> counts;
  for_each_descendant(root, [&](const nn::Module& m) {
    auto& [example, n] = counts[typeid(m)];
    example = &m;
    ++n;
  });
  std::map<std::string, size_t> by_name;
  for (const auto& [type, entry] : counts) by_name[nn::type_name(*entry.first)] += entry.second;
  return by_name;
}

std::string type_counts(const nn::Module& root) {
  std::string text;
  for (const auto& [type, n] : count_by_type(root)) text += concat(text.empty() ? "" : ", ", type, ' ', n);
  return text;
}

}  // namespace graft

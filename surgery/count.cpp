#include "graft/surgery/count.h"

#include <typeindex>
#include <unordered_map>

namespace graft::inline v1::surgery {

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

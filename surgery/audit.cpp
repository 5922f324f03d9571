#include "graft/surgery/audit.h"

#include <algorithm>
#include <map>
#include <ostream>
#include <unordered_map>
#include "graft/surgery/table.h"

namespace graft::inline v1::surgery {

std::string_view name_of(Finding::Kind k) {
  switch (k) {
    case Finding::Kind::not_optimized: return "not optimized";
    case Finding::Kind::optimized_twice: return "optimized twice";
    case Finding::Kind::frozen: return "frozen";
    case Finding::Kind::dead: return "dead";
    case Finding::Kind::mixed_dtype: return "mixed dtype";
    case Finding::Kind::mixed_device: return "mixed device";
    case Finding::Kind::mixed_mode: return "mixed mode";
  }
  return "";
}

size_t Audit::count(Finding::Kind k) const {
  return size_t(std::ranges::count_if(*this, [k](const Finding& f) { return f.kind == k; }));
}

std::ostream& operator<<(std::ostream& o, const Audit& found) {
  if (found.empty()) return o << "nothing found\n";
  std::vector<std::vector<std::string>> rows;
  for (const Finding& f : found) rows.push_back({std::string(name_of(f.kind)), f.path.empty() ? "(root)" : f.path, f.text});
  print_table(o, rows);
  return o;
}

namespace {

struct Holder { size_t optimizer, group, index; };
std::string text_of(const Holder& h) {
  return concat("optimizer ", h.optimizer, ", group ", h.group, ", parameter ", h.index);
}
using Holders = std::unordered_map<const TensorImpl*, std::vector<Holder>>;

Holders holders_of(const std::vector<const optim::Optimizer*>& optimizers) {
  Holders all;
  for (size_t o = 0; o < optimizers.size(); ++o) {
    GRAFT_CHECK(optimizers[o], "audit: optimizer ", o, " is null");
    for (size_t g = 0; g < optimizers[o]->groups(); ++g)
      for (size_t i = 0; i < optimizers[o]->slots(g).size(); ++i)
        all[optimizers[o]->slots(g)[i].param.impl()].push_back({o, g, i});
  }
  return all;
}

void look_at_parameters(const nn::NamedList<Tensor>& parameters, const Holders& holders, Audit& found) {
  for (const auto& [path, p] : parameters)
    if (p.requires_grad() && !holders.contains(p.impl()))
      found.push_back({Finding::Kind::not_optimized, path, concat(p.view(), " is in no optimizer")});
  for (const auto& [path, p] : parameters) {
    const auto it = holders.find(p.impl());
    if (it == holders.end() || it->second.size() < 2) continue;
    std::string where;
    for (const Holder& h : it->second) where += (where.empty() ? "" : "; ") + text_of(h);
    found.push_back({Finding::Kind::optimized_twice, path, where});
  }
  for (const auto& [path, p] : parameters)
    if (const auto it = holders.find(p.impl()); it != holders.end() && !p.requires_grad())
      found.push_back({Finding::Kind::frozen, path, "requires no gradient, and is in " + text_of(it->second[0])});
}

void look_for_dead(const nn::NamedList<Tensor>& parameters, const std::vector<const optim::Optimizer*>& optimizers, Audit& found) {
  std::unordered_map<const TensorImpl*, bool> live;
  for (const auto& [path, p] : parameters) live[p.impl()] = true;
  for (size_t o = 0; o < optimizers.size(); ++o)
    for (size_t g = 0; g < optimizers[o]->groups(); ++g)
      for (size_t i = 0; i < optimizers[o]->slots(g).size(); ++i) {
        const optim::Slot& slot = optimizers[o]->slots(g)[i];
        if (live.contains(slot.param.impl()) || slot.keep) continue;
        found.push_back({Finding::Kind::dead, text_of({o, g, i}), concat(slot.param.view(), " is not in the model")});
      }
}

// Findings about what has another `trait` than most; the first seen wins a tie.
template <class List, class Trait, class Text>
void look_for_mixed(Finding::Kind kind, const List& list, Trait trait, Text text, Audit& found) {
  std::vector<std::pair<std::string, size_t>> counts;
  for (const auto& item : list) {
    const std::string value = trait(item);
    const auto it = std::ranges::find(counts, value, &std::pair<std::string, size_t>::first);
    if (it == counts.end()) counts.emplace_back(value, 1);
    else ++it->second;
  }
  if (counts.size() < 2) return;
  const std::string most = std::ranges::max_element(counts, {}, &std::pair<std::string, size_t>::second)->first;
  for (const auto& item : list)
    if (const std::string value = trait(item); value != most)
      found.push_back({kind, item.first, text(value, most)});
}

}  // namespace

Audit audit(const nn::Module& model, const std::vector<const optim::Optimizer*>& optimizers) {
  Audit found;
  const auto parameters = model.named_parameters();
  if (!optimizers.empty()) {
    look_at_parameters(parameters, holders_of(optimizers), found);
    look_for_dead(parameters, optimizers, found);
  }
  auto tensors = parameters;
  for (const auto& buffer : model.named_buffers()) tensors.push_back(buffer);
  nn::NamedList<Tensor> floats;
  for (const auto& item : tensors)
    if (is_floating(item.second.dtype())) floats.push_back(item);
  const auto differs = [](const std::string& value, const std::string& most) { return "is " + value + "; most are " + most; };
  look_for_mixed(Finding::Kind::mixed_dtype, floats, [](const auto& t) { return std::string(name_of(t.second.dtype())); }, differs, found);
  look_for_mixed(Finding::Kind::mixed_device, tensors, [](const auto& t) { return concat(t.second.device()); }, differs, found);
  look_for_mixed(Finding::Kind::mixed_mode, model.named_modules(),
                 [](const auto& m) { return std::string(m.second->training() ? "training" : "eval"); },
                 [](const std::string& value, const std::string& most) { return "in " + value + " mode; most are in " + most + " mode"; },
                 found);
  return found;
}

}  // namespace graft

// A plan for programs.
#include <nlohmann/json.hpp>
#include "graft/surgery/draft.h"
#include "graft/surgery/table.h"

namespace graft::inline v1::surgery {
namespace {

using Json = nlohmann::ordered_json;

Json shape(const Shape& s) {
  Json list = Json::array();
  for (const int64_t n : s) list.push_back(n);
  return list;
}
int64_t parameters(const nn::Module& m) {
  int64_t n = 0;
  for (const Tensor& t : m.parameters()) n += t.numel();
  return n;
}
Json describe(const nn::Module* m, const std::optional<Cost>& cost) {
  if (!m) return nullptr;
  Json j{{"type", nn::type_name(*m)}, {"text", one_line(*m)}, {"parameters", parameters(*m)}};
  if (!cost) return j;
  const auto it = cost->modules.find(m);
  j["macs"] = it == cost->modules.end() ? 0 : it->second.macs;
  j["output"] = it == cost->modules.end() ? "" : it->second.output;
  return j;
}
Json describe(const Change& c, const detail::Draft& d) {
  const char* action = !c.before ? "insert" : !c.after ? "remove" : c.after == c.before ? "keep" : "replace";
  Json j{{"path", c.path}, {"aliases", c.aliases}, {"action", action}, {"policy", c.policy}, {"index", c.index}};
  j["old"] = describe(c.before.get(), d.cost_before);
  j["new"] = describe(c.after.get(), d.cost_after);
  j["weights"] = Json::array();
  for (const Carried& w : detail::weights_of(c))
    j["weights"].push_back({{"path", w.path}, {"how", name_of(w.how)}, {"from", shape(w.from)}, {"to", shape(w.to)}});
  return j;
}
Json describe(const std::optional<Cost>& c) {
  if (!c) return nullptr;
  Json j{{"macs", c->model.macs}, {"output", c->model.output}, {"state_bytes", c->state_bytes}, {"peak_bytes", c->peak_bytes}};
  if (!c->unknown.empty()) j["unknown"] = c->unknown;
  return j;
}

}  // namespace

std::string Plan::json(int indent) const {
  const detail::Draft& d = *draft_;
  Json j{{"model", nn::type_name(*d.root.module)}, {"changes", Json::array()}};
  for (const Change& c : *d.changes) j["changes"].push_back(describe(c, d));
  j["parameters"] = {{"before", d.before}, {"after", d.after}};
  j["tensors"] = {{"leave", d.leaving()}, {"enter", d.entering()}};
  j["optimizers"] = Json::array();
  for (const Following::Resized& r : d.resized)
    j["optimizers"].push_back({{"name", r.name}, {"group", r.group}, {"before", r.before}, {"after", r.after}});
  j["before"] = describe(d.cost_before);
  j["after"] = describe(d.cost_after);
  j["notes"] = Json::array();
  for (const Note& n : d.notes) j["notes"].push_back({{"kind", name_of(n.kind)}, {"path", n.path}, {"text", n.text}});
  j["refused"] = Json::array();
  for (const Declined& r : d.declined)
    j["refused"].push_back({{"path", r.path}, {"policy", r.policy}, {"code", r.code}, {"text", r.text}});
  return j.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace graft

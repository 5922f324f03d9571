// A plan for programs.
#include "graft/core/json.h"
#include "graft/surgery/draft.h"
#include "graft/surgery/table.h"

namespace graft::inline v1::surgery {
namespace {

Json list_of(const Shape& s) {
  Json list = Json::list();
  for (const int64_t n : s) list.push(n);
  return list;
}
int64_t parameters(const nn::Module& m) {
  int64_t n = 0;
  for (const Tensor& t : m.parameters()) n += t.numel();
  return n;
}
Json describe(const nn::Module* m, const std::optional<Cost>& cost) {
  if (!m) return nullptr;
  Json j = Json::of("type", nn::type_name(*m), "text", one_line(*m), "parameters", parameters(*m));
  if (!cost) return j;
  const auto it = cost->modules.find(m);
  j.set("macs", it == cost->modules.end() ? 0 : it->second.macs);
  j.set("output", it == cost->modules.end() ? "" : it->second.output);
  return j;
}
Json describe(const Change& c, const detail::Draft& d) {
  const char* action = !c.before ? "insert" : !c.after ? "remove" : c.after == c.before ? "keep" : "replace";
  Json weights = Json::list();
  for (const Carried& w : detail::weights_of(c))
    weights.push(Json::of("path", w.path, "how", name_of(w.how), "from", list_of(w.from), "to", list_of(w.to)));
  return Json::of("path", c.path, "aliases", c.aliases, "action", action, "policy", c.policy, "index", c.index, "old",
                  describe(c.before.get(), d.cost_before), "new", describe(c.after.get(), d.cost_after), "weights", std::move(weights));
}
Json describe(const std::optional<Cost>& c) {
  if (!c) return nullptr;
  Json j = Json::of("macs", c->model.macs, "output", c->model.output, "state_bytes", c->state_bytes, "peak_bytes", c->peak_bytes);
  if (!c->unknown.empty()) j.set("unknown", c->unknown);
  return j;
}

}  // namespace

std::string Plan::json(int indent) const {
  const detail::Draft& d = *draft_;
  Json changes = Json::list(), optimizers = Json::list(), notes = Json::list(), refused = Json::list();
  for (const Change& c : *d.changes) changes.push(describe(c, d));
  for (const Following::Resized& r : d.resized)
    optimizers.push(Json::of("name", r.name, "group", r.group, "before", r.before, "after", r.after));
  for (const Note& n : d.notes) notes.push(Json::of("kind", name_of(n.kind), "path", n.path, "text", n.text));
  for (const Declined& r : d.declined) refused.push(Json::of("path", r.path, "policy", r.policy, "code", r.code, "text", r.text));
  return Json::of("model", nn::type_name(*d.root.module), "changes", std::move(changes), "parameters",
                  Json::of("before", d.before, "after", d.after), "tensors", Json::of("leave", d.leaving(), "enter", d.entering()),
                  "optimizers", std::move(optimizers), "before", describe(d.cost_before), "after", describe(d.cost_after), "notes",
                  std::move(notes), "refused", std::move(refused))
      .dump(indent);
}

}  // namespace graft

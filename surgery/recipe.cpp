#include "graft/surgery/recipe.h"

#include <ostream>
#include "graft/core/version.h"
#include "graft/io/file.h"
#include "graft/surgery/recipe_step.h"
#include "graft/surgery/table.h"

namespace graft::inline v1::surgery {

using detail::KeyMap;
using detail::Operation;
using detail::Step;

constexpr int64_t kRecipeVersion = 1;
constexpr size_t kMostRecipeBytes = 64 << 20;

Recipe detail::recipe_of(std::shared_ptr<const Step> step) {
  Recipe r;
  r.steps_.push_back(std::move(step));
  return r;
}
uint64_t Recipe::before() const { return empty() ? 0 : steps_.front()->before; }
uint64_t Recipe::after() const { return empty() ? 0 : steps_.back()->after; }

Recipe& Recipe::operator+=(const Recipe& next) {
  GRAFT_CHECK(empty() || next.empty() || next.before() == after(), ErrorCode::plan_refused, "recipe: the next steps start from structure ",
              detail::hex(next.before()), ", and these end with ", detail::hex(after()));
  std::vector<std::shared_ptr<const Step>> all = steps_;
  all.insert(all.end(), next.steps_.begin(), next.steps_.end());
  steps_ = std::move(all);
  return *this;
}

// ---- as text -----------------------------------------------------------------------------------------------------

std::string Recipe::json(int indent) const {
  Json::List steps;
  for (const auto& s : steps_) steps.push_back(json_of(*s));
  return Json::of("graft.recipe", kRecipeVersion, "steps", std::move(steps)).dump(indent);
}
Recipe Recipe::parse(std::string_view text, std::string_view what) {
  const Json j = Json::parse(text, what, {.bytes = kMostRecipeBytes, .depth = 32});
  JsonReader r(j, std::string(what));
  const int64_t version = r.integer("graft.recipe");
  GRAFT_CHECK(version == kRecipeVersion, ErrorCode::unsupported, what, ": a recipe of version ", version, "; this graft, ", kVersion, ", reads ",
              kRecipeVersion);
  const Json::List& list = r.list("steps");
  Recipe recipe;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string where = concat(what, ".steps[", i, "]");
    auto step = std::make_shared<const Step>(detail::read_step(list[i], where));
    GRAFT_CHECK(recipe.empty() || step->before == recipe.after(), ErrorCode::malformed, where, ": it starts from structure ",
                detail::hex(step->before), ", and the step before ends with ", detail::hex(recipe.after()));
    recipe.steps_.push_back(std::move(step));
  }
  r.finish();
  return recipe;
}
void Recipe::save(const std::string& path) const {
  const std::string text = json() + "\n";
  io::replace_file(path, [&](const io::WriteBytes& out) { out(std::as_bytes(std::span(text))); });
}
Recipe Recipe::load(const std::string& path) {
  const io::ByteSource file = io::ByteSource::file(path);
  GRAFT_CHECK(file.size() <= kMostRecipeBytes, ErrorCode::too_large, path, ": ", file.size(), " bytes, of at most ", kMostRecipeBytes);
  std::string text(file.size(), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return parse(text, path);
}

// ---- for people --------------------------------------------------------------------------------------------------

static std::string brought(const Operation& o) {
  if (o.named) return o.named->name + "(...)";
  if (!o.missing.empty()) return "(" + o.missing + ")";
  if (o.module.is_null()) return "";
  const Json& first = o.module.find("modules")->items()[0];
  return first.find("type") ? first.find("type")->text() : "";
}
static void add_rows(std::vector<std::vector<std::string>>& rows, const Step& s) {
  constexpr const char* names[] = {"replace", "remove", "insert_before", "insert_after", "swap"};
  for (const Operation& o : s.operations) rows.push_back({names[size_t(o.kind)], o.path.empty() ? "(root)" : o.path, o.with + brought(o)});
  for (const detail::ChainPaths& c : s.chains) {
    std::string all;
    for (const std::string* p : {&c.before, &c.layer, &c.behind, &c.add, &c.relu})
      if (!p->empty()) all += (all.empty() ? "" : ", ") + *p;
    rows.push_back({"fuse", c.add.empty() ? c.layer : c.add, all});
  }
  for (const auto& group : s.groups) {
    std::string all;
    for (const std::string& name : group) all += (all.empty() ? "" : ", ") + name;
    rows.push_back({s.qat ? "fuse_modules_qat" : "fuse_modules", group.empty() ? "" : group[0], all});
  }
  for (const detail::Delta& d : s.keys.add) rows.push_back({"merge_lora", d.path, concat("r=", d.r)});
  for (const detail::Delta& d : s.keys.subtract) rows.push_back({"unmerge_lora", d.path, concat("r=", d.r)});
}
std::ostream& operator<<(std::ostream& out, const Recipe& r) {
  out << "recipe: " << r.size() << (r.size() == 1 ? " step" : " steps");
  if (!r.empty()) out << ", structure " << detail::hex(r.before()) << " -> " << detail::hex(r.after());
  out << '\n';
  for (const auto& s : r.steps_) {
    std::vector<std::vector<std::string>> rows;
    add_rows(rows, *s);
    print_table(out, rows);
    const KeyMap& k = s->keys;
    if (!s->missing.empty()) out << "  cannot be repeated: " << s->missing << '\n';
    out << concat("  keys: ", k.rename.size() + k.tie.size(), " renamed, ", k.carry.size(), " carried over, ", k.fold.size(), " folded, ",
                  k.drop.size(), " dropped, ", k.fresh.size(), " new\n");
  }
  return out;
}

}  // namespace graft

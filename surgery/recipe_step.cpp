#include "graft/surgery/recipe_step.h"

#include <algorithm>
#include <array>
#include <charconv>
#include "graft/nn/architecture.h"

namespace graft::inline v1::surgery::detail {
namespace {

constexpr std::array<std::string_view, 5> kSteps{"edit", "fuse", "fuse_modules", "merge_lora", "unmerge_lora"};
constexpr std::array<std::string_view, 5> kOperations{"replace", "remove", "insert_before", "insert_after", "swap"};
constexpr std::array<std::string_view, 4> kCarries{"none", "copy", "slice", "inflate"};
constexpr std::array<std::string_view, 2> kRemovals{"entry", "identity"};
constexpr std::array<std::string_view, 5> kInherited{"device", "dtype", "training", "requires_grad", "hooks"};

template <size_t N> size_t one_of(const std::array<std::string_view, N>& names, const std::string& name, const std::string& where) {
  const auto at = std::ranges::find(names, name);
  if (at != names.end()) return size_t(at - names.begin());
  std::string known;
  for (const std::string_view n : names) known += (known.empty() ? "'" : ", '") + std::string(n) + "'";
  fail(ErrorCode::malformed, where, ": '", name, "' is not one of ", known);
}
uint64_t structure_of(const std::string& text, const std::string& where) {
  uint64_t v = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v, 16);
  GRAFT_CHECK(text.size() == 16 && error == std::errc() && end == text.data() + 16, ErrorCode::malformed, where,
              ": 16 hexadecimal digits were expected, not '", text, "'");
  return v;
}

Json json_of(const nn::Args& args) {
  Json::Fields all;
  for (const nn::Arg& a : args) {
    const nn::Value& v = a.value;
    if (const bool* b = v.get_if<bool>()) all.emplace_back(a.name, *b);
    else if (const int64_t* i = v.get_if<int64_t>()) all.emplace_back(a.name, *i);
    else if (const double* d = v.get_if<double>()) all.emplace_back(a.name, *d);
    else all.emplace_back(a.name, v.as<std::string>());
  }
  return all;
}
nn::Args args_of(const Json::Fields& fields, const std::string& where) {
  nn::Args args;
  for (const auto& [name, j] : fields) switch (j.kind()) {
      case Json::Kind::boolean: args.emplace_back(name, j.boolean()); break;
      case Json::Kind::integer: args.emplace_back(name, j.integer()); break;
      case Json::Kind::number: args.emplace_back(name, j.number()); break;
      case Json::Kind::text: args.emplace_back(name, j.text()); break;
      default: fail(ErrorCode::malformed, where, ".", name, ": a number, a text, true or false was expected");
    }
  return args;
}

Json json_of(const Operation& o) {
  Json j = Json::of("op", kOperations[size_t(o.kind)], "path", o.path);
  if (o.kind == Operation::Kind::swap) j.set("with", o.with);
  if (o.kind == Operation::Kind::remove && o.removal == Removal::identity) j.set("removal", kRemovals[1]);
  if (o.named) {
    j.set("policy", o.named->name);
    if (!o.named->args.empty()) j.set("args", json_of(o.named->args));
  }
  if (!o.module.is_null()) j.set("module", o.module);
  if (!o.missing.empty()) j.set("missing", o.missing);
  if (o.carry != Carry::none) j.set("carry", kCarries[size_t(o.carry)]);
  if (o.copies) j.set("copies", true);
  return j;
}
Operation read_operation(const Json& j, const std::string& where) {
  using Kind = Operation::Kind;
  Operation o;
  JsonReader r(j, where);
  o.kind = Kind(one_of(kOperations, r.text("op"), r.where("op")));
  o.path = r.text("path");
  const bool brings = o.kind != Kind::swap && o.kind != Kind::remove;
  if (o.kind == Kind::swap) o.with = r.text("with");
  if (o.kind == Kind::remove) o.removal = Removal(one_of(kRemovals, r.text("removal", "entry"), r.where("removal")));
  if (brings) {
    if (r.find("policy")) {
      o.named = NamedSurgery{r.text("policy"), {}};
      if (r.find("args")) o.named->args = args_of(r.fields("args"), r.where("args"));
    }
    if (const Json* m = r.find("module")) {
      nn::check_architecture(*m, r.where("module"));
      o.module = *m;
    }
    o.missing = r.text("missing", "");
    const int given = int(o.named.has_value()) + int(!o.module.is_null()) + int(!o.missing.empty());
    GRAFT_CHECK(given == 1, ErrorCode::malformed, where, ": one of module, policy, missing says what comes");
    o.carry = Carry(one_of(kCarries, r.text("carry", "none"), r.where("carry")));
    o.copies = r.boolean("copies", false);
  }
  r.finish();
  return o;
}

// ---- key maps ----------------------------------------------------------------------------------------------------

Json pairs(const std::vector<KeyMap::To>& list) {
  Json::Fields all;
  for (const KeyMap::To& t : list) all.emplace_back(t.to, t.from);
  return all;
}
Json json_of(const Fold& f) {
  Json::List parts;
  for (const auto& [path, module] : f.parts) parts.push_back(module.is_null() ? Json() : Json::of("path", path, "module", module));
  return Json::of("to", f.to, f.chain ? "chain" : "group", std::move(parts));
}
Json json_of(const std::vector<Delta>& list) {
  Json::List all;
  for (const Delta& d : list) all.emplace_back(Json::of("path", d.path, "r", d.r, "alpha", d.alpha));
  return all;
}
Json json_of(const KeyMap& k) {
  Json j = Json::object();
  if (!k.complete) j.set("complete", false);
  if (!k.rename.empty()) j.set("rename", pairs(k.rename));
  if (!k.tie.empty()) j.set("tie", pairs(k.tie));
  Json::List carry, fold;
  for (const KeyMap::Adapted& a : k.carry) {
    Json one = Json::of("to", a.to, "from", a.from, "how", name_of(a.how));
    if (a.how != Carried::How::copied) {
      Json::List shape;
      for (const int64_t n : a.shape) shape.emplace_back(n);
      one.set("shape", std::move(shape));
    }
    carry.push_back(std::move(one));
  }
  if (!carry.empty()) j.set("carry", std::move(carry));
  for (const Fold& f : k.fold) fold.push_back(json_of(f));
  if (!fold.empty()) j.set("fold", std::move(fold));
  if (!k.add.empty()) j.set("add", json_of(k.add));
  if (!k.subtract.empty()) j.set("subtract", json_of(k.subtract));
  if (!k.drop.empty()) j.set("drop", k.drop);
  if (!k.fresh.empty()) j.set("new", k.fresh);
  return j;
}

std::vector<KeyMap::To> read_pairs(JsonReader& r, const char* name) {
  std::vector<KeyMap::To> list;
  if (!r.find(name)) return list;
  for (const auto& [to, from] : r.fields(name)) {
    GRAFT_CHECK(from.kind() == Json::Kind::text, ErrorCode::malformed, r.where(name), ".", to, ": a key was expected");
    list.push_back({to, from.text()});
  }
  return list;
}
KeyMap::Adapted read_adapted(const Json& j, const std::string& where) {
  constexpr std::array<std::string_view, 3> hows{"copied", "sliced", "inflated"};
  JsonReader r(j, where);
  KeyMap::Adapted a{r.text("to"), r.text("from"), {}, {}};
  a.how = Carried::How(size_t(Carried::How::copied) + one_of(hows, r.text("how"), r.where("how")));
  if (a.how != Carried::How::copied) {
    const Json::List& shape = r.list("shape");
    GRAFT_CHECK(shape.size() <= size_t(kMaxRank), ErrorCode::malformed, r.where("shape"), ": at most ", kMaxRank, " sizes were expected");
    for (const Json& n : shape) {
      GRAFT_CHECK(n.kind() == Json::Kind::integer && n.integer() >= 0, ErrorCode::malformed, r.where("shape"), ": sizes were expected");
      a.shape.push_back(n.integer());
    }
  }
  r.finish();
  return a;
}
Fold read_fold(const Json& j, const std::string& where) {
  JsonReader r(j, where);
  Fold f{r.text("to"), {}};
  f.chain = r.find("chain") != nullptr;
  const char* name = f.chain ? "chain" : "group";
  for (const Json& part : r.list(name)) {
    if (part.is_null() && f.chain) {
      f.parts.emplace_back("", Json());
      continue;
    }
    JsonReader p(part, r.where(name));
    std::string path = p.text("path");
    nn::check_architecture(p.at("module"), p.where("module"));
    f.parts.emplace_back(std::move(path), p.at("module"));
    p.finish();
  }
  GRAFT_CHECK(!f.chain || (f.parts.size() == 3 && !f.parts[1].second.is_null()), ErrorCode::malformed, r.where(name),
              ": a norm or null, a layer, a norm or null were expected");
  r.finish();
  return f;
}
std::vector<Delta> read_deltas(JsonReader& r, const char* name) {
  std::vector<Delta> list;
  if (!r.find(name)) return list;
  for (const Json& j : r.list(name)) {
    JsonReader d(j, r.where(name));
    Delta one{d.text("path"), d.integer("r"), 0};
    const Json& alpha = d.at("alpha");
    GRAFT_CHECK(alpha.kind() == Json::Kind::number || alpha.kind() == Json::Kind::integer, ErrorCode::malformed, d.where("alpha"),
                ": a number was expected");
    one.alpha = alpha.number();
    GRAFT_CHECK(one.r > 0, ErrorCode::malformed, d.where("r"), ": a positive number was expected, not ", one.r);
    d.finish();
    list.push_back(std::move(one));
  }
  return list;
}
KeyMap read_keys(const Json& j, const std::string& where) {
  KeyMap k;
  JsonReader r(j, where);
  k.complete = r.boolean("complete", true);
  k.rename = read_pairs(r, "rename");
  k.tie = read_pairs(r, "tie");
  if (r.find("carry"))
    for (const Json& item : r.list("carry")) k.carry.push_back(read_adapted(item, r.where("carry")));
  if (r.find("fold"))
    for (const Json& item : r.list("fold")) k.fold.push_back(read_fold(item, r.where("fold")));
  k.add = read_deltas(r, "add");
  k.subtract = read_deltas(r, "subtract");
  k.drop = r.texts("drop");
  k.fresh = r.texts("new");
  r.finish();
  return k;
}

Json json_of(const ChainPaths& c) {
  Json j = Json::of("layer", c.layer);
  for (const auto& [name, path] : {std::pair("before", &c.before), {"behind", &c.behind}, {"add", &c.add}, {"relu", &c.relu}})
    if (!path->empty()) j.set(name, *path);
  if (c.residual_first) j.set("residual_first", true);
  return j;
}
ChainPaths read_chain(const Json& j, const std::string& where) {
  JsonReader r(j, where);
  ChainPaths c{r.text("layer"), r.text("before", ""), r.text("behind", ""), r.text("add", ""), r.text("relu", ""),
               r.boolean("residual_first", false)};
  r.finish();
  return c;
}
void read_edit(JsonReader& r, Step& s) {
  const Json::List& operations = r.list("operations");
  for (size_t i = 0; i < operations.size(); ++i)
    s.operations.push_back(read_operation(operations[i], concat(r.where("operations"), "[", i, "]")));
  s.inherit = r.texts("inherit");
  for (const std::string& name : s.inherit) one_of(kInherited, name, r.where("inherit"));
}
void read_fusion(JsonReader& r, Step& s) {
  for (const Json& c : r.list("chains")) s.chains.push_back(read_chain(c, r.where("chains")));
  s.move_hooks = r.boolean("move_hooks", false);
}
void read_groups(JsonReader& r, Step& s) {
  for (const Json& group : r.list("groups")) {
    std::vector<std::string>& names = s.groups.emplace_back();
    const bool list = group.kind() == Json::Kind::list && std::ranges::all_of(group.items(), [](const Json& n) { return n.kind() == Json::Kind::text; });
    GRAFT_CHECK(list, ErrorCode::malformed, r.where("groups"), ": lists of paths were expected");
    for (const Json& name : group.items()) names.push_back(name.text());
  }
  s.qat = r.boolean("qat", false);
}

}  // namespace

std::string hex(uint64_t v) {
  std::string text(16, '0');
  for (size_t i = 16; i-- > 0; v >>= 4) text[i] = "0123456789abcdef"[v & 15];
  return text;
}

Json json_of(const Step& s) {
  Json j = Json::of("step", kSteps[size_t(s.kind)], "before", hex(s.before), "after", hex(s.after));
  if (s.kind == Step::Kind::edit) {
    Json::List operations;
    for (const Operation& o : s.operations) operations.push_back(json_of(o));
    j.set("operations", std::move(operations));
    j.set("inherit", s.inherit);
  } else if (s.kind == Step::Kind::fuse) {
    Json::List chains;
    for (const ChainPaths& c : s.chains) chains.push_back(json_of(c));
    j.set("chains", std::move(chains));
    if (s.move_hooks) j.set("move_hooks", true);
  } else if (s.kind == Step::Kind::fuse_modules) {
    Json::List groups;
    for (const auto& group : s.groups) groups.emplace_back(group);
    j.set("groups", std::move(groups));
    if (s.qat) j.set("qat", true);
  }
  if (!s.missing.empty()) j.set("missing", s.missing);
  j.set("keys", json_of(s.keys));
  return j;
}
Step read_step(const Json& j, const std::string& where) {
  Step s;
  JsonReader r(j, where);
  s.kind = Step::Kind(one_of(kSteps, r.text("step"), r.where("step")));
  s.before = structure_of(r.text("before"), r.where("before"));
  s.after = structure_of(r.text("after"), r.where("after"));
  if (s.kind == Step::Kind::edit) read_edit(r, s);
  if (s.kind == Step::Kind::fuse) read_fusion(r, s);
  if (s.kind == Step::Kind::fuse_modules) read_groups(r, s);
  s.missing = r.text("missing", "");
  s.keys = read_keys(r.at("keys"), r.where("keys"));
  r.finish();
  return s;
}

}  // namespace graft

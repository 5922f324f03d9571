#include "graft/surgery/select.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <ostream>
#include <typeindex>
#include <unordered_map>
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/nn/registry.h"
#include "graft/surgery/expression.h"
#include "graft/surgery/table.h"

namespace graft::inline v1::surgery {

// ---- the model as it was when it was selected from -------------------------------------------------------------

struct Selection::Tree {
  struct Node {
    const nn::Module* module;
    nn::ModulePtr keep;                    // null for a root that is not shared
    const nn::ChildEntry* slot = nullptr;  // the first that holds it
    uint32_t parent = 0;
    uint32_t first_edge = 0, edges = 0;    // its slots that hold something
  };
  struct Edge { const nn::ChildEntry* slot; uint32_t child; };
  std::vector<Node> nodes;  // pre-order, the root first
  std::vector<Edge> edges;

  explicit Tree(const nn::Module& root) {
    std::unordered_map<const nn::Module*, uint32_t> shared;
    nodes.push_back({&root, std::const_pointer_cast<nn::Module>(root.weak_from_this().lock())});
    struct Level { uint32_t node; size_t next; };
    std::vector<Level> stack{{0, 0}};
    std::vector<std::pair<uint32_t, Edge>> found;  // by parent
    while (!stack.empty()) {
      auto& [id, next] = stack.back();
      const auto& entries = nodes[id].module->child_entries();
      if (next == entries.size()) {
        stack.pop_back();
        continue;
      }
      const nn::ChildEntry* e = entries[next++].get();
      if (!e->module) continue;
      const auto fresh = uint32_t(nodes.size());
      uint32_t child = fresh;
      if (e->module->is_shared()) child = shared.emplace(e->module.get(), fresh).first->second;
      found.push_back({id, {e, child}});
      if (child != fresh) continue;
      nodes.push_back({e->module.get(), e->module, e, id});
      if (!e->module->child_entries().empty()) stack.push_back({fresh, 0});
    }
    for (const auto& [parent, edge] : found) ++nodes[parent].edges;
    uint32_t at = 0;
    for (Node& n : nodes) at += n.edges, n.first_edge = at, n.edges = 0;
    edges.resize(found.size());
    for (auto it = found.rbegin(); it != found.rend(); ++it) {
      Node& n = nodes[it->first];
      edges[--n.first_edge] = it->second;
      ++n.edges;
    }
  }
  std::span<const Edge> edges_of(uint32_t id) const { return {edges.data() + nodes[id].first_edge, nodes[id].edges}; }
  std::string path(uint32_t id, uint32_t base = 0) const {
    std::vector<const std::string*> names;
    for (; id != 0 && id != base; id = nodes[id].parent) names.push_back(&nodes[id].slot->name);
    std::string text;
    for (auto it = names.rbegin(); it != names.rend(); ++it) text.append(text.empty() ? "" : ".").append(**it);
    return text;
  }
};

struct Selection::Miss {
  std::string step, glob;  // glob: of steps that have one
  Ids before;
};

Selection select(const nn::Module& model) {
  Selection s;
  auto tree = std::make_shared<Selection::Tree>(model);
  s.ids_.resize(tree->nodes.size() - 1);
  std::iota(s.ids_.begin(), s.ids_.end(), 1U);
  s.all_ = std::make_shared<const Selection::Ids>(s.ids_);
  s.tree_ = std::move(tree);
  return s;
}

Selection Selection::narrowed(std::string step, Ids ids) const {
  Selection s = *this;
  s.how_ += (s.how_.empty() ? "" : ".") + step;
  if (ids.empty() && !ids_.empty()) s.miss_ = std::make_shared<const Miss>(Miss{std::move(step), {}, ids_});
  s.ids_ = std::move(ids);
  return s;
}
Selection Selection::keep(std::string step, const std::function<bool(const nn::Module&)>& test) const {
  Ids ids;
  for (const uint32_t id : ids_)
    if (test(*tree_->nodes[id].module)) ids.push_back(id);
  return narrowed(std::move(step), std::move(ids));
}

// ---- attributes --------------------------------------------------------------------------------------------------

namespace {

constexpr std::string_view kOfAll[] = {"path",     "name",   "type",  "training", "parameters",
                                       "trainable", "children", "shared", "dtype",    "device"};

const Tensor* first_floating(const nn::Module& m) {  // its own, or of a module inside
  for (const nn::Module* part : m.modules()) {
    for (const auto& e : part->param_entries())
      if (e->value().defined()) return &e->value();
    for (const auto& e : part->buffer_entries())
      if (e->value.defined() && is_differentiable(e->value.dtype())) return &e->value;
  }
  return nullptr;
}
std::optional<nn::Value> of_all(const nn::Module& m, const std::string& name, const std::function<std::string()>& path,
                                const nn::ChildEntry* slot) {
  if (name == "path") return nn::Value(path());
  if (name == "name") return nn::Value(slot ? slot->name : std::string());
  if (name == "type") return nn::Value(nn::type_name(m));
  if (name == "training") return nn::Value(m.training());
  if (name == "shared") return nn::Value(m.is_shared());
  if (name == "children") return nn::Value(int64_t(m.children().size()));
  if (name == "parameters" || name == "trainable") {
    int64_t n = 0;
    for (const Tensor& p : m.parameters()) n += name == "parameters" || p.requires_grad() ? p.numel() : 0;
    return nn::Value(n);
  }
  const Tensor* t = first_floating(m);
  if (!t) return std::nullopt;
  if (name == "dtype") return nn::Value(std::string(name_of(t->dtype())));
  if (name == "device") return nn::Value(concat(t->device()));
  return std::nullopt;
}

// What the classes of a selection can be asked for.
class Known {
 public:
  const std::vector<nn::Attribute>& of(const nn::Module& m) {
    const auto [it, fresh] = by_type_.try_emplace(typeid(m));
    if (fresh) it->second = nn::attributes_of(m);
    return it->second;
  }
  bool contains(std::string_view name) const {
    return std::ranges::find(kOfAll, name) != std::end(kOfAll) || std::ranges::any_of(by_type_, [&](const auto& t) {
             return std::ranges::any_of(t.second, [&](const nn::Attribute& a) { return a.name == name; });
           });
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all(std::begin(kOfAll), std::end(kOfAll));
    for (const auto& [type, list] : by_type_)
      for (const nn::Attribute& a : list) all.emplace_back(a.name);
    std::ranges::sort(all);
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
  }

 private:
  std::unordered_map<std::type_index, std::vector<nn::Attribute>> by_type_;
};

std::string list_of(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& n : names) text += (text.empty() ? "" : ", ") + n;
  return text;
}

}  // namespace

Selection Selection::where(std::string_view text) const {
  const Expression condition(text);
  Known known;
  for (const uint32_t id : ids_) known.of(*tree_->nodes[id].module);
  for (const std::string& name : condition.names()) {
    if (ids_.empty() || known.contains(name)) continue;
    const auto near = nn::nearest_names(name, known.names());
    fail(ErrorCode::key_error, "select: where('", text, "'): no module has the attribute '", name, "'; ",
         near.empty() ? "there are " + list_of(known.names()) : "did you mean " + list_of(near));
  }
  Ids ids;
  for (const uint32_t id : ids_) {
    const Tree::Node& n = tree_->nodes[id];
    const auto lookup = [&](const std::string& name) -> std::optional<nn::Value> {
      for (const nn::Attribute& a : known.of(*n.module))
        if (a.name == name) return a.read(*n.module);
      return of_all(*n.module, name, [&] { return tree_->path(id, base_); }, n.slot);
    };
    if (condition.test(lookup) == true) ids.push_back(id);
  }
  return narrowed(concat("where('", text, "')"), std::move(ids));
}

static bool same_numbers(const nn::Module& a, const nn::Module& b) {
  const auto equal = [](const Tensor& x, const Tensor& y) {
    if (x.defined() != y.defined()) return false;
    if (!x.defined() || x.is_same(y)) return true;
    if (x.shape() != y.shape() || x.dtype() != y.dtype() || x.device() != y.device()) return false;
    const NoGrad quiet;
    return x.device().type == Device::meta || all(eq(x.detach(), y.detach())).item<bool>();
  };
  const auto x = a.modules(), y = b.modules();
  if (x.size() != y.size()) return false;
  for (size_t i = 0; i < x.size(); ++i) {
    const auto &p = x[i]->param_entries(), &q = y[i]->param_entries();
    const auto &s = x[i]->buffer_entries(), &t = y[i]->buffer_entries();
    const nn::Module &one = *x[i], &other = *y[i];
    if (typeid(one) != typeid(other) || p.size() != q.size() || s.size() != t.size()) return false;
    for (size_t k = 0; k < p.size(); ++k)
      if (p[k]->name != q[k]->name || !equal(p[k]->value(), q[k]->value())) return false;
    for (size_t k = 0; k < s.size(); ++k)
      if (s[k]->name != t[k]->name || !equal(s[k]->value, t[k]->value)) return false;
  }
  return true;
}
Selection Selection::equal_to(const nn::Module& m) const {
  const std::string text = nn::repr(m);
  return keep("equal_to(" + nn::type_name(m) + ")", [&](const nn::Module& x) {
    return &x == &m || (typeid(x) == typeid(m) && nn::repr(x) == text && same_numbers(x, m));
  });
}

// ---- paths -------------------------------------------------------------------------------------------------------

namespace {

// One name against one part of a glob.
bool fits(std::string_view part, std::string_view name) {
  size_t p = 0, n = 0, star = std::string_view::npos, after = 0;
  while (n < name.size()) {
    bool one = false;
    size_t next = p + 1;
    if (p < part.size() && part[p] == '[') {
      next = part.find(']', p + 2) + 1;
      std::string_view set = part.substr(p + 1, next - p - 2);
      const bool inverse = set.starts_with('!');
      set.remove_prefix(inverse);
      bool in = false;
      for (size_t i = 0; i < set.size(); ++i) {
        const bool range = i + 2 < set.size() && set[i + 1] == '-';
        in |= range ? set[i] <= name[n] && name[n] <= set[i + 2] : set[i] == name[n];
        i += range ? 2 : 0;
      }
      one = in != inverse;
    } else if (p < part.size() && part[p] == '*') {
      star = p++;
      after = n;
      continue;
    } else {
      one = p < part.size() && (part[p] == '?' || part[p] == name[n]);
    }
    if (one) p = next, ++n;
    else if (star != std::string_view::npos) p = star + 1, n = ++after;
    else return false;
  }
  while (p < part.size() && part[p] == '*') ++p;
  return p == part.size();
}

std::vector<std::string> parts_of(std::string_view glob) {
  std::vector<std::string> parts(1);
  bool in_set = false;
  for (const char c : glob) {
    if (c == '.' && !in_set) parts.emplace_back();
    else parts.back() += c;
    in_set = c == '[' || (in_set && (c != ']' || parts.back().ends_with("[]") || parts.back().ends_with("[!]")));
  }
  GRAFT_CHECK(!in_set, ErrorCode::malformed, "select: '", glob, "': ']' is missing");
  for (const std::string& p : parts)
    GRAFT_CHECK(!p.empty(), ErrorCode::malformed, "select: '", glob, "': a path is names with single dots between them");
  GRAFT_CHECK(parts.size() < 64, ErrorCode::too_large, "select: '", glob, "' has more than 63 parts");
  return parts;
}

}  // namespace

// Bit k of a module's state: the first k parts lead to it. Every slot hands its owner's state on; a module is looked at
// again only when a bit is new, so that shared graphs stay linear.
Selection::Ids Selection::matching(std::string_view glob) const {
  const std::vector<std::string> parts = parts_of(glob);
  const auto closed = [&](uint64_t state) {  // ** may stand for nothing
    for (size_t k = 0; k < parts.size(); ++k)
      if (state >> k & 1 && parts[k] == "**") state |= uint64_t{1} << (k + 1);
    return state;
  };
  std::vector<uint64_t> states(tree_->nodes.size());
  std::vector<uint32_t> todo{base_};
  states[base_] = closed(1);
  while (!todo.empty()) {
    const uint32_t id = todo.back();
    todo.pop_back();
    for (const Tree::Edge& e : tree_->edges_of(id)) {
      uint64_t next = 0;
      for (size_t k = 0; k < parts.size(); ++k) {
        if (!(states[id] >> k & 1)) continue;
        if (parts[k] == "**") next |= uint64_t{1} << k;
        else if (fits(parts[k], e.slot->name)) next |= uint64_t{1} << (k + 1);
      }
      next = closed(next) & ~states[e.child];
      if (!next) continue;
      states[e.child] |= next;
      todo.push_back(e.child);
    }
  }
  Ids ids;
  for (uint32_t id = 1; id < states.size(); ++id)
    if (states[id] >> parts.size() & 1) ids.push_back(id);
  return ids;
}

std::string Selection::nearest(std::string_view glob) const {
  constexpr size_t kMost = 5000, kLongest = 200;  // of a large model a sample will do
  std::vector<std::string> all;
  for (uint32_t id = 1; id < tree_->nodes.size() && all.size() < kMost; ++id) {
    std::string path = tree_->path(id, base_);
    if (path.size() <= kLongest) all.push_back(std::move(path));
  }
  auto near = nn::nearest_names(glob, all);
  if (near.empty()) {  // by the first name that differs
    for (const std::string& p : all) {
      const size_t same = size_t(std::ranges::mismatch(p, glob).in1 - p.begin());
      if (same > 0 && p.find('.', same) == std::string::npos) near.push_back(p);
    }
    if (near.size() > 3) near.resize(3);
  }
  if (!near.empty()) return "the nearest: " + list_of(near);
  all.resize(std::min<size_t>(all.size(), 3));
  return all.empty() ? "the model has no modules" : "there are " + list_of(all) + (tree_->nodes.size() > 4 ? ", ..." : "");
}

Selection::Ids Selection::resolve(std::string_view glob, const char* verb) const {
  Ids ids = matching(glob);
  GRAFT_CHECK(!ids.empty(), ErrorCode::key_error, "select: ", verb, "('", glob, "'): nothing is there; ", nearest(glob));
  return ids;
}
static std::vector<uint32_t> common(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b) {
  std::vector<uint32_t> ids;
  std::ranges::set_intersection(a, b, std::back_inserter(ids));
  return ids;
}
Selection Selection::at(std::string_view glob) const {
  Selection s = narrowed(concat("at('", glob, "')"), common(ids_, matching(glob)));
  if (s.ids_.empty() && !ids_.empty()) s.miss_ = std::make_shared<const Miss>(Miss{s.miss_->step, std::string(glob), ids_});
  return s;
}

std::vector<char> Selection::inside(const Ids& of) const {
  std::vector<char> marks(tree_->nodes.size());
  std::vector<uint32_t> todo(of.begin(), of.end());
  while (!todo.empty()) {
    const uint32_t id = todo.back();
    todo.pop_back();
    for (const Tree::Edge& e : tree_->edges_of(id))
      if (!std::exchange(marks[e.child], char(1))) todo.push_back(e.child);
  }
  return marks;
}
static std::vector<uint32_t> filtered(const std::vector<uint32_t>& ids, const std::vector<char>& marks, bool wanted) {
  std::vector<uint32_t> kept;
  for (const uint32_t id : ids)
    if (bool(marks[id]) == wanted) kept.push_back(id);
  return kept;
}
Selection Selection::under(std::string_view glob) const {
  return narrowed(concat("under('", glob, "')"), filtered(ids_, inside(resolve(glob, "under")), true));
}
Selection Selection::not_under(std::string_view glob) const {
  const Ids there = resolve(glob, "not_under");
  std::vector<char> marks = inside(there);
  for (const uint32_t id : there) marks[id] = 1;
  return narrowed(concat("not_under('", glob, "')"), filtered(ids_, marks, false));
}
Selection Selection::under(const Selection& o) const {
  const Ids there = translated(o);
  return narrowed("under(" + o.how_ + ")", filtered(ids_, inside(there), true));
}
Selection Selection::not_under(const Selection& o) const {
  const Ids there = translated(o);
  std::vector<char> marks = inside(there);
  for (const uint32_t id : there) marks[id] = 1;
  return narrowed("not_under(" + o.how_ + ")", filtered(ids_, marks, false));
}
Selection Selection::children() const {
  std::vector<char> marks(tree_->nodes.size());
  for (const uint32_t id : ids_)
    for (const Tree::Edge& e : tree_->edges_of(id)) marks[e.child] = 1;
  return narrowed("children()", filtered(*all_, marks, true));
}
Selection Selection::descendants() const { return narrowed("descendants()", filtered(*all_, inside(ids_), true)); }
Selection Selection::outermost() const { return narrowed("outermost()", filtered(ids_, inside(ids_), false)); }

Selection Selection::nth(int64_t i) const {
  const auto n = int64_t(ids_.size());
  if (n == 0) return narrowed(concat("nth(", i, ")"), {});
  GRAFT_CHECK(i >= -n && i < n, ErrorCode::index_out_of_range, "select: nth(", i, ") of ", n, n == 1 ? " module" : " modules",
              how_.empty() ? "" : " that match " + how_);
  return narrowed(concat("nth(", i, ")"), {ids_[size_t(i < 0 ? i + n : i)]});
}
Selection Selection::first(size_t n) const {
  n = std::min(n, ids_.size());
  return narrowed(concat("first(", n, ")"), Ids(ids_.begin(), ids_.begin() + std::ptrdiff_t(n)));
}
Selection Selection::last(size_t n) const {
  n = std::min(n, ids_.size());
  return narrowed(concat("last(", n, ")"), Ids(ids_.end() - std::ptrdiff_t(n), ids_.end()));
}

// ---- combining ---------------------------------------------------------------------------------------------------

Selection Selection::invert() const {
  Ids ids;
  std::ranges::set_difference(*all_, ids_, std::back_inserter(ids));
  return narrowed("invert()", std::move(ids));
}
Selection Selection::with_root() const {
  Selection s = *this;
  s.how_ += (s.how_.empty() ? "" : ".") + std::string("with_root()");
  if (s.ids_.empty() || s.ids_[0] != 0) s.ids_.insert(s.ids_.begin(), 0);
  return s;
}
Selection::Ids Selection::translated(const Selection& o) const {
  if (tree_ == o.tree_) return o.ids_;
  GRAFT_CHECK(&root() == &o.root(), "select: '", how_, "' and '", o.how_, "' are of different models");
  std::unordered_map<const nn::Module*, uint32_t> known;
  for (uint32_t id = 0; id < tree_->nodes.size(); ++id) known.emplace(tree_->nodes[id].module, id);
  Ids ids;
  for (const uint32_t id : o.ids_) {
    const auto it = known.find(o.tree_->nodes[id].module);
    GRAFT_CHECK(it != known.end(), ErrorCode::concurrent_modification,
                "select: the model has changed between two selections, at '", o.tree_->path(id), "'; select again");
    ids.push_back(it->second);
  }
  std::ranges::sort(ids);
  return ids;
}
Selection Selection::combined(const Selection& o, char op) const {
  const Ids theirs = translated(o);
  Ids ids;
  if (op == '|') std::ranges::set_union(ids_, theirs, std::back_inserter(ids));
  else if (op == '&') std::ranges::set_intersection(ids_, theirs, std::back_inserter(ids));
  else std::ranges::set_difference(ids_, theirs, std::back_inserter(ids));
  Selection s = *this;
  const auto named = [](const std::string& how) { return how.empty() ? std::string("all") : how; };
  s.how_ = concat("(", named(how_), ' ', op, ' ', named(o.how_), ")");
  s.allow_empty_ = allow_empty_ && o.allow_empty_;
  if (ids.empty()) s.miss_ = ids_.empty() ? miss_ : std::make_shared<const Miss>(Miss{s.how_, {}, ids_});
  s.ids_ = std::move(ids);
  return s;
}
Selection Selection::refine(const std::function<Selection(Selection)>& f) const {
  Ids ids;
  for (const uint32_t id : ids_) {
    Selection part = *this;
    part.how_.clear();
    part.ids_ = filtered(*all_, inside({id}), true);
    part.all_ = std::make_shared<const Ids>(part.ids_);
    part.base_ = id;
    const Selection chosen = f(part);
    GRAFT_CHECK(chosen.tree_ == tree_, "select: refine(): the function must select from what it is given");
    ids.insert(ids.end(), chosen.ids_.begin(), chosen.ids_.end());
  }
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return narrowed("refine()", std::move(ids));
}

// ---- reading -----------------------------------------------------------------------------------------------------

const Selection& Selection::expect(size_t n) const {
  if (count() == n) return *this;
  if (empty() && miss_) fail_missing();
  std::vector<std::string> some = first(8).paths();
  if (count() > some.size()) some.emplace_back("...");
  fail(ErrorCode::plan_refused, "select: ", how_.empty() ? "all" : how_, " matches ", count(), count() == 1 ? " module" : " modules",
       ", not ", n, some.empty() ? "" : ": ", list_of(some));
}
Selection Selection::allow_empty(bool yes) const {
  Selection s = *this;
  s.allow_empty_ = yes;
  return s;
}
std::vector<std::string> Selection::paths() const {
  std::vector<std::string> all;
  for (const uint32_t id : ids_) all.push_back(tree_->path(id));
  return all;
}
std::string Selection::path() const { return tree_->path(expect(1).ids_[0]); }
std::vector<nn::ModulePtr> Selection::modules() const {
  std::vector<nn::ModulePtr> all;
  for (const uint32_t id : ids_) all.push_back(tree_->nodes[id].keep);
  return all;
}
nn::ModulePtr Selection::module() const { return tree_->nodes[expect(1).ids_[0]].keep; }
bool Selection::contains(const nn::Module& m) const {
  return std::ranges::any_of(ids_, [&](uint32_t id) { return tree_->nodes[id].module == &m; });
}
const nn::Module& Selection::root() const { return *tree_->nodes[0].module; }

void Selection::fail_missing() const {
  std::string text = concat("select: nothing in ", nn::type_name(root()), " matches ", how_.empty() ? "" : how_);
  if (!miss_) fail(ErrorCode::key_error, text, ": it has no modules");
  if (miss_->step != how_) text += ": " + miss_->step + " leaves nothing";
  if (!miss_->glob.empty()) fail(ErrorCode::key_error, text, "; ", nearest(miss_->glob));
  Selection before = *this;
  before.ids_ = miss_->before;
  std::string types;
  for (const auto& [type, n] : count_by_type(before)) types += concat(types.empty() ? "" : ", ", type, ' ', n);
  fail(ErrorCode::key_error, text, " of ", types);
}

void Selection::check(const nn::Module& model) const {
  if (empty() && !allow_empty_) fail_missing();
  GRAFT_CHECK(&model == &root(), "select: the selection ", how_, " is of another model");
  for (uint32_t id = 1; id < tree_->nodes.size(); ++id) {
    const Tree::Node& n = tree_->nodes[id];
    GRAFT_CHECK(!n.slot->removed && n.slot->module.get() == n.module, ErrorCode::concurrent_modification,
                "select: the selection was made for another state of the model, which has changed at '", tree_->path(id),
                "'; select again");
  }
}

std::map<std::string, size_t> count_by_type(const Selection& s) {
  std::map<std::string, size_t> counts;
  for (const nn::ModulePtr& m : s.modules()) ++counts[m ? nn::type_name(*m) : nn::type_name(s.root())];
  return counts;
}

std::ostream& operator<<(std::ostream& o, const Selection& s) {
  const Selection::Tree& tree = *s.tree_;
  std::unordered_map<uint32_t, std::string> aliases;
  std::vector<char> chosen(tree.nodes.size()), inside = s.inside(s.ids_);
  for (const uint32_t id : s.ids_) chosen[id] = 1;
  for (uint32_t id = 0; id < tree.nodes.size(); ++id)
    for (const auto& e : tree.edges_of(id))
      if (chosen[e.child] && e.slot != tree.nodes[e.child].slot)
        aliases[e.child] += " = " + (id ? tree.path(id) + "." : "") + e.slot->name;
  o << s.count() << " of " << tree.nodes.size() - 1 << " modules in " << nn::type_name(s.root());
  o << (s.how_.empty() ? "" : ": " + s.how_) << '\n';
  std::vector<std::vector<std::string>> rows{{"path", "module", "parameters", ""}};
  for (const uint32_t id : s.ids_) {
    const nn::Module& m = *tree.nodes[id].module;
    int64_t n = 0;
    for (const Tensor& t : m.parameters()) n += t.numel();
    const auto also = aliases.find(id);
    rows.push_back({(id ? tree.path(id) : "(root)") + (also == aliases.end() ? "" : also->second), one_line(m),
                    std::to_string(n), inside[id] ? "inside of another" : ""});
  }
  if (rows.size() > 1) print_table(o, rows);
  return o;
}

}  // namespace graft

#include "graft/nn/registry.h"

#include <algorithm>
#include <mutex>
#include <numeric>

namespace graft::inline v1::nn {

void register_layers(Registry&);  // register_layers.cpp

// ---- arguments ---------------------------------------------------------------------------------------------------

ArgReader::ArgReader(std::string type, const Args& args) : type_(std::move(type)) {
  for (const Arg& a : args) {
    if (a.name.empty()) {
      GRAFT_CHECK(named_.empty(), type_, ": positional argument follows keyword argument");
      positional_.push_back(&a.value);
      continue;
    }
    for (const auto& [name, v] : named_) GRAFT_CHECK(name != a.name, type_, ": argument '", name, "' is given twice");
    named_.emplace_back(a.name, &a.value);
  }
}
const Value* ArgReader::take(std::string_view name) {
  seen_.emplace_back(name);
  const auto named = std::ranges::find(named_, name, [](const auto& p) { return std::string_view(p.first); });
  if (next_ < positional_.size()) {
    GRAFT_CHECK(named == named_.end(), type_, ": got multiple values for argument '", name, "'");
    return positional_[next_++];
  }
  if (named == named_.end()) return nullptr;
  const Value* v = named->second;
  named_.erase(named);
  return v;
}
bool ArgReader::has(std::string_view name) {
  if (next_ < positional_.size()) return !positional_[next_]->is_none();
  const auto named = std::ranges::find(named_, name, [](const auto& p) { return std::string_view(p.first); });
  return named != named_.end() && !named->second->is_none();
}
void ArgReader::fail_missing(std::string_view name) const {
  fail(ErrorCode::type_error, type_, ": missing argument '", name, "'");
}
void ArgReader::ignore_rest() {
  next_ = positional_.size();
  named_.clear();
}
Options ArgReader::options() {
  Options o;
  const auto device = get<std::optional<std::string>>("device", std::nullopt);
  const auto dtype = get<std::optional<std::string>>("dtype", std::nullopt);
  if (device) o.device = Device(*device);
  DType t{};
  GRAFT_CHECK(!dtype || parse_dtype(*dtype, t), type_, ": no dtype is named '", dtype.value_or(""), "'");
  if (dtype) o.dtype = t;
  return o;
}
void ArgReader::finish() {
  GRAFT_CHECK(next_ == positional_.size(), ErrorCode::type_error, type_, ": takes ", seen_.size(), " arguments, but ",
              positional_.size(), " were given by position");
  if (named_.empty()) return;
  std::string near;
  for (const std::string& n : nearest_names(named_[0].first, seen_)) near += (near.empty() ? "; did you mean " : ", ") + n;
  fail(ErrorCode::type_error, type_, ": got an unexpected argument '", named_[0].first, "'", near);
}

// ---- names -------------------------------------------------------------------------------------------------------

static size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j)
      diagonal = std::exchange(row[j + 1], std::min({row[j + 1] + 1, row[j] + 1, diagonal + (a[i] != b[j])}));
  }
  return row.back();
}
std::vector<std::string> nearest_names(std::string_view wanted, const std::vector<std::string>& from, size_t most) {
  std::vector<std::pair<size_t, std::string>> near;
  for (const std::string& name : from)
    if (const size_t d = edit_distance(wanted, name); d <= std::max<size_t>(2, wanted.size() / 3)) near.emplace_back(d, name);
  std::ranges::sort(near);
  std::vector<std::string> names;
  for (size_t i = 0; i < std::min(most, near.size()); ++i) names.push_back(near[i].second);
  return names;
}

// ---- the registry ------------------------------------------------------------------------------------------------

void Registry::add(std::string name, std::type_index type, Factory f) {
  const auto at = std::ranges::lower_bound(items_, name, {}, &Item::name);
  GRAFT_CHECK(at == items_.end() || at->name != name, ErrorCode::key_error, "register_type: '", name, "' is taken");
  made_by_.emplace(type, MadeBy{name});
  items_.insert(at, Item{std::move(name), type, std::move(f)});
}
const Registry::MadeBy* Registry::made_by(std::type_index type) const {
  const auto it = made_by_.find(type);
  return it == made_by_.end() ? nullptr : &it->second;
}
const Factory* Registry::find(std::string_view name) const {
  const auto at = std::ranges::lower_bound(items_, name, {}, [](const Item& i) { return std::string_view(i.name); });
  return at != items_.end() && at->name == name ? &at->factory : nullptr;
}
const std::type_index* Registry::type(std::string_view name) const {
  const auto at = std::ranges::lower_bound(items_, name, {}, [](const Item& i) { return std::string_view(i.name); });
  return at != items_.end() && at->name == name ? &at->type : nullptr;
}
const std::vector<Attribute>* Registry::attributes(const Module& m) const {
  for (const Described& d : attributes_)
    if (d.type == typeid(m)) return &d.attributes;
  for (const Described& d : attributes_)
    if (d.fits(m)) return &d.attributes;
  return nullptr;
}
void Registry::attributes(std::type_index type, bool (*fits)(const Module&), std::vector<Attribute> list) {
  if (!list.empty()) attributes_.push_back({type, fits, std::move(list)});
}
std::vector<std::string> Registry::names() const {
  std::vector<std::string> all;
  for (const Item& i : items_) all.push_back(i.name);
  return all;
}

namespace {
struct Shared {
  std::mutex mutex;
  Registry registry;
  std::vector<std::string> users;  // names that are not of the library
  Shared() { register_layers(registry); }
};
Shared& shared() {
  static Shared s;
  return s;
}
}  // namespace

static Factory factory_of(std::string_view type) {
  std::vector<std::string> names;
  {
    Shared& s = shared();
    const std::lock_guard lock(s.mutex);
    if (const Factory* f = s.registry.find(type)) return *f;
    names = s.registry.names();
  }
  std::string near;
  for (const std::string& n : nearest_names(type, names)) near += (near.empty() ? "; did you mean " : ", ") + n;
  fail(ErrorCode::key_error, "build: no layer type is named '", type, "'", near);
}
ModulePtr build(std::string_view type, const Args& args) {
  const Factory factory = factory_of(type);
  ArgReader reader{std::string(type), args};
  ModulePtr m = factory(reader);
  reader.finish();
  return m;
}
ModulePtr detail::build_leniently(std::string_view type, const Args& args) {
  const Factory factory = factory_of(type);
  ArgReader reader{std::string(type), args};
  return factory(reader);
}
void detail::register_family(Family* family) {
  Shared& s = shared();
  const std::lock_guard lock(s.mutex);
  Registry all = s.registry;  // or none of the family, if memory ends
  family(all);
  s.registry = std::move(all);
}
bool detail::is_of_library(std::string_view type) {
  Shared& s = shared();
  const std::lock_guard lock(s.mutex);
  return s.registry.find(type) && std::ranges::find(s.users, type) == s.users.end();
}
std::optional<Made> made_with(const Module& m) {
  Made made;
  std::vector<Attribute> list;
  {
    Shared& s = shared();
    const std::lock_guard lock(s.mutex);
    const Registry::MadeBy* by = s.registry.made_by(typeid(m));
    if (!by) return std::nullopt;
    made.type = by->name;
    made.arguments = by->fixed;
    if (const auto* attributes = s.registry.attributes(m)) list = *attributes;
  }
  for (const Attribute& a : list) made.arguments.emplace_back(a.name, a.read(m));
  return made;
}
void register_type(std::string name, std::type_index type, Factory f) {
  Shared& s = shared();
  const std::lock_guard lock(s.mutex);
  s.users.push_back(name);
  try {
    s.registry.add(std::move(name), type, std::move(f));
  } catch (...) {
    s.users.pop_back();
    throw;
  }
}
void register_attributes(std::type_index type, bool (*fits)(const Module&), std::vector<Attribute> list) {
  Shared& s = shared();
  const std::lock_guard lock(s.mutex);
  s.registry.attributes(type, fits, std::move(list));
}
std::vector<Attribute> attributes_of(const Module& m) {
  Shared& s = shared();
  const std::lock_guard lock(s.mutex);
  const std::vector<Attribute>* list = s.registry.attributes(m);
  return list ? *list : std::vector<Attribute>();
}
std::vector<std::string> registered_types() {
  Shared& s = shared();
  const std::lock_guard lock(s.mutex);
  return s.registry.names();
}
std::optional<std::type_index> registered_type(std::string_view name) {
  Shared& s = shared();
  const std::lock_guard lock(s.mutex);
  const std::type_index* t = s.registry.type(name);
  return t ? std::optional(*t) : std::nullopt;
}

}  // namespace graft::nn

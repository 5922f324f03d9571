#include "graft/core/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

namespace graft::inline v1 {

Json::Json(const Json&) = default;
Json::Json(Json&&) noexcept = default;
Json& Json::operator=(const Json&) = default;
Json& Json::operator=(Json&&) noexcept = default;
Json::~Json() = default;
bool Json::operator==(const Json&) const = default;

void Json::fail_kind(const char* wanted) const {
  constexpr const char* names[] = {"null", "true or false", "an integer", "a number", "a text", "a list", "an object"};
  fail(ErrorCode::type_error, wanted, " was expected, not ", names[v_.index()]);
}
bool Json::boolean() const {
  if (const bool* b = std::get_if<bool>(&v_)) return *b;
  fail_kind("true or false");
}
int64_t Json::integer() const {
  if (const int64_t* i = std::get_if<int64_t>(&v_)) return *i;
  fail_kind("an integer");
}
double Json::number() const {
  if (const int64_t* i = std::get_if<int64_t>(&v_)) return double(*i);
  if (const double* d = std::get_if<double>(&v_)) return *d;
  fail_kind("a number");
}
const std::string& Json::text() const {
  if (const std::string* s = std::get_if<std::string>(&v_)) return *s;
  fail_kind("a text");
}
const Json::List& Json::items() const {
  if (const List* l = std::get_if<List>(&v_)) return *l;
  fail_kind("a list");
}
const Json::Fields& Json::fields() const {
  if (const Object* o = std::get_if<Object>(&v_)) return o->fields;
  fail_kind("an object");
}

void Json::push(Json item) {
  items();
  std::get<List>(v_).push_back(std::move(item));
}
void Json::set(std::string name, Json value) {
  fields();
  auto& all = std::get<Object>(v_).fields;
  const auto at = std::ranges::find(all, name, [](const auto& f) -> const std::string& { return f.first; });
  if (at != all.end()) at->second = std::move(value);
  else all.emplace_back(std::move(name), std::move(value));
}
const Json* Json::find(std::string_view name) const {
  for (const auto& [n, value] : fields())
    if (n == name) return &value;
  return nullptr;
}

// ---- writing -----------------------------------------------------------------------------------------------------

namespace {

std::string quoted(const std::string& s) {
  return nlohmann::json(s).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}
bool is_flat(const Json& j) {
  const auto plain = [](const Json& x) { return x.kind() < Json::Kind::list; };
  if (j.kind() == Json::Kind::list) return std::ranges::all_of(j.items(), plain);
  return std::ranges::all_of(j.fields(), [&](const auto& f) { return plain(f.second); });
}

// Lists and objects of plain values stay on one line.
class Writer {
 public:
  explicit Writer(int indent) : indent_(indent) {}
  void write(const Json& j, int depth) {
    switch (j.kind()) {
      case Json::Kind::null: out += "null"; break;
      case Json::Kind::boolean: out += j.boolean() ? "true" : "false"; break;
      case Json::Kind::integer: out += std::to_string(j.integer()); break;
      case Json::Kind::number: out += nlohmann::json(j.number()).dump(); break;
      case Json::Kind::text: out += quoted(j.text()); break;
      case Json::Kind::list:
        body('[', ']', j.items(), j, depth, [&](const Json& item) { write(item, depth + 1); });
        break;
      case Json::Kind::object:
        body('{', '}', j.fields(), j, depth, [&](const auto& f) {
          out += quoted(f.first) + (indent_ < 0 ? ":" : ": ");
          write(f.second, depth + 1);
        });
    }
  }
  std::string out;

 private:
  template <class Items, class F> void body(char open, char close, const Items& items, const Json& j, int depth, F one) {
    const bool lines = indent_ >= 0 && !items.empty() && !is_flat(j);
    const auto new_line = [&](int d) { out += '\n' + std::string(size_t(indent_ * d), ' '); };
    out += open;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out += indent_ >= 0 && !lines ? ", " : ",";
      if (lines) new_line(depth + 1);
      one(items[i]);
    }
    if (lines) new_line(depth);
    out += close;
  }
  int indent_;
};

// ---- reading -----------------------------------------------------------------------------------------------------

// Takes the events of a parser that does not recurse, and builds from the inside out: open lists and objects are on a stack.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  Builder(std::string_view what, size_t depth) : what_(what), depth_(depth) {}
  bool null() override { return add({}); }
  bool boolean(bool b) override { return add(b); }
  bool number_integer(int64_t i) override { return add(i); }
  bool number_unsigned(uint64_t u) override {
    if (u > uint64_t(INT64_MAX)) fail(ErrorCode::malformed, what_, ": the number ", u, " does not fit into 64 bits");
    return add(int64_t(u));
  }
  bool number_float(double d, const std::string&) override { return add(d); }
  bool string(std::string& s) override { return add(std::move(s)); }
  bool binary(nlohmann::json::binary_t&) override { return false; }
  bool start_object(size_t) override { return open(Json::object()); }
  bool start_array(size_t) override { return open(Json::list()); }
  bool end_object() override { return shut(); }
  bool end_array() override { return shut(); }
  bool key(std::string& k) override {
    if (!open_.back().names.insert(k).second) fail(ErrorCode::malformed, what_, ": the field ", quoted(k), " is there twice");
    open_.back().key = std::move(k);
    return true;
  }
  bool parse_error(size_t byte, const std::string&, const nlohmann::detail::exception& e) override {
    if (const auto* beyond = dynamic_cast<const nlohmann::json::out_of_range*>(&e))
      fail(ErrorCode::malformed, what_, ": a number is too large at byte ", byte, ": ", beyond->what());
    fail(ErrorCode::malformed, what_, ": no JSON at byte ", byte);
  }
  Json result;

 private:
  struct Open {
    Json value;
    std::string key;
    std::unordered_set<std::string> names;
  };
  bool open(Json j) {
    if (open_.size() == depth_) fail(ErrorCode::too_large, what_, ": nested deeper than ", depth_);
    open_.push_back({std::move(j), {}, {}});
    return true;
  }
  bool shut() {
    Json done = std::move(open_.back().value);
    open_.pop_back();
    return add(std::move(done));
  }
  bool add(Json j) {
    if (open_.empty()) {
      result = std::move(j);
      return true;
    }
    Open& o = open_.back();
    if (o.value.is_object()) append(o.value, std::move(o.key), std::move(j));
    else o.value.push(std::move(j));
    return true;
  }
  static void append(Json& object, std::string key, Json j) {  // its name is known to be new
    const_cast<Json::Fields&>(object.fields()).emplace_back(std::move(key), std::move(j));
  }

  std::string what_;
  size_t depth_;
  std::vector<Open> open_;
};

}  // namespace

std::string Json::dump(int indent) const {
  Writer w(indent);
  w.write(*this, 0);
  return std::move(w.out);
}
Json Json::parse(std::string_view text, std::string_view what, Limits limits) {
  if (text.size() > limits.bytes) fail(ErrorCode::too_large, what, ": ", text.size(), " bytes, of at most ", limits.bytes);
  // The parser takes a NUL for the end of its input, and would not see what follows.
  if (const size_t nul = text.find('\0'); nul != text.npos) fail(ErrorCode::malformed, what, ": NUL at byte ", nul);
  Builder builder(what, limits.depth);
  nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  return std::move(builder.result);
}

// ---- objects, field by field -------------------------------------------------------------------------------------

JsonReader::JsonReader(const Json& j, std::string where) : object_(&j), where_(std::move(where)) {
  GRAFT_CHECK(j.is_object(), ErrorCode::malformed, where_, ": an object was expected");
}
const Json* JsonReader::find(std::string_view name) {
  asked_.push_back(name);
  return object_->find(name);
}
const Json& JsonReader::at(std::string_view name) {
  const Json* found = find(name);
  GRAFT_CHECK(found, ErrorCode::malformed, where_, ": has no field '", name, "'");
  return *found;
}
template <class F> auto JsonReader::read(std::string_view name, F f) {
  const Json& j = at(name);
  try {
    return f(j);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::type_error) throw;
    throw Error(where(name) + ": " + e.text(), ErrorCode::malformed);
  }
}
std::string JsonReader::text(std::string_view name) {
  return read(name, [](const Json& j) { return j.text(); });
}
bool JsonReader::boolean(std::string_view name, bool otherwise) {
  if (!find(name)) return otherwise;
  return read(name, [](const Json& j) { return j.boolean(); });
}
int64_t JsonReader::integer(std::string_view name) {
  return read(name, [](const Json& j) { return j.integer(); });
}
const Json::List& JsonReader::list(std::string_view name) {
  return *read(name, [](const Json& j) { return &j.items(); });
}
const Json::Fields& JsonReader::fields(std::string_view name) {
  return *read(name, [](const Json& j) { return &j.fields(); });
}
std::vector<std::string> JsonReader::texts(std::string_view name) {
  if (!find(name)) return {};
  return read(name, [](const Json& j) {
    std::vector<std::string> all;
    for (const Json& item : j.items()) all.push_back(item.text());
    return all;
  });
}
void JsonReader::finish() const {
  for (const auto& [name, value] : object_->fields()) {
    if (std::ranges::find(asked_, name) != asked_.end()) continue;
    std::string known;
    for (const std::string_view n : asked_) {
      if (known.find("'" + std::string(n) + "'") != known.npos) continue;
      known += (known.empty() ? "'" : ", '") + std::string(n) + "'";
    }
    fail(ErrorCode::malformed, where_, ": unknown field '", name, "'; known are ", known);
  }
}

}  // namespace graft

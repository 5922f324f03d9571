// JSON as a value: what describes itself in text is made of it and read back from it. Texts are taken for hostile: they are
// read without recursion, within limits, and a field that nobody asks for is an Error.
#pragma once
#include <concepts>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>
#include "graft/core/error.h"

namespace graft::inline v1 {

class Json {
 public:
  using List = std::vector<Json>;
  using Fields = std::vector<std::pair<std::string, Json>>;  // in the order of the text, each name once
  enum class Kind : uint8_t { null, boolean, integer, number, text, list, object };

  Json() = default;
  Json(const Json&);
  Json(Json&&) noexcept;
  Json& operator=(const Json&);
  Json& operator=(Json&&) noexcept;
  ~Json();
  Json(std::nullptr_t) {}                                       // NOLINT(google-explicit-constructor)
  template <std::same_as<bool> B> Json(B b) : v_(b) {}          // NOLINT(google-explicit-constructor)
  template <std::integral I>
    requires(!std::same_as<I, bool>)
  Json(I i) : v_(int64_t(i)) {}                                 // NOLINT(google-explicit-constructor)
  Json(double d) : v_(d) {}                                     // NOLINT(google-explicit-constructor)
  Json(std::string s) : v_(std::move(s)) {}                     // NOLINT(google-explicit-constructor)
  Json(std::string_view s) : v_(std::string(s)) {}              // NOLINT(google-explicit-constructor)
  Json(const char* s) : v_(std::string(s)) {}                   // NOLINT(google-explicit-constructor)
  Json(List l) : v_(std::move(l)) {}                            // NOLINT(google-explicit-constructor)
  Json(Fields f) : v_(Object{std::move(f)}) {}                  // NOLINT(google-explicit-constructor)
  Json(const std::vector<std::string>& l) : v_(List(l.begin(), l.end())) {}  // NOLINT(google-explicit-constructor)
  static Json object() { return Json(Fields()); }
  static Json list() { return Json(List()); }
  template <class... A> static Json of(A&&... names_and_values) {  // of("dtype", "f32", "rank", 2)
    Fields f;
    f.reserve(sizeof...(A) / 2);
    add(f, std::forward<A>(names_and_values)...);
    return f;
  }
  template <class... A> static Json list_of(A&&... items) {
    List l;
    l.reserve(sizeof...(A));
    (l.push_back(Json(std::forward<A>(items))), ...);
    return l;
  }

  Kind kind() const { return Kind(v_.index()); }
  bool is_null() const { return kind() == Kind::null; }
  bool is_object() const { return kind() == Kind::object; }

  // The content; Error type_error where it is something else. An integer is a number, too.
  bool boolean() const;
  int64_t integer() const;
  double number() const;
  const std::string& text() const;
  const List& items() const;
  const Fields& fields() const;

  void push(Json item);                  // of a list
  void set(std::string name, Json value);  // of an object: at the end, or in the place of the one of that name
  const Json* find(std::string_view name) const;  // of an object; null: it has none of that name
  bool operator==(const Json&) const;

  std::string dump(int indent = -1) const;  // -1: on one line. What is no UTF-8 is replaced.

  struct Limits {
    size_t bytes = 64 << 20;
    size_t depth = 32;
  };
  // `what` begins the texts of errors: malformed, with the byte where the text breaks the format, names a field twice or has
  // a number that no int64 or double holds; too_large, beyond the limits.
  static Json parse(std::string_view text, std::string_view what, Limits);
  static Json parse(std::string_view text, std::string_view what) { return parse(text, what, Limits()); }

 private:
  [[noreturn]] void fail_kind(const char* wanted) const;
  static void add(Fields&) {}
  template <class V, class... A> static void add(Fields& f, std::string_view name, V&& value, A&&... more) {
    f.emplace_back(std::string(name), Json(std::forward<V>(value)));
    add(f, std::forward<A>(more)...);
  }
  // A struct of its own: libstdc++ 12 takes a variant of strings and vectors for one that always holds a value, and when
  // memory ends while it is copied destroys one that holds none.
  struct Object {
    Fields fields;
    bool operator==(const Object&) const;
  };
  std::variant<std::monostate, bool, int64_t, double, std::string, List, Object> v_;
};
inline bool Json::Object::operator==(const Object&) const = default;  // not before Json is complete, says clang

// Reads an object field by field: errors (malformed) say where they are, and finish() refuses what nobody asked for.
class JsonReader {
 public:
  JsonReader(const Json&, std::string where);
  const Json* find(std::string_view name);  // null: absent
  const Json& at(std::string_view name);    // required
  std::string text(std::string_view name);
  std::string text(std::string_view name, std::string otherwise) { return find(name) ? text(name) : otherwise; }
  bool boolean(std::string_view name, bool otherwise);
  int64_t integer(std::string_view name);
  const Json::List& list(std::string_view name);
  const Json::Fields& fields(std::string_view name);
  std::vector<std::string> texts(std::string_view name);  // absent: none
  void finish() const;
  std::string where(std::string_view name) const { return where_ + "." + std::string(name); }
  const std::string& where() const { return where_; }

 private:
  template <class F> auto read(std::string_view name, F f);
  const Json* object_;
  std::string where_;
  std::vector<std::string_view> asked_;
};

}  // namespace graft

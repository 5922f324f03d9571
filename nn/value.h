// What crosses the erased call of a module, and what describes a layer's arguments: Value, and Flow between Value and
// C++ types. A user's own struct may specialise Flow.
#pragma once
#include <concepts>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>
#include "graft/core/error.h"
#include "graft/core/tensor.h"

namespace graft::inline v1::nn {

class Value;
using Values = std::vector<Value>;

// None, a tensor, a bool, an integer, a double, a string, or a list of values.
class Value {
 public:
  Value() = default;
  Value(Tensor t) : v_(std::move(t)) {}                               // NOLINT(google-explicit-constructor)
  template <std::same_as<bool> B> Value(B b) : v_(b) {}               // NOLINT(google-explicit-constructor)
  template <std::integral I>
    requires(!std::same_as<I, bool>)
  Value(I i) : v_(int64_t(i)) {}                                      // NOLINT(google-explicit-constructor)
  template <std::floating_point F> Value(F f) : v_(double(f)) {}      // NOLINT(google-explicit-constructor)
  Value(std::string s) : v_(std::move(s)) {}                          // NOLINT(google-explicit-constructor)
  Value(const char* s) : v_(std::string(s)) {}                        // NOLINT(google-explicit-constructor)
  Value(Values list) : v_(std::move(list)) {}                         // NOLINT(google-explicit-constructor)
  Value(const std::vector<int64_t>& list);                            // NOLINT(google-explicit-constructor)
  Value(std::nullptr_t) {}                                            // NOLINT(google-explicit-constructor): None

  bool is_none() const { return v_.index() == 0; }
  template <class T> bool is() const { return std::holds_alternative<T>(v_); }
  template <class T> const T* get_if() const { return std::get_if<T>(&v_); }
  template <class T> T* get_if() { return std::get_if<T>(&v_); }
  std::string kind() const;             // "None", "tensor", "bool", "int", "float", "str", "list"

  // The content as T; an int also as a double. Error where it is something else.
  template <class T> T as() const;
  const Tensor& tensor() const;
  const Values& list() const;

 private:
  [[noreturn]] void fail_kind(const char* wanted) const;
  std::variant<std::monostate, Tensor, bool, int64_t, double, std::string, Values> v_;
};
std::ostream& operator<<(std::ostream&, const Value&);  // Python style: 3, 0.5, True, 'same', (1, 2), None

void for_each_tensor(Value&, const std::function<void(Tensor&)>&);  // lists are searched

template <class T> struct Flow;

template <> struct Flow<Value> {
  static bool fits(const Value&) { return true; }
  static Value in(Value v) { return v; }
  static Value out(const Value& v) { return v; }
};
template <> struct Flow<Tensor> {
  static bool fits(const Value& v) { return v.is<Tensor>(); }
  static Value in(Tensor t) { return Value(std::move(t)); }
  static const Tensor& out(const Value& v) { return v.tensor(); }
};
template <class T>
  requires std::is_arithmetic_v<T>
struct Flow<T> {
  static bool fits(const Value& v) {
    if constexpr (std::same_as<T, bool>) return v.is<bool>();
    else return v.is<int64_t>() || (std::floating_point<T> && v.is<double>());
  }
  static Value in(T x) { return Value(x); }
  static T out(const Value& v) { return v.as<T>(); }
};
template <> struct Flow<std::string> {
  static bool fits(const Value& v) { return v.is<std::string>(); }
  static Value in(std::string s) { return Value(std::move(s)); }
  static std::string out(const Value& v) { return v.as<std::string>(); }
};
template <class T> struct Flow<std::optional<T>> {
  static bool fits(const Value& v) { return v.is_none() || Flow<T>::fits(v); }
  static Value in(std::optional<T> t) { return t ? Flow<T>::in(std::move(*t)) : Value(); }
  static std::optional<T> out(const Value& v) {
    if (v.is_none()) return std::nullopt;
    return Flow<T>::out(v);
  }
};
template <class T> struct Flow<std::vector<T>> {
  static bool fits(const Value& v) {
    const Values* list = v.get_if<Values>();
    return list && std::ranges::all_of(*list, [](const Value& x) { return Flow<T>::fits(x); });
  }
  static Value in(const std::vector<T>& items) {
    Values list;
    for (const T& item : items) list.push_back(Flow<T>::in(item));
    return Value(std::move(list));
  }
  static std::vector<T> out(const Value& v) {
    std::vector<T> items;
    for (const Value& item : v.list()) items.push_back(Flow<T>::out(item));
    return items;
  }
};
template <class... T> struct Flow<std::tuple<T...>> {
  static bool fits(const Value& v) {
    const Values* list = v.get_if<Values>();
    return list && list->size() == sizeof...(T) && [&]<size_t... I>(std::index_sequence<I...>) {
      return (Flow<T>::fits((*list)[I]) && ...);
    }(std::index_sequence_for<T...>{});
  }
  static Value in(std::tuple<T...> t) {
    return std::apply([](auto&... x) { return Value(Values{Flow<T>::in(std::move(x))...}); }, t);
  }
  static std::tuple<T...> out(const Value& v) {
    const Values& list = v.list();
    GRAFT_CHECK(list.size() == sizeof...(T), ErrorCode::type_error, "a tuple of ", sizeof...(T), " was wanted, not ",
                list.size(), " values");
    return [&]<size_t... I>(std::index_sequence<I...>) {
      return std::tuple<T...>{Flow<T>::out(list[I])...};
    }(std::index_sequence_for<T...>{});
  }
};

template <class T> T Value::as() const {
  if constexpr (std::same_as<T, bool>) {
    if (const bool* b = get_if<bool>()) return *b;
    fail_kind("bool");
  } else if constexpr (std::floating_point<T>) {
    if (const double* d = get_if<double>()) return T(*d);
    if (const int64_t* i = get_if<int64_t>()) return T(*i);
    fail_kind("number");
  } else if constexpr (std::integral<T>) {
    if (const int64_t* i = get_if<int64_t>()) return T(*i);
    fail_kind("int");
  } else if constexpr (std::same_as<T, std::string>) {
    if (const std::string* s = get_if<std::string>()) return *s;
    fail_kind("str");
  } else {
    return Flow<T>::out(*this);
  }
}

template <> struct Flow<Shape> {  // an integer, or a list
  static bool fits(const Value& v) { return v.is<int64_t>() || v.is<Values>(); }
  static Value in(const Shape& s) { return Value(Values(s.begin(), s.end())); }
  static Shape out(const Value& v) {
    if (v.is<int64_t>()) return Shape({v.as<int64_t>()});
    const auto list = v.as<std::vector<int64_t>>();
    return Shape(std::span<const int64_t>(list));
  }
};

}  // namespace graft::nn

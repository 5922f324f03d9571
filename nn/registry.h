// Layer types by name: nn::build("Linear", {8, 16, {"bias", false}}), with PyTorch's argument names and order. Serves
// recipes, model files, the command line and conformance runs.
//
// A layer of the library: its .cpp ends with
//   void register_linear(Registry& r) {
//     r.add<Linear>("Linear", [](ArgReader& a) {
//       const auto in = a.get<int64_t>("in_features");         // in PyTorch's order: positional arguments are taken so
//       const auto out = a.get<int64_t>("out_features");
//       const bool bias = a.get("bias", true);
//       return make<Linear>(in, out, LinearOptions{.bias = bias, .options = a.options()});
//     });
//   }
// and register_layers.cpp names register_linear. A user's type: nn::register_type<MyBlock>("MyBlock", the same lambda,
// {attribute<&MyBlock::width>("width")}); the attributes of a type are the arguments with which its factory makes another
// module like it, which is how models are written to files (architecture.h).
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <typeindex>
#include <unordered_map>
#include <vector>
#include "graft/nn/module.h"
#include "graft/nn/param.h"
#include "graft/nn/sizes.h"

namespace graft::inline v1::nn {

// One argument: a value, with a name or by position.
struct Arg {
  template <class T>
    requires std::is_constructible_v<Value, T>
  Arg(T&& v) : value(std::forward<T>(v)) {}                      // NOLINT(google-explicit-constructor)
  Arg(std::string n, Value v) : name(std::move(n)), value(std::move(v)) {}
  std::string name;  // empty: by position
  Value value;
};
using Args = std::vector<Arg>;

// Hands arguments out in the order of the parameters; what is left over in the end is an error.
class ArgReader {
 public:
  ArgReader(std::string type, const Args&);
  bool has(std::string_view name);                      // given, and not None
  template <class T> T get(std::string_view name) {     // required
    const Value* v = take(name);
    if (!v) fail_missing(name);
    return convert<T>(name, *v);
  }
  template <class T> T get(std::string_view name, T fallback) {
    const Value* v = take(name);
    return v ? convert<T>(name, *v) : fallback;
  }
  void skip(std::string_view name) { take(name); }  // accepted, of no effect here
  void ignore_rest();
  Options options();                                // device and dtype, the last arguments of most layers
  void finish();
  const std::string& type() const { return type_; }

 private:
  template <class T> T convert(std::string_view name, const Value& v) {
    try {
      return Flow<T>::out(v);
    } catch (Error& e) {
      e.within(name, type_);
      throw;
    }
  }
  const Value* take(std::string_view name);
  [[noreturn]] void fail_missing(std::string_view name) const;
  std::string type_;
  std::vector<const Value*> positional_;
  std::vector<std::pair<std::string, const Value*>> named_;
  std::vector<std::string> seen_;
  size_t next_ = 0;
};

using Factory = std::function<ModulePtr(ArgReader&)>;

// What a layer was made with, to be read by name: a field, or, of a parameter, whether there is one.
struct Attribute {
  const char* name;
  Value (*read)(const Module&);
};
namespace detail {
template <class T, class C> C owner_of(T C::*);
// Static: each is needed in one place, and as a symbol for everybody takes three times as much of a library.
template <auto member> static Value read_member(const Module& m) {
  const auto& v = dynamic_cast<const decltype(owner_of(member))&>(m).*member;
  using T = std::decay_t<decltype(v)>;
  if constexpr (std::is_same_v<T, Param> || std::is_same_v<T, Buffer>) return Value(bool(v));
  else return Flow<T>::in(v);
}
template <class M> static bool is_one(const Module& m) { return dynamic_cast<const M*>(&m) != nullptr; }
}  // namespace detail
template <auto member> static Attribute attribute(const char* name) { return {name, &detail::read_member<member>}; }

class Registry {
 public:
  template <class M> void add(std::string name, Factory f, std::vector<Attribute> list = {}) {
    add(std::move(name), typeid(M), std::move(f));
    attributes<M>(std::move(list));
  }
  void add(std::string name, std::type_index, Factory);
  template <class M> void attributes(std::vector<Attribute> list) {
    attributes(typeid(M), &detail::is_one<M>, std::move(list));
  }
  void attributes(std::type_index, bool (*fits)(const Module&), std::vector<Attribute>);
  const std::vector<Attribute>* attributes(const Module&) const;  // of its type, else of a base; null: none
  // An M is what the factory `name` makes when it is also given `fixed`.
  template <class M> void variant(std::string name, std::string argument, Value fixed) {
    made_by_.emplace(typeid(M), MadeBy{std::move(name), {Arg(std::move(argument), std::move(fixed))}});
  }
  struct MadeBy {
    std::string name;
    Args fixed = {};
  };
  const MadeBy* made_by(std::type_index) const;  // null: the type is not registered
  const Factory* find(std::string_view name) const;
  std::vector<std::string> names() const;                 // sorted
  const std::type_index* type(std::string_view name) const;

 private:
  struct Item {
    std::string name;
    std::type_index type;
    Factory factory;
  };
  std::vector<Item> items_;  // sorted by name
  std::unordered_map<std::type_index, MadeBy> made_by_;
  struct Described {
    std::type_index type;
    bool (*fits)(const Module&);
    std::vector<Attribute> attributes;
  };
  std::vector<Described> attributes_;
};

ModulePtr build(std::string_view type, const Args& = {});       // Error names the nearest types or arguments
template <class M> std::shared_ptr<M> build_as(std::string_view type, const Args& args = {}) {
  auto m = std::dynamic_pointer_cast<M>(build(type, args));
  GRAFT_CHECK(m, ErrorCode::type_error, "build: ", type, " is not of the wanted type");
  return m;
}
std::vector<std::string> registered_types();
std::optional<std::type_index> registered_type(std::string_view name);  // the C++ type behind a name

void register_type(std::string name, std::type_index, Factory);
template <class M> void register_type(std::string name, Factory f) { register_type(std::move(name), typeid(M), std::move(f)); }
// With what its modules can be asked for: {attribute<&MyBlock::channels>("channels")}.
void register_attributes(std::type_index, bool (*fits)(const Module&), std::vector<Attribute>);
template <class M> void register_type(std::string name, Factory f, std::vector<Attribute> attributes) {
  register_type(std::move(name), typeid(M), std::move(f));
  register_attributes(typeid(M), [](const Module& m) { return dynamic_cast<const M*>(&m) != nullptr; }, std::move(attributes));
}
std::vector<Attribute> attributes_of(const Module&);  // of a registered type or of one derived from it; empty: unknown

// How build() would make a module like this one: the name of its type, and its attributes as arguments. None: its type is
// not registered.
struct Made {
  std::string type;
  std::vector<Arg> arguments;
};
std::optional<Made> made_with(const Module&);

namespace detail {
using Family = void(Registry&);
void register_family(Family*);  // layers outside of nn/: their factories do nothing but make tensors and modules
// As build(), but arguments that the factory does not take are left aside. `of_library`: of a family.
ModulePtr build_leniently(std::string_view type, const Args&);
bool is_of_library(std::string_view type);
}  // namespace detail

std::vector<std::string> nearest_names(std::string_view wanted, const std::vector<std::string>& from, size_t most = 3);

// ---- arguments of layers ------------------------------------------------------------------------------------------

template <int N> struct Flow<Sizes<N>> {
  static bool fits(const Value& v) { return v.is<int64_t>() || v.is<Values>(); }
  static Value in(const Sizes<N>& s) { return Value(Values(s.begin(), s.end())); }
  static Sizes<N> out(const Value& v) {
    if (v.is<int64_t>()) return Sizes<N>(v.as<int64_t>());
    const auto list = v.as<std::vector<int64_t>>();
    GRAFT_CHECK(list.size() == size_t{N} || list.size() == 1, ErrorCode::shape_mismatch, "needs ", N, " sizes or one, not ",
                list.size());
    Sizes<N> s;
    for (int i = 0; i < N; ++i) s[i] = list[list.size() == 1 ? 0 : size_t(i)];
    return s;
  }
};
template <int N> struct Flow<Padding<N>> {
  static bool fits(const Value& v) { return v.is<std::string>() || Flow<Sizes<N>>::fits(v); }
  static Value in(const Padding<N>& p) {
    return p.kind == Padding<N>::sizes ? Flow<Sizes<N>>::in(p.amount) : Value(p.kind == Padding<N>::same ? "same" : "valid");
  }
  static Padding<N> out(const Value& v) {
    if (const std::string* name = v.get_if<std::string>()) return Padding<N>(*name);
    return Padding<N>(Flow<Sizes<N>>::out(v));
  }
};
template <> struct Flow<PaddingMode> {
  static Value in(PaddingMode m) { return Value(std::string(m.name())); }
  static PaddingMode out(const Value& v) { return PaddingMode(v.as<std::string>()); }
};
template <> struct Flow<Reduction> {
  static Value in(Reduction r) { return Value(std::string(r.name())); }
  static Reduction out(const Value& v) { return Reduction(v.as<std::string>()); }
};

}  // namespace graft::nn

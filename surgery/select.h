// Selections: which modules of a model are meant. A value; every verb returns another one. Modules come in the order in
// which the model registers them, each once, the model itself not among them.
//
//   auto convs = surgery::select(*net).where<nn::Conv2d>();
//   auto few = convs.at("layer*.**.conv?").where("kernel_size == 3 && groups == 1").not_under("layer4").expect(6);
//   std::cout << few;                                                    // a table
//   auto first = surgery::select(*net).where<Block>().refine([](auto s) { return s.template where<nn::Conv2d>().first(); });
//   surgery::replace(*net, {surgery::on<nn::Conv2d>(few, [](const nn::Conv2d& c) {...})});
//
// Using a selection that is empty is an Error which says what the model has instead, unless allow_empty().
#pragma once
#include <initializer_list>
#include <iosfwd>
#include "graft/surgery/count.h"

namespace graft::inline v1::surgery {

class Selection {
 public:
  // ---- by what modules are ---------------------------------------------------------------------------------------
  // Of one of the types, or of a class derived from it.
  template <class... M>
    requires(sizeof...(M) > 0 && (std::is_base_of_v<nn::Module, M> && ...))
  Selection where() const {
    std::string types;
    ((types += (types.empty() ? "" : ", ") + short_type_name(typeid(M))), ...);
    TypeTest<M...> matches;
    return keep("where<" + types + ">", [&](const nn::Module& m) { return matches(m); });
  }
  template <class M, std::predicate<const M&> F> Selection where(F f) const {
    return where<M>().keep("where(a condition)", [&](const nn::Module& m) { return f(dynamic_cast<const M&>(m)); });
  }
  template <class F>
    requires(!std::is_base_of_v<nn::Module, F>) && std::predicate<F, const nn::Module&>
  Selection where(F f) const {
    return keep("where(a condition)", [&](const nn::Module& m) { return f(m); });
  }
  // On attributes: surgery/expression.h. Every module has path, name, type, training, parameters, trainable, children,
  // shared, dtype, device; those of the library, and what register_type() describes, the arguments they were made with.
  // A module that lacks a name does not match; a name that all lack is an Error.
  Selection where(std::string_view expression) const;
  template <class M> Selection where(std::string_view expression) const { return where<M>().where(expression); }
  // The module itself, and those of the same class that print the same and hold the same numbers.
  Selection equal_to(const nn::Module&) const;

  // ---- by where they are -----------------------------------------------------------------------------------------
  // Dotted names: * and ? stand for letters within a name, [ab] and [!a-c] for one letter, ** for any number of names.
  // A shared module is at each of its paths.
  Selection at(std::string_view glob) const;
  Selection under(std::string_view glob) const;      // inside of what is there
  Selection not_under(std::string_view glob) const;  // neither there nor inside
  Selection under(const Selection&) const;
  Selection not_under(const Selection&) const;
  Selection children() const;     // directly inside of the selected
  Selection descendants() const;  // anywhere inside of the selected
  Selection outermost() const;    // without those that are inside of others
  Selection nth(int64_t i) const;  // negative: from the end
  Selection operator[](int64_t i) const { return nth(i); }
  Selection first(size_t n = 1) const;
  Selection last(size_t n = 1) const;

  // ---- combining -------------------------------------------------------------------------------------------------
  Selection invert() const;  // all others
  // Within each selected module its own selection: f gets what is inside, with paths that start there.
  Selection refine(const std::function<Selection(Selection)>& f) const;
  friend Selection operator|(const Selection& a, const Selection& b) { return a.combined(b, '|'); }
  friend Selection operator&(const Selection& a, const Selection& b) { return a.combined(b, '&'); }
  friend Selection operator-(const Selection& a, const Selection& b) { return a.combined(b, '-'); }
  Selection with_root() const;  // and the model itself

  // ---- reading ---------------------------------------------------------------------------------------------------
  size_t count() const { return ids_.size(); }
  bool empty() const { return ids_.empty(); }
  const Selection& expect(size_t n) const;  // Error, with what is selected, if these are not n
  Selection allow_empty(bool yes = true) const;
  std::vector<std::string> paths() const;
  std::string path() const;                   // of the only one
  std::vector<nn::ModulePtr> modules() const;  // null: a root that is not shared
  nn::ModulePtr module() const;                // the only one
  bool contains(const nn::Module&) const;
  const std::string& description() const { return how_; }  // "where<Conv2d>.at('layer*')"

  // For what works on selections: Error if nothing is selected (unless allowed), or if `model` is another one or has
  // changed since.
  void check(const nn::Module& model) const;
  const nn::Module& root() const;

 private:
  friend Selection select(const nn::Module&);
  friend std::ostream& operator<<(std::ostream&, const Selection&);
  using Ids = std::vector<uint32_t>;
  struct Tree;
  struct Miss;

  Selection keep(std::string step, const std::function<bool(const nn::Module&)>&) const;
  Selection narrowed(std::string step, Ids) const;
  Selection combined(const Selection&, char) const;
  Ids translated(const Selection&) const;  // as modules of this one's tree
  std::vector<char> inside(const Ids&) const;  // marks what is inside
  Ids matching(std::string_view glob) const;
  Ids resolve(std::string_view glob, const char* verb) const;  // the same; Error if there is none
  [[noreturn]] void fail_missing() const;
  std::string nearest(std::string_view glob) const;

  std::shared_ptr<const Tree> tree_;
  Ids ids_;
  std::shared_ptr<const Ids> all_;  // what invert() is relative to
  uint32_t base_ = 0;               // where paths start
  bool allow_empty_ = false;
  std::string how_;
  std::shared_ptr<const Miss> miss_;  // the step that left nothing
};

Selection select(const nn::Module& model);
std::ostream& operator<<(std::ostream&, const Selection&);  // a table

inline size_t count(const Selection& s) { return s.count(); }
template <class... M> size_t count(const Selection& s) { return s.where<M...>().count(); }
std::map<std::string, size_t> count_by_type(const Selection&);

}  // namespace graft

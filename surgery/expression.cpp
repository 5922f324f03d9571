#include "graft/surgery/expression.h"

#include <algorithm>
#include <charconv>

namespace graft::inline v1::surgery {

class ExpressionParser {
  using Kind = Expression::Kind;

 public:
  ExpressionParser(Expression& e, std::string_view text) : e_(e), text_(text) {}
  size_t run() {
    const size_t root = either();
    skip_space();
    if (at_ != text_.size()) fail_here("what follows is not understood");
    return root;
  }

 private:
  size_t either() { return chain(Kind::either, "||", "or", &ExpressionParser::both); }
  size_t both() { return chain(Kind::both, "&&", "and", &ExpressionParser::negation); }
  size_t chain(Kind kind, std::string_view sign, std::string_view word, size_t (ExpressionParser::*next)()) {
    std::vector<size_t> parts{(this->*next)()};
    while (take(sign) || take_word(word)) parts.push_back((this->*next)());
    return parts.size() == 1 ? parts[0] : add({kind, std::move(parts)});
  }
  size_t negation() {
    const Depth scope(*this);
    skip_space();
    if (at_ + 1 < text_.size() && text_[at_] == '!' && text_[at_ + 1] != '=') ++at_;
    else if (!take_word("not")) return comparison();
    return add({Kind::negation, {negation()}});
  }
  std::optional<Kind> comparator() {
    constexpr std::pair<std::string_view, Kind> kSigns[] = {{"==", Kind::equal},   {"!=", Kind::unequal},
                                                            {"<=", Kind::at_most}, {">=", Kind::at_least},
                                                            {"<", Kind::less},     {">", Kind::more}};
    for (const auto& [sign, kind] : kSigns)
      if (take(sign)) return kind;
    return std::nullopt;
  }
  size_t comparison() {
    const size_t left = operand();
    const auto kind = comparator();
    if (kind) {
      const size_t test = add({*kind, {left, operand()}});
      if (comparator()) fail_here("comparisons do not chain; join them by &&");
      return test;
    }
    if (take_word("in")) return add({Kind::member, {left, operand()}});
    const size_t before = at_;
    if (take_word("not")) {
      if (take_word("in")) return add({Kind::negation, {add({Kind::member, {left, operand()}})}});
      at_ = before;
    }
    return left;
  }
  size_t operand() {
    const Depth scope(*this);
    skip_space();
    if (at_ == text_.size()) fail_here("a name or a value is missing");
    const char c = text_[at_];
    if (c == '(' || c == '[') return bracket();
    if (c == '"' || c == '\'') return text();
    if (is_digit(c) || c == '-' || c == '+' || c == '.') return number();
    if (is_letter(c)) return word();
    fail_here("a name or a value is missing");
  }
  size_t bracket() {
    const char close = text_[at_++] == '(' ? ')' : ']';
    std::vector<size_t> parts;
    bool is_list = close == ']', separated = true;
    while (!take(std::string_view(&close, 1))) {
      if (!separated) fail_here("',' or a closing bracket is missing");
      parts.push_back(either());
      separated = take(",");
      is_list |= separated;
    }
    if (!is_list && parts.size() == 1) return parts[0];
    return add({Kind::list, std::move(parts)});
  }
  size_t text() {
    const char quote = text_[at_];
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) fail_here("the text does not end");
    const std::string content(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return add({Kind::literal, {}, nn::Value(content)});
  }
  size_t number() {
    const char* from = text_.data() + at_ + (text_[at_] == '+');
    const char* const end = text_.data() + text_.size();
    int64_t whole = 0;
    double real = 0;
    const auto w = std::from_chars(from, end, whole);
    const auto r = std::from_chars(from, end, real);
    if (r.ec != std::errc()) fail_here("this is no number");
    at_ = size_t(r.ptr - text_.data());
    return add({Kind::literal, {}, w.ec == std::errc() && w.ptr == r.ptr ? nn::Value(whole) : nn::Value(real)});
  }
  size_t word() {
    const size_t from = at_;
    while (at_ < text_.size() && (is_letter(text_[at_]) || is_digit(text_[at_]))) ++at_;
    const std::string w(text_.substr(from, at_ - from));
    if (w == "True" || w == "true") return add({Kind::literal, {}, nn::Value(true)});
    if (w == "False" || w == "false") return add({Kind::literal, {}, nn::Value(false)});
    if (w == "None" || w == "null") return add({Kind::literal});
    const auto known = std::ranges::find(e_.names_, w);
    const auto name = size_t(known - e_.names_.begin());
    if (known == e_.names_.end()) e_.names_.push_back(w);
    return add({Kind::name, {}, {}, name});
  }

  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n')) ++at_;
  }
  bool take(std::string_view sign) {
    skip_space();
    if (!text_.substr(at_).starts_with(sign)) return false;
    at_ += sign.size();
    return true;
  }
  bool take_word(std::string_view w) {
    skip_space();
    const size_t end = at_ + w.size();
    if (!text_.substr(at_).starts_with(w) || (end < text_.size() && (is_letter(text_[end]) || is_digit(text_[end]))))
      return false;
    at_ = end;
    return true;
  }
  size_t add(Expression::Node n) {
    e_.nodes_.push_back(std::move(n));
    return e_.nodes_.size() - 1;
  }
  [[noreturn]] void fail_here(const char* what) const {
    fail(ErrorCode::malformed, "condition '", text_, "': at character ", at_ + 1, ": ", what);
  }
  struct Depth {
    explicit Depth(ExpressionParser& p) : parser(p) {
      if (++p.depth_ > 200) p.fail_here("it is nested too deeply");
    }
    ~Depth() { --parser.depth_; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;
    ExpressionParser& parser;
  };

  Expression& e_;
  std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
};

Expression::Expression(std::string_view text) { root_ = ExpressionParser(*this, text).run(); }

// ---- values --------------------------------------------------------------------------------------------------

namespace {

std::optional<double> number_of(const nn::Value& v) {
  if (const bool* b = v.get_if<bool>()) return *b;
  if (v.is<int64_t>() || v.is<double>()) return v.as<double>();
  return std::nullopt;
}
bool equal(const nn::Value& a, const nn::Value& b) {
  const nn::Values* la = a.get_if<nn::Values>();
  const nn::Values* lb = b.get_if<nn::Values>();
  if (la && lb) return std::ranges::equal(*la, *lb, equal);
  if (la || lb) {
    const nn::Value& one = la ? b : a;
    return number_of(one) && std::ranges::all_of(la ? *la : *lb, [&](const nn::Value& x) { return equal(x, one); });
  }
  if (const auto x = number_of(a), y = number_of(b); x && y) return *x == *y;
  if (a.is<std::string>() && b.is<std::string>()) return a.as<std::string>() == b.as<std::string>();
  return a.is_none() && b.is_none();
}
// -1, 0, 1; none: they have no order.
std::optional<int> order(const nn::Value& a, const nn::Value& b) {
  if (const auto x = number_of(a), y = number_of(b); x && y)
    return *x < *y ? std::optional(-1) : *x > *y ? std::optional(1) : *x == *y ? std::optional(0) : std::nullopt;
  if (a.is<std::string>() && b.is<std::string>()) return a.as<std::string>().compare(b.as<std::string>());
  return std::nullopt;
}
// Of lists: does it hold for all their elements?
template <class Test> std::optional<bool> ordered(const nn::Value& a, const nn::Value& b, Test test) {
  const nn::Values *la = a.get_if<nn::Values>(), *lb = b.get_if<nn::Values>();
  if (!la && !lb) {
    const auto o = order(a, b);
    return o ? std::optional(test(*o)) : std::nullopt;
  }
  if (la && lb && la->size() != lb->size()) return std::nullopt;
  for (size_t i = 0; i < (la ? la : lb)->size(); ++i) {
    const auto part = ordered(la ? (*la)[i] : a, lb ? (*lb)[i] : b, test);
    if (!part || !*part) return part;
  }
  return true;
}
bool holds(const nn::Value& v) {
  if (const auto x = number_of(v)) return *x != 0;
  if (const auto* s = v.get_if<std::string>()) return !s->empty();
  if (const auto* l = v.get_if<nn::Values>()) return !l->empty();
  return false;
}

}  // namespace

std::optional<nn::Value> Expression::value(size_t node, const Lookup& lookup) const {
  const Node& n = nodes_[node];
  if (n.kind == Kind::literal) return n.value;
  if (n.kind == Kind::name) return lookup(names_[n.name]);
  if (n.kind != Kind::list) {
    const auto t = truth(node, lookup);
    return t ? std::optional<nn::Value>(nn::Value(*t)) : std::nullopt;
  }
  nn::Values list;
  for (const size_t part : n.parts) {
    auto v = value(part, lookup);
    if (!v) return std::nullopt;
    list.push_back(std::move(*v));
  }
  return nn::Value(std::move(list));
}

std::optional<bool> Expression::test(const Lookup& lookup) const { return truth(root_, lookup); }

std::optional<bool> Expression::truth(size_t node, const Lookup& lookup) const {
  const Node& n = nodes_[node];
  switch (n.kind) {
    case Kind::either:
    case Kind::both: {
      const bool decisive = n.kind == Kind::either;
      std::optional<bool> all = !decisive;
      for (const size_t part : n.parts) {
        const auto t = truth(part, lookup);
        if (t == decisive) return decisive;
        if (!t) all = std::nullopt;
      }
      return all;
    }
    case Kind::negation: {
      const auto t = truth(n.parts[0], lookup);
      return t ? std::optional(!*t) : std::nullopt;
    }
    case Kind::literal:
    case Kind::name:
    case Kind::list: {
      const auto v = value(node, lookup);
      return v ? std::optional(holds(*v)) : std::nullopt;
    }
    default: break;
  }
  const auto a = value(n.parts[0], lookup), b = value(n.parts[1], lookup);
  if (!a || !b) return std::nullopt;
  switch (n.kind) {
    case Kind::equal: return equal(*a, *b);
    case Kind::unequal: return !equal(*a, *b);
    case Kind::less: return ordered(*a, *b, [](int o) { return o < 0; });
    case Kind::at_most: return ordered(*a, *b, [](int o) { return o <= 0; });
    case Kind::more: return ordered(*a, *b, [](int o) { return o > 0; });
    case Kind::at_least: return ordered(*a, *b, [](int o) { return o >= 0; });
    default: break;  // member
  }
  const nn::Values* list = b->get_if<nn::Values>();
  if (!list) return std::nullopt;
  return std::ranges::any_of(*list, [&](const nn::Value& x) { return equal(*a, x); });
}

}  // namespace graft

// Conditions on attributes, as text: "kernel_size == 3 && groups == 1", "type in ('Conv2d', 'Linear') and not bias".
// Names stand for values that the caller looks up. One number equals a list in which all numbers equal it. Where a name
// has no value the answer is unknown, as in SQL: neither the condition nor its negation holds.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>
#include "graft/nn/value.h"

namespace graft::inline v1::surgery {

//   or:      and { ("||" | "or") and }
//   and:     not { ("&&" | "and") not }
//   not:     ("!" | "not") not | test
//   test:    operand [("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not in") operand]
//   operand: name | number | 'text' | "text" | True | False | None | (or) | (operand, ...) | [operand, ...]
class Expression {
 public:
  explicit Expression(std::string_view text);  // Error malformed, with the place
  using Lookup = std::function<std::optional<nn::Value>(const std::string& name)>;
  std::optional<bool> test(const Lookup&) const;  // none: unknown
  const std::vector<std::string>& names() const { return names_; }

 private:
  friend class ExpressionParser;
  enum class Kind : uint8_t { either, both, negation, equal, unequal, less, at_most, more, at_least, member, literal, name, list };
  struct Node {
    Kind kind;
    std::vector<size_t> parts = {};
    nn::Value value = {};
    size_t name = 0;
  };
  std::optional<bool> truth(size_t node, const Lookup&) const;
  std::optional<nn::Value> value(size_t node, const Lookup&) const;

  std::vector<Node> nodes_;
  size_t root_ = 0;
  std::vector<std::string> names_;
};

}  // namespace graft

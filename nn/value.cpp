#include "graft/nn/value.h"

#include <charconv>

namespace graft::inline v1::nn {

Value::Value(const std::vector<int64_t>& list) : v_(Values(list.begin(), list.end())) {}

std::string Value::kind() const {
  constexpr const char* names[] = {"None", "tensor", "bool", "int", "float", "str", "list"};
  return names[v_.index()];
}
void Value::fail_kind(const char* wanted) const {
  fail(ErrorCode::type_error, "a ", wanted, " was wanted, not a ", kind());
}
const Tensor& Value::tensor() const {
  if (const Tensor* t = get_if<Tensor>()) return *t;
  fail_kind("tensor");
}
const Values& Value::list() const {
  if (const Values* l = get_if<Values>()) return *l;
  fail_kind("list");
}

void for_each_tensor(Value& v, const std::function<void(Tensor&)>& fn) {
  if (Tensor* t = v.get_if<Tensor>()) fn(*t);
  if (Values* list = v.get_if<Values>())
    for (Value& item : *list) for_each_tensor(item, fn);
}

// As Python prints a float: the shortest digits that read back to the same number; exponents from 1e16 and below 1e-4.
static std::string python_float(double d) {
  char digits[40];
  const double size = d < 0 ? -d : d;
  const bool plain = size == 0 || (size >= 1e-4 && size < 1e16);
  const auto end = plain ? std::to_chars(digits, digits + sizeof digits, d, std::chars_format::fixed)
                         : std::to_chars(digits, digits + sizeof digits, d);
  std::string text(digits, end.ptr);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

std::ostream& operator<<(std::ostream& o, const Value& v) {
  if (const Tensor* t = v.get_if<Tensor>()) return o << t->view();
  if (const bool* b = v.get_if<bool>()) return o << (*b ? "True" : "False");
  if (const int64_t* i = v.get_if<int64_t>()) return o << *i;
  if (const double* d = v.get_if<double>()) return o << python_float(*d);
  if (const std::string* s = v.get_if<std::string>()) return o << '\'' << *s << '\'';
  if (const Values* list = v.get_if<Values>()) {
    o << '(';
    for (size_t i = 0; i < list->size(); ++i) o << (i ? ", " : "") << (*list)[i];
    return o << (list->size() == 1 ? ",)" : ")");
  }
  return o << "None";
}

}  // namespace graft::nn

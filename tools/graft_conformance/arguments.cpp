#include "arguments.h"

#include <limits>
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "report.h"

namespace conformance {
namespace {

using namespace graft;

// The same values in memory of their own with the given strides.
Tensor with_strides(const Tensor& t, const Ints& strides) {
  const Shape shape = t.shape();
  if (strides.size() != size_t(shape.rank())) throw Mismatch("a case gives strides of another rank than its tensor");
  int64_t last = 0;
  for (int d = 0; d < shape.rank(); ++d) {
    if (strides[size_t(d)] < 0) throw Unsupported("negative strides");
    last += std::max<int64_t>(shape[d] - 1, 0) * strides[size_t(d)];
  }
  if (last > int64_t{1} << 28) throw Unsupported("strides that reach over 2^28 elements");
  const NoGrad quiet;
  const Tensor y = empty_strided(shape, Shape(std::span<const int64_t>(strides)), t.options());
  return y.copy_(t);
}

const Json kNull;

}  // namespace

const Tensor& CaseTensors::get(const std::string& key) {
  auto [at, fresh] = loaded_.try_emplace(key);
  if (fresh && !file_) throw Unsupported("a tensor argument here");
  if (fresh) at->second = file_->tensor(key);
  return at->second;
}

const Tensor& CaseTensors::get(const Json& a) {
  const std::string key = a.at("tensor");
  const bool fresh = !loaded_.contains(key);
  get(key);
  Tensor& t = loaded_.at(key);
  if (fresh && a.contains("strides")) t = with_strides(t, to_ints(a["strides"]));
  if (fresh && a.value("grad", false)) t.requires_grad_();
  return t;
}

double to_number(const Json& j) {
  if (!j.is_object()) return j.get<double>();
  const std::string text = j.at("float");
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  return (text[0] == '-' ? -1 : 1) * std::numeric_limits<double>::infinity();
}

Scalar to_scalar(const Json& j) {
  if (j.is_boolean()) return Scalar(j.get<bool>());
  if (j.is_number_integer()) return Scalar(j.get<int64_t>());
  if (j.is_object() && j.contains("complex"))
    return Scalar(std::complex<double>(to_number(j["complex"].at(0)), to_number(j["complex"].at(1))));
  return Scalar(to_number(j));
}

Ints to_ints(const Json& j) {
  if (!j.is_array()) return {j.get<int64_t>()};
  return j.get<Ints>();
}

const Json& Arguments::peek(const char* name) const {
  if (position_ < args_.size()) return args_[position_];
  const auto found = kwargs_.find(name);
  return found == kwargs_.end() ? kNull : *found;
}

const Json* Arguments::next(const char* name) {
  if (position_ < args_.size()) return &args_[position_++];
  const auto found = kwargs_.find(name);
  if (found == kwargs_.end()) return nullptr;
  used_[size_t(std::distance(kwargs_.begin(), found))] = true;
  return &*found;
}

const Json& Arguments::required(const char* name) {
  const Json* j = next(name);
  if (!j) throw Unsupported(std::string("the case gives no argument ") + name);
  return *j;
}

Tensor Arguments::tensor(const char* name) {
  const Json& j = required(name);
  if (!j.is_object() || !j.contains("tensor")) throw Unsupported(std::string(name) + " is not a tensor: " + j.dump());
  return tensors_.get(j);
}
Tensor Arguments::tensor_or_none(const char* name) {
  const Json* j = next(name);
  return j && !j->is_null() ? tensors_.get(*j) : Tensor();
}
Tensors Arguments::tensors(const char* name) {
  Tensors out;
  for (const Json& j : required(name)) out.push_back(tensors_.get(j));
  return out;
}
int64_t Arguments::integer(const char* name) {
  const Json& j = required(name);
  if (j.is_object() && j.contains("tensor")) return tensors_.get(j).item<int64_t>();
  return j.get<int64_t>();
}
int64_t Arguments::integer(const char* name, int64_t otherwise) { return integer_or_none(name).value_or(otherwise); }
double Arguments::number(const char* name, double otherwise) { return number_or_none(name).value_or(otherwise); }
bool Arguments::boolean(const char* name, bool otherwise) {
  const Json* j = next(name);
  return j && !j->is_null() ? j->get<bool>() : otherwise;
}
std::string Arguments::text(const char* name, const std::string& otherwise) {
  const Json* j = next(name);
  return j && !j->is_null() ? j->get<std::string>() : otherwise;
}
Scalar Arguments::scalar(const char* name) { return to_scalar(required(name)); }
Scalar Arguments::scalar(const char* name, Scalar otherwise) {
  const Json* j = next(name);
  return j && !j->is_null() ? to_scalar(*j) : otherwise;
}
Ints Arguments::ints(const char* name) { return to_ints(required(name)); }
Ints Arguments::ints(const char* name, const Ints& otherwise) { return ints_or_none(name).value_or(otherwise); }
std::optional<Ints> Arguments::ints_or_none(const char* name) {
  const Json* j = next(name);
  if (!j || j->is_null()) return std::nullopt;
  return to_ints(*j);
}
std::optional<int64_t> Arguments::integer_or_none(const char* name) {
  const Json* j = next(name);
  if (!j || j->is_null()) return std::nullopt;
  return j->get<int64_t>();
}
std::optional<int> Arguments::dim_or_none(const char* name) {
  const auto d = integer_or_none(name);
  return d ? std::optional(int(*d)) : std::nullopt;
}
std::optional<double> Arguments::number_or_none(const char* name) {
  const Json* j = next(name);
  if (!j || j->is_null()) return std::nullopt;
  return to_number(*j);
}
std::optional<DType> Arguments::dtype(const char* name) {
  const Json* j = next(name);
  if (!j || j->is_null()) return std::nullopt;
  const std::string text = j->at("dtype");
  DType t{};
  if (!parse_dtype(text, t)) throw Unsupported("dtype " + text);
  return t;
}
const Json& Arguments::json(const char* name) {
  const Json* j = next(name);
  return j ? *j : kNull;
}

bool Arguments::none_left() const {
  if (position_ < args_.size()) return false;
  for (const bool u : used_)
    if (!u) return false;
  return true;
}

void Arguments::finish() const {
  if (position_ < args_.size())
    throw Unsupported("one more positional argument than known: " + args_[position_].dump());
  size_t i = 0;
  for (const auto& [name, value] : kwargs_.items())
    if (!used_[i++]) throw Unsupported("argument " + name + "=" + value.dump());
}

}  // namespace conformance

// Reads the recorded arguments of a call in the order of PyTorch's signature: each read takes the next positional
// argument, else the keyword of that name, else the default.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>
#include "case_file.h"
#include "graft/core/tensor.h"

namespace conformance {

// Tensors of one case by key: each key is one tensor, whatever the number of its uses.
class CaseTensors {
 public:
  CaseTensors() = default;  // of a case that has none
  explicit CaseTensors(const CaseFile& file) : file_(&file) {}
  const graft::Tensor& get(const std::string& key);
  const graft::Tensor& get(const Json& argument);  // {"tensor": key, "grad": bool, "strides": [...]}

 private:
  const CaseFile* file_ = nullptr;
  std::map<std::string, graft::Tensor> loaded_;
};

using Ints = std::vector<int64_t>;
inline graft::Shape shape_of(const Ints& v) { return graft::Shape(std::span<const int64_t>(v)); }

double to_number(const Json&);         // also {"float": "Infinity"}
graft::Scalar to_scalar(const Json&);  // also {"complex": [re, im]}
Ints to_ints(const Json&);             // a single number is a list of one

class Arguments {
 public:
  Arguments(const Json& args, const Json& kwargs, CaseTensors& tensors)
      : args_(args), kwargs_(kwargs), used_(kwargs.size()), tensors_(tensors) {}

  graft::Tensor tensor(const char* name);
  graft::Tensor tensor_or_none(const char* name);  // undefined for None
  graft::Tensors tensors(const char* name);
  int64_t integer(const char* name);
  int64_t integer(const char* name, int64_t otherwise);
  double number(const char* name, double otherwise);
  bool boolean(const char* name, bool otherwise);
  std::string text(const char* name, const std::string& otherwise = {});
  graft::Scalar scalar(const char* name);
  graft::Scalar scalar(const char* name, graft::Scalar otherwise);
  Ints ints(const char* name);
  Ints ints(const char* name, const Ints& otherwise);
  std::optional<Ints> ints_or_none(const char* name);
  std::optional<int64_t> integer_or_none(const char* name);
  std::optional<int> dim_or_none(const char* name);
  std::optional<double> number_or_none(const char* name);
  std::optional<graft::DType> dtype(const char* name);
  const Json& json(const char* name);  // null when absent

  const graft::Tensor& tensor_of(const Json& argument) { return tensors_.get(argument); }

  // Looks at what the next read of `name` would give, without taking it.
  const Json& peek(const char* name) const;
  bool has_tensor(const char* name) const { return peek(name).is_object() && peek(name).contains("tensor"); }
  bool none_left() const;
  void finish() const;  // throws Unsupported if something was not read

 private:
  const Json* next(const char* name);
  const Json& required(const char* name);
  const Json& args_;
  const Json& kwargs_;
  size_t position_ = 0;
  std::vector<bool> used_;
  CaseTensors& tensors_;
};

}  // namespace conformance

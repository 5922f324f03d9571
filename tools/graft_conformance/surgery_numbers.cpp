// Numbers of surgery programs: formulas that fill models, and tensors as JSON.
#include <cmath>
#include "compare.h"
#include "graft/core/op.h"
#include "report.h"
#include "surgery_world.h"

namespace conformance {

using namespace graft;

Tensor sequence(const Json& shape, const std::function<double(int64_t)>& f) {
  const auto sizes = shape.get<std::vector<int64_t>>();
  const Tensor t = empty(Shape(std::span<const int64_t>(sizes)), f64);
  double* values = t.mutable_data<double>();
  for (int64_t i = 0; i < t.numel(); ++i) values[i] = f(i);
  return t.to(where);
}

Tensor input_values(const Json& step) {
  const double seed = step.value("seed", 0.0);
  return sequence(step.at("shape"), [&](int64_t i) { return std::cos(0.21 * double(i) + seed); });
}
Tensor parameter_values(const Json& shape, double base) {
  return sequence(shape, [&](int64_t i) { return std::sin(0.37 * double(i) + base) / 2; });
}

namespace {

Json shape_of(const Tensor& t) {
  Json out = Json::array();
  for (const int64_t d : t.shape()) out.push_back(d);
  return out;
}
void write(const Tensor& to, const std::function<double(int64_t)>& f) {
  to.copy_(sequence(shape_of(to), f).to(to.dtype()));
}

}  // namespace

void fill(nn::Module& m, double base, const TensorSet& skip) {
  const NoGrad quiet;
  double k = base;
  for (const auto& [name, p] : m.named_parameters()) {
    if (!skip.contains(p.impl())) write(p, [&](int64_t i) { return std::sin(0.37 * double(i) + k) / 2; });
    ++k;
  }
  double j = 0;
  for (const auto& [name, b] : m.named_buffers()) {
    const std::string last = split_path(name).second;
    if (skip.contains(b.impl()) || last == "blur_filter" || last == "filt2d") {
    } else if (!is_floating(b.dtype())) {
      write(b, [&](int64_t) { return 3 + j; });
    } else if (last == "running_var") {
      write(b, [&](int64_t i) { return 1 + std::sin(0.53 * double(i) + base + j) / 2; });
    } else {
      write(b, [&](int64_t i) { return std::sin(0.29 * double(i) + base + j) / 4; });
    }
    ++j;
  }
}

std::string dtype_name(DType t) {
  constexpr std::string_view names[] = {"float32", "float64", "float16", "bfloat16", "int64",     "int32",
                                        "int16",   "int8",    "uint8",   "bool",     "complex64", "complex128"};
  return std::string(names[int(t)]);
}

std::vector<int64_t> shape_list(const Tensor& t) {
  const Shape s = t.shape();
  return {s.begin(), s.end()};
}
Json observed(const Tensor& t) {
  if (is_complex(t.dtype())) throw Unsupported("complex numbers in a surgery program");
  const Tensor p = plain(t);
  Json data = Json::array();
  with_type(p.dtype(), AllTypes{}, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = 0; i < p.numel(); ++i)
      if constexpr (!is_complex_v<T>) data.push_back(double(convert<double>(p.data<T>()[i])));
  });
  return {{"shape", shape_of(t)}, {"dtype", dtype_name(t.dtype())}, {"data", std::move(data)}};
}

}  // namespace conformance

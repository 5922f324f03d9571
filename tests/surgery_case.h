// A recorded surgery case whose field `graft` says what graft does instead of the original: the field's text and
// values, what the original's steps observed, and the formulas by which programs fill models and inputs (field
// `conventions`).
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "fingerprint.h"
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/nn/containers.h"
#include "graft/nn/module.h"
#include "graft/optim/optimizer.h"
#include "graft/surgery/plan.h"

namespace graft_test {

using Json = nlohmann::json;
using Lines = std::vector<std::string>;

inline const Json& recorded_cases() {
  static const Json all = [] {
    std::ifstream file(std::string(GRAFT_TESTS_DIR) + "/data/conformance/surgery.json");
    return Json::parse(file).at("cases");
  }();
  return all;
}

template <class F>
graft::Tensor sequence(const graft::Shape& shape, F f) {
  const graft::Tensor t = graft::empty(shape, graft::f64);
  double* values = t.mutable_data<double>();
  for (int64_t i = 0; i < t.numel(); ++i) values[i] = f(double(i));
  return t;
}
inline graft::Tensor to_tensor(const Json& recorded) {
  const auto sizes = recorded.at("shape").get<std::vector<int64_t>>();
  const auto data = recorded.at("data").get<std::vector<double>>();
  return sequence(graft::Shape(std::span<const int64_t>(sizes)), [&](double i) { return data[size_t(i)]; });
}

class Case {
 public:
  // `text`: the field's, so that a test shows what it stands for; the recording must say the same.
  Case(const std::string& id, const std::string& text) {
    for (const Json& c : recorded_cases())
      if (c.at("id") == id) case_ = c;
    EXPECT_EQ(case_.value("/graft/text"_json_pointer, std::string()), text) << id;
  }
  graft::Tensor value(const std::string& name) const { return to_tensor(case_.at("graft").at("values").at(name)); }
  double number(const std::string& name) const { return case_.at("graft").at("values").at(name).get<double>(); }
  const Json& expect(size_t step) const { return case_.at("program").at(step).at("expect"); }  // counted from 0
  graft::Tensor y(size_t step) const { return to_tensor(expect(step).at("y")); }
  double loss(size_t step) const { return expect(step).at("loss").get<double>(); }

 private:
  Json case_;
};

inline void expect_close(const graft::Tensor& got, const graft::Tensor& want, double slack = 1) {
  const graft::NoGrad quiet;
  ASSERT_EQ(got.shape(), want.shape());
  const graft::Tensor a = got.detach().to(graft::f64).contiguous(), b = want.detach().to(graft::f64).contiguous();
  for (int64_t i = 0; i < a.numel(); ++i)
    EXPECT_NEAR(a.data<double>()[i], b.data<double>()[i], slack * (1e-9 + 1e-8 * std::abs(b.data<double>()[i]))) << i;
}

inline void fill(graft::nn::Module& m, double base) {
  const graft::NoGrad quiet;
  double k = base, j = 0;
  for (const auto& [name, p] : m.named_parameters()) {
    p.detach().copy_(sequence(p.shape(), [&](double i) { return std::sin(0.37 * i + k) / 2; }).to(p.dtype()));
    ++k;
  }
  for (const auto& [name, b] : m.named_buffers()) {
    const bool variance = name.ends_with("running_var");
    b.copy_(sequence(b.shape(), [&](double i) {
              if (!is_floating(b.dtype())) return 3 + j;
              return variance ? 1 + std::sin(0.53 * i + base + j) / 2 : std::sin(0.29 * i + base + j) / 4;
            }).to(b.dtype()));
    ++j;
  }
}
// In f64, filled.
template <class M>
std::shared_ptr<M> built(std::shared_ptr<M> m, double base = 0) {
  m->float64();
  fill(*m, base);
  return m;
}
inline graft::Tensor input(const graft::Shape& shape, double seed = 0) {
  return sequence(shape, [&](double i) { return std::cos(0.21 * i + seed); });
}
inline graft::Tensor loss_weights(const graft::Tensor& y) {
  return sequence(y.shape(), [](double i) { return std::cos(0.13 * i); });
}
inline graft::Tensor loss(const graft::Tensor& y) { return graft::sum(y * loss_weights(y)); }

inline Lines parameter_names(const graft::nn::Module& m) {
  Lines list;
  for (const auto& [name, t] : m.named_parameters()) list.push_back(name);
  return list;
}
inline Lines changed(const std::vector<graft::surgery::Change>& changes) {
  Lines list;
  for (const auto& c : changes) list.push_back(c.path);
  return list;
}

// A policy that writes down what it is asked: "Linear fc1 0" is its type, the path, the index.
template <class M, class F>
graft::surgery::Policy asked(Lines& calls, F answer) {
  return graft::surgery::on<M>([&calls, answer](const M& m, const graft::surgery::Site& s) -> graft::nn::ModulePtr {
    calls.push_back(graft::concat(graft::surgery::short_type_name(typeid(M)), ' ', s.path(), ' ', s.index));
    return answer(m, s);
  });
}

}  // namespace graft_test

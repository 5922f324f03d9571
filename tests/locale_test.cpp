// KD14: a program's locale, with comma decimals and grouped digits, changes no text that graft makes.
#include <gtest/gtest.h>

#include <locale>
#include "graft/core/ops.h"
#include "graft/core/profile.h"
#include "graft/io/safetensors.h"
#include "graft/nn/nn.h"
#include "graft/surgery/surgery.h"

namespace {

using namespace graft;

struct Comma : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

std::vector<std::string> texts() {
  std::vector<std::string> all;
  const Tensor t = tensor({1234.5, 0.25, 98765.0}, f64);
  all.push_back(concat(t));
  auto net = nn::make<nn::Sequential>(nn::make<nn::Linear>(1024, 1024), nn::make<nn::Dropout>(0.25), nn::make<nn::BatchNorm1d>(1024));
  all.push_back(nn::repr(*net));
  all.push_back(concat(nn::summary(*net, {ones({2, 1024})})));
  all.push_back(concat(surgery::plan(*net, {surgery::on<nn::Dropout>([](const nn::Dropout&) { return nn::make<nn::Dropout>(0.125); })})));
  try {
    matmul(ones({1000, 2000}), ones({3000, 4000}));
  } catch (const Error& e) {
    all.emplace_back(e.what());
  }
  const auto bytes = io::safetensors_bytes({{"t", zeros({1234, 2})}});
  all.emplace_back(reinterpret_cast<const char*>(bytes.data()), 200);
  all.push_back(std::to_string(io::load_safetensors(bytes).tensors.size()));
  return all;
}

TEST(Contract, KD14_a_locale_with_comma_decimals_changes_no_text) {
  const std::vector<std::string> expected = texts();
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new Comma));
  const std::vector<std::string> got = texts();
  std::locale::global(before);
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], expected[i]);
}

}  // namespace

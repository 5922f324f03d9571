// Runs the table of op cases (op_cases_test/*.cpp). A failure names the case.
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <gtest/gtest.h>
#include "graft/kernels/table.h"
#include "op_cases_test/op_case.h"

namespace graft::cases {
namespace {

bool close(double a, double b, double tol) {
  return a == b || (std::isnan(a) && std::isnan(b)) || std::abs(a - b) <= tol * (1 + std::abs(b));
}
void expect_close(const std::vector<double>& got, const std::vector<double>& expected, double tol) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i)
    if (!close(got[i], expected[i], tol))
      FAIL() << "element " << i << ": " << got[i] << ", expected " << expected[i] << " within " << tol;
}
// ---- expected values -----------------------------------------------------------------------------------------

std::vector<double> by_element(const OpCase& c, const Tensors& in, const Shape& shape) {
  std::vector<std::vector<double>> x;
  for (const Tensor& t : in) x.push_back(elements(t.expand(shape)));
  std::vector<double> result(numel_of(shape)), one(in.size());
  for (size_t i = 0; i < result.size(); ++i) {
    for (size_t k = 0; k < in.size(); ++k) one[k] = x[k][i];
    result[i] = c.element(one.data());
  }
  return result;
}
// For f64 inputs; element functions also for others.
std::vector<double> expected_of(const OpCase& c, const Tensors& in, const Shape& shape) {
  if (c.element) return by_element(c, in, shape);
  if (!c.values.empty()) return c.values;
  const Tensor t = c.expected(in);
  EXPECT_EQ(t.shape(), shape);
  return elements(t);
}

class EveryCase : public testing::TestWithParam<Family> {
 protected:
  // Calls check(c) for every case that `applies`.
  template <class F> void each(bool OpCase::* applies, F check) {
    for (const OpCase& c : GetParam().cases()) {
      SCOPED_TRACE(label(c));
      if (!applies || c.*applies) check(c);
      if (HasFatalFailure()) break;
    }
  }
};

TEST_P(EveryCase, values_are_those_computed_outside_of_the_library) {
  each(nullptr, [](const OpCase& c) {
    ASSERT_TRUE(c.element || c.expected || !c.values.empty()) << "the case expects nothing";
    const NoGrad quiet;
    const Tensor y = c.fn(c.in);
    expect_close(elements(y), expected_of(c, c.in, y.shape()), 2e-13 * c.tolerance);
    for (const DType t : c.also) {
      SCOPED_TRACE(name_of(t));
      Tensors in;
      for (const Tensor& x : c.in) in.push_back(x.to(t));
      const Tensor z = c.fn(in);
      expect_close(elements(z), by_element(c, in, z.shape()), 0);
    }
  });
}

// ---- gradients -----------------------------------------------------------------------------------------------

using Scalarised = std::function<Tensor(const Tensors&)>;

void check_gradient(const Scalarised& f, Tensors in) {
  Tensors leaves;
  for (Tensor& t : in)
    if (floating(t)) leaves.push_back(t = t.clone().requires_grad_());
  const Tensor y = f(in);
  if (!y.requires_grad()) return;  // constant almost everywhere
  const Tensors g = grad({y}, leaves, {.allow_unused = true});
  const NoGrad quiet;
  for (size_t k = 0; k < leaves.size(); ++k) {
    const std::vector<double> got = g[k].defined() ? elements(g[k]) : std::vector<double>(size_t(leaves[k].numel()));
    for (int64_t i = 0; i < leaves[k].numel(); ++i) {
      constexpr double eps = 1e-6;
      double& x = leaves[k].mutable_data<double>()[i];
      const double before = x;
      x = before + eps;
      const double up = f(in).item<double>();
      x = before - eps;
      const double down = f(in).item<double>();
      x = before;
      const double expected = (up - down) / (2 * eps);
      ASSERT_TRUE(close(got[size_t(i)], expected, 2e-6))
          << "gradient of input " << k << " element " << i << ": " << got[size_t(i)] << ", differences say " << expected;
    }
  }
}

TEST_P(EveryCase, gradients_are_those_of_finite_differences) {
  each(&OpCase::grad, [](const OpCase& c) { check_gradient([&](const Tensors& x) { return weigh(c.fn(x)); }, c.in); });
}

// The fused derivatives that are used without create_graph against the formula that is used with it.
TEST_P(EveryCase, fused_derivatives_agree_with_the_formula) {
  each(&OpCase::grad, [](const OpCase& c) {
    Tensors in = c.in, leaves;
    for (Tensor& t : in)
      if (floating(t)) leaves.push_back(t = t.clone().requires_grad_());
    const Tensor y = weigh(c.fn(in));
    if (!y.requires_grad()) return;
    const Tensors formula = grad({y}, leaves, {.create_graph = true, .allow_unused = true}), fused = grad({y}, leaves, {.allow_unused = true});
    for (size_t k = 0; k < leaves.size(); ++k) {
      ASSERT_EQ(formula[k].defined(), fused[k].defined());
      if (formula[k].defined()) expect_close(elements(fused[k]), elements(formula[k]), 1e-11);
    }
  });
}

TEST_P(EveryCase, second_gradients_are_those_of_finite_differences) {
  each(&OpCase::second_grad, [](const OpCase& c) {
    if (!c.grad) return;
    check_gradient([&](const Tensors& x) {
      const EnableGrad on;
      Tensors leaves;
      for (const Tensor& t : x)
        if (floating(t)) leaves.push_back(t.requires_grad() ? t : Tensor(t).requires_grad_());
      Tensor total = full({}, 0.0, f64);
      const Tensor y = weigh(c.fn(x));
      if (!y.requires_grad()) return total;
      for (const Tensor& g : grad({y}, leaves, {.create_graph = true, .allow_unused = true}))
        if (g.defined()) total = total + sum(g * g);
      return total;
    }, c.in);
  });
}

// ---- dtypes, layouts, sizes ----------------------------------------------------------------------------------

TEST_P(EveryCase, every_floating_dtype_agrees_with_f64) {
  const std::pair<DType, double> types[] = {{f32, 2e-6}, {f16, 1.5e-3}, {bf16, 1.2e-2}};
  each(&OpCase::floats, [&](const OpCase& c) {
    if (std::ranges::none_of(c.in, floating)) return;
    const NoGrad quiet;
    for (const auto& [t, tolerance] : types) {
      SCOPED_TRACE(name_of(t));
      const Tensors in = converted(c.in, t);
      expect_close(elements(c.fn(in)), elements(c.fn(converted(in, f64))), tolerance * c.tolerance);
    }
  });
}

TEST_P(EveryCase, layouts_of_the_inputs_do_not_matter) {
  each(&OpCase::strided, [](const OpCase& c) {
    const NoGrad quiet;
    for (Tensor (*layout)(const Tensor&) : kLayouts) {
      for (size_t k = 0; k <= c.in.size(); ++k) {  // one input at a time, then all
        Tensors strided = c.in, plain;
        for (size_t i = 0; i < c.in.size(); ++i)
          if (i == k || k == c.in.size()) strided[i] = layout(c.in[i]);
        for (const Tensor& t : strided) plain.push_back(t.contiguous());
        const Tensor y = c.fn(strided), z = c.fn(plain);
        ASSERT_EQ(y.shape(), z.shape());
        expect_close(elements(y), elements(z), 1e-12 * c.tolerance);
      }
    }
  });
}

TEST_P(EveryCase, pointwise_ones_take_empty_and_0_dim_inputs) {
  each(&OpCase::pointwise, [](const OpCase& c) {
    Tensors none, one;
    for (const Tensor& t : c.in) {
      none.push_back(t.dim() && t.size(-1) > 1 ? t.narrow(-1, 0, 0) : t);
      one.push_back(t.reshape({t.numel()}).narrow(0, 0, 1).reshape({}));
    }
    const NoGrad quiet;
    const Tensor y = c.fn(none), z = c.fn(one);
    EXPECT_TRUE(y.dim() == 0 || y.numel() == 0);
    ASSERT_EQ(z.dim(), 0);
    if (c.element) expect_close(elements(z), by_element(c, one, {}), 2e-13 * c.tolerance);
  });
}

TEST_P(EveryCase, meta_tensors_give_the_shape_and_dtype_without_memory) {
  each(&OpCase::meta, [](const OpCase& c) {
    Tensors in;
    for (const Tensor& t : c.in) in.push_back(empty(t.shape(), {t.dtype(), Device::meta}));
    const NoGrad quiet;
    const Tensor y = c.fn(in), z = c.fn(c.in);
    EXPECT_EQ(y.shape(), z.shape());
    EXPECT_EQ(y.dtype(), z.dtype());
    EXPECT_TRUE(y.device() == Device::meta && !y.view().data);
  });
}

TEST_P(EveryCase, in_place_forms_equal_the_functional_ones) {
  each(nullptr, [](const OpCase& c) {
    if (!c.in_place) return;
    Tensors in, leaves;
    for (const Tensor& t : c.in) {
      in.push_back(t.clone());
      if (floating(t)) leaves.push_back(in.back().requires_grad_());
    }
    Tensors written = in;
    written[0] = floating(in[0]) ? in[0] * 1.0 : in[0].clone();
    const Tensor& result = c.in_place(written);
    EXPECT_TRUE(result.is_same(written[0]));
    const Tensor y = c.fn(in);
    expect_close(elements(result), elements(y), 1e-13);
    if (!c.grad || !y.requires_grad()) return;
    const Tensors g = grad({weigh(result)}, leaves, {.allow_unused = true}),
                  expected = grad({weigh(y)}, leaves, {.allow_unused = true});
    for (size_t k = 0; k < leaves.size(); ++k) {
      ASSERT_EQ(g[k].defined(), expected[k].defined());
      if (g[k].defined()) expect_close(elements(g[k]), elements(expected[k]), 1e-11);
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Ops, EveryCase, testing::ValuesIn(families()), [](const auto& p) { return p.param.name; });

// ---- coverage ------------------------------------------------------------------------------------------------

struct Names final : Observer {
  std::set<std::string> seen;
  void before(const Call& c) override { seen.emplace(c.op.name); }
};
// Ops with tests of another kind: distributions (random_test.cpp), the one device that a copy can go to, and kernels
// that are called by their family's own tests (conv_kernel_test.cpp, pool_kernel_test.cpp, optim_test.cpp).
const std::set<std::string> kElsewhere{
    "bernoulli", "dropout", "exponential", "multinomial", "normal", "random_int", "randperm", "uniform", "to_device",
    "conv_forward", "conv_backward_data", "conv_backward_weight", "avg_pool", "avg_pool_backward", "max_pool",
    "max_pool_backward", "adaptive_avg_pool", "adaptive_avg_pool_backward", "adaptive_max_pool", "adam", "sgd"};
// The ops that the sources define, views included.
std::set<std::string> defined_ops() {
  std::set<std::string> names;
  const std::regex definition(R"re((?:\.name = |OpDef \w+ = \w+\()"(\w+)")re");
  for (const auto& file : std::filesystem::directory_iterator(GRAFT_TESTS_DIR "/../core/ops")) {
    if (file.path().extension() != ".cpp") continue;
    std::ifstream in(file.path());
    const std::string text(std::istreambuf_iterator<char>(in), {});
    for (std::sregex_iterator at(text.begin(), text.end(), definition), end; at != end; ++at) names.insert((*at)[1].str());
  }
  return names;
}

TEST(OpCasesCoverage, every_op_of_the_sources_and_of_the_kernel_table_is_called_by_a_case) {
  Names names;
  for (const Family& family : families())
    for (const OpCase& c : family.cases()) {
      Tensors in = c.in, leaves;
      for (Tensor& t : in)
        if (floating(t) && c.grad) leaves.push_back(t = t.clone().requires_grad_());
      const std::set<std::string> before = std::exchange(names.seen, {});
      {
        const Observing scope(names);
        const Tensor y = c.fn(in);
        EXPECT_TRUE(names.seen.contains(c.op)) << label(c) << " does not reach its op";
        if (!leaves.empty() && y.requires_grad())
          for (const bool create_graph : {true, false})
            grad({weigh(y)}, leaves, {.create_graph = create_graph, .allow_unused = true});
        if (c.in_place) {
          Tensors written = c.in;
          written[0] = written[0].clone();
          c.in_place(written);
        }
      }
      names.seen.insert(before.begin(), before.end());
    }
  std::set<std::string> expected = defined_ops();
  EXPECT_GT(expected.size(), 20U);
  for (const std::string& op : kernel_ops()) expected.insert(op);
  std::string missing;
  for (const std::string& op : expected)
    if (!names.seen.contains(op) && !kElsewhere.contains(op)) missing += " " + op;
  EXPECT_EQ(missing, "") << "ops without a case";
}

}  // namespace
}  // namespace graft::cases

// The table of op cases on device cuda: everything as on cpu, whose values op_cases_test.cpp holds against other sources.
#include <algorithm>
#include <functional>
#include <set>
#include "cuda_device.h"
#include "graft/kernels/table.h"
#include "op_cases_test/op_case.h"

namespace graft::cases {
namespace {

// The ops that have a kernel on cpu and none on cuda yet. A test holds this list exact: a family that lands takes out its ops.
const std::set<std::string> kMissing{};

bool is_missing(const std::string& text) {  // "softmax: no kernel for f32[2]@cuda:0; ..."
  return kMissing.contains(text.substr(0, text.find(':')));
}
Tensor on_cuda(const Tensor& x) { return x.to(Device(Device::cuda)); }
Tensors on_cuda(const Tensors& in) {
  Tensors out;
  for (const Tensor& x : in) out.push_back(on_cuda(x));
  return out;
}
bool close(double a, double b, double tol) {
  return a == b || (std::isnan(a) && std::isnan(b)) || std::abs(a - b) <= tol * (1 + std::abs(b));
}
void expect_close(const Tensor& got, const Tensor& expected, double tol) {
  ASSERT_EQ(got.shape(), expected.shape());
  ASSERT_EQ(got.dtype(), expected.dtype());
  const std::vector<double> a = elements(got), b = elements(expected);
  for (size_t i = 0; i < a.size(); ++i)
    if (!close(a[i], b[i], tol)) FAIL() << "element " << i << ": " << a[i] << ", on cpu " << b[i] << ", tolerance " << tol;
}

class EveryCase : public OnCuda<testing::TestWithParam<Family>> {
 protected:
  // Calls check(c) for every case; one that needs a kernel of kMissing ends there.
  template <class F> void each(F check) {
    int ran = 0;
    for (const OpCase& c : GetParam().cases()) {
      SCOPED_TRACE(label(c));
      try {
        check(c);
        ++ran;
      } catch (const Error& e) {
        if (e.code() == ErrorCode::not_implemented && is_missing(e.text())) continue;
        ADD_FAILURE() << e.what();
#ifdef GRAFT_CUDA_EMULATED
        cuda::emulation::reset();
#endif
      }
      if (HasFatalFailure()) break;
    }
    RecordProperty("cases", ran);
  }
};

TEST_P(EveryCase, values) {
  each([](const OpCase& c) {
    const NoGrad quiet;
    const Tensor y = c.fn(on_cuda(c.in));
    EXPECT_TRUE(c.in.empty() || y.device() == Device::cuda);
    expect_close(y, c.fn(c.in), 1e-12 * c.tolerance);
    for (const DType t : c.also) {
      SCOPED_TRACE(name_of(t));
      Tensors in;
      for (const Tensor& x : c.in) in.push_back(x.to(t));
      expect_close(c.fn(on_cuda(in)), c.fn(in), 0);
    }
  });
}

TEST_P(EveryCase, values_of_every_floating_dtype) {
  const std::pair<DType, double> types[] = {{f32, 2e-6}, {f16, 1.5e-3}, {bf16, 1.2e-2}};
  each([&](const OpCase& c) {
    if (!c.floats || std::ranges::none_of(c.in, floating)) return;
    const NoGrad quiet;
    for (const auto& [t, tolerance] : types) {
      SCOPED_TRACE(name_of(t));
      const Tensors in = converted(c.in, t);
      expect_close(c.fn(on_cuda(in)), c.fn(in), tolerance * c.tolerance);
    }
  });
}

// Gradients of the first or, as gradients of their squares, of the second order.
Tensors gradients(const OpCase& c, const Tensors& in, bool create_graph, bool second) {
  Tensors x = in, leaves;
  for (Tensor& t : x)
    if (floating(t)) leaves.push_back(t = t.clone().requires_grad_());
  const Tensor y = weigh(c.fn(x));
  if (!y.requires_grad()) return {};
  Tensors g = grad({y}, leaves, {.create_graph = create_graph, .allow_unused = true});
  if (!second) return g;
  Tensor total;
  for (const Tensor& one : g)
    if (one.defined() && one.requires_grad()) total = total.defined() ? total + sum(one * one) : sum(one * one);
  return total.defined() ? grad({total}, leaves, {.allow_unused = true}) : Tensors{};
}
void expect_same_gradients(const OpCase& c, bool create_graph, bool second) {
  const Tensors got = gradients(c, on_cuda(c.in), create_graph, second), expected = gradients(c, c.in, create_graph, second);
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i].defined(), expected[i].defined());
    if (got[i].defined()) expect_close(got[i], expected[i], 1e-11 * c.tolerance);
  }
}
TEST_P(EveryCase, gradients) {
  each([](const OpCase& c) {
    if (c.grad) expect_same_gradients(c, false, false);
  });
}
TEST_P(EveryCase, gradients_by_the_formula) {
  each([](const OpCase& c) {
    if (c.grad) expect_same_gradients(c, true, false);
  });
}
TEST_P(EveryCase, second_gradients) {
  each([](const OpCase& c) {
    if (c.grad && c.second_grad) expect_same_gradients(c, true, true);
  });
}

TEST_P(EveryCase, layouts_of_the_inputs_do_not_matter) {
  each([](const OpCase& c) {
    if (!c.strided) return;
    const NoGrad quiet;
    for (Tensor (*layout)(const Tensor&) : kLayouts)
      for (size_t k = 0; k <= c.in.size(); ++k) {  // one input at a time, then all
        Tensors strided = on_cuda(c.in), plain;
        for (size_t i = 0; i < c.in.size(); ++i)
          if (i == k || k == c.in.size()) strided[i] = layout(strided[i]);
        for (const Tensor& t : strided) plain.push_back(t.to(Device::cpu).contiguous());
        expect_close(c.fn(strided), c.fn(plain), 1e-12 * c.tolerance);
      }
  });
}

TEST_P(EveryCase, empty_and_0_dim_inputs) {
  each([](const OpCase& c) {
    if (!c.pointwise) return;
    Tensors none, one;
    for (const Tensor& t : c.in) {
      none.push_back(t.dim() && t.size(-1) > 1 ? t.narrow(-1, 0, 0) : t);
      one.push_back(t.reshape({t.numel()}).narrow(0, 0, 1).reshape({}));
    }
    const NoGrad quiet;
    expect_close(c.fn(on_cuda(none)), c.fn(none), 0);
    expect_close(c.fn(on_cuda(one)), c.fn(one), 1e-12 * c.tolerance);
  });
}

TEST_P(EveryCase, in_place) {
  each([](const OpCase& c) {
    if (!c.in_place) return;
    const NoGrad quiet;
    Tensors here, there;
    for (const Tensor& t : c.in) {
      here.push_back(t.clone());
      there.push_back(on_cuda(t));
    }
    expect_close(c.in_place(there), c.in_place(here), 1e-12 * c.tolerance);
  });
}

INSTANTIATE_TEST_SUITE_P(Ops, EveryCase, testing::ValuesIn(families()), [](const auto& p) { return p.param.name; });

TEST(CudaKernels, the_list_of_what_is_missing_is_exact) {
  std::set<std::string> on_cpu, missing, incomplete;
  for (const KernelInfo& k : list_kernels())
    if (k.device == Device::cpu) on_cpu.insert(k.op);
  for (const std::string& op : on_cpu) {
    const OpEntry& entry = intern(op);
    bool any = false, all = true;
    for (int t = 0; t < kDTypes; ++t) {
      if (!entry.first(Device::cpu, DType(t))) continue;
      const bool has = entry.first(Device::cuda, DType(t));
      any = any || has;
      all = all && has;
    }
    if (!any) missing.insert(op);
    else if (!all) incomplete.insert(op + ": " + available_kernels(entry));
  }
  std::string now;
  for (const std::string& op : missing) now += "\"" + op + "\", ";
  EXPECT_EQ(missing, kMissing) << "the list is now\n" << now;
  EXPECT_EQ(incomplete, std::set<std::string>{}) << "ops that lack some of the dtypes that they have on cpu";
}

}  // namespace
}  // namespace graft::cases

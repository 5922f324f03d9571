// Services at the choke point: observers, profile, costs, dry runs, warnings, the list of kernels.
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include "graft/core/autograd.h"
#include "graft/core/function.h"
#include "graft/core/ops.h"
#include "graft/core/path.h"
#include "graft/core/profile.h"
#include "graft/core/random.h"
#include "graft/core/warning.h"

using namespace graft;

namespace {

struct Names final : Observer {
  std::string before_, after_;
  void before(const Call& c) override { before_ += std::string(c.op.name) + " "; }
  void after(const Call& c, std::span<const Tensor> out, const Candidate*) override {
    after_ += current_path() + ":" + std::string(c.op.name) + " ";
    if (out.size() == 1 && out[0].dtype() == f32) last = out[0] * 2;  // what an observer does is not observed
  }
  Tensor last;
};

TEST(Observer, several_see_the_same_calls_but_not_what_observers_do) {
  Names outer, inner;
  const Tensor x = ones({2, 3});
  const Observing a(outer);
  exp(x);
  {
    const Observing b(inner);
    const PathScope encoder("encoder", nullptr), layer("3", nullptr);
    neg(x);
  }
  neg(x);
  EXPECT_EQ(outer.before_, "exp neg neg ");
  EXPECT_EQ(outer.after_, ":exp encoder.3:neg :neg ");
  EXPECT_EQ(inner.before_, "neg ");
  EXPECT_EQ(outer.last.at({0, 0}), -2);
}

TEST(Observer, one_that_throws_ends_the_op_and_observing_goes_on) {
  struct Thrower final : Observer {
    void before(const Call& c) override {
      ++calls;
      if (c.op.name == "exp") throw std::runtime_error("seen");
    }
    int calls = 0;
  } thrower;
  const Tensor x = ones({2});
  const Observing scope(thrower);
  EXPECT_THROW(exp(x), std::runtime_error);
  neg(x);
  EXPECT_EQ(thrower.calls, 2);
}

TEST(Observer, sees_in_place_ops_and_the_ops_of_backward) {
  Names names;
  const Tensor x = ones({2}).requires_grad_();
  const Observing scope(names);
  const Tensor y = x * x;
  y.mul_(x.detach());
  sum(y).backward();
  EXPECT_NE(names.before_.find("mul mul sum "), std::string::npos) << names.before_;
  EXPECT_GT(names.before_.size(), std::string("mul mul sum full mul").size()) << names.before_;
}

// An op whose first kernel always declines.
const OpDef probe_op{.name = "observer_probe", .infer = infer_same};
[[maybe_unused]] const bool probe_kernels = [] {
  add_kernel("observer_probe", Device::cpu, f32, "first", [](const Launch&) -> Decline { return "not on this day"; });
  add_kernel("observer_probe", Device::cpu, f32, "second", [](const Launch&) -> Decline { return kRan; });
  return true;
}();

TEST(Profile, records_kernel_shapes_bytes_costs_and_reasons_and_writes_a_chrome_trace) {
  Profile profile;
  const Tensor a = ones({4, 8}), b = ones({8, 2});
  {
    const Observing scope(profile);
    const PathScope head("head", nullptr);
    matmul(a, b);
    exp(a.narrow(1, 0, 3));
    apply(probe_op, {}, a);
  }
  ASSERT_EQ(profile.events().size(), 4U);
  const Profile::Event& product = profile.events()[0];
  EXPECT_EQ(product.op, "matmul");
  EXPECT_EQ(product.path, "head");
  EXPECT_EQ(product.inputs, "f32[4,8]@cpu, f32[8,2]@cpu");
  EXPECT_EQ(product.outputs, "f32[4,2]@cpu");
  EXPECT_EQ(product.bytes, 4 * (32 + 16 + 8));
  EXPECT_EQ(product.macs, 4 * 8 * 2);
  EXPECT_FALSE(product.kernel.empty());
  EXPECT_GE(product.duration_ns, 0);
  EXPECT_EQ(profile.events()[1].kernel, "view");
  EXPECT_EQ(profile.events()[2].kernel, "rows");
  EXPECT_EQ(profile.events()[3].kernel, "second");
  EXPECT_EQ(profile.events()[3].declined, "first: not on this day");
  EXPECT_LE(profile.events()[1].start_ns, profile.events()[2].start_ns);

  const auto trace = nlohmann::json::parse(profile.chrome_trace());
  ASSERT_EQ(trace["traceEvents"].size(), 4U);
  EXPECT_EQ(trace["traceEvents"][0]["name"], "matmul");
  EXPECT_EQ(trace["traceEvents"][0]["ph"], "X");
  EXPECT_EQ(trace["traceEvents"][0]["args"]["macs"], 64);
  EXPECT_NE(profile.table().find("matmul"), std::string::npos);
  EXPECT_THROW(profile.write_chrome_trace("/nonexistent/trace.json"), Error);
}

TEST(CostCounter, counts_per_path_on_meta_tensors_and_in_a_dry_run) {
  const Tensor x = ones({5, 8}), w = ones({3, 8}), bias = ones({3});
  const auto count = [&](const Tensor& in) {
    CostCounter costs;
    const Observing scope(costs);
    {
      const PathScope head("head", nullptr);
      linear(in, w.to(in.device()), bias.to(in.device()));
    }
    exp(in);
    EXPECT_EQ(costs.by_path().at("head").macs, 5 * 8 * 3);
    EXPECT_EQ(costs.by_path().at("").macs, 0);
    return costs.total().macs;
  };
  EXPECT_EQ(count(x), 120);
  EXPECT_EQ(count(empty({5, 8}, Device::meta)), 120);
  const DryRun dry;
  EXPECT_EQ(count(x), 120);
}

// ---- dry runs ------------------------------------------------------------------------------------------------

ErrorCode code_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::invalid_argument;
}

TEST(DryRun, mixes_devices_and_gives_shapes_without_memory) {
  const Tensor real = ones({4, 8}), meta = empty({8, 2}, Device::meta);
  const int64_t before = memory::stats().in_use;
  const DryRun dry;
  const Tensor y = matmul(real, meta);
  EXPECT_EQ(y.shape(), Shape({4, 2}));
  EXPECT_EQ(y.device(), Device::meta);
  EXPECT_EQ((y + real.narrow(1, 0, 2)).shape(), Shape({4, 2}));
  EXPECT_EQ(y.to(Device(Device::cpu)).shape(), Shape({4, 2}));
  EXPECT_EQ(empty({1 << 20, 1 << 20}).device(), Device::meta);
  EXPECT_EQ((zeros({1 << 20, 1 << 20}) * 2.0).shape(), Shape({1 << 20, 1 << 20}));
  EXPECT_LT(memory::stats().in_use - before, 1 << 16);
  EXPECT_THROW(matmul(y, real), Error);  // shapes are still checked
}

TEST(DryRun, in_place_ops_check_and_write_nothing) {
  const Tensor x = ones({3}), w = ones({3}).requires_grad_(), y = w * 2;
  const uint32_t version = x.version(), version_y = y.version();
  {
    const DryRun dry;
    x.add_(x * 5.0);
    x.mul_(empty({3}, Device::meta));
    x.narrow(0, 0, 2).copy_(x.narrow(0, 1, 2));  // computed aside: overlapping memory
    x.uniform_();
    y.mul_(x);
    EXPECT_THROW(x.add_(ones({2, 3})), Error);
    EXPECT_EQ(code_of([&] { x.mutable_data<float>(); }), ErrorCode::data_dependent);
  }
  EXPECT_EQ(sum(x).item<float>(), 3);
  EXPECT_EQ(x.version(), version);
  EXPECT_EQ(y.version(), version_y);
  EXPECT_EQ(y.grad_fn(), (w * 2).grad_fn());
  sum(y).backward();
  EXPECT_EQ(w.grad().at({0}), 2);
}

TEST(DryRun, what_depends_on_values_is_an_error) {
  const Tensor x = ones({});
  EXPECT_EQ(code_of([&] { empty({1}, Device::meta).item(); }), ErrorCode::data_dependent);
  EXPECT_EQ(code_of([&] { empty({1}, Device::meta).data<float>(); }), ErrorCode::data_dependent);
  const DryRun dry;
  EXPECT_EQ(code_of([&] { x.item(); }), ErrorCode::data_dependent);
  EXPECT_EQ(code_of([&] { (x * 2.0).item<float>(); }), ErrorCode::data_dependent);
  EXPECT_EQ(code_of([&] { (x * 2.0).data<float>(); }), ErrorCode::data_dependent);
}

TEST(DryRun, backward_runs_no_hook_and_writes_no_gradient) {
  const Tensor w = ones({3}).requires_grad_();
  int calls = 0;
  w.register_hook([&](const Tensor&) { return ++calls, Tensor(); });
  w.register_post_accumulate_grad_hook([&](const Tensor&) { ++calls; });
  {
    const DryRun dry;
    const Tensor y = w * 2;
    y.register_hook([&](const Tensor&) { return ++calls, Tensor(); });
    sum(y).backward();
    EXPECT_EQ(grad({sum(w * w)}, {w})[0].shape(), Shape({3}));
  }
  EXPECT_EQ(calls, 0);
  EXPECT_FALSE(w.grad().defined());
}

TEST(DryRun, constants_of_the_program_keep_their_values) {
  Tensor c, s;
  {
    const DryRun dry;
    c = tensor({1.0, 2.0});
    s = scalar_tensor(3.0);
  }
  EXPECT_EQ(c.at({1}), 2);
  EXPECT_EQ(s.item<float>(), 3);
}

// ---- warnings, kernels ---------------------------------------------------------------------------------------

TEST(Warning, goes_to_the_handler_and_nowhere_without_one) {
  warn("nobody listens to ", 1);
  std::string heard;
  const WarningHandler before = set_warning_handler([&](const std::string& text) { heard += text + ";"; });
  EXPECT_FALSE(before);
  warn("x is ", 2);
  const WarningHandler mine = set_warning_handler({});
  EXPECT_TRUE(mine);
  warn("y");
  EXPECT_EQ(heard, "x is 2;");
}

TEST(Kernels, are_listed_by_op_device_and_dtype_in_the_order_of_their_trial) {
  const std::vector<KernelInfo> all = list_kernels();
  const auto exp_f32 = std::ranges::find_if(all, [](const KernelInfo& k) {
    return k.op == "exp" && k.device == Device::cpu && k.dtype == f32;
  });
  ASSERT_NE(exp_f32, all.end());
  EXPECT_EQ(exp_f32->kernels.back(), "rows");
  EXPECT_TRUE(std::ranges::is_sorted(all, {}, [](const KernelInfo& k) { return std::tuple(k.op, k.device, k.dtype); }));
  for (const KernelInfo& k : all) EXPECT_FALSE(k.kernels.empty());
}

}  // namespace

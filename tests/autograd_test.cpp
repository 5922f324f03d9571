// What autograd promises: hooks, retained gradients, options and their errors, anomalies, custom functions, modes.
// Programs with in-place ops are in inplace_test.cpp.
#include <cmath>
#include <gtest/gtest.h>
#include "graft/core/autograd.h"
#include "graft/core/function.h"
#include "graft/core/gradcheck.h"
#include "graft/core/ops.h"
#include "graft/core/path.h"
#include "graft/core/random.h"
#include "graft/kernels/denormal.h"
#include "graft/kernels/parallel.h"

using namespace graft;

namespace {

Tensor leaf(std::initializer_list<double> values, DType t = f64) { return tensor(values, t).requires_grad_(); }

void expect_values(const Tensor& t, const std::vector<double>& expected) {
  ASSERT_TRUE(t.defined());
  ASSERT_EQ(t.numel(), int64_t(expected.size()));
  const Tensor flat = t.detach().reshape({t.numel()});
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(flat.at({int64_t(i)}), expected[i], 1e-9) << "element " << i;
}
template <class F> void expect_error(F f, ErrorCode code, std::string_view text) {
  try {
    f();
    ADD_FAILURE() << "no error; expected: " << text;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    EXPECT_NE(std::string_view(e.what()).find(text), std::string_view::npos) << e.what();
  }
}

// ---- contract ------------------------------------------------------------------------------------------------

TEST(Contract, KT3_nan_and_inf_propagate_and_anomaly_mode_names_the_first_op) {
  const Tensor x = leaf({-1.0, 0.0, 4.0});
  EXPECT_TRUE(std::isinf((ones({1}) / zeros({1})).at({0})));
  const auto loss = [&] {
    const PathScope encoder("encoder", nullptr), third("3", nullptr);
    const Tensor y = autograd::custom(
        {x}, [](const Tensors& in) -> Tensors { return {in[0] * 2}; },
        [](Backward&, const Tensors& g) -> Tensors { return {g[0] * tensor({std::nan(""), 1.0, 1.0}, f64)}; }, "broken")[0];
    return sum(y * y);
  };
  loss().backward();  // silent without the mode
  EXPECT_TRUE(std::isnan(x.grad().at({0})));
  const DetectAnomaly on;
  expect_error([&] { loss().backward(); }, ErrorCode::autograd,
               "the derivative of broken returned NaN for its input 0 (gradient f64[3]@cpu, output f64[3]@cpu); it was called in "
               "encoder.3");
  const Tensor z = leaf({0.0});
  expect_error([&] { sum(z / z).backward(); }, ErrorCode::autograd, "the derivative of div returned NaN for its input ");
  x.set_grad({});
  sum(x * x).backward();  // nothing wrong here
  expect_values(x.grad(), {-2, 0, 8});
}

TEST(Contract, KT4_writing_a_leaf_that_requires_grad_in_place_is_an_error) {
  const Tensor x = leaf({1, 2});
  expect_error([&] { x.mul_(x); }, ErrorCode::autograd, "leaf that requires grad");
  expect_error([&] { x.narrow(0, 0, 1).add_(x.narrow(0, 1, 1)); }, ErrorCode::autograd, "leaf that requires grad");
  expect_error([&] { x.detach().clone().requires_grad_().relu_(); }, ErrorCode::autograd, "leaf that requires grad");
  {
    const NoGrad quiet;
    x.mul_(x);
  }
  expect_values(x, {1, 4});
}

TEST(Contract, KT5_a_saved_tensor_that_was_overwritten_is_an_error_that_names_both_ops) {
  const Tensor x = leaf({1, 2}), a = x * 1.0, y = a * a;
  a.add_(x.detach());
  expect_error([&] { sum(y).backward(); }, ErrorCode::autograd, "(f64[2]@cpu), which add_ has changed");
  const Tensor w = tensor({3.0, 4.0}, f64), z = x * w;
  w.mutable_data<double>()[0] = 7;
  expect_error([&] { sum(z).backward(); }, ErrorCode::autograd, "which mutable_data_ has changed in place");
}

TEST(Contract, KT6_backward_twice_is_an_error_unless_the_graph_is_retained) {
  const Tensor x = leaf({3}), y = x * x;
  y.backward({}, true);
  y.backward();
  expect_values(x.grad(), {12});
  expect_error([&] { y.backward(); }, ErrorCode::autograd, "the saved tensors of mul were freed by an earlier pass; pass retain_graph");
  const Tensor sum_only = x + x;  // saves nothing, so there is nothing to miss
  sum_only.backward();
  sum_only.backward();
  expect_values(x.grad(), {16});
}

TEST(Contract, KT7_backward_needs_a_gradient_and_a_seed_that_fits) {
  const Tensor x = leaf({1, 2}), y = x * x;
  expect_error([&] { y.backward(); }, ErrorCode::autograd, "a gradient can be left out for one element only, not for f64[2]@cpu");
  expect_error([&] { sum(x.detach()).backward(); }, ErrorCode::autograd, "does not require grad");
  expect_error([&] { y.backward(ones({3}, f64)); }, ErrorCode::shape_mismatch, "has another shape than its output f64[2]@cpu");
  expect_error([&] { y.backward(ones({2}, c128)); }, ErrorCode::dtype_mismatch, "both be real or both complex");
  y.backward(tensor({1.0, 10.0}, f64));
  expect_values(x.grad(), {2, 40});
}

TEST(Contract, KT9_graphs_of_a_hundred_thousand_ops_are_walked_and_freed_without_recursion) {
  const int64_t before = memory::stats().in_use;
  {
    const Tensor x = leaf({1});
    Tensor y = x;
    for (int i = 0; i < 100'000; ++i) y = i % 2 ? y * x : y + x;
    EXPECT_EQ(grad({y}, {x}).size(), 1U);
    Tensor chain = x.clone();  // views of views, each written in place
    for (int i = 0; i < 20'000; ++i) chain = chain.reshape({1}), chain.mul_(x);
  }
  EXPECT_EQ(memory::stats().in_use, before);
}

TEST(Contract, KT10_mixed_devices_and_dtypes_are_errors_that_name_every_input) {
  const Tensor a = ones({2, 2}), m = empty({2, 2}, Device::meta), d = ones({2, 2}, f64);
  expect_error([&] { a + m; }, ErrorCode::device_mismatch, "add: inputs are on different devices: f32[2,2]@cpu, f32[2,2]@meta");
  expect_error([&] { m + a; }, ErrorCode::device_mismatch, "add: inputs are on different devices: f32[2,2]@meta, f32[2,2]@cpu");
  for (const Device where : {Device(Device::cpu), Device(Device::meta)})  // the same text wherever the tensors are
    expect_error([&] { matmul(empty({2, 2}, where), empty({2, 2}, {f64, where})); }, ErrorCode::invalid_argument,
                 concat("matmul: dtypes differ: f32[2,2]@", where, ", f64[2,2]@", where));
}

TEST(Contract, KT12_a_hook_that_throws_ends_the_pass_and_the_engine_goes_on) {
  const int64_t before = memory::stats().in_use;
  {
    const Tensor x = leaf({1, 2}), early = leaf({5, 6});
    const Tensor m = x * x, y = sum(m * early);
    bool broken = true;
    m.register_hook([&](const Tensor&) -> Tensor {
      if (broken) throw std::runtime_error("mine");
      return {};
    });
    EXPECT_THROW(y.backward({}, true), std::runtime_error);
    EXPECT_TRUE(thread_modes().grad);
    EXPECT_FALSE(x.grad().defined());  // what came after the hook; what came before it (early) may have arrived
    early.set_grad({});
    broken = false;
    y.backward();
    expect_values(x.grad(), {10, 24});
    expect_values(early.grad(), {1, 4});
  }
  EXPECT_EQ(memory::stats().in_use, before);
}

TEST(Contract, KT13_hooks_that_add_and_remove_hooks_see_the_list_as_it_was) {
  const Tensor x = leaf({1});
  std::string order;
  HookHandle second, first;
  first = x.register_hook([&](const Tensor&) {
    order += "1";
    second.remove();
    first.remove();
    x.register_hook([&](const Tensor&) { return order += "3", Tensor(); });
    return Tensor();
  });
  second = x.register_hook([&](const Tensor&) { return order += "2", Tensor(); });
  (x * 2).backward();
  EXPECT_EQ(order, "12");
  (x * 2).backward();
  EXPECT_EQ(order, "123");
}

TEST(Contract, KT14_backward_inside_backward_works_on_other_graphs_and_is_refused_on_the_same) {
  const Tensor x = leaf({3}), w = leaf({2});
  const Tensor y = x * x;
  y.register_hook([&](const Tensor& g) {
    const EnableGrad on;
    (w * w).backward();  // a graph of its own
    return g * grad({w * w * w}, {w})[0];
  });
  y.backward();
  expect_values(w.grad(), {4});
  expect_values(x.grad(), {6 * 12});

  // Recomputation, as activation checkpointing does it: the derivative runs forward and backward again.
  const auto recomputed = [](const Tensors& in) {
    return autograd::custom(
        in, [](const Tensors& v) -> Tensors { return {exp(v[0] * v[0])}; },
        [](Backward& b, const Tensors& g) -> Tensors {
          const EnableGrad on;
          const Tensor again = b.input(0).detach().requires_grad_();
          return grad({exp(again * again)}, {again}, {.grad_outputs = g});
        });
  };
  Tensor deep = leaf({0.3}), z = deep;
  for (int i = 0; i < 3; ++i) z = recomputed({z})[0];
  z.backward();
  EXPECT_TRUE(gradcheck(
      [](const Tensors& in) {
        Tensor v = in[0];
        for (int i = 0; i < 3; ++i) v = exp(v * v);
        return Tensors{v};
      },
      {deep}));
  const double x0 = 0.3, x1 = std::exp(x0 * x0), x2 = std::exp(x1 * x1), x3 = std::exp(x2 * x2);
  EXPECT_NEAR(deep.grad().at({0}) / (x3 * 2 * x2 * x2 * 2 * x1 * x1 * 2 * x0), 1, 1e-12);

  const Tensor m = x * x, top = sum(m);
  m.register_hook([&](const Tensor&) -> Tensor { return top.backward(), Tensor(); });
  expect_error([&] { top.backward(); }, ErrorCode::invalid_argument, "in a graph that another backward pass is going through");
}

TEST(Contract, KT16_denormals_may_be_flushed_to_zero_on_the_thread_and_its_workers) {
  const float tiny = 1e-40F;
  const Tensor x = full({1 << 20}, double(tiny));
  EXPECT_EQ((x * 1.0).data<float>()[77], tiny);
  if (!set_flush_denormal(true)) GTEST_SKIP() << "no such mode on this processor";
  const Tensor flushed = x + x;
  std::atomic<int> on{0}, off{0};
  parallel_for(0, 64, 1, [&](int64_t, int64_t) { flush_denormal() ? ++on : ++off; });
  set_flush_denormal(false);
  EXPECT_EQ(flushed.data<float>()[77], 0);
  EXPECT_GT(on, 0);
  EXPECT_EQ(off, 0);
  parallel_for(0, 64, 1, [&](int64_t, int64_t) { EXPECT_FALSE(flush_denormal()); });
  EXPECT_EQ((x + x).data<float>()[77], 2 * tiny);
}

// ---- hooks and retained gradients ----------------------------------------------------------------------------

TEST(Autograd, hooks_run_once_with_the_whole_gradient_in_order_and_can_be_removed) {
  const Tensor x = leaf({1, 2});
  std::vector<double> seen;
  const HookHandle first = x.register_hook([&](const Tensor& g) { return seen.push_back(g.at({0})), g * 10; });
  x.register_hook([&](const Tensor& g) { return seen.push_back(g.at({0})), Tensor(); });
  (sum(x * x) + sum(x * 3)).backward();
  EXPECT_EQ(seen, (std::vector<double>{5, 50}));
  expect_values(x.grad(), {50, 70});
  first.remove();
  first.remove();
  x.set_grad({});
  sum(x).backward();
  expect_values(x.grad(), {1, 1});
  HookHandle orphan;
  {
    const Tensor gone = leaf({1});
    orphan = gone.register_hook([](const Tensor&) { return Tensor(); });
  }
  orphan.remove();
  expect_error([&] { x.detach().register_hook([](const Tensor&) { return Tensor(); }); }, ErrorCode::autograd, "does not require grad");
}

TEST(Autograd, a_hook_must_return_a_gradient_of_the_same_shape) {
  const Tensor x = leaf({1, 2});
  x.register_hook([](const Tensor&) { return ones({3}, f64); });
  expect_error([&] { sum(x).backward(); }, ErrorCode::autograd, "hook: returned f64[3]@cpu in place of f64[2]@cpu");
}

TEST(Autograd, hooks_run_in_grad_as_well_and_only_for_what_it_needs) {
  const Tensor x = leaf({2}), w = leaf({3});
  int of_w = 0;
  w.register_hook([&](const Tensor&) { return ++of_w, Tensor(); });
  x.register_hook([](const Tensor& g) { return g * 2; });
  const Tensor y = x * w;
  y.register_hook([](const Tensor& g) { return g * 5; });
  expect_values(grad({y}, {x})[0], {30});
  EXPECT_EQ(of_w, 0);
  EXPECT_FALSE(x.grad().defined());
}

TEST(Autograd, post_accumulate_hooks_see_the_gradient_in_place) {
  const Tensor x = leaf({1, 2});
  int calls = 0;
  const HookHandle handle = x.register_post_accumulate_grad_hook([&](const Tensor& t) {
    ++calls;
    EXPECT_TRUE(t.is_same(x));
    const NoGrad quiet;
    t.add_(t.grad(), -0.1);  // an optimizer inside of backward
    t.set_grad({});
  });
  const Tensor y = sum(x * x);
  y.backward();
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(x.grad().defined());
  expect_values(x, {0.8, 1.6});
  handle.remove();
  sum(x).backward();
  EXPECT_EQ(calls, 1);
  expect_error([&] { (x * 2).register_post_accumulate_grad_hook([](const Tensor&) {}); }, ErrorCode::autograd, "is not a leaf");
}

TEST(Autograd, retain_grad_keeps_the_gradient_of_an_inner_tensor_also_after_in_place_ops) {
  const Tensor x = leaf({1, 2});
  const Tensor y = x * 3, other = y * 1.0;
  y.retain_grad();
  EXPECT_TRUE(y.retains_grad());
  y.register_hook([](const Tensor& g) { return g * 2; });
  sum(y * y).backward({}, true);
  expect_values(y.grad(), {12, 24});  // what the hooks made of it
  sum(y * y).backward();
  expect_values(y.grad(), {24, 48});

  const Tensor a = x * 2, v = a.narrow(0, 1, 1);
  a.retain_grad();
  v.retain_grad();
  a.mul_(x.detach());  // a is now the product; so is what it keeps the gradient of
  sum(a * tensor({5.0, 7.0}, f64) + v).backward();
  expect_values(a.grad(), {5, 7 + 2});
  expect_values(v.grad(), {2});

  const int64_t before = memory::stats().in_use;
  {
    Tensor z = x * 2, loss;
    z.retain_grad();
    loss = sum(z * z);
    z = Tensor();
    loss.backward();  // nobody is left to keep it
  }
  EXPECT_EQ(memory::stats().in_use, before);
  expect_error([&] { x.detach().retain_grad(); }, ErrorCode::autograd, "does not require grad");
}

TEST(Autograd, a_gradient_that_is_kept_shares_no_memory_with_others) {
  const Tensor x = leaf({1, 2}), y = x + 0.0, z = y + 0.0;
  y.retain_grad();
  z.retain_grad();
  sum(z).backward();
  const NoGrad quiet;
  z.grad().mul_(tensor({100.0}, f64));
  expect_values(y.grad(), {1, 1});
  expect_values(x.grad(), {1, 1});
}

// ---- backward and grad ---------------------------------------------------------------------------------------

TEST(Autograd, backward_with_inputs_fills_only_theirs) {
  const Tensor x = leaf({2}), w = leaf({3}), y = x * w, z = y * y;
  z.backward({}, true, false, {w});
  expect_values(w.grad(), {2 * 6 * 2});
  EXPECT_FALSE(x.grad().defined());
  z.backward({}, false, false, {y});
  expect_values(y.grad(), {12});
  EXPECT_FALSE(x.grad().defined());
  expect_error([&] { z.backward({}, false, false, {x.detach()}); }, ErrorCode::autograd, "input 0 (f64[1]@cpu) does not require grad");
}

TEST(Autograd, several_outputs_with_their_gradients_are_summed) {
  const Tensor x = leaf({1, 2}), a = x * x, b = sum(x);
  expect_values(grad({a, b}, {x}, {.grad_outputs = {tensor({1.0, 10.0}, f64), {}}, .retain_graph = true})[0], {3, 41});
  backward({a, b}, {.grad_outputs = {ones({2}, f64), full({}, 2.0, f64)}});
  expect_values(x.grad(), {4, 6});
  expect_error([&] { grad({a, b}, {x}, {.grad_outputs = {ones({2}, f64)}}); }, ErrorCode::autograd, "1 gradients for 2 outputs");
}

TEST(Autograd, an_unused_input_is_an_error_undefined_or_zeros_as_asked) {
  const Tensor x = leaf({1, 2}), w = leaf({3}), y = sum(x * x);
  expect_error([&] { grad({y}, {x, w}, {.retain_graph = true}); }, ErrorCode::autograd, "input 1 (f64[1]@cpu) was not used");
  EXPECT_FALSE(grad({y}, {w}, {.retain_graph = true, .allow_unused = true})[0].defined());
  expect_values(grad({y}, {w}, {.materialize_grads = true})[0], {0});
  expect_error([&] { grad({x + x}, {x.detach()}); }, ErrorCode::autograd, "input 0 (f64[2]@cpu) does not require grad");
}

TEST(Autograd, the_gradient_of_an_output_by_itself_is_its_seed) {
  const Tensor x = leaf({1, 2}), y = x * 2;
  expect_values(grad({x}, {x}, {.grad_outputs = {tensor({3.0, 4.0}, f64)}})[0], {3, 4});
  expect_values(grad({y}, {y}, {.grad_outputs = {tensor({3.0, 4.0}, f64)}})[0], {3, 4});
  sum(x).backward();
  x.backward(tensor({1.0, 1.0}, f64));
  expect_values(x.grad(), {2, 2});
}

TEST(Autograd, gradients_arrive_in_the_shape_dtype_and_place_of_their_tensor) {
  const Tensor h = leaf({1, 2}, f16), f = leaf({3}, f32), d = leaf({4, 5}, f64);
  sum(h * f * d).backward();
  EXPECT_EQ(h.grad().dtype(), f16);
  EXPECT_EQ(f.grad().dtype(), f32);
  EXPECT_EQ(f.grad().shape(), Shape({1}));
  EXPECT_EQ(d.grad().dtype(), f64);
  expect_values(f.grad(), {1 * 4 + 2 * 5});
}

TEST(Autograd, a_leaf_that_was_frozen_after_the_forward_pass_gets_no_gradient) {
  const Tensor x = leaf({1}), w = leaf({2}), y = x * w;
  w.requires_grad_(false);
  y.backward();
  expect_values(x.grad(), {2});
  EXPECT_FALSE(w.grad().defined());
}

TEST(Autograd, tied_uses_of_one_leaf_sum_into_one_gradient) {
  const Tensor w = leaf({2}), x = tensor({3.0}, f64);
  Tensor h = x;
  for (int i = 0; i < 4; ++i) h = h * w;
  h.backward();
  expect_values(w.grad(), {3 * 4 * 8});
}

// ---- flags and modes -----------------------------------------------------------------------------------------

TEST(Autograd, detach_in_place_makes_a_leaf_and_is_refused_for_views) {
  const Tensor x = leaf({1, 2}), y = x * 2;
  EXPECT_EQ(y.grad_fn(), "mul_scalar");
  y.detach_();
  EXPECT_TRUE(y.is_leaf());
  EXPECT_FALSE(y.requires_grad());
  EXPECT_EQ(y.grad_fn(), "");
  expect_error([&] { (x * 2).narrow(0, 0, 1).detach_(); }, ErrorCode::autograd, "is a view; use detach()");
}

TEST(Autograd, requires_grad_is_for_floating_leaves) {
  expect_error([&] { ones({2}, i64).requires_grad_(); }, ErrorCode::autograd, "neither floating point nor complex");
  const Tensor x = leaf({1}), y = x * 2;
  expect_error([&] { y.requires_grad_(false); }, ErrorCode::autograd, "is not a leaf; detach() it first");
  EXPECT_FALSE(ones({2}, i64).requires_grad_(false).requires_grad());
  EXPECT_FALSE((ones({2}, i64) + 1.0).requires_grad());
}

TEST(Autograd, grad_mode_can_be_set_at_run_time) {
  const Tensor x = leaf({1});
  for (const bool train : {true, false}) {
    const SetGradEnabled scope(train);
    EXPECT_EQ((x * 2).requires_grad(), train);
    EXPECT_EQ(is_grad_enabled(), train);
    const EnableGrad on;
    EXPECT_TRUE((x * 2).requires_grad());
  }
  EXPECT_TRUE(is_grad_enabled());
}

TEST(Autograd, backward_in_inference_mode_gives_ordinary_gradients) {
  const Tensor x = leaf({2}), y = x * x;
  {
    const InferenceMode on;
    EXPECT_FALSE(is_grad_enabled());
    y.backward();
  }
  EXPECT_FALSE(x.grad().is_inference());
  expect_values(x.grad() * 1.0, {4});
}

TEST(Autograd, a_gradient_must_fit_its_tensor) {
  const Tensor x = leaf({1, 2});
  expect_error([&] { x.set_grad(ones({3}, f64)); }, ErrorCode::shape_mismatch, "set_grad: f64[3]@cpu for f64[2]@cpu");
  expect_error([&] { x.set_grad(ones({2}, f32)); }, ErrorCode::dtype_mismatch, "set_grad");
}

// ---- custom functions ----------------------------------------------------------------------------------------

Tensors cube(const Tensors& in) {
  return autograd::custom(
      in, [](const Tensors& x) -> Tensors { return {x[0] * x[0] * x[0]}; },
      [](Backward& b, const Tensors& g) -> Tensors { return {g[0] * b.input(0) * b.input(0) * 3.0}; }, "cube");
}

TEST(Autograd, custom_functions_differentiate_to_any_order) {
  const Tensor x = leaf({1, 2});
  EXPECT_EQ(cube({x})[0].grad_fn(), "cube");
  EXPECT_TRUE(gradcheck(cube, {x}));
  EXPECT_TRUE(gradgradcheck(cube, {x}));
}

TEST(Autograd, a_custom_function_must_return_a_gradient_per_input_and_must_not_write_its_inputs) {
  const Tensor x = leaf({1, 2});
  const auto identity = [](const Tensors& in) -> Tensors { return {in[0] * 1.0}; };
  const Tensor y = autograd::custom({x}, identity, [](Backward&, const Tensors&) -> Tensors { return {}; })[0];
  expect_error([&] { sum(y).backward(); }, ErrorCode::autograd, "custom: backward returned 0 gradients for 1 inputs");
  const Tensor z = x * 1.0;
  const auto writes = [](const Tensors& in) -> Tensors { return {in[0].mul_(in[0])}; };
  expect_error([&] { autograd::custom({z}, writes, [](Backward&, const Tensors& g) { return g; }); }, ErrorCode::autograd,
               "forward wrote its input 0 in place");
}

TEST(Autograd, what_a_custom_function_hands_back_cannot_become_silently_wrong) {
  const auto identity = [](const Tensors& in) {
    return autograd::custom(in, [](const Tensors& v) { return v; }, [](Backward&, const Tensors& g) { return g; });
  };
  const Tensor x = leaf({1, 2}), a = x * 1.0, b = identity({a})[0];
  EXPECT_EQ(b.view().data, a.view().data);
  expect_error([&] { b.mul_(x); }, ErrorCode::autograd, "would lose them");
  EXPECT_TRUE(b.requires_grad());
  a.mul_(x);  // b has changed with it, its history has not
  expect_error([&] { (b * 2).requires_grad(); }, ErrorCode::autograd, "has since been written in place");
  const auto part = [](const Tensors& in) {
    return autograd::custom(in, [](const Tensors& v) -> Tensors { return {(v[0] * 2).narrow(0, 0, 1)}; },
                            [](Backward&, const Tensors& g) -> Tensors { return {cat({g[0] * 2, zeros({1}, f64)})}; });
  };
  const Tensor p = part({x})[0];  // a view of something of its own: may be written
  p.mul_(p);
  p.backward();
  expect_values(x.grad(), {8, 0});
}

}  // namespace

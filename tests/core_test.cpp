// One claim per test. Expected values: closed forms and finite differences in f64.
#include <atomic>
#include <cmath>
#include <cstdio>
#include <functional>
#include <thread>
#include <gtest/gtest.h>
#include "graft/core/autograd.h"
#include "graft/core/cuda_graph.h"
#include "graft/core/ops.h"
#include "refused.h"

using namespace graft;

namespace {

#define CHECK(cond) EXPECT_TRUE(cond)
#define CHECK_NEAR(a, b, tol) EXPECT_NEAR(a, b, tol)
#define CHECK_FAILS(expr, text)                                                     \
  do {                                                                              \
    try {                                                                           \
      expr;                                                                         \
      ADD_FAILURE() << "no error from " #expr;                                      \
    } catch (const Error& e) {                                                      \
      EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what();   \
    }                                                                               \
  } while (0)


Tensor ramp(const Shape& shape, double from = -1.3, double step = 0.37) {
  Tensor t = empty(shape, f64);
  for (int64_t i = 0; i < t.numel(); ++i) t.mutable_data<double>()[i] = from + step * double((i * 7) % 11) + 0.01 * double(i);
  return t;
}
double value(const Tensor& t, int64_t i) { return t.contiguous().data<double>()[i]; }
double max_difference(const Tensor& a, const Tensor& b) {
  CHECK(a.shape() == b.shape());
  double worst = 0;
  const NoGrad quiet;
  for (int64_t i = 0; i < a.numel(); ++i) worst = std::max(worst, std::abs(value(a.to(f64), i) - value(b.to(f64), i)));
  return worst;
}

using Fn = std::function<Tensor(const Tensors&)>;
// A scalar that weighs every element differently, so that a transposed gradient is noticed.
Tensor weigh(const Tensor& y) { return sum(y * ramp(y.shape(), 0.2, 0.13)); }

void check_gradient(const char* name, const Fn& f, Tensors in, double tol = 1e-7) {
  for (Tensor& t : in) t = t.clone().requires_grad_();
  const Tensors g = grad({weigh(f(in))}, in, {.allow_unused = true});
  const NoGrad quiet;
  for (size_t k = 0; k < in.size(); ++k)
    for (int64_t i = 0; i < in[k].numel(); ++i) {
      const double eps = 1e-6;
      double& x = in[k].mutable_data<double>()[i];
      const double before = x;
      x = before + eps;
      const double up = weigh(f(in)).item<double>();
      x = before - eps;
      const double down = weigh(f(in)).item<double>();
      x = before;
      const double expected = (up - down) / (2 * eps);
      const double got = g[k].defined() ? value(g[k], i) : 0;
      if (std::abs(got - expected) > tol * 100 * std::max(1.0, std::abs(expected))) {
        ADD_FAILURE() << name << ": input " << k << " element " << i << ": gradient " << got << ", expected " << expected;
        return;
      }
    }
}
void check_both_orders(const char* name, const Fn& f, const Tensors& in) {
  check_gradient(name, f, in);
  check_gradient((std::string(name) + " (second order)").c_str(), [&f](const Tensors& x) {
    const EnableGrad on;
    Tensors leaves = x;
    for (Tensor& t : leaves)
      if (!t.requires_grad()) t.requires_grad_();
    const Tensors g = grad({weigh(f(leaves))}, leaves, {.create_graph = true, .allow_unused = true});
    Tensor total;
    for (const Tensor& t : g)
      if (t.defined()) total = total.defined() ? total + sum(t * t) : sum(t * t);
    return total;
  }, in);
}

TEST(Core, first_and_second_derivatives_match_finite_differences_for_every_op) {
  const Tensor a = ramp({3, 4}), b = ramp({3, 4}, 0.6, 0.21), row = ramp({4}, 0.5), col = ramp({3, 1}, 0.7);
  check_both_orders("add", [](const Tensors& x) { return mul(x[0] + x[1], x[0]); }, {a, row});
  check_both_orders("sub", [](const Tensors& x) { return mul(x[0] - x[1], x[1]); }, {row, a});
  check_both_orders("mul", [](const Tensors& x) { return x[0] * x[1]; }, {col, row});
  check_both_orders("div", [](const Tensors& x) { return x[0] / x[1]; }, {a, b});
  check_both_orders("neg exp", [](const Tensors& x) { return -exp(x[0]); }, {a});
  check_both_orders("erf", [](const Tensors& x) { return erf(x[0]); }, {a});
  check_both_orders("gelu", [](const Tensors& x) { return gelu(x[0]); }, {a});
  check_both_orders("relu", [](const Tensors& x) { return mul(relu(x[0]), x[0]); }, {a});
  check_both_orders("affine", [](const Tensors& x) { return x[0] * 3 * x[0] + 1.0; }, {a});
  check_both_orders("matmul", [](const Tensors& x) { return matmul(x[0], x[1]); }, {a, ramp({4, 2})});
  check_both_orders("linear", [](const Tensors& x) { return linear(x[0], x[1], x[2]); }, {a, ramp({2, 4}), ramp({2})});
  check_both_orders("sum", [](const Tensors& x) { return sum(x[0] * x[0], {1}); }, {ramp({2, 3, 2})});
  check_both_orders("sum keepdim", [](const Tensors& x) { return sum(x[0] * x[0], {0, -1}, true); }, {ramp({2, 3, 2})});
  check_both_orders("softmax", [](const Tensors& x) { return softmax(x[0], 1); }, {a});
  check_both_orders("softmax dim 0", [](const Tensors& x) { return softmax(x[0], 0); }, {a});
  check_both_orders("cat", [](const Tensors& x) { const Tensor c = cat({x[0], x[1], x[0]}, 1); return c * c; }, {a, b});
  check_both_orders("max", [](const Tensors& x) { const Tensor m = max(x[0], 1).values; return m * m; }, {a});
  check_both_orders("split", [](const Tensors& x) { const Tensors s = x[0].split(3, 1); return s[0] * sum(s[1] * s[1]); }, {a});
  check_both_orders("transpose narrow", [](const Tensors& x) { const Tensor t = x[0].transpose(0, 1).narrow(0, 1, 2); return t * t; }, {a});
  check_both_orders("expand", [](const Tensors& x) { const Tensor t = x[0].expand({2, 3, 4}); return t * t; }, {row});
  check_both_orders("reshape", [](const Tensors& x) { const Tensor t = x[0].transpose(0, 1).reshape({6, 2}); return t * t; }, {a});
  check_both_orders("as_strided overlapping", [](const Tensors& x) {
    const Tensor t = as_strided(x[0], Region{.rank = 2, .size = {3, 2}, .stride = {2, 1}, .offset = 1});
    return t * t;
  }, {row.narrow(0, 0, 4).expand({2, 4}).contiguous()});
  check_both_orders("overwrite", [](const Tensors& x) {
    const Tensor t = overwrite(x[0], x[1], Region{.rank = 1, .size = {2}, .stride = {2}, .offset = 1});
    return t * t;
  }, {row, ramp({2})});
}

TEST(Core, results_keep_the_order_of_memory_and_their_views_can_be_written) {
  const Tensor x = ramp({2, 3, 4});
  auto f = [](const Tensors& in) {
    const Tensor y = in[0].transpose(0, 2) * 2;  // dense, not contiguous
    EXPECT_FALSE(y.is_contiguous());
    EXPECT_EQ(y.strides(), in[0].transpose(0, 2).strides());
    y.narrow(1, 1, 1).mul_(in[1]);
    return y * y + in[0].transpose(0, 2);
  };
  check_both_orders("write into a view of a dense permuted result", f, {x, ramp({2}, 0.4)});
}

TEST(Core, sixteen_bit_types_round_to_nearest_even) {
  for (int i = 0; i < 65536; ++i) {  // every value survives a round trip
    const float h = Half::from_bits(uint16_t(i)), b = BFloat16::from_bits(uint16_t(i));
    if (h == h) EXPECT_EQ(Half(h).bits, i);
    else EXPECT_TRUE(std::isnan(float(Half(h))));
    if (b == b) EXPECT_EQ(BFloat16(b).bits, i);
    else EXPECT_TRUE(std::isnan(float(BFloat16(b))));
  }
  EXPECT_EQ(float(Half(1.0F + 0x1p-11F)), 1.0F);             // a tie goes to even
  EXPECT_EQ(float(Half(1.0F + 0x1.8p-10F)), 1.0F + 0x1p-9F);
  EXPECT_EQ(float(Half(65519.0F)), 65504.0F);
  EXPECT_TRUE(std::isinf(float(Half(65520.0F))));
  EXPECT_EQ(float(Half(0x1p-25F)), 0.0F);                    // half of the smallest subnormal, to even
  EXPECT_EQ(float(Half(0x1.8p-24F)), 0x1p-23F);
  EXPECT_EQ(float(BFloat16(1.0F + 0x1p-8F)), 1.0F);
  EXPECT_TRUE(std::isinf(float(BFloat16(3.4e38F))));
}

TEST(Core, dtypes_promote_as_in_PyTorch_gradients_come_back_in_the_dtype_of_their_tensor) {
  const Tensor f = full({2}, 1.5).requires_grad_(), d = full({2}, 2.0, f64).requires_grad_();
  const Tensor i = full({2}, 3.0, DType::i64), i0 = full({}, 3.0, f64), b = full({2}, 1.0, DType::boolean);
  CHECK((f + i).dtype() == DType::f32 && (f + d).dtype() == f64 && (i + b).dtype() == DType::i64);
  CHECK((f + i0).dtype() == DType::f32);  // a 0-dim tensor of the same category does not promote
  CHECK((i + i0).dtype() == f64 && (i / i).dtype() == DType::f32 && exp(i).dtype() == DType::f32);
  CHECK(gt(f, d).dtype() == DType::boolean && (i / i).at({0}) == 1);
  sum(f * d * i).backward();
  CHECK(f.grad().dtype() == DType::f32 && f.grad().at({1}) == 6);
  CHECK(d.grad().dtype() == f64 && d.grad().at({0}) == 4.5);
}

TEST(Core, strided_broadcast_empty_and_scalar_operands_agree_with_contiguous_ones) {
  const Tensor a = ramp({3, 4, 5}), t = a.transpose(0, 2), n = a.narrow(1, 1, 2), row = ramp({5, 1, 3});
  CHECK(max_difference(t * row, t.contiguous() * row.expand({5, 4, 3}).contiguous()) == 0);
  CHECK(max_difference(exp(n), exp(n.clone())) == 0);
  CHECK(max_difference(sum(t, {0, 2}), sum(t.contiguous(), {0, 2})) < 1e-12);
  CHECK(max_difference(matmul(a.narrow(0, 1, 1).reshape({4, 5}), ramp({4, 5}).transpose(0, 1)),
                       matmul(a.narrow(0, 1, 1).reshape({4, 5}), ramp({4, 5}).transpose(0, 1).clone())) < 1e-12);
  CHECK((empty({0, 3}) + empty({1, 3})).shape() == Shape({0, 3}));
  CHECK(sum(empty({0, 3})).item<double>() == 0);
  CHECK((full({}, 2.0) * full({}, 4.0)).item<double>() == 8);
  CHECK_NEAR(sum(full({2, 2, 2, 2, 1, 2, 2, 2}, 1.0)).item<double>(), 128, 0);
}

TEST(Core, errors_name_op_shapes_dtypes_and_what_would_have_been_accepted) {
  const Tensor a = empty({8, 32}), b = empty({64, 64});
  CHECK_FAILS(matmul(a, b), "matmul: inner sizes differ: f32[8,32]@cpu, f32[64,64]@cpu");
  CHECK_FAILS(a + b, "add: shapes do not broadcast in dimension -1: f32[8,32]@cpu, f32[64,64]@cpu");
  CHECK_FAILS(softmax(empty({2}, DType::f32), 3), "softmax: dimension 3 is out of range for f32[2]@cpu");
  CHECK_FAILS(as_strided(ramp({4}), Region{.rank = 1, .size = {2}, .stride = {4}}), "the region [0,4] leaves 4 elements");
  CHECK_FAILS(add(a, Tensor()), "add: input 1 is undefined");
  const Tensor mask = full({2}, 1.0, DType::boolean);
  CHECK_FAILS(mask - mask, "sub: no kernel for bool[2]@cpu, bool[2]@cpu; available: cpu{f32,f64,f16,bf16,i64,i32,i16,i8,u8,c64,c128}");
  CHECK_FAILS(a + empty({8, 32}, {f32, Device::meta}), "different devices: f32[8,32]@cpu, f32[8,32]@meta");
}

TEST(Core, meta_tensors_have_shapes_views_and_graphs_but_no_memory) {
  const Tensor x = empty({1 << 20, 1 << 20}, {f32, Device::meta}).requires_grad_();
  const Tensor y = sum(gelu(x.transpose(0, 1)) * x, {0});
  CHECK(y.shape() == Shape({1 << 20}) && y.device() == Device::meta && !y.view().data && y.requires_grad());
  const Tensors g = grad({sum(y)}, {x});
  CHECK(g[0].shape() == x.shape() && g[0].device() == Device::meta);
  const Tensor z = x.clone();
  z.narrow(0, 1, 5).mul_(z.narrow(0, 7, 5));
  CHECK(grad({sum(z)}, {x})[0].shape() == x.shape());
}

TEST(Core, in_place_ops_on_tensors_and_views_give_the_gradient_of_the_functional_program) {
  const Tensor x = ramp({3, 4}), w = ramp({4}, 0.4), s = ramp({3}, 0.3);
  auto base = [](const Tensors& in) {  // writes through row views; reads through the base and through another view
    const Tensor y = in[0] * 1.0;
    const Tensor column = y.narrow(1, 2, 1);
    y.narrow(0, 1, 1).mul_(in[1]);
    y.transpose(0, 1).narrow(0, 0, 1).add_(in[2]);
    return y * y + column * in[0];
  };
  auto functional = [](const Tensors& in) {
    Tensors rows = (in[0] * 1.0).split(1, 0);
    rows[1] = rows[1] * in[1];
    Tensor y = cat(rows, 0);
    Tensors columns = y.split(1, 1);
    columns[0] = columns[0] + in[2].reshape({3, 1});
    y = cat(columns, 1);
    return y * y + columns[2] * in[0];
  };
  const Tensors in{Tensor(x).requires_grad_(), Tensor(w).requires_grad_(), Tensor(s).requires_grad_()};
  const Tensors g = grad({weigh(base(in))}, in), expected = grad({weigh(functional(in))}, in);
  for (size_t i = 0; i < 3; ++i) CHECK(max_difference(g[i], expected[i]) < 1e-12);
  check_both_orders("in place", base, {x.detach(), w.detach(), s.detach()});
  check_both_orders("mul_ by a tensor that needs grad", [](const Tensors& t) { const Tensor y = t[0] * 1.0; y.mul_(t[1]); return y; }, {x.detach(), w.detach()});
  check_both_orders("self mul_", [](const Tensors& t) { const Tensor y = t[0] * 2; y.mul_(y); return y; }, {x.detach()});
  check_both_orders("relu_", [](const Tensors& t) { const Tensor y = t[0] * 2; y.relu_(); return y * y; }, {x.detach()});
  check_both_orders("copy_ into a slice of a constant", [](const Tensors& t) {
    const Tensor y = zeros({4, 4}, f64);
    const Tensor early = y.narrow(0, 2, 2);
    y.narrow(0, 1, 3).copy_(t[0]);
    return y * y + sum(early * early);
  }, {x.detach()});
  check_both_orders("write into one output of split", [](const Tensors& t) {
    const Tensor y = t[0] * 1.0;
    const Tensors parts = y.split(2, 1);
    parts[0].mul_(parts[1]);
    return parts[0] * y.narrow(1, 1, 2);
  }, {x.detach()});
  const Tensor shifted = ramp({6});
  const Tensor sum_shifted = shifted.narrow(0, 1, 5) + shifted.narrow(0, 0, 5);
  shifted.narrow(0, 1, 5).add_(shifted.narrow(0, 0, 5));  // overlapping memory: as if read before written
  CHECK(max_difference(shifted.narrow(0, 1, 5), sum_shifted) == 0);
  const Tensor f = full({2}, 1.0);
  f.add_(full({2}, 0.5, f64));
  CHECK(f.dtype() == DType::f32 && f.at({0}) == 1.5);
}

TEST(Core, what_cannot_have_a_right_gradient_is_an_error_that_names_both_ops) {
  Tensor x = ramp({3}).requires_grad_();
  const Tensor y = exp(x);
  y.add_(x);
  CHECK_FAILS(sum(y).backward(), "exp needs its output 0 (f64[3]@cpu), which add_ has changed in place");
  const Tensor a = x * 1.0, z = a * x;
  a.narrow(0, 0, 1).mul_(full({}, 2.0, f64));
  CHECK_FAILS(sum(z).backward(), "mul needs its input 0 (f64[3]@cpu), which mul_ has changed in place");
  const Tensor v = exp(x);
  v.mul_(x);  // computed aside, because the gradient of x needs the old value: the error still names mul
  CHECK_FAILS(sum(v).backward(), "exp needs its output 0 (f64[3]@cpu), which mul_ has changed in place");
  const Tensor d = x * 1.0, e = d * d;
  d.detach().add_(x.detach());
  CHECK_FAILS(sum(e).backward(), "add_ has changed");
  CHECK_FAILS(x.add_(y), "add_: f64[3]@cpu is a leaf that requires grad; use NoGrad");
  CHECK_FAILS(x.narrow(0, 1, 1).add_(y.narrow(0, 0, 1)), "is a view of a leaf that requires grad");
  CHECK_FAILS((x * 1.0).reshape({1, 3}).expand({2, 3}).add_(x), "share memory");
  CHECK_FAILS(full({2}, 1.0, DType::i64).mul_(full({2}, 0.5)), "cannot be stored in i64[2]@cpu");
  CHECK_FAILS(x.detach().add_(ramp({2, 3})), "add_: result f64[2,3]@cpu does not fit in f64[3]@cpu");
  const Tensor base = x * 1.0;
  Tensor hidden;
  {
    const NoGrad quiet;
    hidden = base.narrow(0, 0, 1);
  }
  CHECK_FAILS(hidden.mul_(x.narrow(0, 1, 1)), "view made without grad mode");
  const Tensor gapped = ramp({3, 4}).narrow(1, 0, 3).detach();
  CHECK_FAILS(gapped.narrow(0, 0, 1).add_(x), "view with gaps in memory; clone() it");
  const uint32_t version = x.version();
  {
    const NoGrad quiet;
    x.add_(full({}, 1.0, f64));
  }
  CHECK(x.is_leaf() && x.version() == version + 1);
}

TEST(Core, modes_NoGrad_records_nothing_inference_tensors_stay_out_of_graphs) {
  const Tensor x = ramp({3}).requires_grad_();
  Tensor quiet, inferred;
  {
    const NoGrad guard;
    quiet = x * 2;
    std::thread([&] { CHECK((x * 2).requires_grad()); }).join();  // the mode belongs to a thread
  }
  {
    const InferenceMode guard;
    inferred = x * 2;
  }
  CHECK(!quiet.requires_grad() && !inferred.requires_grad() && (x * 2).requires_grad());
  CHECK_FAILS(x * inferred, "mul: input 1 (f64[3]@cpu) was made in inference mode and cannot be saved");
  CHECK_FAILS(inferred.add_(x.detach()), "cannot be written outside");
  CHECK((x + inferred).requires_grad() && (x * inferred.clone()).requires_grad());
}

TEST(Core, backward_accumulates_frees_what_it_saved_and_says_so_the_second_time) {
  const Tensor x = ramp({3}).requires_grad_();
  const Tensor y = sum(x * x);
  y.backward({}, true);
  y.backward();
  for (int64_t i = 0; i < 3; ++i) CHECK_NEAR(value(x.grad(), i), 4 * value(x, i), 1e-12);
  CHECK_FAILS(y.backward(), "the saved tensors of mul were freed by an earlier pass");
  CHECK_FAILS(exp(x).backward(), "one element only, not for f64[3]@cpu");
  CHECK_FAILS(sum(x.detach()).backward(), "does not require grad");
  const Tensor a = ramp({2}).requires_grad_(), unused = ramp({2}).requires_grad_();
  const Tensor m = a * 2;
  const Tensors g = grad({sum(m * m)}, {m, unused, a}, {.allow_unused = true});
  CHECK(!g[1].defined() && !a.grad().defined());
  CHECK_NEAR(value(g[0], 0), 4 * value(a, 0), 1e-12);
  CHECK_NEAR(value(g[2], 1), 8 * value(a, 1), 1e-12);
  const Tensor d = exp(a);
  sum(d).backward({}, false, true);
  const Tensor gg = a.grad();
  CHECK(gg.requires_grad());
  CHECK_NEAR(value(grad({sum(gg)}, {a})[0], 0), std::exp(value(a, 0)), 1e-12);
  Tensor(a).set_grad({});  // breaks the cycle that create_graph makes: a -> grad -> graph -> a
}

TEST(Core, an_op_without_a_derivative_is_an_error_in_backward_its_integer_outputs_are_constants) {
  const Tensor x = ramp({2, 3}).requires_grad_();
  const MaxResult m = max(x, 1);
  CHECK(m.values.requires_grad() && !m.indices.requires_grad());
  CHECK(m.indices.dtype() == DType::i64 && !gt(x, x).requires_grad());
  const Tensor g = grad({sum(gelu(x))}, {x}, {.create_graph = true})[0];
  CHECK(g.requires_grad());
}

TEST(Core, hooks_see_each_gradient_once_and_may_replace_it) {
  const Tensor x = ramp({3}).requires_grad_();
  int leaf_calls = 0;
  x.register_hook([&](const Tensor& g) { return ++leaf_calls, g * 10; });
  const Tensor y = x * 2;
  y.register_hook([](const Tensor& g) { return g * 3; });
  sum(y + x + x).backward();
  CHECK(leaf_calls == 1);
  CHECK_NEAR(value(x.grad(), 0), 80, 1e-12);
}

TEST(Core, graphs_of_300k_ops_run_backward_and_are_freed_without_recursion_nothing_leaks) {
  const int64_t before = memory::stats().in_use;
  {
    const Tensor x = full({2}, 1.0).requires_grad_();
    Tensor y = x;
    for (int i = 0; i < 300'000; ++i) y = i % 3 ? y * x : i % 2 ? relu(y) : y + x.detach() * 0;
    sum(y).backward();
    CHECK(x.grad().at({0}) == 200'001);
    for (int i = 0; i < 100'000; ++i) y = y.reshape({2}), y = y * y;
  }
  CHECK(memory::stats().in_use == before);
}

TEST(Core, results_that_save_their_own_output_make_no_cycle) {
  const int64_t before = memory::stats().in_use;
  {
    const Tensor x = ramp({3}).requires_grad_();
    const Tensor y = softmax(exp(relu(x)), 0);
    const Tensor z = y * y;
    z.relu_();
  }
  CHECK(memory::stats().in_use == before);
}

TEST(Core, threads_run_backward_on_separate_graphs_that_share_a_parameter) {
  const Tensor w = full({64}, 1.0, f64).requires_grad_();
  auto work = [&] {
    for (int i = 0; i < 500; ++i) {
      const Tensor x = full({64}, 2.0, f64);
      sum(w * x).backward();
    }
  };
  std::thread a(work), b(work);
  a.join();
  b.join();
  CHECK(w.grad().at({63}) == 2000);
}

TEST(Core, a_second_pass_over_a_graph_in_use_is_an_error_not_a_race) {
  const Tensor x = ramp({2}).requires_grad_(), m = x * x, y = sum(m);
  m.register_hook([&](const Tensor&) -> Tensor { return y.backward(), Tensor(); });
  CHECK_FAILS(y.backward(), "in a graph that another backward pass is going through");
  CHECK(!x.grad().defined());
}

struct Cube : Function {
  std::string_view name() const override { return "cube"; }
  Tensors forward(const Tensors& in) override { return {in[0] * in[0] * in[0]}; }
  Tensors backward(Backward& b, const Tensors& g) override { return {g[0] * b.input(0) * b.input(0) * 3.0}; }
};
struct ExpTwice : Function {  // two outputs; the derivative reads an output
  Tensors forward(const Tensors& in) override { return {exp(in[0]), in[0]}; }
  Tensors backward(Backward& b, const Tensors& g) override { return {g[0] * b.output(0) + g[1]}; }
};
TEST(Core, user_defined_functions_differentiate_to_any_order) {
  check_both_orders("cube", [](const Tensors& x) { return call(std::make_shared<Cube>(), x)[0]; }, {ramp({3})});
  check_both_orders("exp twice", [](const Tensors& x) {
    const Tensors y = call(std::make_shared<ExpTwice>(), x);
    return y[0] * y[1];
  }, {ramp({3})});
  const int64_t before = memory::stats().in_use;
  { call(std::make_shared<ExpTwice>(), {ramp({3}).requires_grad_()}); }
  CHECK(memory::stats().in_use == before);
}

struct Recorder final : Observer {
  std::string text;
  void declined(const Call& c, const Candidate& k, const char* why) override {
    text += std::string(c.op.name) + " not " + k.name + " (" + why + "); ";
  }
  void after(const Call& c, std::span<const Tensor> out, const Candidate* k) override {
    std::ostringstream line;
    line << c.op.name << " -> " << summary(out[0]) << " by " << (k ? k->name : "view") << "; ";
    text += line.str();
  }
};
TEST(Core, a_trace_shows_each_call_the_kernel_that_ran_and_why_others_declined) {
  Recorder recorder;
  const Tensor x = full({2, 3}, 1.0);
  {
    const Observing scope(recorder);
    sum(x.narrow(1, 0, 2));
    exp(x.transpose(0, 1));  // dense: the result lies in memory alike
  }
  exp(x);
  EXPECT_EQ(recorder.text, "narrow -> f32[2,2]@cpu by view; sum not all (not everything is reduced, or the input is strided); "
                         "sum -> f32[]@cpu by dims; "
                         "transpose -> f32[3,2]@cpu by view; exp -> f32[3,2]@cpu by rows; ");
}

TEST(Core, blocks_freed_on_another_thread_are_reused_sizes_are_aligned_and_counted) {
  const memory::Stats before = memory::stats();
  for (int round = 0; round < 50; ++round) {
    Tensors made;
    std::thread([&] { for (int i = 0; i < 200; ++i) made.push_back(full({1 + i * 37}, 1.0)); }).join();
    for (const Tensor& t : made) CHECK(reinterpret_cast<uintptr_t>(t.view().data) % 64 == 0);
  }
  const memory::Stats after = memory::stats();
  CHECK(after.in_use == before.in_use);
  CHECK(after.from_system - before.from_system < 16 << 20);  // a round holds 3 MB; 50 rounds would be 150
  memory::trim();
  CHECK(memory::stats().from_system < after.from_system);
}

TEST(Core, any_single_failed_allocation_leaves_values_versions_and_gradients_intact) {
  const Tensor x = ramp({3, 4}).requires_grad_(), w = ramp({4}, 0.4).requires_grad_();
  auto program = [&] {
    const Tensor y = x * 1.0;
    y.narrow(0, 1, 1).mul_(w);
    return weigh(softmax(y, 1) * y);
  };
  const Tensors expected = grad({program()}, {x, w});
  const int64_t before = memory::stats().in_use;
  int left = 0, failed = 0;
  for (bool done = false; !done; ++failed) {
    left = failed;
    memory::set_hook([](size_t, void* n) { if (--*static_cast<int*>(n) < 0) throw std::bad_alloc(); }, &left);
    try {
      const Tensors g = grad({program()}, {x, w});
      memory::set_hook(nullptr);
      for (size_t i = 0; i < 2; ++i) CHECK(max_difference(g[i], expected[i]) == 0);
      done = true;
    } catch (const std::bad_alloc&) {
      memory::set_hook(nullptr);
    }
  }
  CHECK(failed > 50 && memory::stats().in_use == before && thread_modes().grad);
}

TEST(Core, storage_may_come_from_elsewhere_and_returns_there) {
  struct Counting final : memory::Source {
    int live = 0;
    std::byte* allocate(size_t n) override { return ++live, new std::byte[n]; }
    void release(std::byte* p, size_t) noexcept override { --live, delete[] p; }
  } mine;
  memory::Source* old = memory::set_source(&mine);
  Tensor t = full({10}, 3.0);
  memory::set_source(old);
  CHECK(mine.live == 1 && (t + t).at({9}) == 6 && mine.live == 1);
  t = Tensor();
  CHECK(mine.live == 0);
}

TEST(Contract, KD9_without_a_device_cuda_says_why_and_the_cpu_works) {
  if (cuda::available()) GTEST_SKIP() << "there is a device";
  EXPECT_EQ(cuda::device_count(), 0);
  EXPECT_NE(cuda::why_not_available(), "");
  try {
    zeros({2}, Device(Device::cuda));
    ADD_FAILURE() << "a tensor on a device that is not there";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::device_unavailable);
    EXPECT_NE(std::string(e.what()).find(cuda::why_not_available()), std::string::npos) << e.what();
  }
  EXPECT_EQ((ones({2}) + 1.0).select(0, 1).item<float>(), 2);
  EXPECT_CODE(device_unavailable, cuda::Graph::capture([] {}));
  EXPECT_FALSE(cuda::is_capturing());
  for (const cuda::VendorLibrary& l : cuda::vendor_libraries()) EXPECT_NE(l.state, "") << l.name;  // KD13
}

}  // namespace


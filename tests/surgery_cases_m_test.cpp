// The recorded programs of section M (mutable modules) in which graft does something else than torch-mutable-modules:
// each test holds what it does, in the words of the case's `graft` field.
#include "graft/core/autograd.h"
#include "graft/nn/activation.h"
#include "graft/nn/conv.h"
#include "graft/nn/linear.h"
#include "graft/nn/norm.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/mutable.h"
#include "refused.h"
#include "surgery_case.h"

namespace {

using namespace graft;
using namespace graft_test;
using nn::Child;
using nn::Linear;
using nn::make;
using nn::ReLU;
using nn::Sequential;
using nn::Tanh;
using surgery::to_mutable_module;

const nn::LinearOptions kNoBias{false, f64};

std::shared_ptr<Linear> linear(double base = 0) { return built(make<Linear>(2, 2), base); }
std::shared_ptr<Linear> mutable_linear() { return to_mutable_module(linear()); }
std::shared_ptr<Sequential> linear_relu() { return to_mutable_module(built(make<Sequential>(linear(), make<ReLU>()))); }
const Shape kRow{1, 2};

TEST(SurgeryCase, M_04) {
  const Case c("M-04", "parameters() yields current leaves or nothing for computed slots; state_dict = current values");
  auto m = mutable_linear();
  m->weight *= 2.0;
  const Tensor x = input(kRow), y = (*m)(x);
  expect_close(y, c.y(4));
  EXPECT_NEAR(loss(y).item<double>(), c.loss(5), 1e-9);
  loss(y).backward();
  // dL/d(2 w) = g x^T, so 2 g x^T arrives at the leaf; parameters() yields it.
  const Tensor g = loss_weights(y);
  const auto parameters = m->parameters();
  ASSERT_EQ(parameters.size(), 2U);
  EXPECT_TRUE(parameters[0].is_same(m->weight.leaf()));
  expect_close(parameters[0].grad(), matmul(g.reshape({2, 1}), x) * 2.0);
  expect_close(parameters[1].grad(), g.reshape({2}));
  expect_close(parameters[0], to_tensor(c.expect(8).at("param_values").at("weight")));  // what the edit started from
  expect_close(m->weight, to_tensor(c.expect(9).at("value")));
  expect_close(m->state_dict().at("weight"), to_tensor(c.expect(9).at("value")));
  expect_close(m->state_dict().at("bias"), to_tensor(c.expect(8).at("state").at("bias")));
}

TEST(SurgeryCase, M_05) {
  const Case c("M-05", "optimizer over the mutable module trains the leaf the forward uses");
  auto m = mutable_linear();
  optim::SGD sgd(m->parameters(), {.lr = 1.0});
  const Tensor x = input(kRow), y = (*m)(x);
  expect_close(y, c.y(4));
  EXPECT_NEAR(loss(y).item<double>(), c.loss(6), 1e-9);
  loss(y).backward();
  sgd.step();
  m->zero_grad();
  // (w - g x^T) x + b - g = y - g (x^T x + 1)
  expect_close((*m)(x), y - loss_weights(y) * (sum(x * x).item<double>() + 1));
}

TEST(SurgeryCase, M_06) {
  const Case c("M-06", "requires_grad of frozen parameters preserved unless asked");
  auto m = linear();
  m->requires_grad_(false);
  to_mutable_module(m);
  expect_close(m->weight, to_tensor(c.expect(3).at("value")));
  EXPECT_FALSE(m->weight->requires_grad());
  m->weight *= 2.0;
  EXPECT_FALSE(m->weight->requires_grad());
  m->weight.leaf().requires_grad_(true);  // asked: from the next edit on
  m->weight.materialize();
  EXPECT_TRUE(m->weight->requires_grad());
}

TEST(SurgeryCase, M_07) {
  const Case c("M-07", "repr prints MutableModule(...) at the root only; children print as they are.");
  struct Net : nn::Layer {
    Child<nn::ModuleList> convs{this, "convs", make<nn::Conv2d>(1, 1, 1), make<nn::Conv2d>(1, 1, 1)};
    Tensor forward(const Tensor& x) override { return (*convs)[1]((*convs)[0](x)); }
  };
  auto m = to_mutable_module(built(make<Net>()));
  const std::string repr =
      "MutableModule(Net(\n  (convs): ModuleList(\n    (0-1): 2 x Conv2d(1, 1, kernel_size=(1, 1), stride=(1, 1))\n  "
      ")\n))";
  EXPECT_EQ(nn::repr(*m), repr);
  auto& first = *(*m->convs)[0].as<nn::Conv2d>();
  first.weight *= 0.0;
  first.weight += 420.0;
  expect_close(first.weight, to_tensor(c.expect(4).at("value")));
  EXPECT_FALSE(first.weight->is_leaf());
  EXPECT_TRUE(first.weight->requires_grad());
  EXPECT_EQ(nn::repr(*m), repr);
  expect_close((*m)(input({1, 1, 2, 2})), c.y(7));
}

TEST(SurgeryCase, M_12) {
  const Case c("M-12", "shape mismatch reported at assignment");
  auto m = mutable_linear();
  const Tensor w = input({3, 5}), before = m->weight.value();
  EXPECT_CODE(shape_mismatch, m->weight = w);
  EXPECT_TRUE(m->weight->is_same(before));
  m->weight.assign(w, nn::Check::none);  // the way out, which does what the original does
  expect_close(m->weight, to_tensor(c.expect(4).at("value")));
  EXPECT_REFUSED("linear: in_features differ", (*m)(input(kRow)));
  m->bias = nullptr;
  expect_close((*m)(input({1, 5})), c.y(9));
}

TEST(SurgeryCase, M_14) {
  const Case c("M-14", "train/eval/to return the handle");
  auto m = mutable_linear();
  nn::Module& same = m->eval();
  EXPECT_EQ(&same, m.get());
  EXPECT_EQ(&m->train(), m.get());
  EXPECT_EQ(&m->to(f64), m.get());
  EXPECT_EQ(nn::repr(same), c.expect(1).at("repr").get<std::string>());
  dynamic_cast<Linear&>(same).weight = input({2, 2});
  expect_close((*m)(input(kRow)), c.y(7));
}

TEST(SurgeryCase, M_15) {
  const Case c("M-15", "tie kept: after a.weight *= 0 both a and b are zero");
  struct Net : nn::Layer {
    Child<Linear> a{this, "a", 2, 2, kNoBias}, b{this, "b", 2, 2, kNoBias};
    Net() { b->weight = a->weight; }
    Tensor forward(const Tensor& x) override { return b(a(x)); }
  };
  auto m = to_mutable_module(built(make<Net>()));
  EXPECT_EQ(nn::repr(*m), c.expect(1).at("repr").get<std::string>());
  expect_close((*m)(input(kRow)), c.y(3));
  m->a->weight *= 0.0;
  expect_close(m->a->weight, zeros({2, 2}, f64));
  expect_close(m->b->weight, zeros({2, 2}, f64));
  EXPECT_TRUE(m->a->weight->is_same(m->b->weight.value()));
  expect_close((*m)(input(kRow)), c.y(5));
}

TEST(SurgeryCase, M_18) {
  const Case c("M-18", "One truth: state_dict holds the assigned buffer.");
  auto m = built(make<nn::BatchNorm1d>(2), 1);
  m->eval();
  to_mutable_module(m);
  const Tensor mean = input({2}, 3);
  m->running_mean = mean;
  expect_close((*m)(input({3, 2})), c.y(6));
  expect_close(m->state_dict().at("running_mean"), mean);
  for (const char* other : {"weight", "bias", "running_var"})
    expect_close(m->state_dict().at(other), to_tensor(c.expect(7).at("state").at(other)));
}

TEST(SurgeryCase, M_25) {
  const Case c("M-25", "assignment of a submodule takes effect in forward and registry");
  auto m = linear_relu();
  EXPECT_EQ(nn::repr(*m), c.expect(1).at("repr").get<std::string>());
  const Tensor x = input(kRow);
  expect_close((*m)(x), c.y(3));
  (*m)[0] = make<Tanh>();
  expect_close((*m)(x), tanh(x));  // x > 0, which ReLU leaves
  EXPECT_EQ(nn::repr(*m), "MutableModule(Sequential(\n  (0): Tanh()\n  (1): ReLU()\n))");
  Lines modules;
  for (const auto& [path, part] : m->named_modules()) modules.push_back(path + " " + nn::type_name(*part));
  EXPECT_EQ(modules, Lines({" Sequential", "0 Tanh", "1 ReLU"}));
}

TEST(SurgeryCase, M_26) {
  const Case c("M-26", "surgery works on mutable modules");
  auto m = linear_relu();
  const Tensor x = input(kRow);
  expect_close((*m)(x), c.y(3));
  Lines calls;
  auto edit =
      surgery::replace(*m, {asked<ReLU>(calls, [](const ReLU&, const surgery::Site&) { return make<Tanh>(); })});
  EXPECT_EQ(calls, Lines({"ReLU 1 0"}));
  EXPECT_EQ(changed(edit.changes()), Lines({"1"}));
  EXPECT_EQ(nn::repr(*m),
            "MutableModule(Sequential(\n  (0): Linear(in_features=2, out_features=2, bias=True)\n  (1): Tanh()\n))");
  expect_close((*m)(x), tanh(c.y(3)));  // what the linear layer gives is > 0
  EXPECT_TRUE((*m)[1].as<Tanh>());
}

TEST(SurgeryCase, M_27) {
  const Case c("M-27", "load_state_dict sets the current values");
  auto m = linear();
  auto n = linear(5);
  to_mutable_module(m);
  const auto keys = m->load_state_dict(n->state_dict());
  EXPECT_TRUE(keys.missing_keys.empty() && keys.unexpected_keys.empty());
  const Tensor x = input(kRow);
  expect_close((*m)(x), (*n)(x));
  for (const char* name : {"weight", "bias"})
    expect_close(m->state_dict().at(name), to_tensor(c.expect(6).at("state").at(name)));
}

TEST(SurgeryCase, M_28) {
  const Case c("M-28", "cast converts the current values");
  auto m = mutable_linear();
  m->weight *= 1.0;  // also of what has been edited
  m->to(f32);
  EXPECT_EQ(m->weight->dtype(), f32);
  EXPECT_EQ(m->bias->dtype(), f32);
  for (const char* name : {"weight", "bias"}) EXPECT_EQ(m->state_dict().at(name).dtype(), f32);
  EXPECT_TRUE(m->weight->requires_grad());
  expect_close(m->weight, to_tensor(c.expect(3).at("value")), 10);  // rounded to f32
  const Tensor y = (*m)(input(kRow).to(f32));
  EXPECT_EQ(y.dtype(), f32);
  expect_close(y, c.y(6), 100);
}

}  // namespace

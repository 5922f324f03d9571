// Sequential, ModuleList, ModuleDict, ParameterList, ParameterDict, Identity, Linear, layer types by name, initialisers.
#include <gtest/gtest.h>

#include <cmath>

#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/core/random.h"
#include "graft/nn/containers.h"
#include "graft/nn/functional_call.h"
#include "graft/nn/init.h"
#include "graft/nn/linear.h"
#include "graft/nn/registry.h"
#include "refused.h"

namespace {

using namespace graft;
using nn::Identity;
using nn::Linear;
using nn::make;
using nn::ModuleList;
using nn::Sequential;

struct Times : nn::Layer {
  double k;
  explicit Times(double k) : k(k) {}
  Tensor forward(const Tensor& x) override { return x * k; }
};
struct Cut : nn::ModuleOf<Tensor(const Tensor&, const Tensor&)> {
  Tensor forward(const Tensor& a, const Tensor&) override { return a; }
};
double run(nn::Layer& m, double x = 1) { return m(full({}, x, f64)).item<double>(); }
std::string names(const nn::Module& m) {
  std::string all;
  for (const auto& [name, child] : m.named_children()) all += name + " ";
  return all;
}

TEST(Linear, computes_x_times_the_transposed_weight_plus_bias_and_its_gradients) {
  auto l = make<Linear>(2, 3, nn::LinearOptions{.options = f64});
  {
    const NoGrad quiet;
    l->weight->copy_(tensor({1., 2., 3., 4., 5., 6.}, {3, 2}, f64));
    l->bias->copy_(tensor({.5, .25, -1.}, {3}, f64));
  }
  const Tensor y = (*l)(tensor({1., 10.}, {1, 2}, f64));
  EXPECT_EQ(y.at({0, 0}), 21.5);
  EXPECT_EQ(y.at({0, 1}), 43.25);
  EXPECT_EQ(y.at({0, 2}), 64);
  sum(y).backward();
  EXPECT_EQ(l->weight->grad().at({2, 1}), 10);
  EXPECT_EQ(l->bias->grad().at({2}), 1);
}
TEST(Linear, starts_uniform_within_one_over_the_root_of_in_features) {
  manual_seed(1);
  auto l = make<Linear>(16, 500);
  double worst = 0, sum = 0;
  for (int64_t i = 0; i < 500; ++i)
    for (int64_t j = 0; j < 16; ++j) worst = std::max(worst, std::abs(l->weight->at({i, j}))), sum += l->weight->at({i, j});
  EXPECT_LE(worst, 0.25);
  EXPECT_GT(worst, 0.249);
  EXPECT_NEAR(sum / 8000, 0, 0.01);
  EXPECT_TRUE(l->weight->requires_grad() && l->bias->requires_grad());
}
TEST(Linear, complex_parameters_as_in_the_cdouble_example) {
  auto l = make<Linear>(2, 2, false);
  l->to(c128);
  const Tensor y = (*l)(ones({3, 2}, c128));
  EXPECT_EQ(y.dtype(), c128);
  EXPECT_NEAR(y.at({2, 1}), l->weight->at({1, 0}) + l->weight->at({1, 1}), 1e-12);
}
TEST(Bilinear, weighs_every_pair_of_features) {
  auto b = make<nn::Bilinear>(2, 3, 1, nn::LinearOptions{.options = f64});
  {
    const NoGrad quiet;
    b->weight->copy_(tensor({1., 2., 3., 4., 5., 6.}, {1, 2, 3}, f64));
    b->bias->copy_(tensor({100.}, {1}, f64));
  }
  const Tensor y = (*b)(tensor({1., 10.}, {1, 2}, f64), tensor({1., 0., 2.}, {1, 3}, f64));
  EXPECT_EQ(y.at({0, 0}), 100 + 1 * (1 + 6) + 10 * (4 + 12));
}

TEST(Sequential, calls_its_children_in_order_and_indexes_from_both_ends) {
  auto s = make<Sequential>(make<Times>(2.), make<Identity>(), make<Times>(5.));
  EXPECT_EQ(run(*s, 3), 30);
  EXPECT_EQ((*s)[-1].as<Times>()->k, 5);
  (*s)[0] = make<Times>(7.);
  EXPECT_EQ(run(*s), 35);
  EXPECT_REFUSED("index 3 is out of range for 3 modules", (*s)[3]);
  EXPECT_EQ(run(*nn::clone(*s)), 35);
}
TEST(Sequential, N19_keys_are_kept_by_assignment_and_renumbered_by_deletion_and_insertion) {
  auto s = make<Sequential>(make<Times>(2.), make<Times>(3.), make<Times>(5.));
  (*s)[1] = make<Times>(4.);
  EXPECT_EQ(names(*s), "0 1 2 ");
  s->erase(0);
  EXPECT_EQ(names(*s), "0 1 ");
  EXPECT_EQ(run(*s), 20);
  s->insert(1, make<Times>(10.));
  EXPECT_EQ(names(*s), "0 1 2 ");
  EXPECT_EQ((*s)[2].as<Times>()->k, 5);
  s->append(make<Times>(0.5));
  EXPECT_EQ(names(*s), "0 1 2 3 ");
  EXPECT_EQ(run(*s), 100);
  EXPECT_EQ(static_cast<Times&>(s->get_submodule("1")).k, 10);
}
TEST(Sequential, named_children_keep_their_names) {
  using Items = std::initializer_list<std::pair<std::string, nn::ModulePtr>>;
  auto s = std::make_shared<Sequential>(Items{{"conv", make<Times>(2.)}, {"act", make<Times>(3.)}});
  EXPECT_EQ(names(*s), "conv act ");
  EXPECT_EQ(run(*s), 6);
  EXPECT_REFUSED("two modules named 'a'", Sequential(Items{{"a", make<Times>(2.)}, {"a", make<Times>(3.)}}));
  EXPECT_REFUSED("other call signature", s->append(make<Cut>()));
  EXPECT_REFUSED("other call signature", s->add_module("x", make<Cut>()));
}
TEST(Sequential, of_thousands_of_children_is_quick_to_build_and_search) {
  auto s = make<Sequential>();
  for (int i = 0; i < 5000; ++i) s->append(make<Times>(1.));
  EXPECT_EQ(&s->get_submodule("4321"), s->child_entries()[4321]->module.get());
  s->erase(0);
  EXPECT_EQ(&s->get_submodule("4320"), s->child_entries()[4320]->module.get());
  EXPECT_REFUSED("has no attribute `4999`", s->get_submodule("4999"));
}
TEST(ModuleList, is_iterated_and_not_called) {
  struct Net : nn::Layer {
    nn::Child<ModuleList> layers{this, "layers", make<Times>(2.), make<Times>(3.)};
    Tensor forward(const Tensor& x) override {
      Tensor y = x;
      for (auto layer : *layers) y = layer(y);
      return y;
    }
  };
  auto net = make<Net>();
  EXPECT_EQ(run(*net), 6);
  net->layers->insert(0, make<Times>(10.));
  EXPECT_EQ(run(*net), 60);
  EXPECT_EQ(net->layers->pop().use_count(), 1);
  EXPECT_EQ(run(*net), 20);
  EXPECT_EQ(run(*nn::clone(*net)), 20);
  EXPECT_REFUSED("missing the required \"forward\" function", net->layers->call({ones({1})}));
}
TEST(ModuleDict, keeps_the_order_of_insertion) {
  auto d = make<nn::ModuleDict>();
  d->set("b", make<Times>(2.));
  d->set("a", make<Times>(3.));
  d->set("b", make<Times>(4.));
  EXPECT_EQ(d->keys(), (std::vector<std::string>{"b", "a"}));
  EXPECT_EQ((*d)["b"](full({}, 1.0, f64)).item<double>(), 4);
  EXPECT_REFUSED("no key 'c'", (*d)["c"]);
  EXPECT_EQ(d->pop("b").use_count(), 1);
  EXPECT_FALSE(d->contains("b"));
  d->clear();
  EXPECT_EQ(d->size(), 0U);
}
TEST(ParameterList, holds_parameters_and_prints_as_the_original) {
  auto l = make<nn::ParameterList>();
  l->append(ones({2, 3})).append(nn::parameter(ones({4}, f64), false));
  EXPECT_EQ(l->parameters().size(), 2U);
  EXPECT_TRUE((*l)[0]->requires_grad());
  EXPECT_FALSE((*l)[-1]->requires_grad());
  EXPECT_EQ(nn::repr(*l),
            "ParameterList(\n"
            "    (0): Parameter containing: [torch.float32 of size 2x3]\n"
            "    (1): Parameter containing: [torch.float64 of size 4]\n"
            ")");
  (*l)[0] = nn::parameter(zeros({2, 3}));
  EXPECT_EQ(l->get_parameter("0").at({1, 2}), 0);
}
TEST(ParameterDict, holds_parameters_by_name) {
  auto d = make<nn::ParameterDict>();
  d->set("left", ones({2}));
  EXPECT_TRUE((*d)["left"]->requires_grad());
  EXPECT_EQ(nn::repr(*d), "ParameterDict(  (left): Parameter containing: [torch.float32 of size 2])");
  EXPECT_EQ(d->pop("left").numel(), 2);
  EXPECT_EQ(d->size(), 0U);
}

TEST(Registry, builds_a_layer_from_positional_and_named_arguments) {
  auto l = nn::build_as<Linear>("Linear", {8, 16, {"bias", false}, {"dtype", "float64"}});
  EXPECT_EQ(l->weight->shape(), Shape({16, 8}));
  EXPECT_EQ(l->weight->dtype(), f64);
  EXPECT_FALSE(l->bias);
  EXPECT_EQ(nn::repr(*nn::build("Identity", {3, {"x", "y"}})), "Identity()");
  EXPECT_TRUE(nn::registered_type("Linear") == std::type_index(typeid(Linear)));
}
TEST(Registry, mistakes_name_what_was_meant) {
  EXPECT_REFUSED("no layer type is named 'Liner'; did you mean Linear", nn::build("Liner"));
  EXPECT_REFUSED("missing argument 'out_features'", nn::build("Linear", {3}));
  EXPECT_REFUSED("unexpected argument 'bais'; did you mean bias", nn::build("Linear", {3, 4, {"bais", false}}));
  EXPECT_REFUSED("multiple values for argument 'in_features'", nn::build("Linear", {3, {"in_features", 4}}));
  EXPECT_REFUSED("takes 5 arguments, but 6 were given", nn::build("Linear", {3, 4, true, nullptr, nullptr, 7}));
  EXPECT_REFUSED("out_features (Linear): a int was wanted, not a str", nn::build("Linear", {3, "x"}));
}
TEST(Registry, a_users_type_is_one_line) {
  nn::register_type<Times>("Times", [](nn::ArgReader& a) { return make<Times>(a.get<double>("k")); });
  EXPECT_EQ(nn::build_as<Times>("Times", {2})->k, 2);
  EXPECT_REFUSED("'Times' is taken",
                 nn::register_type<Times>("Times", [](nn::ArgReader&) { return make<Times>(1.); }));
}

TEST(FunctionalCall, uses_the_given_tensors_and_leaves_the_module_as_it_was) {
  auto l = make<Linear>(2, 1, nn::LinearOptions{.options = f64});
  const Tensor before = l->weight.value();
  const Tensor w = tensor({3., 4.}, {1, 2}, f64).requires_grad_();
  const Tensor y = nn::functional_call(*l, {{"weight", w * 2.0}, {"bias", zeros({1}, f64)}}, ones({1, 2}, f64));
  EXPECT_EQ(y.at({0, 0}), 14);
  sum(y).backward();
  EXPECT_EQ(w.grad().at({0, 1}), 2);
  EXPECT_TRUE(l->weight.value().is_same(before) && !before.grad().defined());
  EXPECT_REFUSED("no parameter or buffer 'wieght'", nn::functional_call(*l, {{"wieght", w}}, ones({1, 2}, f64)));
  EXPECT_REFUSED("", nn::functional_call(*l, {{"weight", ones({7})}}, ones({1, 2}, f64)));
  EXPECT_TRUE(l->weight.value().is_same(before));
}

TEST(Init, gains_and_fans_are_pytorchs) {
  EXPECT_DOUBLE_EQ(nn::init::calculate_gain("relu"), std::sqrt(2.0));
  EXPECT_DOUBLE_EQ(nn::init::calculate_gain("tanh"), 5.0 / 3);
  EXPECT_DOUBLE_EQ(nn::init::calculate_gain("leaky_relu", 0.2), std::sqrt(2 / 1.04));
  EXPECT_DOUBLE_EQ(nn::init::calculate_gain("selu"), 0.75);
  EXPECT_REFUSED("Unsupported nonlinearity", nn::init::calculate_gain("sin"));
  const auto fans = nn::init::calculate_fan_in_and_fan_out(empty({8, 4, 3, 5}));
  EXPECT_EQ(fans.in, 60);
  EXPECT_EQ(fans.out, 120);
  EXPECT_REFUSED("fewer than 2 dimensions", nn::init::xavier_uniform_(empty({3})));
}
struct Moments { double mean = 0, std = 0, low = 1e30, high = -1e30; };
Moments moments(const Tensor& t) {
  Moments m;
  const Tensor flat = t.to(f64).contiguous();
  const double* x = flat.data<double>();
  for (int64_t i = 0; i < t.numel(); ++i) m.mean += x[i] / double(t.numel()), m.low = std::min(m.low, x[i]), m.high = std::max(m.high, x[i]);
  for (int64_t i = 0; i < t.numel(); ++i) m.std += (x[i] - m.mean) * (x[i] - m.mean) / double(t.numel());
  m.std = std::sqrt(m.std);
  return m;
}
TEST(Init, distributions_have_the_documented_moments) {
  manual_seed(7);
  const Tensor w = empty({200, 300}, f64).requires_grad_();
  EXPECT_NEAR(moments(nn::init::xavier_uniform_(w, 2)).high, 2 * std::sqrt(6.0 / 500), 1e-3);
  EXPECT_NEAR(moments(nn::init::xavier_normal_(w)).std, std::sqrt(2.0 / 500), 1e-3);
  EXPECT_NEAR(moments(nn::init::kaiming_normal_(w, 0, nn::init::Fan::out, "relu")).std, std::sqrt(2.0 / 200), 2e-3);
  EXPECT_NEAR(moments(nn::init::kaiming_uniform_(w, 0, nn::init::Fan::in, "relu")).high, std::sqrt(6.0 / 300), 1e-3);
  const Moments cut = moments(nn::init::trunc_normal_(w, 0, 1, -1, 2));
  EXPECT_GE(cut.low, -1);
  EXPECT_LE(cut.high, 2);
  EXPECT_NEAR(cut.mean, (0.24197072451914337 - 0.05399096651318806) / (0.9772498680518208 - 0.15865525393145707), 0.01);
  EXPECT_TRUE(w.is_leaf() && w.requires_grad());
}
TEST(Init, constant_eye_dirac_orthogonal_and_sparse_are_what_they_say) {
  EXPECT_EQ(nn::init::constant_(empty({3}), 2.5).at({2}), 2.5);
  EXPECT_EQ(nn::init::eye_(empty({2, 3})).at({1, 1}), 1);
  const Tensor d = nn::init::dirac_(empty({4, 2, 3, 3}), 2);
  EXPECT_EQ(moments(d).mean * 72, 4);
  EXPECT_EQ(d.at({3, 1, 1, 1}), 1);
  for (const Shape& shape : {Shape{3, 5}, Shape{5, 3}}) {
    const Tensor q = nn::init::orthogonal_(empty(shape, f64), 2);
    const Tensor p = shape[0] < shape[1] ? matmul(q, q.transpose(0, 1)) : matmul(q.transpose(0, 1), q);
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t j = 0; j < 3; ++j) EXPECT_NEAR(p.at({i, j}), i == j ? 4 : 0, 1e-12);
  }
  const Tensor s = nn::init::sparse_(empty({10, 4}), 0.25);
  for (int64_t c = 0; c < 4; ++c) {
    int zero = 0;
    for (int64_t r = 0; r < 10; ++r) zero += s.at({r, c}) == 0;
    EXPECT_EQ(zero, 3);
  }
}

}  // namespace

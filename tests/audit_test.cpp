// surgery::audit: every kind of finding, each caused on purpose.
#include <sstream>
#include <gtest/gtest.h>
#include "graft/core/ops.h"
#include "graft/nn/activation.h"
#include "graft/nn/containers.h"
#include "graft/nn/linear.h"
#include "graft/nn/norm.h"
#include "graft/optim/adam.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/audit.h"
#include "graft/surgery/replace.h"

namespace {

using namespace graft;
using surgery::Finding;
using Kind = Finding::Kind;

std::shared_ptr<nn::Sequential> net() {
  return nn::make<nn::Sequential>(nn::make<nn::Linear>(3, 4), nn::make<nn::BatchNorm1d>(4), nn::make<nn::Linear>(4, 2));
}
std::string printed(const surgery::Audit& a) {
  std::ostringstream o;
  o << a;
  return o.str();
}

TEST(Audit, a_model_in_order_has_no_findings) {
  const auto m = net();
  optim::SGD sgd(m->parameters(), {.lr = 0.1});
  const surgery::Audit found = surgery::audit(*m, {&sgd});
  EXPECT_TRUE(found.empty()) << found;
  EXPECT_EQ(printed(found), "nothing found\n");
}

TEST(Audit, parameters_in_no_optimizer_and_in_two) {
  const auto m = net();
  optim::SGD sgd({m->get_parameter("0.weight"), m->get_parameter("0.bias"), m->get_parameter("1.weight")}, {.lr = 0.1});
  optim::Adam adam({m->get_parameter("0.bias"), m->get_parameter("2.weight"), m->get_parameter("2.bias")});
  const surgery::Audit found = surgery::audit(*m, {&sgd, &adam});
  ASSERT_EQ(found.size(), 2) << found;
  EXPECT_EQ(found[0].kind, Kind::not_optimized);
  EXPECT_EQ(found[0].path, "1.bias");
  EXPECT_EQ(found[0].text, "f32[4]@cpu is in no optimizer");
  EXPECT_EQ(found[1].kind, Kind::optimized_twice);
  EXPECT_EQ(found[1].path, "0.bias");
  EXPECT_EQ(found[1].text, "optimizer 0, group 0, parameter 1; optimizer 1, group 0, parameter 0");
}

TEST(Audit, without_optimizers_none_are_missed) { EXPECT_TRUE(surgery::audit(*net()).empty()); }

TEST(Audit, what_surgery_took_out_is_dead_in_an_optimizer_that_did_not_follow) {
  const auto m = net();
  optim::SGD follows({m->get_parameter("0.weight"), m->get_parameter("0.bias")}, {.lr = 0.1});
  optim::SGD forgotten({m->get_parameter("1.weight"), m->get_parameter("1.bias"), m->get_parameter("2.weight"), m->get_parameter("2.bias")},
                       {.lr = 0.1});
  const auto wider = surgery::on<nn::Linear>([](const nn::Linear& l) -> nn::ModulePtr {
    return l.out_features == 2 ? nn::make<nn::Linear>(4, 2) : nullptr;
  });
  surgery::Edit edit = surgery::replace(*m, {wider}, {.optimizers = {&follows}});
  const surgery::Audit found = surgery::audit(*m, {&follows, &forgotten});
  EXPECT_EQ(found.count(Kind::not_optimized), 2) << found;  // the new layer's
  EXPECT_EQ(found.count(Kind::dead), 2) << found;
  EXPECT_EQ(found.size(), 4);
  EXPECT_EQ(found[2].path, "optimizer 1, group 0, parameter 2");
  EXPECT_EQ(found[2].text, "f32[2,4]@cpu is not in the model");
  edit.undo();
  EXPECT_TRUE(surgery::audit(*m, {&follows, &forgotten}).empty());
  forgotten.keep(m->get_parameter("2.weight"));  // wanted there, come what may
}

TEST(Audit, frozen_parameters) {
  const auto m = net();
  optim::SGD sgd(m->parameters(), {.lr = 0.1});
  m->get_submodule("2").requires_grad_(false);
  const surgery::Audit found = surgery::audit(*m, {&sgd});
  ASSERT_EQ(found.size(), 2) << found;
  EXPECT_EQ(found[0].kind, Kind::frozen);
  EXPECT_EQ(found[0].path, "2.weight");
  EXPECT_EQ(found[0].text, "requires no gradient, and is in optimizer 0, group 0, parameter 4");
}

TEST(Audit, another_dtype_device_or_mode_than_most) {
  const auto m = net();
  m->get_submodule("0").to(f64);
  m->get_submodule("1").eval();
  surgery::Audit found = surgery::audit(*m);
  ASSERT_EQ(found.size(), 3) << found;
  EXPECT_EQ(found[0].kind, Kind::mixed_dtype);
  EXPECT_EQ(found[0].path, "0.weight");
  EXPECT_EQ(found[0].text, "is f64; most are f32");
  EXPECT_EQ(found[2].kind, Kind::mixed_mode);
  EXPECT_EQ(found[2].path, "1");
  EXPECT_EQ(found[2].text, "in eval mode; most are in training mode");

  const auto meta = net();
  meta->get_submodule("2").to_empty(Device(Device::meta));
  found = surgery::audit(*meta);
  ASSERT_EQ(found.size(), 2) << found;
  EXPECT_EQ(found[0].kind, Kind::mixed_device);
  EXPECT_EQ(found[0].text, "is meta; most are cpu");
  EXPECT_EQ(printed(found), "  mixed device  2.weight  is meta; most are cpu\n  mixed device  2.bias    is meta; most are cpu\n");
}

TEST(Audit, tied_parameters_and_shared_modules_count_once) {
  const auto shared = nn::make<nn::Linear>(4, 4);
  const auto m = nn::make<nn::Sequential>(shared, nn::make<nn::ReLU>(), shared);
  optim::SGD sgd(m->parameters(), {.lr = 0.1});
  EXPECT_TRUE(surgery::audit(*m, {&sgd}).empty());
  optim::SGD none({full({1}, 1.0).requires_grad_()}, {.lr = 0.1});
  const surgery::Audit found = surgery::audit(*m, {&none});
  EXPECT_EQ(found.count(Kind::not_optimized), 2) << found;
  EXPECT_EQ(found.count(Kind::dead), 1);
}

TEST(Audit, a_null_optimizer_is_an_error) { EXPECT_THROW(surgery::audit(*net(), {nullptr}), Error); }

}  // namespace

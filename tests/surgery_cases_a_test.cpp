// The recorded programs of section A (composer's ready-made surgeries) in which graft does something else than
// composer: each test holds what it does, in the words of the case's `graft` field.
#include "fingerprint.h"
#include "graft/core/autograd.h"
#include "graft/surgery/ghost_batchnorm.h"
#include "graft/surgery/weight_standardization.h"
#include "refused.h"
#include "surgery_case.h"

namespace {

using namespace graft;
using namespace graft_test;
using nn::BatchNorm1d;
using nn::make;
using nn::Sequential;

void expect_buffers(const nn::Module& m, const Json& recorded) {
  for (const auto& [name, want] : recorded.items()) expect_close(m.get_buffer(name), to_tensor(want));
}

TEST(SurgeryCase, A_05) {
  const Case c("A-05", "eval mode must accept batches smaller than the ghost size");
  auto m = built(make<Sequential>(make<BatchNorm1d>(2)), 1);
  surgery::replace(*m, surgery::ghost_batchnorm(3));
  EXPECT_EQ(nn::repr(*m), c.expect(1).at("repr_after"));
  const Tensor x = input({5, 2}), y = (*m)(x);
  expect_close(y, c.y(3));
  expect_buffers(*m, c.expect(4).at("buffer_values"));
  EXPECT_NEAR(loss(y).item<double>(), c.loss(5), 1e-9);
  loss(y).backward();
  for (const char* name : {"0.batchnorm.weight", "0.batchnorm.bias"})
    expect_close(m->get_parameter(name).grad(), to_tensor(c.expect(7).at("grads").at(std::string("m:") + name)));
  const std::string before = fingerprint(*m);
  EXPECT_REFUSED("a training batch of 2 samples is smaller than ghost_batch_size 3", (*m)(input({2, 2})));
  EXPECT_EQ(fingerprint(*m), before);
  m->eval();
  expect_close((*m)(x), c.y(9));
  expect_close((*m)(input({1, 2})), c.y(9).narrow(0, 0, 1));  // the first row of x
  EXPECT_EQ(m->state_dict().keys(), c.expect(12).at("state_keys").get<Lines>());
}

TEST(SurgeryCase, A_09) {
  const Case c("A-09",
               "Values as recorded; names are graft's own (a layer that standardises its weight, no parametrisation "
               "registry).");
  auto m = built(make<Sequential>(make<nn::Conv2d>(2, 2, 2)));
  surgery::replace(*m, surgery::weight_standardization());
  EXPECT_EQ(nn::repr(*m), "Sequential(\n  (0): StandardizedConv2d(2, 2, kernel_size=(2, 2), stride=(1, 1))\n)");
  const Tensor y = (*m)(input({1, 2, 3, 3}));
  expect_close(y, c.y(3));
  EXPECT_NEAR(loss(y).item<double>(), c.loss(4), 1e-9);
  loss(y).backward();
  const Json& grads = c.expect(6).at("grads");
  expect_close(m->get_parameter("0.weight").grad(), to_tensor(grads.at("m:0.parametrizations.weight.original")), 10);
  expect_close(m->get_parameter("0.bias").grad(), to_tensor(grads.at("m:0.bias")));
  EXPECT_TRUE(surgery::plan(*m, surgery::weight_standardization()).empty());  // once is enough
}

TEST(SurgeryCase, A_10) {
  const Case c("A-10", "momentum restored to 0.1 even on error");
  auto m = built(make<Sequential>(make<BatchNorm1d>(2)), 1);
  surgery::replace(*m, surgery::ghost_batchnorm(2));
  EXPECT_EQ(nn::repr(*m), c.expect(1).at("repr_after"));
  auto& norm = dynamic_cast<BatchNorm1d&>(m->get_submodule("0.batchnorm"));
  EXPECT_EQ(norm.momentum, 0.1);
  const std::string before = fingerprint(*m);
  EXPECT_REFUSED("of 5 samples in parts of 2 the last has one value per channel", (*m)(input({5, 2})));
  EXPECT_EQ(norm.momentum, 0.1);
  EXPECT_EQ(fingerprint(*m), before);  // no part has moved the statistics
  norm.register_forward_hook([](nn::Module&, const nn::Values&, nn::Value&) { fail("in the middle"); });
  EXPECT_REFUSED("in the middle", (*m)(input({4, 2})));
  EXPECT_EQ(norm.momentum, 0.1);
}

}  // namespace

// The recorded programs of section A (composer's ready-made surgeries) in which graft does something else than
// composer: each test holds what it does, in the words of the case's `graft` field.
#include "fingerprint.h"
#include "graft/core/autograd.h"
#include "graft/surgery/ghost_batchnorm.h"
#include "graft/surgery/low_rank.h"
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
  EXPECT_EQ(nn::repr(*m), c.expect(1).at("repr_after").get<std::string>());
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

// The original's 0.105 compares what it fits without the bias with what it fits with it.
TEST(SurgeryCase, A_08) {
  const Case c("A-08", "report the true nmse");
  const Tensor x = sequence({12, 5}, [](double i) { return std::cos(0.21 * i * i + 0.7); });
  const Tensor w = sequence({5, 4}, [](double i) { return std::sin(0.37 * i * i + 1); });
  const Tensor b = sequence({4}, [](double i) { return std::sin(0.37 * i + 3) / 2; });
  const Tensor y = matmul(x, w) + b;
  const auto two = surgery::factorize_matrix(x, y, w, {.bias = b, .rank = 2});
  EXPECT_EQ(two.rank, 2);
  EXPECT_EQ(two.wa.shape(), Shape({5, 2}));
  EXPECT_EQ(two.wb.shape(), Shape({2, 4}));
  expect_close(matmul(matmul(x, two.wa), two.wb) + two.bias, to_tensor(c.expect(0).at("Yhat")));
  expect_close(two.bias, to_tensor(c.expect(0).at("bias")));
  EXPECT_NEAR(two.nmse, c.number("true_nmse_first_step"), 1e-10);
  const auto whole = surgery::factorize_matrix(x, y, w, {.bias = b, .rank = 5});
  EXPECT_EQ(whole.rank, -1);
  EXPECT_FALSE(whole.wb.defined());
  expect_close(matmul(x, whole.wa) + whole.bias, to_tensor(c.expect(1).at("Yhat")));
  expect_close(whole.bias, to_tensor(c.expect(1).at("bias")));
  EXPECT_NEAR(whole.nmse, 0, 1e-20);
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
  EXPECT_EQ(nn::repr(*m), c.expect(1).at("repr_after").get<std::string>());
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

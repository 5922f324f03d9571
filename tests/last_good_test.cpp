// KP6: a training loop that stops at a loss that is not finite goes back to its last good checkpoint, bit for bit.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include "graft/core/autograd.h"
#include "graft/core/ops.h"
#include "graft/io/checkpoint.h"
#include "graft/nn/nn.h"
#include "graft/optim/optim.h"

namespace {

using namespace graft;

struct Trainer {
  std::shared_ptr<nn::Linear> net = nn::make<nn::Linear>(2, 1);
  optim::Adam adam{net->parameters(), {.lr = 0.1}};
  std::string path;

  void save(int64_t epoch) const {
    io::Checkpoint c;
    c.add("model", net->state_dict());
    c.add("optimizer", adam.state_dict());
    c.set("epoch", epoch);
    io::save_checkpoint(path, c);
  }
  int64_t restore() {
    const io::Checkpoint c = io::load_checkpoint(path);
    net->load_state_dict(c.section_as<nn::StateDict>("model"));
    adam.load_state_dict(c.section("optimizer"));
    return c.integer("epoch");
  }
  double epoch(const Tensor& x) {
    adam.zero_grad();
    const Tensor loss = mean(square((*net)(x) - 1.0));
    loss.backward();
    adam.step();
    return loss.item<double>();
  }
};

TEST(Contract, KP6_a_loss_that_is_not_finite_leads_back_to_the_last_good_checkpoint) {
  Trainer t;
  t.path = (std::filesystem::temp_directory_path() / concat("graft-kp6-", ::getpid(), ".safetensors")).string();
  const Tensor good = tensor({1.0, 2.0, -1.0, 0.5}, {2, 2}), bad = good * std::numeric_limits<double>::infinity();
  std::vector<Tensor> expected;
  int64_t last = -1;
  for (int64_t e = 0; e < 5; ++e) {
    if (!std::isfinite(t.epoch(e == 3 ? bad : good))) {
      EXPECT_TRUE(std::isnan(t.net->weight->at({0, 0})));  // the step was taken: the model is spoilt
      last = t.restore();
      break;
    }
    t.save(e);
    expected.clear();
    for (const auto& [name, v] : t.net->state_dict()) expected.push_back(v.clone());
    for (const auto& [name, v] : t.adam.state_dict()) expected.push_back(v.clone());
  }
  EXPECT_EQ(last, 2);
  std::vector<Tensor> got;
  for (const auto& [name, v] : t.net->state_dict()) got.push_back(v);
  for (const auto& [name, v] : t.adam.state_dict()) got.push_back(v);
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_EQ(std::memcmp(got[i].view().data, expected[i].view().data, size_t(got[i].nbytes())), 0) << i;
  EXPECT_TRUE(std::isfinite(t.epoch(good)));
  std::filesystem::remove(t.path);
}

}  // namespace

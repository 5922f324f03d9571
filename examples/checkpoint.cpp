// Stops a training run half way and goes on from its file: the result is that of a run without a stop, bit for bit. Model,
// optimizer, schedule and random numbers are in the checkpoint. A loss that is not finite goes back to the last good one.
#include <cmath>
#include <filesystem>
#include <iostream>
#include "graft/core/random.h"
#include "graft/io/checkpoint.h"
#include "graft/nn/nn.h"
#include "graft/optim/optim.h"
using namespace graft;

struct Run {
  std::shared_ptr<nn::Sequential> net = nn::make<nn::Sequential>(
      nn::make<nn::Linear>(2, 16), nn::make<nn::Tanh>(), nn::make<nn::Dropout>(0.1), nn::make<nn::Linear>(16, 1));
  optim::Adam adam{net->parameters(), {.lr = 0.01}};
  optim::CosineAnnealingLR schedule{adam, 200};
  int64_t step = 0;

  double train_step() {
    const Tensor x = randn({32, 2}), target = sum(x * x, {1}, true);
    adam.zero_grad();
    const Tensor loss = nn::functional::mse_loss((*net)(x), target);
    loss.backward();
    adam.step(), schedule.step(), ++step;
    return loss.item<double>();
  }
  void save(const std::string& path) const {
    io::Checkpoint c;
    c.add("model", net->state_dict());
    c.add("optimizer", adam.state_dict());
    c.add("schedule", schedule.state_dict());
    c.add("generator", {{"state", default_generator().state()}});
    c.set("step", step);
    io::save_checkpoint(path, c);
  }
  void load(const std::string& path) {
    const io::Checkpoint c = io::load_checkpoint(path);
    net->load_state_dict(c.section_as<nn::StateDict>("model"));
    adam.load_state_dict(c.section("optimizer"));
    schedule.load_state_dict(c.section("schedule"));
    default_generator().set_state(c.section("generator")[0].second);
    step = c.integer("step");
  }
};

int main() {
  const std::string path = (std::filesystem::temp_directory_path() / "graft-example-checkpoint.safetensors").string();
  manual_seed(1);
  Run whole;
  double expected = 0;
  while (whole.step < 200) expected = whole.train_step();

  manual_seed(1);
  {
    Run first;
    while (first.step < 120) first.train_step();
    first.save(path);
  }
  manual_seed(99);  // another process would start from other numbers
  Run second;
  second.load(path);
  double got = 0;
  while (second.step < 200) got = second.train_step();
  std::cout << "loss after 200 steps: " << expected << "; stopped at 120 and resumed: " << got
            << (got == expected ? " (the same bits)" : " (DIFFERS)") << '\n';

  second.adam.set_lr(1e30);  // spoil it, and go back to what is good
  double loss = 0;
  while (std::isfinite(loss)) loss = second.train_step();
  std::cout << "loss became " << loss << " at step " << second.step;
  second.load(path);
  std::cout << "; back at step " << second.step << ", next loss " << second.train_step() << '\n';
  std::filesystem::remove(path);
  return got == expected ? 0 : 1;
}

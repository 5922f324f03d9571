// The main job, end to end: train a small ResNet, look at it, replace layers under a live optimizer, undo, let another
// network predict weights, fuse for inference, ship the result to a second process.
#include <CLI/CLI.hpp>
#include <iostream>
#include "graft/examples/timing.h"
#include "graft/examples/training.h"
#include "graft/io/safetensors.h"
#include "graft/nn/nn.h"
#include "graft/optim/optim.h"
#include "graft/surgery/surgery.h"
using namespace graft;

// ---- A model: members are slots; forward calls whatever a slot holds now
// ---------------------------------------------
struct Block : nn::Layer {
  nn::Child<nn::Conv2d> conv1, conv2;
  nn::Child<nn::BatchNorm2d> bn1, bn2;
  nn::Child<nn::ReLU> relu1{this, "relu1"}, relu2{this, "relu2"};
  nn::Child<nn::Add> add{this, "add"};
  nn::Child<nn::Layer> down{this, "down", nullptr};  // may stay empty
  Block(int64_t in, int64_t out, int64_t stride)
      : conv1(this, "conv1", in, out, 3, nn::Conv2dOptions{.stride = stride, .padding = 1, .bias = false}),
        conv2(this, "conv2", out, out, 3, nn::Conv2dOptions{.padding = 1, .bias = false}),
        bn1(this, "bn1", out),
        bn2(this, "bn2", out) {
    const nn::Conv2dOptions strided{.stride = stride, .bias = false};
    if (stride != 1)
      down = nn::make<nn::Sequential>(nn::make<nn::Conv2d>(in, out, 1, strided), nn::make<nn::BatchNorm2d>(out));
  }
  Tensor forward(const Tensor& x) override { return relu2(add(bn2(conv2(relu1(bn1(conv1(x))))), down ? down(x) : x)); }
};
struct Net : nn::Layer {
  nn::Child<nn::Conv2d> conv{this, "conv", 1, 16, 3, nn::Conv2dOptions{.padding = 1, .bias = false}};
  nn::Child<nn::BatchNorm2d> bn{this, "bn", 16};
  nn::Child<nn::ReLU> relu{this, "relu"};
  nn::Child<Block> block1{this, "block1", 16, 16, 1};
  nn::Child<nn::MaxPool2d> pool{this, "pool", 2};
  nn::Child<Block> block2{this, "block2", 16, 32, 2};
  nn::Child<nn::Linear> head{this, "head", 32, 10};
  Tensor forward(const Tensor& x) override { return head(mean(block2(pool(block1(relu(bn(conv(x)))))), {2, 3})); }
};

// The second process: the same model, the same surgery, the weights from the file.
int load_and_run(const std::string& file, const Tensor& x) {
  auto net = nn::make<Net>();
  surgery::replace(*net, surgery::blurpool());
  surgery::fuse(net->eval(), {x});
  net->load_state_dict(io::load_safetensors(file).tensors);
  std::cout << "second process:  " << bits(outputs(*net, x)) << '\n';
  return 0;
}

int main(int argc, char** argv) {
  CLI::App app("Train, operate on, fuse and ship a small ResNet.");
  std::string name = "digits", load;
  int64_t seeds = 5, epochs = 15;
  app.add_option("--data", name, "digits, or fashion (of Debian's dataset-fashion-mnist)")
      ->check(CLI::IsMember({"digits", "fashion"}));
  app.add_option("--seeds", seeds, "models to train, 5, of fashion 1; the work goes on with the first")->check(CLI::PositiveNumber);
  app.add_option("--epochs", epochs, "15, of fashion 1")->check(CLI::PositiveNumber);
  app.add_option("--load", load, "only build, fuse, load this file and print outputs");
  CLI11_PARSE(app, argc, argv);
  if (name == "fashion") {  // 500 times the work an epoch
    if (!app.count("--seeds")) seeds = 1;
    if (!app.count("--epochs")) epochs = 1;
  }
  const datasets::Images data = name == "digits" ? datasets::load_digits() : datasets::load_fashion();
  const Tensor x = data.test_images.narrow(0, 0, 64);
  if (!load.empty()) return load_and_run(load, x);
  std::cout << std::boolalpha;

  // ---- Train: the median of some seeds; the first model goes on ---------------------------------------------------
  std::vector<double> scores;
  std::shared_ptr<Net> net;
  std::unique_ptr<optim::SGD> sgd;
  for (int64_t seed = 0; seed < seeds; ++seed) {
    manual_seed(uint64_t(seed));
    auto model = nn::make<Net>();
    auto optimizer =
        std::make_unique<optim::SGD>(model->parameters(), optim::SGDOptions{.momentum = 0.9, .weight_decay = 5e-4});
    if (seed == 0) std::cout << nn::summary(*model, {x}) << surgery::type_counts(*model) << "\n\n";
    const double start = seconds();
    train(*model, *optimizer, data, epochs, 0.1, concat("seed ", seed));
    scores.push_back(accuracy(*model, data));
    std::cout << "seed " << seed << ": accuracy " << scores.back() << " %, " << seconds() - start << " s\n";
    if (seed == 0) net = model, sgd = std::move(optimizer);
  }
  std::ranges::sort(scores);
  std::cout << "median accuracy " << scores[scores.size() / 2] << " %\n\n";

  // ---- Replace layers under the live optimizer, undo, do it again, fine-tune --------------------------------------
  const Tensor before = outputs(*net, x);
  auto plan = surgery::plan(*net, surgery::blurpool(), {.optimizers = {sgd.get()}, .example = {x}});
  std::cout << plan;
  surgery::Edit edit = plan.apply();
  std::cout << "optimizer and model agree: " << (sgd->params().size() == net->parameters().size());
  edit.undo();
  std::cout << "; undone bitwise: " << same_bits(outputs(*net, x), before) << '\n';
  edit = plan.apply();
  train(*net, *sgd, data, std::min<int64_t>(epochs, 4), 0.02, "fine-tune");
  std::cout << "accuracy with blurred pools and strides: " << accuracy(*net, data) << " %\n\n";

  // ---- A policy that throws half way changes nothing --------------------------------------------------------------
  const Tensor healthy = outputs(*net, x);
  try {
    surgery::replace(*net, {surgery::on<nn::ReLU>([](const nn::ReLU&, int64_t i) -> nn::ModulePtr {
      return i < 3 ? nn::make<nn::GELU>() : throw Error("this policy gives up at the fourth ReLU");
    })},
                     {.optimizers = {sgd.get()}});
  } catch (const Error& e) {
    std::cout << "refused: " << e.what() << "\noutputs as before, bitwise: " << same_bits(outputs(*net, x), healthy)
              << "\n\n";
  }

  // ---- A mutable copy whose head another network predicts: the gradient reaches that network ----------------------
  auto student = surgery::to_mutable_module(nn::clone(*net));
  auto predictor = nn::make<nn::Linear>(4, 33 * 10);
  optim::SGD teacher(predictor->parameters(), {.lr = 0.05, .momentum = 0.9});
  student->eval();
  std::cout << "loss of a predicted head:";
  for (int step = 0; step <= 40; ++step) {
    const Tensor predicted = (*predictor)(ones({4})).reshape({10, 33});
    student->head->weight = predicted.narrow(1, 0, 32), student->head->bias = predicted.select(1, 32);
    teacher.zero_grad();
    const Tensor loss = nn::functional::cross_entropy((*student)(data.train_images.narrow(0, 0, 256)),
                                                      data.train_labels.narrow(0, 0, 256));
    loss.backward(), teacher.step();
    if (step % 10 == 0) std::cout << ' ' << loss.item<double>();
  }

  // ---- Fuse for inference, and ship -------------------------------------------------------------------------------
  auto fused = nn::clone(*net);
  std::cout << "\n\n" << surgery::fuse(fused->eval(), {x});
  const Tensor y = outputs(*fused, x);
  std::cout << "largest difference after fusion: " << max(abs(y - outputs(*net, x))).item<double>() << '\n';
  const double ratio = race(
      "before fusion", [&] { outputs(*net, x); }, "after fusion", [&] { outputs(*fused, x); });
  std::cout << "time after / before: " << ratio << " (64 images)\n\n";
  io::save_safetensors("operate.safetensors", fused->state_dict().items());
  std::cout << "this process:    " << bits(y) << std::endl;
  return std::system(concat("'", argv[0], "' --data ", name, " --load operate.safetensors").c_str()) != 0;
}

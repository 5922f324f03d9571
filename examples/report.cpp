// What surgery did to a network of a thousand modules, as a page to look at: activations replaced, batch norms fused.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include "graft/core/ops.h"
#include "graft/nn/nn.h"
#include "graft/surgery/surgery.h"

using namespace graft;

namespace {

struct Block : nn::Layer {
  nn::Child<nn::Layer> conv1, bn1, relu{this, "relu", nn::ModulePtr(nn::make<nn::ReLU>())}, conv2, bn2;
  explicit Block(int64_t width)
      : conv1(this, "conv1", nn::ModulePtr(nn::make<nn::Conv2d>(width, width, 3, nn::Conv2dOptions{.padding = 1, .bias = false}))),
        bn1(this, "bn1", nn::ModulePtr(nn::make<nn::BatchNorm2d>(width))),
        conv2(this, "conv2", nn::ModulePtr(nn::make<nn::Conv2d>(width, width, 3, nn::Conv2dOptions{.padding = 1, .bias = false}))),
        bn2(this, "bn2", nn::ModulePtr(nn::make<nn::BatchNorm2d>(width))) {}
  Tensor forward(const Tensor& x) override { return relu(x + bn2(conv2(relu(bn1(conv1(x)))))); }
};

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app("Writes a page that shows a model before and after surgery.");
  std::string file = "report.html";
  int blocks = 166;
  app.add_option("--out", file, "The file to write: .html, .svg or .txt")->capture_default_str();
  app.add_option("--blocks", blocks, "Residual blocks; six modules each")->capture_default_str()->check(CLI::Range(1, 10000));
  CLI11_PARSE(app, argc, argv);

  const auto net = nn::make<nn::Sequential>(nn::make<nn::Conv2d>(3, 8, 3));
  for (int i = 0; i < blocks; ++i) net->append(nn::make<Block>(8));
  net->append(nn::make<nn::Hardswish>());
  net->eval();
  const Tensor x = ones({1, 3, 16, 16});
  const surgery::Snapshot before = surgery::snapshot(*net, {x});
  surgery::replace(*net, {surgery::on<nn::Hardswish>([](const nn::Hardswish&) { return nn::make<nn::ReLU>(); })});
  const surgery::Fusion fusion = surgery::fuse(*net, {x});
  const surgery::Report report =
      surgery::report(before, surgery::snapshot(*net, {x}), {.title = "Fusion of a residual network", .refused = surgery::refusals(fusion)});
  report.write(file);
  std::printf("%zu modules, %zu lines, %zu changed, %zu fused -> %s\n", before.rows.size(), report.lines().size(),
              report.count(surgery::Report::Line::Sign::changed), fusion.fused.size(), file.c_str());
  return 0;
} catch (const std::exception& e) {
  std::cerr << "report: " << e.what() << '\n';
  return 1;
}

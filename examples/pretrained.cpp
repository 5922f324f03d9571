// A real pretrained network: weights from a file, answers held against those of ONNX Runtime, its 35 batch norms fused into
// the convolutions, and what that saves. The fusion is in the repository as a recipe, too, which another copy replays.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include "graft/examples/text_direction.h"
#include "graft/io/safetensors.h"
#include "graft/surgery/surgery.h"
#include "timing.h"

using namespace graft;

namespace {

Tensor answer(nn::Layer& net, const Tensor& x) {
  const InferenceMode inference;
  return net(x);
}
std::shared_ptr<text_direction::TextDirection> load(const std::string& file) {
  const auto net = nn::make<text_direction::TextDirection>();
  nn::StateDict weights;
  for (const auto& [name, t] : io::load_safetensors(file).tensors) weights.set(name, t);
  net->load_state_dict(weights);
  net->eval();
  return net;
}
double largest_difference(const Tensor& a, const Tensor& b) { return max(abs(a - b)).item<double>(); }

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app{"A pretrained network fused, its answers held against recorded ones."};
  std::string folder = GRAFT_DATA_DIR "/text_direction";
  bool write_recipe = false;
  app.add_option("folder", folder, "with weights.safetensors, expected.safetensors, fused.recipe.json")->capture_default_str();
  app.add_flag("--write-recipe", write_recipe, "write fused.recipe.json instead of replaying it");
  CLI11_PARSE(app, argc, argv);

  const auto net = load(folder + "/weights.safetensors");
  const Tensor expected = io::load_safetensors(folder + "/expected.safetensors").tensors.at(0).second;

  const Tensor x = text_direction::images();
  const Tensor before = answer(*net, x);
  std::printf("%zu convolutions, %zu batch norms\n", surgery::count<nn::Conv2d>(*net), surgery::count<nn::BatchNorm2d>(*net));
  std::printf("from ONNX Runtime's answers: %.1e\n", largest_difference(before, expected));

  const auto original = nn::clone(*net), other = nn::clone(*net);
  surgery::Fusion fusion = surgery::fuse(*net, {x});
  const Tensor after = answer(*net, x);
  const double apart = largest_difference(after, expected);
  std::printf("fused %zu of %zu, refused %zu; now %.1e apart\n", fusion.fused.size(), surgery::count<nn::BatchNorm2d>(*original),
              fusion.refused.size(), apart);

  const std::string file = folder + "/fused.recipe.json";
  if (write_recipe) fusion.edit.recipe().save(file);
  surgery::Recipe::load(file).replay(*other);
  const double replayed = largest_difference(answer(*other, x), after);
  std::printf("the recipe replayed on another copy: %.1e from the first\n", replayed);
  const double ratio = race("as trained", [&] { answer(*original, x); }, "fused", [&] { answer(*net, x); });
  std::printf("ratio %.3f\n", ratio);

  GRAFT_CHECK(largest_difference(before, expected) < 1e-5 && apart < 1e-5, "the answers are not ONNX Runtime's");
  GRAFT_CHECK(fusion.fused.size() == 35 && surgery::count<nn::BatchNorm2d>(*net) == 0, "batch norms are left");
  GRAFT_CHECK(replayed == 0, "the recipe makes another network");
  fusion.edit.undo();
  GRAFT_CHECK(largest_difference(answer(*net, x), before) == 0, "undo did not restore the network");
  return 0;
} catch (const std::exception& e) {
  std::cerr << "pretrained: " << e.what() << '\n';
  return 1;
}

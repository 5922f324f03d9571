// Is surgery linear in the number of modules, and how long does it take? Replacing all with their optimizer (goal: 10,000
// in less than 100 ms), counting, cloning, fusing, saving and loading.
#include <chrono>
#include <filesystem>
#include <string>
#include <unistd.h>
#include "graft/core/autograd.h"
#include "graft/core/random.h"
#include "graft/io/safetensors.h"
#include "graft/optim/sgd.h"
#include "graft/surgery/count.h"
#include "graft/surgery/fuse_modules.h"
#include "graft/surgery/mutable.h"
#include "graft/surgery/plan.h"
#include "graft/surgery/recipe.h"
#include "resnet.h"
#include "run.h"

using namespace graft;

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
void per_module(benchmark::State& state, double modules) {
  state.counters["s/module"] = benchmark::Counter(modules * double(state.iterations()),
                                                  benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void defaults(benchmark::internal::Benchmark* b) {
  b->Unit(benchmark::kMillisecond)->Repetitions(3)->ReportAggregatesOnly()->MinTime(0.05);
}

// n Linear(2, 2) in groups of 100.
std::shared_ptr<nn::Sequential> wide(int64_t n) {
  auto net = nn::make<nn::Sequential>();
  for (int64_t i = 0; i < n; i += 100) {
    auto group = nn::make<nn::Sequential>();
    for (int64_t j = i; j < std::min(n, i + 100); ++j) group->append(nn::make<nn::Linear>(2, 2));
    net->append(group);
  }
  return net;
}
// Every level holds the one below twice: 2^depth paths.
std::shared_ptr<nn::Sequential> shared(int64_t depth) {
  auto net = nn::make<nn::Sequential>(nn::make<nn::Linear>(2, 2));
  for (int64_t i = 0; i < depth; ++i) net = nn::make<nn::Sequential>(net, net);
  return net;
}

void replace_all(benchmark::State& state, bool record) {
  const auto net = wide(state.range(0));
  optim::SGD optimizer(net->parameters(), {.lr = 0.1, .momentum = 0.9});
  const auto policy = surgery::on<nn::Linear>([](const nn::Linear&) { return nn::make<nn::Linear>(2, 2); });
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    surgery::Edit edit = surgery::plan(*net, {policy}, {.optimizers = {&optimizer}}).apply({.verify = {}, .record = record});
    state.SetIterationTime(seconds_since(start));
    if (int64_t(edit.changes().size()) != state.range(0)) return state.SkipWithError("not all were replaced");
    edit.undo();
  }
  per_module(state, double(state.range(0)));
}
BENCHMARK_CAPTURE(replace_all, recorded, true)->Arg(1000)->Arg(10000)->Arg(100000)->UseManualTime()->Apply(defaults);
BENCHMARK_CAPTURE(replace_all, not_recorded, false)->Arg(1000)->Arg(10000)->Arg(100000)->UseManualTime()->Apply(defaults);

void read_recipe(benchmark::State& state) {  // what is made of the recording where somebody asks
  const auto net = wide(state.range(0));
  const auto policy = surgery::on<nn::Linear>([](const nn::Linear&) { return nn::make<nn::Linear>(2, 2); });
  for (auto _ : state) {
    surgery::Edit edit = surgery::replace(*net, {policy});
    const auto start = std::chrono::steady_clock::now();
    benchmark::DoNotOptimize(edit.recipe());
    state.SetIterationTime(seconds_since(start));
  }
  per_module(state, double(state.range(0)));
}
BENCHMARK(read_recipe)->Arg(10000)->UseManualTime()->Apply(defaults);

void replace_and_undo(benchmark::State& state) {  // what undo adds; making the new modules aside
  const auto net = wide(state.range(0));
  optim::SGD optimizer(net->parameters(), {.lr = 0.1, .momentum = 0.9});
  const auto policy = surgery::on<nn::Linear>([](const nn::Linear&) { return nn::make<nn::Identity>(); });
  for (auto _ : state) surgery::replace(*net, {policy}, {.optimizers = {&optimizer}}).undo();
  per_module(state, double(state.range(0)));
}
BENCHMARK(replace_and_undo)->Arg(1000)->Arg(10000)->Apply(defaults);

void make_modules(benchmark::State& state) {  // of replace_all, what the policy itself takes
  for (auto _ : state) benchmark::DoNotOptimize(nn::make<nn::Linear>(2, 2));
  per_module(state, 1);
}
BENCHMARK(make_modules)->Apply(defaults);

void count(benchmark::State& state) {
  const auto net = wide(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(surgery::count<nn::Linear>(*net));
  per_module(state, double(state.range(0)));
}
BENCHMARK(count)->Arg(10000)->Apply(defaults);

void count_shared(benchmark::State& state) {
  const auto net = shared(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(surgery::count<nn::Linear>(*net));
  per_module(state, double(state.range(0) + 1));
}
BENCHMARK(count_shared)->Arg(100)->Arg(1000)->Apply(defaults);

void select_by_attribute(benchmark::State& state) {
  const auto net = wide(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(surgery::select(*net).where<nn::Linear>().where("in_features == 2 && bias").count());
  per_module(state, double(state.range(0)));
}
BENCHMARK(select_by_attribute)->Arg(10000)->Apply(defaults);

void select_by_path(benchmark::State& state) {
  const auto net = wide(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(surgery::select(*net).at("*.1?").count());
  per_module(state, double(state.range(0)));
}
BENCHMARK(select_by_path)->Arg(10000)->Apply(defaults);

void make_mutable(benchmark::State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    auto net = wide(state.range(0));
    state.ResumeTiming();
    benchmark::DoNotOptimize(surgery::to_mutable_module(net));
    state.PauseTiming();
    net.reset();
    state.ResumeTiming();
  }
  per_module(state, double(state.range(0)));
}
BENCHMARK(make_mutable)->Arg(10000)->Apply(defaults);

void clone(benchmark::State& state) {
  const auto net = wide(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(net->clone());
  per_module(state, double(state.range(0)));
}
BENCHMARK(clone)->Arg(10000)->Apply(defaults);

void clone_resnet18(benchmark::State& state) {
  const auto net = resnet::resnet18();
  for (auto _ : state) benchmark::DoNotOptimize(net->clone());
}
BENCHMARK(clone_resnet18)->Apply(defaults);

void fuse(benchmark::State& state, const std::shared_ptr<nn::Sequential>& net, size_t norms) {
  net->eval();
  const Tensor x = randn({1, 3, 224, 224});
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    surgery::Fusion fusion = surgery::fuse(*net, {x});
    state.SetIterationTime(seconds_since(start));
    if (fusion.fused.size() != norms) return state.SkipWithError("not all norms were fused");
    fusion.edit.undo();
  }
}
void fuse_resnet18_by_name(benchmark::State& state) {  // a copy, as torch.ao.quantization.fuse_modules makes one
  const auto net = resnet::resnet18();
  net->eval();
  std::vector<std::vector<std::string>> names{{"0", "1", "2"}};
  for (const auto& [path, m] : net->named_modules())
    if (const auto* block = dynamic_cast<const resnet::Block*>(m)) {
      names.push_back({path + ".conv1", path + ".bn1", path + ".relu1"});
      names.push_back({path + ".conv2", path + ".bn2"});
      if (!block->shortcut->child_entries().empty()) names.push_back({path + ".shortcut.0", path + ".shortcut.1"});
    }
  for (auto _ : state) benchmark::DoNotOptimize(surgery::fuse_modules(net, names));
}
BENCHMARK(fuse_resnet18_by_name)->Apply(defaults);
void fuse_resnet18(benchmark::State& state) { fuse(state, resnet::resnet18(), 20); }
void fuse_resnet152(benchmark::State& state) { fuse(state, resnet::resnet152(), 155); }
BENCHMARK(fuse_resnet152)->UseManualTime()->Apply(defaults);
BENCHMARK(fuse_resnet18)->UseManualTime()->Apply(defaults);

std::string file() {
  return (std::filesystem::temp_directory_path() / ("graft-benchmark-" + std::to_string(getpid()) + ".safetensors")).string();
}
void save_resnet18(benchmark::State& state) {
  const auto net = resnet::resnet18();
  for (auto _ : state) {
    const nn::StateDict dict = net->state_dict();
    io::save_safetensors(file(), {dict.begin(), dict.end()});
  }
  state.SetBytesProcessed(state.iterations() * int64_t(std::filesystem::file_size(file())));
  std::filesystem::remove(file());
}
BENCHMARK(save_resnet18)->Apply(defaults);

void load_resnet18(benchmark::State& state) {
  const auto net = resnet::resnet18();
  const nn::StateDict dict = net->state_dict();
  io::save_safetensors(file(), {dict.begin(), dict.end()});
  for (auto _ : state) {
    nn::StateDict read;
    for (const auto& [name, tensor] : io::load_safetensors(file()).tensors) read.set(name, tensor);
    net->load_state_dict(read);
  }
  state.SetBytesProcessed(state.iterations() * int64_t(std::filesystem::file_size(file())));
  std::filesystem::remove(file());
}
BENCHMARK(load_resnet18)->Apply(defaults);

}  // namespace

int main(int argc, char** argv) { return bench::run(argc, argv); }

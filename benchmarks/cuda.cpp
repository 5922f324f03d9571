// Is every fused kernel of device cuda faster than the same from single ops and than a vendor library, and how close is it to
// what the GPU can do? Times are those of CUDA events. "roof%" is the time in which the bytes that must be moved take copying, or
// the operations the peak of the units (both measured here, whichever is longer), relative to the time that it took.
// `cuda --smoke` computes small sizes and compares the contestants' results, and with `--compare FILE` those of the first with
// recorded ones (`--record FILE`; tests/data/cuda holds the emulated device's): what a test runs, and gpu-check on a GPU.
#include <cstring>
#include <iostream>
#include <map>
#include <set>
#include "cuda/contest.h"
#include "cuda/peak.h"
#include "graft/core/autograd.h"
#include "graft/core/cuda.h"
#include "graft/core/op.h"
#include "graft/core/ops.h"
#include "graft/io/safetensors.h"
#include "run.h"
#ifdef GRAFT_CUDA_EMULATED
#include "graft/kernels/cuda/emulation/emulation.h"
#endif

using namespace graft;
using contest::Case, contest::Contestant, contest::Made;

namespace {

bool smoke = false;

template <class F> double seconds_of(F work) {
  static const cuda::Event from(true), to(true);
  from.record();
  work();
  to.record();
  to.synchronize();
  return std::max(1e-9, from.milliseconds_until(to) * 1e-3);
}
template <class F> double best_seconds(F work) {
  work();
  double best = seconds_of(work);
  for (int i = 0; !smoke && i < 20; ++i) best = std::min(best, seconds_of(work));
  return best;
}

// ---- the roof ------------------------------------------------------------------------------------------------

double copy_speed() {  // bytes a second, read and written
  static const double speed = [] {
    const int64_t count = smoke ? 1000 : int64_t{1} << 28;
    const Tensor from = ones({count}, Device(Device::cuda)), to = empty({count}, Device(Device::cuda));
    return 8.0 * double(count) / best_seconds([&] { to.copy_(from); });
  }();
  return speed;
}
double flops(DType t) {
  static std::map<DType, double> known;
  double& speed = known[t];
  if (speed == 0) {
    const Tensor out = empty({peak::kOutputs}, Device(Device::cuda));
    double work = 0;
    const double seconds =
        best_seconds([&] { work = peak::launch(t, out, smoke ? 1 : 132 * 8, smoke ? 2 : 20'000, cuda::current_stream().handle()); });
    speed = work / seconds;
  }
  return speed;
}
double roof_seconds(const contest::Work& w) { return std::max(w.bytes / copy_speed(), w.flops / flops(w.dtype)); }

// ---- a contestant --------------------------------------------------------------------------------------------

void switch_vendor(bool on) {
  cuda::use_vendor_libraries(on);
#ifdef GRAFT_CUDA_EMULATED
  cuda::emulation::settings().vendor_libraries = on;
#endif
}

std::string library_of(const std::string& contestant) {
  return contestant.starts_with("cublas") ? "cublas" : contestant.starts_with("cudnn") ? "cudnn" : "";
}
std::set<std::string> loaded;  // "cublas", "cudnn"
bool can_run(const std::string& contestant) {
  const std::string l = library_of(contestant);
  return l.empty() || loaded.contains(l);
}

struct Kernels : Observer {  // that ran, each once
  std::set<std::string> names;
  void after(const Call& call, std::span<const Tensor>, const Candidate* c) override {
    if (c) names.insert(concat(call.op.name, ": ", c->name));
  }
  std::string text() const {
    std::string all;
    for (const std::string& n : names) all += (all.empty() ? "" : ", ") + n;
    return all;
  }
};
Tensors run_once(const Contestant& c, std::string& kernels) {
  switch_vendor(!library_of(c.name).empty());
  const NoGrad quiet;
  Kernels seen;
  const Observing scope(seen);
  Tensors results = c.run();
  kernels = seen.text();
  return results;
}

void measure(benchmark::State& state, const Case& c, size_t which) {
  const Made made = c.make(smoke);
  const Contestant& contestant = made.contestants[which];
  std::string kernels;
  run_once(contestant, kernels);
  state.SetLabel(kernels);
  const NoGrad quiet;
  const int calls = smoke ? 1 : std::clamp(int(2e-3 / seconds_of([&] { contestant.run(); })), 1, 200);  // so that an event's 0.5 us is nothing
  for (auto _ : state) {
    const double seconds = seconds_of([&] {
      for (int i = 0; i < calls; ++i) contestant.run();
    });
    state.SetIterationTime(seconds / calls);
  }
  const double times = double(state.iterations());
  const auto rate = [](double x) { return benchmark::Counter(x, benchmark::Counter::kIsRate); };
  state.counters["GB/s"] = rate(made.work.bytes * times * 1e-9);
  state.counters["TFLOP/s"] = rate(made.work.flops * times * 1e-12);
  state.counters["roof%"] = rate(100 * roof_seconds(made.work) * times);
}

// ---- comparing -----------------------------------------------------------------------------------------------

double difference(const Tensors& a, const Tensors& b) {
  double most = a.size() == b.size() ? 0 : 1e30;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const Tensor x = a[i].detach().cpu().to(f64), y = b[i].detach().cpu().to(f64);
    most = std::max(most, x.shape() == y.shape() ? max(abs(x - y)).item<double>() / (1 + max(abs(x)).item<double>()) : 1e30);
  }
  return most;
}
// With what `file` has of this case.
bool compare_recorded(const Case& c, const Tensors& results, double tolerance, const io::Safetensors& file) {
  Tensors recorded;
  for (size_t i = 0; i < results.size(); ++i)
    if (const Tensor* t = io::find(file.tensors, concat(c.name, " ", i))) recorded.push_back(*t);
  const double d = difference(recorded, results);
  std::cout << (d <= tolerance ? "ok   " : "BAD  ") << c.name << " / recorded: " << d << '\n';
  return d <= tolerance;
}
bool compare(const Case& c, const io::Safetensors* recorded, io::NamedTensors& record) {
  const Made made = c.make(true);
  std::string kernels;
  Tensors first;
  bool good = true;
  for (const Contestant& x : made.contestants) {
    if (!can_run(x.name)) continue;
    run_once(x, kernels);  // optimizers: the second step as well
    const Tensors results = run_once(x, kernels);
    if (first.empty()) first = results;
    const double d = difference(first, results);
    const bool ran = kernels.find(library_of(x.name)) != std::string::npos;
    good = good && d <= made.tolerance && ran;
    std::cout << (d <= made.tolerance && ran ? "ok   " : "BAD  ") << c.name << " / " << x.name << ": " << d << " (" << kernels << ")\n";
  }
  for (size_t i = 0; i < first.size(); ++i) record.emplace_back(concat(c.name, " ", i), first[i].detach().cpu());
  return (!recorded || compare_recorded(c, first, made.tolerance, *recorded)) && good;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<char*> args;
  std::string record, recorded;
  for (int i = 0; i < argc; ++i) {
    if (std::strcmp(argv[i], "--smoke") == 0) smoke = true;
    else if (std::strcmp(argv[i], "--record") == 0 && i + 1 < argc) record = argv[++i];
    else if (std::strcmp(argv[i], "--compare") == 0 && i + 1 < argc) recorded = argv[++i];
    else args.push_back(argv[i]);
  }
  if (!cuda::available()) {
    std::cerr << "cuda: there is no device to measure: " << cuda::why_not_available() << '\n';
    return 77;
  }
  switch_vendor(true);
  for (const cuda::VendorLibrary& l : cuda::vendor_libraries()) {
    benchmark::AddCustomContext(l.name, l.state);
    if (l.loaded) loaded.insert(l.name == "cuBLAS" ? "cublas" : "cudnn");
  }
  contest::Cases cases;
  for (const auto& family : {contest::products(), contest::rows(), contest::convolutions(), contest::attention(), contest::optimizers(), contest::steps()})
    cases.insert(cases.end(), family.begin(), family.end());
  bool good = true;
  if (smoke) {
    const io::Safetensors file = recorded.empty() ? io::Safetensors() : io::load_safetensors(recorded);
    io::NamedTensors results;
    for (const Case& c : cases) good = compare(c, recorded.empty() ? nullptr : &file, results) && good;
    if (!record.empty()) io::save_safetensors(record, results);
  }
  benchmark::AddCustomContext("copy, GB/s", std::to_string(copy_speed() * 1e-9));
  for (const DType t : {f32, bf16}) benchmark::AddCustomContext(concat("peak of ", name_of(t), ", TFLOP/s"), std::to_string(flops(t) * 1e-12));
  for (const Case& c : cases)
    for (size_t i = 0; i < c.contestants.size(); ++i) {
      if (!can_run(c.contestants[i])) continue;
      auto* b = benchmark::RegisterBenchmark(concat(c.name, " / ", c.contestants[i]).c_str(),
                                             [c, i](benchmark::State& state) { measure(state, c, i); });
      b->UseManualTime()->Unit(benchmark::kMicrosecond);
      if (smoke) b->Iterations(1);
      else b->MinTime(0.05)->Repetitions(5)->ReportAggregatesOnly();
    }
  const int failed = bench::run(int(args.size()), args.data());
  cuda::synchronize();
  return good ? failed : 1;
}

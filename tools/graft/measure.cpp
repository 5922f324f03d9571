// verify, bench: running models.
#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include "command.h"
#include "graft/core/op.h"
#include "graft/kernels/parallel.h"
#include "graft/surgery/verify.h"

namespace command {

using namespace graft;

namespace {

struct Arguments {
  std::string model, other;
  std::vector<std::string> inputs;
  double ulps = 256;
  int64_t runs = 20;
  int threads = 0;
  bool json = false;
};

int verify(const Arguments& a) {
  const surgery::ModelFile one = load(a.model), two = load(a.other);
  const nn::Values inputs = inputs_of(a.inputs);
  const surgery::Difference d = surgery::difference(surgery::detail::run_quietly(*one.model, inputs),
                                                    surgery::detail::run_quietly(*two.model, inputs), a.ulps);
  const bool same = d.ulps <= a.ulps;
  if (a.json) {
    std::cout << Json::of("same", same, "ulps", std::isfinite(d.ulps) ? Json(d.ulps) : Json(), "absolute", std::isfinite(d.absolute) ? Json(d.absolute) : Json(),
                          "magnitude", std::isfinite(d.magnitude) ? Json(d.magnitude) : Json(), "place", d.place).dump(2) << '\n';
  } else if (d.ulps == 0) {
    std::cout << "the answers are equal\n";
  } else {
    std::cout << (same ? "the answers agree: " : "the answers differ: ") << d.text << '\n';
  }
  return same ? kOk : kDiffers;
}

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
int bench(const Arguments& a) {
  GRAFT_CHECK(a.runs > 0, "--runs: a positive number was expected, not ", a.runs);
  surgery::ModelFile f = load(a.model);
  f.model->eval();
  if (a.threads > 0) set_num_threads(a.threads);
  const nn::Values inputs = inputs_of(a.inputs);
  const NoGrad quiet;
  std::vector<double> times;
  {
    const Working line("running");
    f.model->call(inputs);
    for (int64_t i = 0; i < a.runs; ++i) {
      const double start = seconds();
      f.model->call(inputs);
      times.push_back(1e3 * (seconds() - start));
    }
  }
  std::ranges::sort(times);
  const double median = times[times.size() / 2], low = times[times.size() / 4], high = times[times.size() * 3 / 4];
  if (a.json) {
    std::cout << Json::of("median_ms", median, "quarter_ms", low, "three_quarters_ms", high, "runs", a.runs, "threads", num_threads()).dump(2) << '\n';
  } else {
    std::cout << concat("median ", median, " ms, middle half ", low, " to ", high, " ms, ", a.runs, " runs, ", num_threads(), " threads\n");
  }
  return kOk;
}

}  // namespace

void add_measurements(Commands& c) {
  {
    CLI::App* verb = c.app.add_subcommand("verify", "Do two models give the same answers? Exit code 1 if not");
    verb->footer("Example: graft verify net.safetensors fused.safetensors --input 1x3x32x32");
    auto a = std::make_shared<Arguments>();
    verb->add_option("MODEL", a->model, "A model file")->required();
    verb->add_option("OTHER", a->other, "Another model file")->required();
    verb->add_option("--input", a->inputs, "The shape of an input, 1x3x32x32 or 2x7:i64; its numbers are random")->required();
    verb->add_option("--ulps", a->ulps, "In units in the last place, at the largest answer")->capture_default_str();
    verb->add_flag("--json", a->json, "For programs");
    verb->callback([&c, a] { c.run = [a] { return verify(*a); }; });
  }
  {
    CLI::App* verb = c.app.add_subcommand("bench", "How long a run takes, in eval mode");
    verb->footer("Example: graft bench fused.safetensors --input 8x3x32x32 --threads 1");
    auto a = std::make_shared<Arguments>();
    verb->add_option("MODEL", a->model, "A model file")->required();
    verb->add_option("--input", a->inputs, "The shape of an input, 1x3x32x32 or 2x7:i64")->required();
    verb->add_option("--runs", a->runs, "How often it is run and timed, after one run that is not")->capture_default_str();
    verb->add_option("--threads", a->threads, "0: as many as there are processors")->check(CLI::Range(0, 1024))->capture_default_str();
    verb->add_flag("--json", a->json, "For programs");
    verb->callback([&c, a] { c.run = [a] { return bench(*a); }; });
  }
}

}  // namespace command

// graft_conformance KIND FILE...: replays files of recorded cases through the public API and prints, per layer, op,
// optimizer or rule and in total, how many passed, failed or are not supported.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <fstream>
#include <iostream>
#include <map>
#include "graft/core/cuda.h"
#include "graft_conformance/kinds.h"
#include "graft_conformance/report.h"

namespace {

using namespace conformance;

const std::map<std::string, Result (*)(const CaseFile&, const Json&)> kKinds{
    {"modules", run_module}, {"ops", run_op}, {"optim", run_optim}, {"surgery", run_surgery}};

struct Options {
  std::string kind, json, show, floor, write_floor, device = "cpu";

  std::string of_floor() const { return device == "cpu" ? kind : kind + "." + device; }
  std::vector<std::string> files;
  bool verbose = false;
};

int show(const Options& options) {
  for (const std::string& path : options.files) {
    const CaseFile file(path);
    for (const Json& c : file.cases())
      if (c.value("id", "") == options.show) {
        const Result r = kKinds.at(options.kind)(file, c);
        std::cout << c.dump(1) << '\n' << name_of(r.status) << (r.text.empty() ? "" : ": ") << r.text << '\n';
        return r.status == Status::passed ? 0 : 1;
      }
  }
  std::cerr << "no case has the id " << options.show << '\n';
  return 2;
}

void write_floor(const std::string& path, const std::string& kind, const std::vector<Result>& results) {
  Json all = Json::object();
  if (std::ifstream in(path); in) all = Json::parse(in);
  Json failed = Json::array();
  for (const Result& r : results)
    if (r.status == Status::failed) failed.push_back(r.id);
  const auto passed =
      std::count_if(results.begin(), results.end(), [](const Result& r) { return r.status == Status::passed; });
  all[kind] = {{"passed", passed}, {"failed", failed}};
  std::ofstream(path) << all.dump(1) << '\n';
}

int run(const Options& options) {
  if (!options.show.empty()) return show(options);
  std::vector<Result> results;
  for (const std::string& path : options.files) {
    const CaseFile file(path);
    for (const Json& c : file.cases()) results.push_back(kKinds.at(options.kind)(file, c));
  }
  if (options.verbose)
    for (const Result& r : results)
      if (r.status != Status::passed || r.decided) std::cout << name_of(r.status) << ' ' << r.id << ": " << r.text << '\n';
  print_table(std::cout, results);
  if (!options.json.empty()) std::ofstream(options.json) << to_json(options.kind, results).dump(1) << '\n';
  if (!options.write_floor.empty()) write_floor(options.write_floor, options.of_floor(), results);
  if (!options.floor.empty()) {
    std::ifstream in(options.floor);
    const auto worse = compare_with_floor(Json::parse(in), options.of_floor(), results);
    for (const std::string& line : worse) std::cerr << "below the floor: " << line << '\n';
    return worse.empty() ? 0 : 1;
  }
  return std::any_of(results.begin(), results.end(), [](const Result& r) { return r.status == Status::failed; });
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app("Replays recorded cases; exit status 1 if one fails, 2 if a file cannot be read, 77 if the device is not there.");
  std::vector<std::string> kinds;
  for (const auto& [name, runner] : kKinds) kinds.push_back(name);
  app.add_option("KIND", o.kind, "what the files hold")->required()->check(CLI::IsMember(kinds));
  app.add_option("FILE", o.files, "JSON files; tensors are in the .safetensors file beside each")->required();
  app.add_option("--json", o.json, "also write the results, case by case, to this file");
  app.add_option("--show", o.show, "run only the case of this id and show it");
  app.add_option("--floor", o.floor, "fail only if fewer cases pass or others fail than this file says");
  app.add_option("--write-floor", o.write_floor, "write what passes and fails now to that file");
  app.add_option("--device", o.device, "where tensors and models are")->check(CLI::IsMember({"cpu", "cuda"}))->capture_default_str();
  app.add_flag("-v,--verbose", o.verbose, "a line for each case that did not pass, or passed as graft decides");
  CLI11_PARSE(app, argc, argv);
  try {
    where = graft::Device(o.device);
    if (where.type == graft::Device::cuda && !graft::cuda::available()) {
      std::cerr << "graft_conformance: device cuda is not available: " << graft::cuda::why_not_available() << '\n';
      return 77;
    }
    return run(o);
  } catch (const std::exception& e) {
    std::cerr << "graft_conformance: " << e.what() << '\n';
    return 2;
  }
}

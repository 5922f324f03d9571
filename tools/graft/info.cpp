// info: what this build can do on this machine, and the table of its kernels.
#include <algorithm>
#include <array>
#include <iostream>
#include <map>
#include <memory>
#include "command.h"
#include "graft/core/cuda.h"
#include "graft/core/version.h"
#include "graft/kernels/isa.h"
#include "graft/kernels/parallel.h"
#include "graft/kernels/table.h"
#include "graft/nn/registry.h"

namespace command {

using namespace graft;

namespace {

struct Arguments {
  bool json = false, kernels = false, each = false;
  size_t most = 6;
};

struct Support {
  std::string device;
  std::array<bool, kDTypes> dtypes{};
  auto operator<=>(const Support&) const = default;
};
using Ops = std::map<std::pair<std::string, std::string>, Support>;  // by op and device
Ops supported() {
  Ops ops;
  for (const KernelInfo& k : list_kernels()) {
    const std::string device(name_of(k.device));
    Support& s = ops[{k.op, device}];
    s.device = device;
    s.dtypes[size_t(k.dtype)] = true;
  }
  return ops;
}

// ---- the table, in Markdown --------------------------------------------------------------------------------------

std::string row(const Support& s) {
  std::string text = "| " + s.device + " |";
  for (const bool has : s.dtypes) text += has ? " x |" : " |";
  return text;
}
void head(const char* first) {
  std::string dtypes, line;
  for (int t = 0; t < kDTypes; ++t) dtypes += " " + std::string(name_of(DType(t))) + " |", line += "---|";
  std::cout << "| " << first << " | device |" << dtypes << "\n|---|---|" << line << '\n';
}
// The first of the names, and how many there are beside them.
std::string some(const std::vector<std::string>& names, size_t most) {
  std::string text;
  for (size_t i = 0; i < std::min(most, names.size()); ++i) text += (i ? ", " : "") + names[i];
  return names.size() > most ? text + " and " + std::to_string(names.size() - most) + " more" : text;
}
void print_kernels(const Arguments& a) {
  const Ops ops = supported();
  if (a.each) {
    head("op");
    for (const auto& [key, support] : ops) std::cout << "| " << key.first << ' ' << row(support) << '\n';
    return;
  }
  std::map<Support, std::vector<std::string>> groups;
  for (const auto& [key, support] : ops) groups[support].push_back(key.first);
  std::vector<std::pair<Support, std::vector<std::string>>> rows(groups.begin(), groups.end());
  std::ranges::stable_sort(rows, std::ranges::greater{}, [](const auto& r) { return r.second.size(); });
  head("ops");
  for (const auto& [support, names] : rows) std::cout << "| " << some(names, a.most) << ' ' << row(support) << '\n';
}

// ---- all of it ---------------------------------------------------------------------------------------------------

Json libraries() {
  Json::Fields all;
  for (const cuda::VendorLibrary& l : cuda::vendor_libraries()) all.emplace_back(l.name, l.state);
  return all;
}
std::string cuda_text() {
  if (cuda::available()) return concat(cuda::device_count(), cuda::device_count() == 1 ? " device" : " devices");
  return "not available: " + cuda::why_not_available();
}
int info(const Arguments& a) {
  if (a.kernels || a.each) {
    print_kernels(a);
    return kOk;
  }
  const size_t types = nn::registered_types().size();
  if (a.json) {
    Json::List ops;
    for (const KernelInfo& k : list_kernels())
      ops.push_back(Json::of("op", k.op, "device", name_of(k.device), "dtype", name_of(k.dtype), "kernels", k.kernels));
    std::cout << Json::of("version", kVersion, "isa", cpu::name_of(cpu::isa()), "best_isa", cpu::name_of(cpu::best_isa()), "threads", num_threads(),
                          "cuda_devices", cuda::available() ? cuda::device_count() : 0, "cuda", cuda_text(), "libraries", libraries(), "layer_types",
                          types, "kernels", std::move(ops)).dump(2) << '\n';
    return kOk;
  }
  std::cout << "graft " << kVersion << "\ncpu: " << cpu::name_of(cpu::isa()) << ", " << num_threads() << " threads\ncuda: " << cuda_text()
            << '\n';
  for (const cuda::VendorLibrary& l : cuda::vendor_libraries()) std::cout << l.name << ": " << l.state << '\n';
  std::cout << "layer types: " << types << "; `graft info --kernels` lists ops by device and dtype\n";
  return kOk;
}

}  // namespace

void add_information(Commands& c) {
  CLI::App* verb = c.app.add_subcommand("info", "Devices, instruction sets, and which ops have kernels for which dtypes");
  verb->footer("Example: graft info --kernels");
  auto a = std::make_shared<Arguments>();
  verb->add_flag("--kernels", a->kernels, "Ops by device and dtype, as a Markdown table");
  verb->add_flag("--ops", a->each, "A row per op; otherwise ops with the same support share one");
  verb->add_option("--names", a->most, "How many ops a shared row names")->capture_default_str();
  verb->add_flag("--json", a->json, "For programs; with the order in which kernels are tried");
  verb->callback([&c, a] { c.run = [a] { return info(*a); }; });
}

}  // namespace command

// graft_matrix: which ops have kernels for which devices and dtypes, as a Markdown table. It prints what the kernel
// table of this build, on this processor, holds.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <iostream>
#include <map>
#include "graft/kernels/table.h"

using namespace graft;

namespace {

struct Support {
  std::string device;
  std::array<bool, kDTypes> dtypes{};
  auto operator<=>(const Support&) const = default;
};

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

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Which ops have kernels for which devices and dtypes, as a Markdown table.");
  bool each = false;
  size_t most = 6;
  app.add_flag("--ops", each, "A row per op; otherwise ops with the same support share one");
  app.add_option("--names", most, "How many ops a shared row names")->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  std::map<std::pair<std::string, std::string>, Support> ops;  // by op and device
  for (const KernelInfo& k : list_kernels()) {
    const std::string device(name_of(k.device));
    Support& s = ops[{k.op, device}];
    s.device = device;
    s.dtypes[size_t(k.dtype)] = true;
  }
  if (each) {
    head("op");
    for (const auto& [key, support] : ops) std::cout << "| " << key.first << ' ' << row(support) << '\n';
    return 0;
  }
  std::map<Support, std::vector<std::string>> groups;
  for (const auto& [key, support] : ops) groups[support].push_back(key.first);
  std::vector<std::pair<Support, std::vector<std::string>>> rows(groups.begin(), groups.end());
  std::ranges::stable_sort(rows, std::ranges::greater{}, [](const auto& r) { return r.second.size(); });
  head("ops");
  for (const auto& [support, names] : rows) std::cout << "| " << some(names, most) << ' ' << row(support) << '\n';
}

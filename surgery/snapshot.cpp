#include "graft/surgery/snapshot.h"

#include <algorithm>
#include <chrono>
#include <unordered_map>
#include <unordered_set>
#include "graft/core/op.h"
#include "graft/core/path.h"
#include "graft/surgery/cost.h"
#include "graft/surgery/table.h"

namespace graft::inline v1::surgery {
namespace {

// Adds the time of each op to the modules whose forward it runs in.
class Stopwatch final : public Observer {
 public:
  void before(const graft::Call&) override { started_ = Clock::now(); }
  void after(const graft::Call&, std::span<const Tensor>, const Candidate*) override {
    const double took = std::chrono::duration<double, std::milli>(Clock::now() - started_).count();
    std::unordered_set<const void*> counted;  // a module that calls itself counts once
    for (const PathFrame* f = current_frame(); f; f = f->outer)
      if (f->module && counted.insert(f->module).second) times_[f->module] += took;
  }
  std::unordered_map<const void*, double> take() { return std::exchange(times_, {}); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point started_;
  std::unordered_map<const void*, double> times_;
};

double median_of(std::vector<double> v) {
  std::ranges::nth_element(v, v.begin() + std::ptrdiff_t(v.size() / 2));
  return v[v.size() / 2];
}

std::unordered_map<const void*, double> times_of(nn::Module& model, const nn::Values& example, int repeats) {
  std::unordered_map<const void*, std::vector<double>> runs;
  const NoGrad no_grad;
  const PathScope root("", &model);
  model.invoke(example);  // fills caches
  for (int i = 0; i < repeats; ++i) {
    Stopwatch watch;
    const Observing scope(watch);
    model.invoke(example);
    for (const auto& [module, ms] : watch.take()) runs[module].push_back(ms);
  }
  std::unordered_map<const void*, double> medians;
  for (const auto& [module, all] : runs) medians[module] = median_of(all);
  return medians;
}

std::string text_of(const nn::Module& m) {
  if (m.child_entries().empty()) return one_line(m);
  const std::string made_with = m.extra_repr();
  return nn::type_name(m) + (made_with.empty() ? "" : "(" + made_with + ")");
}

}  // namespace

Snapshot snapshot(nn::Module& model, const nn::Values& example, int repeats) {
  Snapshot s;
  std::vector<const nn::Module*> modules;
  for (nn::SummaryRow& row : nn::summary(model).rows) {
    modules.push_back(&std::as_const(model).get_submodule(row.path));
    std::string text = text_of(*modules.back());
    s.rows.push_back({std::move(row), std::move(text)});
  }
  if (example.empty()) return s;
  const Cost c = cost(model, example);
  s.state_bytes = c.state_bytes;
  s.peak_bytes = c.peak_bytes;
  s.unknown = c.unknown;
  std::unordered_map<const void*, double> times;
  const bool training = std::ranges::any_of(modules, [](const nn::Module* m) { return m->training(); });
  if (training && repeats > 0) s.unknown += std::string(s.unknown.empty() ? "" : "; ") + "times: the model is in training mode";
  if (!training && repeats > 0) times = times_of(model, example, repeats);
  for (size_t i = 0; i < modules.size(); ++i) {
    Snapshot::Row& row = s.rows[i];
    if (!row.shared.empty()) continue;
    if (const auto it = times.find(modules[i]); it != times.end()) row.milliseconds = it->second;
    const auto it = c.modules.find(modules[i]);
    if (it == c.modules.end()) continue;
    if (!it->second.output.empty()) row.output = it->second.output;
    row.macs = it->second.macs;
  }
  return s;
}

}  // namespace graft

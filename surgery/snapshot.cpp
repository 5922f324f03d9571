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

std::vector<const nn::Module*> list_rows(const nn::Module& model, Snapshot& s) {
  struct Todo { const nn::Module* module; std::string path, name; int depth; };
  std::vector<Todo> todo{{&model, "", "", 0}};
  std::vector<const nn::Module*> modules;
  std::unordered_set<const nn::Module*> seen;
  std::unordered_set<const TensorImpl*> counted;
  while (!todo.empty()) {
    const Todo now = std::move(todo.back());
    todo.pop_back();
    Snapshot::Row row;
    row.path = now.path;
    row.name = now.name;
    row.type = nn::type_name(*now.module);
    row.depth = now.depth;
    const auto& children = now.module->child_entries();
    row.text = children.empty() ? one_line(*now.module) : row.type;
    row.again = !seen.insert(now.module).second;
    if (!row.again) {
      for (const Tensor& p : now.module->parameters(false))
        if (counted.insert(p.impl()).second) row.parameters += p.numel();
      for (auto it = children.rbegin(); it != children.rend(); ++it)
        if ((*it)->module)
          todo.push_back({(*it)->module.get(), now.path.empty() ? (*it)->name : now.path + "." + (*it)->name, (*it)->name, now.depth + 1});
    }
    s.rows.push_back(std::move(row));
    modules.push_back(now.module);
  }
  // Backwards, what is below a row has been added up when its turn comes.
  std::vector<int64_t> below;
  for (auto row = s.rows.rbegin(); row != s.rows.rend(); ++row) {
    const auto depth = size_t(row->depth);
    below.resize(std::max(below.size(), depth + 2));
    row->parameters += std::exchange(below[depth + 1], 0);
    below[depth] += row->parameters;
  }
  return modules;
}

}  // namespace

Snapshot snapshot(nn::Module& model, const nn::Values& example, int repeats) {
  Snapshot s;
  const std::vector<const nn::Module*> modules = list_rows(model, s);
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
    if (row.again) continue;
    if (const auto it = times.find(modules[i]); it != times.end()) row.milliseconds = it->second;
    if (modules[i] == &model) {
      row.output = c.model.output;
      row.macs = c.model.macs;
    } else if (const auto it = c.modules.find(modules[i]); it != c.modules.end()) {
      row.output = it->second.output;
      row.macs = it->second.macs;
    } else {
      row.macs = 0;
    }
  }
  return s;
}

}  // namespace graft

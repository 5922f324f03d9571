#include "graft/nn/summary.h"

#include <algorithm>
#include <ostream>
#include "graft/core/op.h"
#include "graft/core/path.h"

namespace graft::inline v1::nn {
namespace {

// Adds what an op costs to every module that is running, and remembers what came out last.
class Watcher final : public Observer {
 public:
  struct Seen {
    int64_t macs = 0;
    std::string output;
    Tensor last;
  };
  void after(const Call& call, std::span<const Tensor> out, const Candidate*) override {
    const int64_t macs = call.op.macs ? call.op.macs(call, out) : 0;
    std::unordered_set<const void*> counted;  // a module that calls itself counts once
    for (const PathFrame* f = current_frame(); f; f = f->outer) {
      if (!counted.insert(f->module).second) continue;
      Seen& s = seen_[f->module];
      s.macs += macs;
      if (out.empty() || (s.last.defined() && std::ranges::find(call.in, s.last.impl()) == call.in.end())) continue;
      s.last = out[0];  // not of an op beside the way of the data, such as running statistics
      s.output = text_of(out[0].view());
    }
  }
  const Seen* find(const Module* m) const {
    const auto it = seen_.find(m);
    return it == seen_.end() ? nullptr : &it->second;
  }

 private:
  static std::string text_of(const View& v) {
    std::string text = "[";
    for (int i = 0; i < v.rank; ++i) text += (i ? ", " : "") + std::to_string(v.size[i]);
    return text + "]";
  }
  std::unordered_map<const void*, Seen> seen_;
};

struct Counts {
  int64_t all = 0, trainable = 0;
};
// Parameters of a module and its children that `counted` does not have yet.
Counts count_new(const Module& m, std::unordered_set<const TensorImpl*>& counted) {
  Counts c;
  for (const Tensor& p : m.parameters()) {
    if (!counted.insert(p.impl()).second) continue;
    c.all += p.numel();
    c.trainable += p.requires_grad() ? p.numel() : 0;
  }
  return c;
}

}  // namespace

std::string grouped(int64_t n) {
  const std::string digits = std::to_string(n);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    const size_t left = digits.size() - i;
    if (i > 0 && left % 3 == 0 && text != "-") text += ',';
    text += digits[i];
  }
  return text;
}

static Summary list_rows(const Module& model, const Watcher& watcher) {
  Summary result;
  std::unordered_map<const Module*, std::string> listed;
  struct Todo { const Module* module; std::string path, name; int depth; };
  std::vector<Todo> todo{{&model, "", "", 0}};
  while (!todo.empty()) {
    const Todo now = todo.back();
    todo.pop_back();
    SummaryRow row;
    row.path = now.path;
    row.name = now.name;
    row.type = type_name(*now.module);
    row.made_of = now.module->made_of();
    row.depth = now.depth;
    const auto [it, first] = listed.emplace(now.module, now.path);
    if (!first) row.shared = it->second;
    const Watcher::Seen* seen = watcher.find(now.module);
    row.output = seen && !seen->output.empty() ? seen->output : "-";
    if (first) {
      std::unordered_set<const TensorImpl*> own;
      const Counts c = count_new(*now.module, own);
      row.parameters = c.all;
      row.trainable = c.trainable;
      row.macs = seen ? seen->macs : 0;
      const auto& children = now.module->child_entries();
      for (auto e = children.rbegin(); e != children.rend(); ++e)
        if ((*e)->module)
          todo.push_back({(*e)->module.get(), now.path.empty() ? (*e)->name : now.path + "." + (*e)->name, (*e)->name, now.depth + 1});
    }
    result.rows.push_back(std::move(row));
  }
  return result;
}
Summary summary(const Module& model) { return list_rows(model, {}); }
Summary summary(const Module& model, const Values& example) {
  Watcher watcher;
  {
    const DryRun shapes_only;
    const NoGrad quiet;
    const Observing scope(watcher);
    const PathScope root("", &model);
    const_cast<Module&>(model).invoke(example);
  }
  return list_rows(model, watcher);
}

std::ostream& operator<<(std::ostream& o, const Summary& s) {
  std::vector<std::array<std::string, 4>> lines{{"module", "output", "parameters", "multiply-adds"}};
  for (const SummaryRow& r : s.rows) {
    std::string name = concat(std::string(size_t(r.depth) * 2, ' '), r.name.empty() ? r.type : r.name + " " + r.type);
    if (!r.made_of.empty()) name += " (made of " + r.made_of + ")";
    if (!r.shared.empty()) name += " (shared, see " + (r.shared.empty() ? "the root" : r.shared) + ")";
    const bool counted = r.shared.empty();
    lines.push_back({name, r.output, counted ? grouped(r.parameters) : "", counted ? grouped(r.macs) : ""});
  }
  std::array<size_t, 4> width{};
  for (const auto& line : lines)
    for (size_t c = 0; c < 4; ++c) width[c] = std::max(width[c], line[c].size());
  for (const auto& line : lines) {
    o << line[0] << std::string(width[0] - line[0].size() + 2, ' ') << line[1] << std::string(width[1] - line[1].size(), ' ');
    for (size_t c = 2; c < 4; ++c) o << std::string(width[c] - line[c].size() + 2, ' ') << line[c];
    o << '\n';
  }
  return o << "parameters " << grouped(s.parameters()) << ", trainable " << grouped(s.trainable()) << "; multiply-adds "
           << grouped(s.macs()) << '\n';
}

}  // namespace graft

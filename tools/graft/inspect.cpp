// summary, count, diff: looking at model files.
#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include "command.h"
#include "graft/core/ops.h"
#include "graft/nn/architecture.h"
#include "graft/nn/registry.h"
#include "graft/nn/summary.h"
#include "graft/surgery/count.h"
#include "graft/surgery/report.h"
#include "graft/surgery/table.h"

namespace command {

using namespace graft;

namespace {

struct Arguments {
  std::string model, other, page;
  std::vector<std::string> inputs, types;
  bool json = false, numbers = true;
};

// ---- summary -----------------------------------------------------------------------------------------------------

Json row_of(const nn::SummaryRow& r) {
  Json j = Json::of("path", r.path, "type", r.type, "output", r.output, "parameters", r.parameters, "trainable", r.trainable, "macs", r.macs);
  if (!r.shared.empty()) j.set("shared", r.shared);
  return j;
}
int summarize(const Arguments& a) {
  const surgery::ModelFile f = load(a.model);
  if (a.inputs.empty()) {
    int64_t n = 0;
    for (const Tensor& t : f.model->parameters()) n += t.numel();
    if (a.json) {
      std::cout << Json::of("architecture", nn::architecture(*f.model), "parameters", n, "steps", f.recipe.size()).dump(2) << '\n';
      return kOk;
    }
    std::cout << *f.model << "\nparameters " << n << '\n';
  } else {
    const nn::Summary s = nn::summary(*f.model, inputs_of(a.inputs));
    if (a.json) {
      Json::List rows;
      for (const nn::SummaryRow& r : s.rows) rows.push_back(row_of(r));
      std::cout << Json::of("rows", std::move(rows), "parameters", s.parameters(), "trainable", s.trainable(), "macs", s.macs(), "steps",
                            f.recipe.size()).dump(2) << '\n';
      return kOk;
    }
    std::cout << s;
  }
  if (!f.recipe.empty()) std::cout << f.recipe;
  return kOk;
}

// ---- count -------------------------------------------------------------------------------------------------------

int count(const Arguments& a) {
  const surgery::ModelFile f = load(a.model);
  std::map<std::string, size_t> found = surgery::count_by_type(*f.model);
  if (!a.types.empty()) {
    std::map<std::string, size_t> wanted;
    for (const std::string& type : a.types) {
      if (!found.contains(type) && !nn::registered_type(type)) nn::build(type);  // whose error names the nearest types
      wanted[type] = found.contains(type) ? found[type] : 0;
    }
    found = std::move(wanted);
  }
  if (a.json) {
    Json::Fields all;
    for (const auto& [type, n] : found) all.emplace_back(type, n);
    std::cout << Json(std::move(all)).dump(2) << '\n';
  } else {
    std::vector<std::vector<std::string>> rows;
    for (const auto& [type, n] : found) rows.push_back({type, std::to_string(n)});
    surgery::print_table(std::cout, rows);
  }
  return kOk;
}

// ---- diff --------------------------------------------------------------------------------------------------------

struct TensorDifference { std::string key, before, after; double largest; };
std::vector<TensorDifference> tensor_differences(const nn::StateDict& a, const nn::StateDict& b) {
  std::vector<TensorDifference> list;
  for (const auto& [key, t] : a) {
    const Tensor* other = b.find(key);
    if (!other) {
      list.push_back({key, concat(t.view()), "", 0});
    } else if (t.shape() != other->shape() || t.dtype() != other->dtype()) {
      list.push_back({key, concat(t.view()), concat(other->view()), 0});
    } else {
      const surgery::Difference d = surgery::difference(t, *other, 0);
      if (d.ulps > 0) list.push_back({key, concat(t.view()), concat(other->view()), d.absolute});
    }
  }
  for (const auto& [key, t] : b)
    if (!a.contains(key)) list.push_back({key, "", concat(t.view()), 0});
  return list;
}
int diff(const Arguments& a) {
  const surgery::ModelFile one = load(a.model), two = load(a.other);
  const surgery::Report trees = surgery::report(surgery::snapshot(*one.model), surgery::snapshot(*two.model), {.title = a.model + " and " + a.other});
  if (!a.page.empty()) trees.write(a.page);
  const bool same_tree = nn::architecture(*one.model) == nn::architecture(*two.model);
  const auto tensors = a.numbers ? tensor_differences(one.model->state_dict(), two.model->state_dict()) : std::vector<TensorDifference>();
  if (a.json) {
    Json::List list;
    for (const TensorDifference& d : tensors)
      list.push_back(Json::of("key", d.key, "before", d.before.empty() ? Json() : Json(d.before), "after", d.after.empty() ? Json() : Json(d.after),
                              "largest", d.largest));
    std::cout << Json::of("same_architecture", same_tree, "tree", trees.tree(), "tensors", std::move(list)).dump(2) << '\n';
  } else {
    if (trees.count(surgery::Report::Line::Sign::same) < trees.lines().size()) print_marked(trees.tree());
    else if (!same_tree) std::cout << "the trees print alike; modes, ties, dtypes or requires_grad differ\n";
    std::vector<std::vector<std::string>> rows;
    for (const TensorDifference& d : tensors)
      rows.push_back({d.key, d.before.empty() ? "-" : d.before, d.after.empty() ? "-" : d.after,
                      d.before == d.after ? concat("differs by up to ", d.largest) : ""});
    surgery::print_table(std::cout, rows);
    if (same_tree && tensors.empty()) std::cout << "no difference\n";
  }
  return same_tree && tensors.empty() ? kOk : kDiffers;
}

}  // namespace

void add_inspection(Commands& c) {
  const auto add = [&c](const char* name, const char* what, const char* example, int (*run)(const Arguments&)) {
    CLI::App* verb = c.app.add_subcommand(name, what);
    verb->footer(std::string("Example: ") + example);
    auto a = std::make_shared<Arguments>();
    verb->add_option("MODEL", a->model, "A model file")->required();
    verb->add_flag("--json", a->json, "For programs");
    verb->callback([&c, a, run] { c.run = [a, run] { return run(*a); }; });
    return std::pair(verb, a);
  };
  {
    auto [verb, a] = add("summary", "The modules of a model, and what was done to it", "graft summary net.safetensors --input 1x3x32x32", &summarize);
    verb->add_option("--input", a->inputs, "The shape of an input, 1x3x32x32 or 2x7:i64: shapes, parameters and multiply-adds per module");
  }
  {
    auto [verb, a] = add("count", "How many modules of each type there are", "graft count net.safetensors Conv2d Linear", &count);
    verb->add_option("TYPE", a->types, "Only these");
  }
  {
    auto [verb, a] = add("diff", "How two models differ, in structure and numbers; exit code 1 if they do",
                         "graft diff net.safetensors fused.safetensors", &diff);
    verb->add_option("OTHER", a->other, "Another model file")->required();
    verb->add_option("--report", a->page, "Also write the two trees side by side to this file: .html, .svg or .txt");
    verb->add_flag("!--structure", a->numbers, "Structure only, no numbers");
  }
}

}  // namespace command

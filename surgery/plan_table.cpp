// How a plan prints: one line per change, in columns, then what becomes of parameters and optimizers.
#include <algorithm>
#include <ostream>
#include "graft/surgery/draft.h"
#include "graft/surgery/table.h"

namespace graft::inline v1::surgery {

void print_table(std::ostream& o, const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> width;
  for (const auto& row : rows) {
    width.resize(std::max(width.size(), row.size()));
    for (size_t c = 0; c < row.size(); ++c) width[c] = std::max(width[c], row[c].size());
  }
  for (const auto& row : rows) {
    std::string line = " ";
    for (size_t c = 0; c < row.size(); ++c) line += " " + row[c] + std::string(width[c] - row[c].size() + 1, ' ');
    line.erase(line.find_last_not_of(' ') + 1);
    o << line << '\n';
  }
}

std::string_view name_of(Note::Kind k) {
  switch (k) {
    case Note::Kind::hooks_left: return "hooks";
    case Note::Kind::requires_grad_differs: return "requires_grad";
    case Note::Kind::not_optimized: return "not optimized";
    case Note::Kind::no_optimizer: return "no optimizer";
    case Note::Kind::inside_replaced: return "inside of what is replaced";
    case Note::Kind::shapes_unknown: return "shapes unknown";
  }
  return "";
}

std::string one_line(const nn::Module& m) {
  const std::string text = nn::repr(m);
  const size_t line = text.find('\n');
  return line == std::string::npos ? text : nn::type_name(m) + "(...)";
}

namespace {

int64_t own_parameters(const nn::Module& m) {
  int64_t n = 0;
  for (const Tensor& t : m.parameters()) n += t.numel();
  return n;
}

using Row = std::vector<std::string>;

std::string path_of(const Change& c) {
  std::string path = c.path.empty() ? "(root)" : c.path;
  for (const std::string& a : c.aliases) path += " = " + a;
  return path;
}
Row row_of(const Change& c) {
  const auto changed = [](int64_t n) { return (n > 0 ? "+" : "") + std::to_string(n); };
  if (!c.before) return {path_of(c), "", "->", one_line(*c.after), changed(own_parameters(*c.after))};
  if (!c.after) return {path_of(c), one_line(*c.before), "->", "(removed)", changed(-own_parameters(*c.before))};
  if (c.after == c.before) return {path_of(c), one_line(*c.before), "", "kept", ""};
  return {path_of(c), one_line(*c.before), "->", one_line(*c.after), changed(own_parameters(*c.after) - own_parameters(*c.before))};
}

std::string both(const std::string& before, const std::string& after) {
  return before == after || before.empty() ? after : after.empty() ? before : before + " -> " + after;
}
const Cost::OfModule* cost_of(const nn::ModulePtr& m, const std::optional<Cost>& c) {
  if (!m || !c) return nullptr;
  const auto it = c->modules.find(m.get());
  return it == c->modules.end() ? nullptr : &it->second;
}
void add_costs(Row& row, const Change& c, const detail::Draft& d) {
  const auto *before = cost_of(c.before, d.cost_before), *after = cost_of(c.after, d.cost_after);
  row.push_back(both(before ? before->output : "", after ? after->output : ""));
  row.push_back(both(before ? std::to_string(before->macs) : "", after ? std::to_string(after->macs) : ""));
}
void print_costs(std::ostream& o, const detail::Draft& d) {
  if (!d.cost_after) return;
  const Cost& after = *d.cost_after;
  const Cost& before = d.cost_before ? *d.cost_before : after;
  const auto text = [](int64_t n) { return std::to_string(n); };
  o << "  output " << both(before.model.output, after.model.output) << "; multiply-adds "
    << both(text(before.model.macs), text(after.model.macs)) << "; memory at the peak "
    << both(text(before.peak_bytes), text(after.peak_bytes)) << " bytes, of which parameters and buffers "
    << both(text(before.state_bytes), text(after.state_bytes)) << '\n';
}
// "copied weight, bias; fresh gain": where a policy says what to carry over.
void print_weights(std::ostream& o, const Change& c) {
  std::string text;
  for (size_t i = 0; i < c.weights.size(); ++i) {
    const Carried& w = c.weights[i];
    const bool again = i > 0 && c.weights[i - 1].how == w.how;
    text += (i == 0 ? "" : again ? ", " : "; ") + (again ? "" : std::string(name_of(w.how)) + " ") + w.path;
    if (w.how == Carried::How::sliced || w.how == Carried::How::inflated) text += concat(' ', w.from, " -> ", w.to);
  }
  if (!text.empty()) o << "  weights: " << text << '\n';
}

}  // namespace

std::ostream& operator<<(std::ostream& o, const Plan& plan) {
  const detail::Draft& d = *plan.draft_;
  const auto changed = std::ranges::count_if(*d.changes, [](const Change& c) { return c.after != c.before; });
  const bool plain = std::ranges::all_of(*d.changes, [](const Change& c) { return c.before && c.after && !c.swapped; });
  o << "plan: " << changed << (plain ? " replacement" : " change") << (changed == 1 ? "" : "s") << " in " << nn::type_name(*d.root.module) << '\n';
  std::vector<Row> rows{{"path", "old", "", "new", "parameters"}};
  if (d.cost_after) rows[0].insert(rows[0].end(), {"output", "multiply-adds"});
  for (const Change& c : *d.changes) {
    rows.push_back(row_of(c));
    if (d.cost_after) add_costs(rows.back(), c, d);
  }
  if (rows.size() > 1) print_table(o, rows);
  o << "  parameters " << d.before << " -> " << d.after << "; tensors: " << d.live->dead.size() << " leave, "
    << d.live->fresh.size() << " enter\n";
  for (const Following::Resized& r : d.resized)
    o << "  " << r.name << " group " << r.group << ": " << r.before << " -> " << r.after << " parameters\n";
  print_costs(o, d);
  for (const Change& c : *d.changes) print_weights(o, c);
  for (const Declined& r : d.declined) o << "  refused (" << r.code << ") " << r.path << ": " << r.text << '\n';
  for (const Note& n : d.notes) o << "  note (" << name_of(n.kind) << ") " << (n.path.empty() ? "" : n.path + ": ") << n.text << '\n';
  return o;
}

}  // namespace graft

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

std::vector<std::string> row_of(const Change& c) {
  std::string path = c.path.empty() ? "(root)" : c.path;
  for (const std::string& a : c.aliases) path += " = " + a;
  if (c.after == c.before) return {path, one_line(*c.before), "", "kept", ""};
  const int64_t change = own_parameters(*c.after) - own_parameters(*c.before);
  return {path, one_line(*c.before), "->", one_line(*c.after), (change > 0 ? "+" : "") + std::to_string(change)};
}

const char* text_of(Note::Kind k) {
  switch (k) {
    case Note::Kind::hooks_left: return "hooks";
    case Note::Kind::requires_grad_differs: return "requires_grad";
    case Note::Kind::not_optimized: return "not optimized";
    case Note::Kind::no_optimizer: return "no optimizer";
  }
  return "";
}

}  // namespace

std::ostream& operator<<(std::ostream& o, const Plan& plan) {
  const detail::Draft& d = *plan.draft_;
  const auto changed = std::ranges::count_if(*d.changes, [](const Change& c) { return c.after != c.before; });
  o << "plan: " << changed << (changed == 1 ? " replacement" : " replacements") << " in " << nn::type_name(*d.root.module) << '\n';
  std::vector<std::vector<std::string>> rows{{"path", "old", "", "new", "parameters"}};
  for (const Change& c : *d.changes) rows.push_back(row_of(c));
  if (rows.size() > 1) print_table(o, rows);
  o << "  parameters " << d.before << " -> " << d.after << "; tensors: " << d.live->dead.size() << " leave, "
    << d.live->fresh.size() << " enter\n";
  for (const Following::Resized& r : d.resized)
    o << "  " << r.name << " group " << r.group << ": " << r.before << " -> " << r.after << " parameters\n";
  for (const Note& n : d.notes) o << "  note (" << text_of(n.kind) << ") " << (n.path.empty() ? "" : n.path + ": ") << n.text << '\n';
  return o;
}

}  // namespace graft

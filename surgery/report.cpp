// Which row before is which row after, and the comparison as text. The page and the picture: report_page.cpp.
#include "graft/surgery/report.h"

#include <algorithm>
#include <sstream>
#include <unordered_map>
#include "graft/io/file.h"
#include "graft/surgery/report_page.h"
#include "graft/surgery/table.h"

namespace graft::inline v1::surgery {
namespace {

using ModuleRows = std::vector<Snapshot::Row>;
using ChildLists = std::vector<std::vector<int>>;

ChildLists children_of(const ModuleRows& rows) {
  ChildLists children(rows.size());
  std::vector<int> above;  // the row of each depth that the next one may be a child of
  for (int i = 0; i < int(rows.size()); ++i) {
    above.resize(size_t(rows[size_t(i)].depth));
    if (!above.empty()) children[size_t(above.back())].push_back(i);
    above.push_back(i);
  }
  return children;
}

bool is_number(const std::string& s) { return !s.empty() && s.find_first_not_of("0123456789") == std::string::npos; }

// How likely two siblings are one module: 0 if they are not. Numbers move when something is inserted; names do not.
int likeness(const Snapshot::Row& a, const Snapshot::Row& b) {
  const bool name = a.name == b.name, numbers = is_number(a.name) && is_number(b.name);
  if (a.text == b.text) return name ? 4 : numbers ? 3 : 0;
  if (name) return 2;
  return numbers && a.type == b.type ? 1 : 0;
}

using Pairs = std::vector<std::pair<int, int>>;

// The pairing of two lists of siblings, in order, that is likeliest as a whole.
Pairs align(const ModuleRows& rows_a, const std::vector<int>& a, const ModuleRows& rows_b, const std::vector<int>& b) {
  Pairs pairs;
  const auto like = [&](size_t i, size_t j) { return likeness(rows_a[size_t(a[i])], rows_b[size_t(b[j])]); };
  size_t first = 0, last_a = a.size(), last_b = b.size();  // most lists have not changed much
  while (first < std::min(last_a, last_b) && like(first, first) == 4) ++first;
  while (last_a > first && last_b > first && like(last_a - 1, last_b - 1) >= 3) --last_a, --last_b;
  for (size_t i = 0; i < first; ++i) pairs.emplace_back(a[i], b[i]);
  const size_t n = last_a - first, m = last_b - first;
  constexpr size_t kCells = 4'000'000;
  if (n * m > kCells) {  // by name alone
    std::unordered_map<std::string, size_t> at;
    for (size_t j = first; j < last_b; ++j) at.emplace(rows_b[size_t(b[j])].name, j);
    size_t j = first;
    for (size_t i = first; i < last_a; ++i) {
      const auto it = at.find(rows_a[size_t(a[i])].name);
      if (it == at.end() || it->second < j) {
        pairs.emplace_back(a[i], -1);
        continue;
      }
      for (; j < it->second; ++j) pairs.emplace_back(-1, b[j]);
      pairs.emplace_back(a[i], b[j++]);
    }
    for (; j < last_b; ++j) pairs.emplace_back(-1, b[j]);
  } else {
    std::vector<int> best((n + 1) * (m + 1));  // of the rest of both lists
    const auto cell = [&](size_t i, size_t j) -> int& { return best[i * (m + 1) + j]; };
    for (size_t i = n; i-- > 0;)
      for (size_t j = m; j-- > 0;) {
        const int l = like(first + i, first + j);
        cell(i, j) = std::max({cell(i + 1, j), cell(i, j + 1), l ? cell(i + 1, j + 1) + l : 0});
      }
    size_t i = 0, j = 0;
    while (i < n || j < m) {
      const int l = i < n && j < m ? like(first + i, first + j) : 0;
      if (l && cell(i, j) == cell(i + 1, j + 1) + l) pairs.emplace_back(a[first + i++], b[first + j++]);
      else if (i < n && (j == m || cell(i, j) == cell(i + 1, j))) pairs.emplace_back(a[first + i++], -1);
      else pairs.emplace_back(-1, b[first + j++]);
    }
  }
  for (size_t i = 0; i < a.size() - last_a; ++i) pairs.emplace_back(a[last_a + i], b[last_b + i]);
  return pairs;
}

}  // namespace

Report::Report(Snapshot before, Snapshot after, ReportOptions options)
    : before_(std::move(before)), after_(std::move(after)), options_(std::move(options)) {
  GRAFT_CHECK(!before_.rows.empty() && !after_.rows.empty(), "report: a snapshot is empty; snapshot() makes one with at least the root");
  const ChildLists old_children = children_of(before_.rows), new_children = children_of(after_.rows);
  static const std::vector<int> none;
  Pairs todo{{0, 0}};
  while (!todo.empty()) {
    const auto [b, a] = todo.back();
    todo.pop_back();
    Line line{.before = b, .after = a};
    line.depth = b >= 0 ? before_.rows[size_t(b)].depth : after_.rows[size_t(a)].depth;
    if (b < 0) line.sign = Line::Sign::added;
    else if (a < 0) line.sign = Line::Sign::removed;
    else if (before_.rows[size_t(b)].text != after_.rows[size_t(a)].text) line.sign = Line::Sign::changed;
    line.touched = line.sign != Line::Sign::same;
    lines_.push_back(line);
    const Pairs below = align(before_.rows, b >= 0 ? old_children[size_t(b)] : none, after_.rows, a >= 0 ? new_children[size_t(a)] : none);
    todo.insert(todo.end(), below.rbegin(), below.rend());
  }
  std::vector<bool> inside;  // by depth: has one of the lines below been touched?
  for (auto line = lines_.rbegin(); line != lines_.rend(); ++line) {
    const auto depth = size_t(line->depth);
    inside.resize(std::max(inside.size(), depth + 2));
    line->touched = line->touched || inside[depth + 1];
    inside[depth + 1] = false;
    inside[depth] = inside[depth] || line->touched;
  }
}

size_t Report::count(Line::Sign s) const { return size_t(std::ranges::count(lines_, s, &Line::sign)); }

std::string Report::tree() const {
  std::string text;
  const auto add = [&](char sign, const Line& l, const Snapshot::Row& r) {
    const std::string label = r.name.empty() ? "" : "(" + r.name + "): ";
    text += sign + std::string(1 + 2 * size_t(l.depth), ' ') + label + r.text + (r.shared.empty() ? "" : " (shared, see " + r.shared + ")") + "\n";
  };
  for (const Line& l : lines_) {
    if (l.sign == Line::Sign::same) {
      add(' ', l, after_.rows[size_t(l.after)]);
      continue;
    }
    if (l.before >= 0) add('-', l, before_.rows[size_t(l.before)]);
    if (l.after >= 0) add('+', l, after_.rows[size_t(l.after)]);
  }
  return text;
}

std::string Report::text() const {
  std::ostringstream o;
  o.imbue(std::locale::classic());
  o << options_.title << "\n\n";
  std::vector<std::vector<std::string>> rows{{"", "path", "before", "after", "parameters", "multiply-adds"}};
  for (const Line& l : lines_) {
    if (l.sign == Line::Sign::same) continue;
    const Snapshot::Row* b = l.before < 0 ? nullptr : &before_.rows[size_t(l.before)];
    const Snapshot::Row* a = l.after < 0 ? nullptr : &after_.rows[size_t(l.after)];
    const std::string& path = (a ? a : b)->path;
    const auto difference = [](int64_t was, int64_t is) { return was == is ? std::string() : concat(is > was ? "+" : "", is - was); };
    rows.push_back({std::string(1, char(l.sign)), path.empty() ? "(root)" : path, b ? b->text : "", a ? a->text : "",
                    difference(b ? b->parameters : 0, a ? a->parameters : 0), difference(b ? b->macs : 0, a ? a->macs : 0)});
  }
  if (rows.size() == 1) o << "  nothing differs\n";
  else print_table(o, rows);
  o << '\n';
  print_table(o, report_totals(before_, after_));
  if (!options_.refused.empty()) {
    o << "\nRefused\n";
    std::vector<std::vector<std::string>> refused;
    for (const NotDone& r : options_.refused) refused.push_back({r.path, r.code, r.reason});
    print_table(o, refused);
  }
  if (!options_.recipe.empty()) o << "\nRecipe\n" << options_.recipe << '\n';
  return o.str();
}

void Report::write(const std::string& file) const {
  const auto ends = [&](std::string_view with) { return file.ends_with(with); };
  const bool known = ends(".html") || ends(".svg") || ends(".txt");
  GRAFT_CHECK(known, "report: ", file, " ends in none of .html, .svg, .txt");
  const std::string content = ends(".html") ? html() : ends(".svg") ? svg() : text();
  io::replace_file(file, [&](const io::WriteBytes& write) { write(std::as_bytes(std::span(content))); });
}

std::vector<NotDone> refusals(const Fusion& f) {
  std::vector<NotDone> list;
  for (const Refused& r : f.refused) list.push_back({r.path, std::string(name_of(r.code)), r.reason});
  return list;
}
std::vector<NotDone> refusals(const Plan& p) {
  std::vector<NotDone> list;
  for (const Declined& d : p.declined()) list.push_back({d.path, d.code, d.text});
  return list;
}

}  // namespace graft

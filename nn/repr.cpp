// repr of a module tree, as PyTorch prints it.
#include <algorithm>
#include <ostream>
#include <sstream>

#include "graft/nn/module.h"

namespace graft::inline v1::nn {

static std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  size_t from = 0;
  while (from <= text.size()) {
    const size_t end = std::min(text.find('\n', from), text.size());
    lines.push_back(text.substr(from, end - from));
    from = end + 1;
  }
  return lines;
}
static void write_indented(std::ostream& o, const std::string& text, const std::string& indent) {
  for (const char c : text) {
    o << c;
    if (c == '\n') o << indent;
  }
}

// A list prints runs of children with equal text once: "(0-3): 4 x Block(...)".
static void write_list(std::ostream& o, const Module& list, const std::string& indent) {
  std::vector<std::string> texts;
  for (const auto& e : list.child_entries()) texts.push_back(e->module ? repr(*e->module) : "None");
  o << type_name(list) << '(';
  for (size_t i = 0, end = 0; i < texts.size(); i = end) {
    for (end = i + 1; end < texts.size() && texts[end] == texts[i];) ++end;
    o << '\n' << indent << "  (" << i;
    if (end - i > 1) o << '-' << end - 1 << "): " << end - i << " x ";
    else o << "): ";
    write_indented(o, texts[i], indent + "  ");
  }
  if (!texts.empty()) o << '\n' << indent;
  o << ')';
}

// Writes all of a module but its children and the closing bracket; true where there are children to follow.
static bool write_head(std::ostream& o, const Module& m, const std::string& indent) {
  const std::string extra = m.extra_repr();
  const std::vector<std::string> lines = extra.empty() ? std::vector<std::string>() : lines_of(extra);
  o << type_name(m) << '(';
  if (lines.size() == 1 && m.child_entries().empty()) o << lines[0];
  else
    for (const std::string& line : lines) o << '\n' << indent << "  " << line;
  if (m.child_entries().empty() && lines.size() > 1) o << '\n' << indent;
  return !m.child_entries().empty();
}

static void write(std::ostream& o, const Module& root) {
  struct Step { const Module* module; size_t next; };
  std::vector<Step> stack;
  std::string indent;
  auto enter = [&](const Module& m) {
    if (m.prints_runs_once()) return write_list(o, m, indent);
    if (!write_head(o, m, indent)) return void(o << ')');
    stack.push_back({&m, 0});
    indent += "  ";
  };
  if (root.is_mutable()) o << "MutableModule(";
  enter(root);
  while (!stack.empty()) {
    auto& [m, next] = stack.back();
    if (next == m->child_entries().size()) {
      indent.resize(indent.size() - 2);
      o << '\n' << indent << ')';
      stack.pop_back();
      continue;
    }
    const ChildEntry& e = *m->child_entries()[next++];
    o << '\n' << indent << '(' << e.name << "): ";
    if (e.module) enter(*e.module);
    else o << "None";
  }
  if (root.is_mutable()) o << ')';
}

std::ostream& operator<<(std::ostream& o, const Module& m) {
  write(o, m);
  return o;
}
std::string repr(const Module& m) {
  std::ostringstream text;
  text.imbue(std::locale::classic());
  write(text, m);
  return std::move(text).str();
}

}  // namespace graft::nn
